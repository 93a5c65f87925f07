import type { Clock } from '../../../proto/std/clock.js'
import type { Log, Service } from '../../../proto/std/service.js'
import type { SharedAnswerStore } from './shared-answer-store.js'

export interface SharedAnswerSweeperOptions {
  readonly store: Pick<SharedAnswerStore, 'listClusters' | 'sweep'>
  /** Runs each step when its turn among the puts has come, so that a sweep takes no connection from look-ups. */
  readonly inTurn: <T>(work: () => Promise<T>) => Promise<T>
  readonly clusterBytesMax: number
  readonly clock: Clock
  readonly log: Log
  /** Between two sweeps. Default one minute. */
  readonly everyMs?: number
}

/** Steps of one sweep of one cluster: 4,096 answers each. What is left is for the next. */
const stepsMax = 16

/**
 * Deletes shared answers that have expired, and what is beyond a bound that was lowered. Expired ones are given to nobody
 * meanwhile. Every replica runs one; a second sweep finds nothing.
 */
export class SharedAnswerSweeper implements Service {
  readonly name = 'shared-answer-sweeper'
  readonly #options: SharedAnswerSweeperOptions
  readonly #stopping = new AbortController()
  #loop: Promise<void> | null = null

  constructor(options: SharedAnswerSweeperOptions) {
    this.#options = options
  }

  async run(): Promise<void> {
    this.#loop ??= this.#sweepUntilStopped()
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new Error('stopped'))
    await this.#loop
  }

  /** One sweep of every cluster; one that fails is logged and left for the next time. Throws when none can be listed. */
  async sweep(): Promise<void> {
    const { store, inTurn, log } = this.#options
    for (const clusterId of await inTurn(() => store.listClusters())) {
      if (this.#stopping.signal.aborted) return
      try {
        await this.#sweepCluster(clusterId)
      } catch (error) {
        // Most likely its lock was held for too long, which says nothing of the others.
        const fields = { service: this.name, clusterId, err: error }
        log.warn(fields, 'expired answers of a cluster could not be swept; next time')
      }
    }
  }

  async #sweepCluster(clusterId: string): Promise<void> {
    const { store, inTurn, clusterBytesMax: bytesMax, clock } = this.#options
    for (let step = 0; step < stepsMax; step++) {
      const isMore = await inTurn(async () => {
        // It may have been stopped while it waited.
        if (this.#stopping.signal.aborted) return false
        return store.sweep(clusterId, { bytesMax, now: new Date(clock.nowMs()) })
      })
      if (!isMore) return
    }
  }

  async #sweepUntilStopped(): Promise<void> {
    const { clock, log, everyMs = 60_000 } = this.#options
    const { signal } = this.#stopping
    for (;;) {
      // First wait, then sweep: a process that restarts in a circle must not sweep in a circle.
      await clock.sleep(everyMs, signal).catch(() => {})
      if (signal.aborted) return
      try {
        await this.sweep()
      } catch (error) {
        log.warn({ service: this.name, err: error }, 'expired answers could not be swept; next time')
      }
    }
  }
}
