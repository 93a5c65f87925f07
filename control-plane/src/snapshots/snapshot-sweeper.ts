import type { Clock } from '../../../proto/std/clock.js'
import type { Log, Service } from '../../../proto/std/service.js'
import type { SnapshotStore } from './snapshot-store.js'

/**
 * Deletes snapshots, content and tombstones that nobody needs. Every replica runs one; they take turns by a lock, and a
 * second sweep finds nothing.
 */
export class SnapshotSweeper implements Service {
  readonly name = 'snapshot-sweeper'
  readonly #options: { store: SnapshotStore; clock: Clock; log: Log; everyMs: number }
  readonly #stopping = new AbortController()
  #loop: Promise<void> | null = null

  constructor(options: { store: SnapshotStore; clock: Clock; log: Log; everyMs?: number }) {
    this.#options = { everyMs: 600_000, ...options }
  }

  async run(): Promise<void> {
    this.#loop ??= this.#sweepUntilStopped()
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new Error('stopped'))
    await this.#loop
  }

  async #sweepUntilStopped(): Promise<void> {
    const { store, clock, log, everyMs } = this.#options
    const { signal } = this.#stopping
    for (;;) {
      // First wait, then sweep: a process that restarts in a circle must not sweep in a circle.
      await clock.sleep(everyMs, signal).catch(() => {})
      if (signal.aborted) return
      try {
        const count = await store.sweep()
        if (count > 0) log.info({ service: this.name, count }, 'swept old snapshots')
      } catch (error) {
        log.warn({ service: this.name, err: error }, 'old snapshots could not be swept; next time')
      }
    }
  }
}
