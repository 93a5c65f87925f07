import type { Clock } from '../../../proto/std/clock.js'
import type { Log, Service } from '../../../proto/std/service.js'
import type { Database } from '../database/database.js'
import type { Bucket, RollupStore } from './rollup-store.js'

export interface RollupWorkerOptions {
  database: Pick<Database, 'sql' | 'sqlTransaction'>
  rollups: RollupStore
  clock: Clock
  log: Log
  /** Between looks for marks. Default 1 s. */
  pollMs?: number
  /** A bucket that is still open is computed at most this often, by whichever replica. Default 5 s. */
  openBucketMs?: number
}

const bucketsMax = 200
const lengthMs = { minute: 60_000, hour: 3_600_000 } as const

/**
 * Sums usage per minute and hour. Its queue is the table of marks: every commit of records leaves one for each minute it
 * touched, in the same transaction. A bucket is computed anew, never incremented, so doing it twice changes nothing.
 */
export class RollupWorker implements Service {
  readonly name = 'rollup-worker'
  readonly #options: RollupWorkerOptions
  readonly #log: Log
  readonly #stopping = new AbortController()
  #ended: Promise<void> | null = null
  #faultCount = 0

  constructor(options: RollupWorkerOptions) {
    this.#options = options
    this.#log = options.log.child({ service: this.name })
  }

  async run(): Promise<void> {
    this.#ended ??= this.#loop()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#ended
  }

  async #loop(): Promise<void> {
    const { clock, pollMs } = this.#options
    const { signal } = this.#stopping
    while (!signal.aborted) {
      try {
        await this.sweep(signal)
        this.#faultCount = 0
      } catch (fault) {
        this.#faultCount += 1
        const level = this.#faultCount > 10 ? 'warn' : 'debug'
        this.#log[level]({ fault: (fault as Error).message }, 'rollups wait')
      }
      await clock.sleep(pollMs ?? 1_000, signal).catch(() => {})
    }
  }

  /** Computes every marked bucket that is due. Returns how many were computed. */
  async sweep(signal?: AbortSignal): Promise<number> {
    const { database, rollups } = this.#options
    let computedCount = 0
    for (const bucket of await rollups.findMarked(database.sql, bucketsMax)) {
      if (signal?.aborted) break
      if (await this.#compute(bucket)) computedCount += 1
    }
    return computedCount
  }

  #compute(bucket: Bucket): Promise<boolean> {
    const { database, rollups, clock } = this.#options
    const open = clock.nowMs() < bucket.at.getTime() + lengthMs[bucket.granularity]
    return database.sqlTransaction(async (client) => {
      if (!(await rollups.tryHold(client, bucket))) return false
      const ageMs = open ? await rollups.loadAgeMs(client, bucket) : null
      if (ageMs !== null && ageMs < (this.#options.openBucketMs ?? 5_000)) return false
      await rollups.takeMarks(client, bucket)
      await rollups.compute(client, bucket)
      return true
    })
  }
}
