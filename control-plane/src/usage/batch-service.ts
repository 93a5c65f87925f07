import { createHash } from 'node:crypto'
import type pg from 'pg'
import type { Database } from '../database/database.js'
import type { DeadLetter, DeadLetterCode, LaneStore } from './lane-store.js'
import { type PlacementReader, type Subject, subjectKey } from './placement-reader.js'
import type { RecordSink, SinkRow } from './record-sink.js'
import { covers, laneKey, type Range, type ReportLane, rangesOf } from './report-lane.js'

/** As it came from an agent whose certificate names `clusterId`. */
export interface ReportBatch {
  readonly lane: ReportLane
  readonly clusterId: string
  readonly records: readonly { readonly sequence: number; readonly payload: Uint8Array }[]
}

export interface StoreOutcome {
  /** Rows that are new. */
  readonly storedCount: number
  /** Records that were there already, or were a dead letter or a declared drop. */
  readonly repeatedCount: number
  readonly deadLetters: readonly DeadLetter[]
}

export interface BatchServiceOptions<Row> {
  database: Pick<Database, 'sqlTransaction'>
  sink: RecordSink<Row>
  lanes: LaneStore
  placement: PlacementReader
}

/**
 * Turns a batch into rows exactly once, however often and in whatever order it comes. Everything about a lane happens
 * under the lock of its row, in one transaction with the rows themselves, so that what the lane says is stored is stored.
 */
export class BatchService<Row> {
  readonly #options: BatchServiceOptions<Row>

  constructor(options: BatchServiceOptions<Row>) {
    this.#options = options
  }

  /** Throws only what the database threw. */
  async store(batch: ReportBatch): Promise<StoreOutcome> {
    const { database, lanes } = this.#options
    const letters: DeadLetter[] = []
    const rows = await this.#check(batch, letters)
    return database.sqlTransaction(async (client) => {
      const held = await lanes.lock(client, batch.lane)
      const fresh = rows.filter((row) => !covers(held, row.sequence))
      const inserted: ReadonlySet<number> =
        fresh.length > 0 ? await this.#options.sink.insert(client, batch.lane, fresh) : new Set()
      const repeated = rows.filter((row) => !inserted.has(row.sequence))
      const conflicts = await this.#findConflicts(client, batch, repeated)
      // What is accounted for stays what it is: a letter about a stored sequence would be a second account of it.
      const news = [...letters.filter((letter) => !covers(held, letter.sequence)), ...conflicts]
      await lanes.addDeadLetters(client, batch.lane, news)
      await lanes.addRanges(client, batch.lane, missingOf(held, batch.records))
      return { storedCount: inserted.size, repeatedCount: repeated.length - conflicts.length, deadLetters: news }
    })
  }

  /** Declares [first, last] gone; returns how many of them really are. */
  drop(lane: ReportLane, first: number, last: number, reason: string): Promise<number> {
    const { database, lanes } = this.#options
    const range = { start: first, end: last + 1 }
    return database.sqlTransaction(async (client) => {
      await lanes.lock(client, lane)
      const missingCount = await lanes.addDrop(client, lane, range, reason)
      await lanes.addRanges(client, lane, [range])
      return missingCount
    })
  }

  /** Gives one record up: a dead letter instead of a row, so that the lane moves on. */
  async bury(batch: ReportBatch, code: DeadLetterCode, message: string): Promise<void> {
    const { database, lanes } = this.#options
    await database.sqlTransaction(async (client) => {
      const held = await lanes.lock(client, batch.lane)
      const missing = batch.records.filter((record) => !covers(held, record.sequence))
      await lanes.addDeadLetters(
        client,
        batch.lane,
        missing.map((record) => ({ ...record, code, message: message.slice(0, messageMax) })),
      )
      await lanes.addRanges(client, batch.lane, missingOf(held, batch.records))
    })
  }

  /** Everything that needs no lock: decoding, validity, placement. What fails is added to `letters`. */
  async #check(batch: ReportBatch, letters: DeadLetter[]): Promise<SinkRow<Row>[]> {
    const rows: SinkRow<Row>[] = []
    const payloads = new Map<number, Uint8Array>()
    const hashes = new Map<number, string>()
    const { sink } = this.#options
    for (const { sequence, payload } of batch.records) {
      const hash = createHash('sha256').update(payload).digest('hex')
      const twin = hashes.get(sequence)
      if (twin !== undefined) {
        if (twin !== hash) letters.push({ sequence, payload, code: 'conflict', message: 'twice in one batch' })
        continue
      }
      hashes.set(sequence, hash)
      payloads.set(sequence, payload)
      const row = sink.read(payload)
      if (typeof row === 'string') letters.push({ sequence, payload, code: 'malformed', message: row })
      else rows.push({ sequence, hash, row })
    }
    const misplaced = await this.#findMisplaced(batch.clusterId, rows)
    return rows.filter(({ sequence, row }) => {
      const message = misplaced(row)
      if (message === null) return true
      const payload = payloads.get(sequence) as Uint8Array
      letters.push({ sequence, payload, code: 'placement', message })
      return false
    })
  }

  async #findMisplaced(clusterId: string, rows: readonly SinkRow<Row>[]): Promise<(row: Row) => string | null> {
    const { sink, placement } = this.#options
    const subjects = new Map<string, Subject>()
    for (const { row } of rows) {
      const subject = sink.subjectOf(row)
      if (subject) subjects.set(subjectKey(subject), subject)
    }
    const misplaced = subjects.size > 0 ? await placement.findMisplaced(clusterId, [...subjects.values()]) : new Set()
    return (row) => {
      const subject = sink.subjectOf(row)
      if (!subject) return null
      if (subject.clusterId !== null && subject.clusterId !== clusterId) {
        return `the agent is of cluster ${clusterId}, the record of ${subject.clusterId}`
      }
      const key = subjectKey(subject)
      return misplaced.has(key) ? `cluster ${clusterId} never served ${key}` : null
    }
  }

  async #findConflicts(
    client: pg.PoolClient,
    batch: ReportBatch,
    repeated: readonly SinkRow<Row>[],
  ): Promise<DeadLetter[]> {
    if (repeated.length === 0) return []
    const sequences = repeated.map((row) => row.sequence)
    const stored = await this.#options.sink.loadHashes(client, batch.lane, sequences)
    const contradicting = new Set(
      repeated.flatMap(({ sequence, hash }) => {
        const storedHash = stored.get(sequence)
        return storedHash !== undefined && storedHash !== hash ? [sequence] : []
      }),
    )
    if (contradicting.size === 0) return []
    const message = `${laneKey(batch.lane)} already holds another record under this sequence`
    return batch.records
      .filter((record) => contradicting.has(record.sequence))
      .map((record) => ({ ...record, code: 'conflict', message }))
  }
}

const messageMax = 1_000

/** The batch's sequences that a lane does not account for yet. */
function missingOf(held: readonly Range[], records: ReportBatch['records']): Range[] {
  const missing = new Set(records.map((record) => record.sequence).filter((sequence) => !covers(held, sequence)))
  return rangesOf([...missing].sort((a, b) => a - b))
}
