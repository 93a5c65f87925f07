import type { Clock } from '../../../proto/std/clock.js'
import type { Log, Service } from '../../../proto/std/service.js'
import type { Database } from '../database/database.js'
import type { Metrics } from '../observability/metrics.js'
import type { Bucket, RollupStore } from './rollup-store.js'

export interface RollupWorkerOptions {
  database: Pick<Database, 'sql' | 'sqlTransaction'>
  rollups: RollupStore
  clock: Clock
  log: Log
  metrics: Metrics
  /** Between looks for marks. Default 1 s. */
  pollMs?: number
  /** A bucket that is still open is computed at most this often, by whichever replica. Default 5 s. */
  openBucketMs?: number
  /** A bucket that cannot be computed is left alone for so long. Default 60 s. */
  failedBucketMs?: number
}

const bucketsMax = 200
const lengthMs = { minute: 60_000, hour: 3_600_000 } as const

/**
 * Sums usage per minute and hour. Its queue is the table of marks: every commit of records leaves one for each minute it
 * touched, in the same transaction. A bucket is computed anew, never incremented, so doing it twice changes nothing.
 * One that cannot be computed keeps its marks, is logged once and tried again later; the others do not wait for it.
 */
export class RollupWorker implements Service {
  readonly name = 'rollup-worker'
  readonly #options: RollupWorkerOptions
  readonly #log: Log
  readonly #stopping = new AbortController()
  #ended: Promise<void> | null = null
  readonly #failures: ReturnType<Metrics['counter']>
  /** Buckets that failed, by name, and when (monotonic) they are tried again. */
  readonly #failed = new Map<string, { bucket: Bucket; dueUs: number }>()
  #faultCount = 0

  constructor(options: RollupWorkerOptions) {
    this.#options = options
    this.#log = options.log.child({ service: this.name })
    this.#failures = options.metrics.counter({
      name: 'rollup_bucket_failures_total',
      help: 'Times a minute or hour of a tenant could not be summed.',
    })
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
    const { database, rollups, clock } = this.#options
    const failed = [...this.#failed]
    const waiting = failed.filter(([, { dueUs }]) => dueUs > clock.monotonicUs())
    const waitingBuckets = waiting.map(([, { bucket }]) => bucket)
    const marked = await rollups.findMarked(database.sql, bucketsMax, waitingBuckets)
    // What is due and has no mark any more was computed elsewhere.
    const kept = new Set([...marked.map(nameOf), ...waiting.map(([name]) => name)])
    for (const [name] of failed) if (!kept.has(name)) this.#failed.delete(name)
    let computedCount = 0
    for (const bucket of marked) {
      if (signal?.aborted) break
      try {
        if (await this.#compute(bucket)) computedCount += 1
        this.#failed.delete(nameOf(bucket))
      } catch (fault) {
        if (!isOfBucket(fault)) throw fault
        this.#leave(bucket, fault)
      }
    }
    return computedCount
  }

  #leave(bucket: Bucket, fault: unknown): void {
    const { clock, failedBucketMs } = this.#options
    const name = nameOf(bucket)
    const level = this.#failed.has(name) ? 'debug' : 'error'
    this.#failed.set(name, { bucket, dueUs: clock.monotonicUs() + (failedBucketMs ?? 60_000) * 1_000 })
    this.#failures.inc()
    const fields = { ...bucket, at: bucket.at.toISOString(), fault: (fault as Error).message }
    this.#log[level](fields, 'usage of this bucket cannot be summed; it is tried again from time to time')
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

function nameOf({ granularity, at, tenantId }: Bucket): string {
  return `${granularity}/${at.toISOString()}/${tenantId}`
}

/** Postgres answered, and its answer is about this bucket: not that it is away, full or going down. */
function isOfBucket(fault: unknown): boolean {
  const state = (fault as { code?: unknown }).code
  return typeof state === 'string' && /^(?!08|53|57P)[0-9X][0-9A-Z]{4}$/.test(state)
}
