import type pg from 'pg'
import { compareNames } from '../../../proto/snapshot/hash.js'
import { changedResources } from '../../../proto/snapshot/manifest.js'
import { must } from '../../../proto/std/assert.js'
import { type Clock, systemClock } from '../../../proto/std/clock.js'
import { type Pause, pauseEvery } from '../../../proto/std/pause.js'
import type { Database } from '../database/database.js'
import type { ComposedView, Tombstone, Tombstones } from './compose-view.js'
import { type CompiledResource, type StoredSection, type StoredSnapshot, sliceMs, tombstoneDays } from './snapshot.js'

/** What a view held at the moment somebody composes on top of it. */
export interface ViewBase {
  readonly newest: StoredSnapshot | null
  readonly tombstones: Tombstones
}

/** Header and signature of a generation that was just allocated. */
export type SignHeader = (generation: number) => { readonly header: Buffer; readonly signature: Buffer }

/**
 * Snapshots by (view, epoch, generation); content once per hash. Rows never change after they are inserted. Sections that
 * were read or written lately are kept in memory, so a replica loads what another one made and no more.
 */
export class SnapshotStore {
  readonly #sql: pg.Pool
  readonly #clock: Clock
  /** By hash, hexadecimal; the least lately used go first. */
  readonly #sections = new Map<string, StoredSection>()
  /** Section name → hash of the one remembered last. */
  readonly #latest = new Map<string, string>()
  #rememberedCount = 0
  readonly #depths = new WeakMap<StoredSection, number>()

  /** `clock`: for slices of long work; default: the system's. */
  constructor(database: Pick<Database, 'sql'>, clock: Clock = systemClock) {
    this.#sql = database.sql
    this.#clock = clock
  }

  /** The newest snapshot of a view and its tombstones, as of one instant. */
  async loadBase(view: string): Promise<ViewBase> {
    return this.#read(async (client) => ({
      newest: await this.#loadNewest(client, view),
      tombstones: await loadTombstones(client, view),
    }))
  }

  /**
   * Inserts what was composed on top of `base` under the next generation, with its content and tombstones, in one
   * transaction; or, if another replica was first, nothing: then the answer is null and the caller starts again from what
   * that replica stored.
   */
  async insertIfNewest(options: {
    view: string
    epoch: number
    base: StoredSnapshot | null
    composed: ComposedView
    sign: SignHeader
  }): Promise<StoredSnapshot | null> {
    const { view, epoch, base, composed } = options
    const client = await this.#sql.connect()
    let broken = false
    try {
      await client.query('BEGIN')
      // Held to the end: generations of a view are handed out one after the other, in commit order.
      await client.query(`SELECT pg_advisory_xact_lock(hashtextextended('snapshot/' || $1, 0))`, [view])
      // Sweeping waits for inserts, so content that is about to be referenced is not swept.
      await client.query(`SELECT pg_advisory_xact_lock_shared(hashtextextended('snapshot-sweep', 0))`)
      const head = await loadHead(client, view)
      if (head?.epoch !== base?.epoch || head?.generation !== base?.generation) {
        await client.query('ROLLBACK')
        return null
      }
      const generation = (base?.generation ?? 0) + 1
      const { header, signature } = options.sign(generation)
      const depths = await insertContent(
        client,
        composed.sections,
        base,
        this.#depths,
        pauseEvery(sliceMs, this.#clock),
      )
      const inserted = await client.query<{ createdAt: Date }>(
        `INSERT INTO "Snapshot" (view, epoch, generation, "rootHash", header, signature, sections, "removedSections")
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING "createdAt"`,
        [
          ...[view, epoch, generation, composed.rootHash, header, signature],
          JSON.stringify(composed.sections.map(({ name, hash }) => ({ name, hash: hash.toString('hex') }))),
          composed.removedSections,
        ],
      )
      await bury(client, view, composed.buried)
      await revive(client, view, composed.revived)
      await client.query('COMMIT')
      for (const section of composed.sections) this.#remember(section, depths.get(section))
      const { createdAt } = must(inserted.rows[0], 'an insert returns its row')
      return Object.freeze({
        ...{ view, epoch, generation, rootHash: composed.rootHash, header, signature },
        ...{ sections: composed.sections, removedSections: composed.removedSections, createdAt },
      })
    } catch (error) {
      broken = true
      throw error
    } finally {
      client.release(broken)
    }
  }

  /** What a section of this hash held, from memory or Postgres; null when it was swept or never ours. */
  async findSectionNames(hash: Uint8Array): Promise<readonly { name: string; hash: Buffer }[] | null> {
    const text = Buffer.from(hash).toString('hex')
    const cached = this.#sections.get(text)
    if (cached !== undefined) return cached.resources
    const rows = await this.#read((client) => this.#loadRows(client, [text]))
    if (!rows.has(text)) return null
    return this.#namesOf(text, rows).map((entry) => ({ name: entry.name, hash: Buffer.from(entry.hash, 'hex') }))
  }

  /**
   * Whether everything that went since `generation` of `epoch` is still declared in `removed`: false means that an agent
   * that holds it must start over.
   */
  async reachesBack(view: string, epoch: number, generation: number): Promise<boolean> {
    const { rows } = await this.#sql.query<{ reaches: boolean }>(
      `SELECT EXISTS (SELECT FROM "Snapshot" WHERE view = $1 AND epoch = $2 AND generation <= $3)
          AND NOT EXISTS (SELECT FROM "Snapshot" WHERE view = $1 AND epoch = $2 AND generation > $3
                          AND "createdAt" < now() - make_interval(days => $4)) AS reaches`,
      [view, epoch, generation, tombstoneDays],
    )
    return rows[0]?.reaches ?? false
  }

  /**
   * Deletes what nobody needs: tombstones past their time; snapshots that are neither among the newest `keepCount` of
   * their view nor of the last hour, except one per day (they tell how long ago a generation was); content that no kept
   * snapshot is likely to be compared with. Returns the number of snapshots deleted.
   */
  async sweep(keepCount = 32): Promise<number> {
    return this.#write(async (client) => {
      await client.query(`SELECT pg_advisory_xact_lock(hashtextextended('snapshot-sweep', 0))`)
      await client.query(`DELETE FROM "Tombstone" WHERE "removedAt" < now() - make_interval(days => $1)`, [
        tombstoneDays,
      ])
      const swept = await client.query(
        `DELETE FROM "Snapshot" s USING (
           SELECT view, epoch, generation, "createdAt",
                  row_number() OVER (PARTITION BY view ORDER BY epoch DESC, generation DESC) AS place,
                  row_number() OVER (PARTITION BY view, date_trunc('day', "createdAt") ORDER BY epoch, generation) AS in_day
           FROM "Snapshot") ranked
         WHERE (s.view, s.epoch, s.generation) = (ranked.view, ranked.epoch, ranked.generation)
           AND place > $1 AND in_day > 1 AND ranked."createdAt" < now() - interval '1 hour'`,
        [keepCount],
      )
      await client.query(
        `WITH RECURSIVE kept AS (
           SELECT DISTINCT decode(e->>'hash', 'hex') AS hash FROM (
             SELECT sections, "createdAt", row_number() OVER (PARTITION BY view ORDER BY epoch DESC, generation DESC) AS place
             FROM "Snapshot") s, jsonb_array_elements(s.sections) e
           WHERE place <= $1 OR "createdAt" > now() - interval '1 hour'
           UNION
           SELECT s."baseHash" FROM "SnapshotSection" s JOIN kept ON kept.hash = s.hash WHERE s."baseHash" IS NOT NULL)
         DELETE FROM "SnapshotSection" s WHERE NOT EXISTS (SELECT FROM kept WHERE kept.hash = s.hash)`,
        [keepCount],
      )
      await client.query(
        `WITH kept AS (SELECT DISTINCT e->>'hash' AS hash FROM "SnapshotSection" s, jsonb_array_elements(s.resources) e)
         DELETE FROM "SnapshotResource" r WHERE NOT EXISTS (SELECT FROM kept WHERE kept.hash = encode(r.hash, 'hex'))`,
      )
      return swept.rowCount ?? 0
    })
  }

  async #loadNewest(client: pg.PoolClient, view: string): Promise<StoredSnapshot | null> {
    const { rows } = await client.query<SnapshotRow>(
      `SELECT * FROM "Snapshot" WHERE view = $1 ORDER BY epoch DESC, generation DESC LIMIT 1`,
      [view],
    )
    const row = rows[0]
    if (row === undefined) return null
    const sections = await this.#loadSections(client, row.sections)
    return Object.freeze({
      view,
      epoch: Number(row.epoch),
      generation: Number(row.generation),
      rootHash: row.rootHash,
      header: row.header,
      signature: row.signature,
      sections,
      removedSections: row.removedSections,
      createdAt: row.createdAt,
    })
  }

  async #loadSections(client: pg.PoolClient, names: StoredNames): Promise<readonly StoredSection[]> {
    // Held here, because what is remembered may be forgotten while this waits.
    const sections = new Map(names.map(({ hash }) => [hash, this.#sections.get(hash)]))
    const unknown = names.filter(({ hash }) => sections.get(hash) === undefined).map(({ hash }) => hash)
    const rows = await this.#loadRows(client, unknown)
    const found = unknown.flatMap((hash) => rows.get(hash) ?? [])
    const known = this.#resourcesLastIn(found.map(({ name }) => name))
    const listed = new Map(found.map((row) => [row, this.#namesOf(row.hash.toString('hex'), rows)]))
    const wanted = new Set([...listed.values()].flat().map(({ hash }) => hash))
    const contents = await loadContents(
      client,
      [...wanted].filter((hash) => !known.has(hash)),
    )
    const pause = pauseEvery(sliceMs, this.#clock)
    for (const [row, entries] of listed) {
      const resources: CompiledResource[] = []
      for (const { name, hash } of entries) {
        await pause()
        const before = known.get(hash)
        const content = before?.content ?? must(contents.get(hash), `content ${hash} of ${row.name} is stored`)
        resources.push(
          before?.name === name ? before : Object.freeze({ name, hash: Buffer.from(hash, 'hex'), content }),
        )
      }
      const { name, hash, removed } = row
      const section = { name, hash, intentRevision: Number(row.intentRevision), resources, removed }
      const depth = this.#depthOf(hash.toString('hex'), rows)
      const stored = Object.freeze({ ...section, compilerVersion: row.compilerVersion })
      sections.set(hash.toString('hex'), stored)
      this.#remember(stored, depth)
    }
    return names.map(({ name, hash }) => must(sections.get(hash), `section ${name} ${hash} is stored`))
  }

  /** The rows of these sections and of those they are differences to, down to what is in memory or stored whole. */
  async #loadRows(client: pg.PoolClient, hashes: readonly string[]): Promise<ReadonlyMap<string, SectionRow>> {
    const found = new Map<string, SectionRow>()
    for (let wanted = hashes; wanted.length > 0; ) {
      const { rows } = await client.query<SectionRow>(
        `SELECT hash, name, "intentRevision", resources, "baseHash", gone, removed, "compilerVersion"
         FROM "SnapshotSection" WHERE hash = ANY($1)`,
        [wanted.map((hash) => Buffer.from(hash, 'hex'))],
      )
      for (const row of rows) found.set(row.hash.toString('hex'), row)
      const bases = rows.flatMap((row) => row.baseHash?.toString('hex') ?? [])
      wanted = [...new Set(bases)].filter((hash) => !found.has(hash) && !this.#sections.has(hash))
    }
    return found
  }

  #depthOf(hash: string, rows: ReadonlyMap<string, SectionRow>): number {
    const cached = this.#sections.get(hash)
    if (cached !== undefined) return this.#depths.get(cached) ?? depthMax
    const baseHash = rows.get(hash)?.baseHash ?? null
    return baseHash === null ? 0 : this.#depthOf(baseHash.toString('hex'), rows) + 1
  }

  /** All names of a section, through the sections it is a difference to. */
  #namesOf(hash: string, rows: ReadonlyMap<string, SectionRow>): StoredNames {
    const cached = this.#sections.get(hash)
    if (cached !== undefined) return storedNames(cached.resources)
    const row = must(rows.get(hash), `section ${hash} is stored`)
    if (row.baseHash === null) return row.resources
    const gone = new Set(row.gone)
    const changed = new Set(row.resources.map(({ name }) => name))
    const kept = this.#namesOf(row.baseHash.toString('hex'), rows).filter(
      ({ name }) => !gone.has(name) && !changed.has(name),
    )
    return [...kept, ...row.resources].sort((a, b) => compareNames(a.name, b.name))
  }

  /** What the sections of these names held last: all but a few of their resources will be in the new ones again. */
  #resourcesLastIn(names: readonly string[]): ReadonlyMap<string, CompiledResource> {
    const known = new Map<string, CompiledResource>()
    for (const name of names) {
      const latest = this.#sections.get(this.#latest.get(name) ?? '')
      for (const resource of latest?.resources ?? []) known.set(resource.hash.toString('hex'), resource)
    }
    return known
  }

  /** `depth`: differences between what is stored of it and one that is stored whole; undefined: not known. */
  #remember(section: StoredSection, depth?: number): void {
    const hash = section.hash.toString('hex')
    if (depth !== undefined) this.#depths.set(section, depth)
    this.#latest.set(section.name, hash)
    if (this.#sections.delete(hash)) this.#rememberedCount -= sizeOf(section)
    this.#sections.set(hash, section)
    this.#rememberedCount += sizeOf(section)
    for (const [oldest, forgotten] of this.#sections) {
      if (this.#rememberedCount <= rememberedCountMax || forgotten === section) break
      this.#sections.delete(oldest)
      this.#rememberedCount -= sizeOf(forgotten)
      if (this.#latest.get(forgotten.name) === oldest) this.#latest.delete(forgotten.name)
    }
  }

  async #read<T>(work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    return this.#inTransaction('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY', work)
  }

  async #write<T>(work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    return this.#inTransaction('BEGIN', work)
  }

  async #inTransaction<T>(begin: string, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    const client = await this.#sql.connect()
    let broken = false
    try {
      await client.query(begin)
      const value = await work(client)
      await client.query('COMMIT')
      return value
    } catch (error) {
      broken = true
      throw error
    } finally {
      client.release(broken)
    }
  }
}

/**
 * Names and references, not bytes: content is shared between the generations of a section. A million is about 100 MB at
 * worst and holds a hundred generations of an environment with ten thousand keys.
 */
const rememberedCountMax = 1_000_000
const sizeOf = (section: StoredSection) => 1 + section.resources.length

type StoredNames = readonly { readonly name: string; readonly hash: string }[]

interface SnapshotRow {
  readonly epoch: string
  readonly generation: string
  readonly rootHash: Buffer
  readonly header: Buffer
  readonly signature: Buffer
  readonly sections: StoredNames
  readonly removedSections: readonly string[]
  readonly createdAt: Date
}

interface SectionRow {
  readonly hash: Buffer
  readonly name: string
  readonly intentRevision: string
  readonly resources: StoredNames
  readonly baseHash: Buffer | null
  readonly gone: readonly string[] | null
  readonly removed: readonly string[]
  readonly compilerVersion: number
}

function storedNames(resources: readonly { readonly name: string; readonly hash: Buffer }[]): StoredNames {
  return resources.map(({ name, hash }) => ({ name, hash: hash.toString('hex') }))
}

async function loadHead(
  client: pg.PoolClient,
  view: string,
): Promise<{ epoch: number; generation: number } | undefined> {
  const { rows } = await client.query<{ epoch: string; generation: string }>(
    `SELECT epoch, generation FROM "Snapshot" WHERE view = $1 ORDER BY epoch DESC, generation DESC LIMIT 1`,
    [view],
  )
  return rows[0] && { epoch: Number(rows[0].epoch), generation: Number(rows[0].generation) }
}

async function loadTombstones(client: pg.PoolClient, view: string): Promise<Tombstones> {
  const { rows } = await client.query<Tombstone>(
    `SELECT "sectionName", "resourceName" FROM "Tombstone" WHERE view = $1`,
    [view],
  )
  const tombstones = new Map<string, Set<string>>()
  for (const { sectionName, resourceName } of rows) {
    const names = tombstones.get(sectionName)
    if (names === undefined) tombstones.set(sectionName, new Set([resourceName]))
    else names.add(resourceName)
  }
  return tombstones
}

async function loadContents(client: pg.PoolClient, hashes: readonly string[]): Promise<ReadonlyMap<string, Buffer>> {
  if (hashes.length === 0) return new Map()
  const { rows } = await client.query<{ hash: Buffer; content: Buffer }>(
    `SELECT hash, content FROM "SnapshotResource" WHERE hash = ANY($1)`,
    [hashes.map((hash) => Buffer.from(hash, 'hex'))],
  )
  return new Map(rows.map(({ hash, content }) => [hash.toString('hex'), content]))
}

/**
 * Sections and resources that `base` does not have already. Content is stored once per hash; a section whose predecessor
 * holds nearly the same is stored as a difference to it, so that one key among ten thousand costs one key. Returns how deep
 * each new section is stored.
 */
async function insertContent(
  client: pg.PoolClient,
  sections: readonly StoredSection[],
  base: StoredSnapshot | null,
  depths: WeakMap<StoredSection, number>,
  pause: Pause,
): Promise<ReadonlyMap<StoredSection, number>> {
  const before = new Map(base?.sections.map((section) => [section.name, section]))
  const added: ReturnType<typeof storedForm>[] = []
  const resources = new Map<string, CompiledResource>()
  for (const section of sections) {
    if (before.get(section.name) === section) continue
    await pause()
    const form = storedForm(section, before.get(section.name), depths)
    added.push(form)
    for (const resource of form.changed) {
      await pause()
      resources.set(resource.hash.toString('hex'), resource)
    }
  }
  added.sort((a, b) => Buffer.compare(a.section.hash, b.section.hash))
  // In order of hash: two transactions that store the same content must not wait for each other in a circle.
  const sorted = [...resources.keys()].sort().map((hash) => must(resources.get(hash), 'listed above'))
  if (sorted.length > 0) {
    await client.query(
      `INSERT INTO "SnapshotResource" (hash, content) SELECT * FROM unnest($1::bytea[], $2::bytea[])
       ON CONFLICT DO NOTHING`,
      [sorted.map(({ hash }) => hash), sorted.map(({ content }) => content)],
    )
  }
  for (const { section, changed, whole, gone, baseHash } of added) {
    await pause()
    await client.query(
      `INSERT INTO "SnapshotSection"
         (hash, name, "intentRevision", resources, "baseHash", gone, removed, "compilerVersion")
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`,
      [
        ...[section.hash, section.name, section.intentRevision],
        JSON.stringify(storedNames(whole ? section.resources : changed)),
        ...[baseHash, gone, section.removed, section.compilerVersion],
      ],
    )
  }
  return new Map(added.map(({ section, depth }) => [section, depth]))
}

/** Beyond this many differences in a row a section is stored whole again: reading one is that many rows at most. */
const depthMax = 16

function storedForm(
  section: StoredSection,
  before: StoredSection | undefined,
  depths: WeakMap<StoredSection, number>,
): {
  section: StoredSection
  /** Resources whose content may not be stored yet. */
  changed: readonly CompiledResource[]
  whole: boolean
  gone: readonly string[]
  baseHash: Buffer | null
  depth: number
} {
  const stored = { section, changed: section.resources, whole: true, gone: [], baseHash: null, depth: 0 }
  if (before === undefined) return stored
  const changed = changedResources(section.resources, before.resources)
  const depth = (depths.get(before) ?? depthMax) + 1
  const present = new Set(section.resources.map(({ name }) => name))
  const gone = before.resources.filter(({ name }) => !present.has(name)).map(({ name }) => name)
  const isSmall = (changed.length + gone.length) * 4 < section.resources.length
  if (depth > depthMax || !isSmall) return { ...stored, changed }
  return { section, changed, whole: false, gone, baseHash: Buffer.from(before.hash), depth }
}

async function bury(client: pg.PoolClient, view: string, tombstones: readonly Tombstone[]): Promise<void> {
  if (tombstones.length === 0) return
  await client.query(
    `INSERT INTO "Tombstone" (view, "sectionName", "resourceName")
     SELECT $1, * FROM unnest($2::text[], $3::text[])
     ON CONFLICT (view, "sectionName", "resourceName") DO UPDATE SET "removedAt" = now()`,
    [view, tombstones.map((t) => t.sectionName), tombstones.map((t) => t.resourceName)],
  )
}

async function revive(client: pg.PoolClient, view: string, tombstones: readonly Tombstone[]): Promise<void> {
  if (tombstones.length === 0) return
  await client.query(
    `DELETE FROM "Tombstone" t USING unnest($2::text[], $3::text[]) AS back(section, resource)
     WHERE t.view = $1 AND t."sectionName" = back.section AND t."resourceName" = back.resource`,
    [view, tombstones.map((t) => t.sectionName), tombstones.map((t) => t.resourceName)],
  )
}
