import type { Clock } from '../../../proto/std/clock.js'
import type { Log, Service } from '../../../proto/std/service.js'
import type { AuditEntry } from './audit-entry.js'
import { Subscriber } from './subscriber.js'

export interface AuditFeedOptions {
  readonly reader: { since(since: Date, countMax: number): Promise<readonly AuditEntry[]> }
  readonly clock: Clock
  readonly log: Log
  readonly pollMs: number
}

/** Longer than any transaction may run: an entry is stamped when its transaction begins and seen when it commits. */
const overlapMs = 20_000
const batchCountMax = 2_000
const queueCountMax = 1_000
const subscriberCountMax = 1_000

/**
 * Tells subscribers what was appended to the audit trail, on whichever replica. It polls, and only while somebody
 * listens. Entries become visible out of order (a long transaction commits late), so each look goes back by more than a
 * transaction may last and what was told before is left out.
 */
export class AuditFeed implements Service {
  readonly name = 'audit-feed'
  readonly #options: AuditFeedOptions
  readonly #subscribers = new Map<Subscriber<AuditEntry>, (entry: AuditEntry) => boolean>()
  #told = new Map<string, number>()
  #cancel: (() => void) | null = null
  #looking: Promise<void> | null = null
  #stopped = false

  constructor(options: AuditFeedOptions) {
    this.#options = options
  }

  async run(): Promise<void> {}

  async stop(): Promise<void> {
    this.#stopped = true
    this.#cancel?.()
    for (const subscriber of [...this.#subscribers.keys()]) subscriber.end()
    await this.#looking
  }

  /** Entries that `is` holds for, from now on. Ends at once beyond 1,000 subscribers. */
  subscribe(is: (entry: AuditEntry) => boolean): AsyncIterableIterator<AuditEntry> {
    const fromMs = this.#options.clock.nowMs()
    const subscriber = new Subscriber<AuditEntry>(queueCountMax, () => this.#subscribers.delete(subscriber))
    if (this.#stopped || this.#subscribers.size >= subscriberCountMax) {
      subscriber.end()
      return subscriber
    }
    const first = this.#subscribers.size === 0
    this.#subscribers.set(subscriber, (entry) => entry.createdAt.getTime() >= fromMs && is(entry))
    if (first) this.#schedule()
    return subscriber
  }

  #schedule(): void {
    if (this.#cancel !== null || this.#looking !== null) return
    this.#cancel = this.#options.clock.after(this.#options.pollMs, () => {
      this.#cancel = null
      this.#looking = this.#look().finally(() => {
        this.#looking = null
        if (!this.#stopped && this.#subscribers.size > 0) this.#schedule()
      })
    })
  }

  async #look(): Promise<void> {
    const { reader, clock, log } = this.#options
    const horizonMs = clock.nowMs() - overlapMs
    try {
      const entries = await reader.since(new Date(horizonMs), batchCountMax)
      const told = new Map<string, number>()
      for (const entry of entries) {
        told.set(entry.id, entry.createdAt.getTime())
        if (this.#told.has(entry.id)) continue
        for (const [subscriber, is] of this.#subscribers) if (is(entry)) subscriber.push(entry)
      }
      this.#told = told
    } catch (fault) {
      log.warn({ fault }, 'could not look for new audit entries; trying again')
    }
  }
}
