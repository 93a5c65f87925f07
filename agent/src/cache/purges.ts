import type { CachePurgeTable, EnvironmentTable } from '../../../proto/policy/tables.js'
import type { KeptAnswer } from './kept-answer.js'

/**
 * Which kept answers have been purged. A purge is an instant and what it is about; an answer that fits and whose request
 * came in before it is not given any more. Requests that were under way at that instant count as before it: what they were
 * told may have been the old text.
 *
 * The instant is the control plane's clock and an answer's the agent's, so each purge reaches `clockSkewMs` further than it
 * says. Of its own memory an agent knows more: whatever was there when it first saw the purge was there before.
 */
export const clockSkewMs = 10_000

interface Purge {
  readonly table: CachePurgeTable
  /** Answers born up to then; the second for those in this agent's memory. */
  readonly untilMs: number
  readonly untilHereMs: number
}

export class Purges {
  /** Id → when this agent saw it first. Only of purges that tables still name. */
  readonly #seen = new Map<string, Map<string, number>>()
  readonly #compiled = new WeakMap<EnvironmentTable, readonly Purge[]>()

  /** `isHere`: the answer was kept by this process. */
  isPurged(
    kept: Pick<KeptAnswer, 'bornAtMs' | 'origin'>,
    environment: EnvironmentTable,
    nowMs: number,
    isHere: boolean,
  ): boolean {
    if (environment.cachePurges.length === 0) return false
    const purges = this.#compiled.get(environment) ?? this.#compile(environment, nowMs)
    for (const { table, untilMs, untilHereMs } of purges) {
      if (kept.bornAtMs > (isHere ? untilHereMs : untilMs)) continue
      if (fits(table, kept)) return true
    }
    return false
  }

  /** To be called with each environment's tables when a request takes them, before it keeps anything. */
  see(environment: EnvironmentTable, nowMs: number): void {
    if (environment.cachePurges.length > 0 && !this.#compiled.has(environment)) this.#compile(environment, nowMs)
  }

  #compile(environment: EnvironmentTable, nowMs: number): readonly Purge[] {
    const before = this.#seen.get(environment.environmentId)
    const seen = new Map<string, number>()
    const purges = environment.cachePurges.map((table) => {
      const seenAtMs = before?.get(table.id) ?? nowMs
      seen.set(table.id, seenAtMs)
      const untilMs = table.atMs + clockSkewMs
      return { table, untilMs, untilHereMs: Math.max(untilMs, seenAtMs) }
    })
    if (this.#seen.size >= environmentsMax && before === undefined) this.#seen.clear()
    this.#seen.set(environment.environmentId, seen)
    this.#compiled.set(environment, purges)
    return purges
  }
}

/** Forgetting when a purge was first seen makes it reach further, never less far. */
const environmentsMax = 10_000

function fits(purge: CachePurgeTable, { origin }: Pick<KeptAnswer, 'origin'>): boolean {
  return (
    (purge.routeId === null || purge.routeId === origin.routeId) &&
    (purge.promptId === null || purge.promptId === origin.promptId) &&
    (purge.promptVersion === null || purge.promptVersion === origin.promptVersion) &&
    (purge.tag === null || origin.tags.includes(purge.tag)) &&
    (purge.documentId === null || origin.documents.includes(purge.documentId))
  )
}
