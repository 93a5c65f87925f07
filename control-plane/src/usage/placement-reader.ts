import { environmentSection } from '../../../proto/snapshot/consistency.js'
import type { Clock } from '../../../proto/std/clock.js'
import type { Database } from '../database/database.js'

export interface Subject {
  readonly tenantId: string
  readonly environmentId: string
}

/** An answer is good for so long; short, because a "no" may become a "yes" by a mutation made meanwhile. */
const yesMs = 60_000
const noMs = 2_000
const answersMax = 50_000

/**
 * Which environments a cluster may have served: those placed there now, and those that its snapshots ever held within
 * the time that tombstones are kept. A record about another one is a lie or a fault, either way not billed.
 */
export class PlacementReader {
  readonly #database: Pick<Database, 'sql'>
  readonly #clock: Clock
  readonly #answers = new Map<string, { placed: boolean; untilUs: number }>()

  constructor(database: Pick<Database, 'sql'>, clock: Clock) {
    this.#database = database
    this.#clock = clock
  }

  /** By `subjectKey`: those of `subjects` that `clusterId` has no business with. */
  async findMisplaced(clusterId: string, subjects: readonly Subject[]): Promise<ReadonlySet<string>> {
    const wanted = new Map(subjects.map((subject) => [subjectKey(subject), subject]))
    const nowUs = this.#clock.monotonicUs()
    const misplaced = new Set<string>()
    const unknown: Subject[] = []
    for (const [key, subject] of wanted) {
      const answer = this.#answers.get(`${clusterId}/${key}`)
      if (!answer || answer.untilUs <= nowUs) unknown.push(subject)
      else if (!answer.placed) misplaced.add(key)
    }
    if (unknown.length === 0) return misplaced
    const placed = await this.#load(clusterId, unknown)
    if (this.#answers.size > answersMax) this.#answers.clear()
    for (const subject of unknown) {
      const key = subjectKey(subject)
      const isPlaced = placed.has(key)
      if (!isPlaced) misplaced.add(key)
      const untilUs = nowUs + (isPlaced ? yesMs : noMs) * 1000
      this.#answers.set(`${clusterId}/${key}`, { placed: isPlaced, untilUs })
    }
    return misplaced
  }

  async #load(clusterId: string, subjects: readonly Subject[]): Promise<ReadonlySet<string>> {
    const { rows } = await this.#database.sql.query<{ tenantId: string; environmentId: string }>(
      `SELECT s."tenantId", s."environmentId"
       FROM unnest($2::text[], $3::text[], $4::text[]) AS s("tenantId", "environmentId", section)
       WHERE EXISTS (
         SELECT 1 FROM "Environment" e, "Cluster" c
         WHERE e.id = s."environmentId" AND e."tenantId" = s."tenantId" AND c.id = $1 AND c.region = ANY(e."permittedRegions")
       ) OR EXISTS (
         SELECT 1 FROM "Snapshot" p
         WHERE starts_with(p.view, $1 || '/') AND p.sections @> jsonb_build_array(jsonb_build_object('name', s.section))
       ) OR EXISTS (
         SELECT 1 FROM "Tombstone" t
         WHERE starts_with(t.view, $1 || '/') AND t."sectionName" = s.section AND t."resourceName" = ''
       )`,
      [
        clusterId,
        subjects.map((subject) => subject.tenantId),
        subjects.map((subject) => subject.environmentId),
        subjects.map((subject) => environmentSection(subject.tenantId, subject.environmentId)),
      ],
    )
    return new Set(rows.map(subjectKey))
  }
}

export function subjectKey(subject: Subject): string {
  return `${subject.tenantId}/${subject.environmentId}`
}
