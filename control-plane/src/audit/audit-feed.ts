import type { Clock } from '../../../proto/std/clock.js'
import type { Log, Service } from '../../../proto/std/service.js'
import type { AuditEntry } from './audit-entry.js'
import { Subscriber } from './subscriber.js'

export interface AuditFeedOptions {
  readonly reader: {
    since(since: Date, afterId: string | null, countMax: number): Promise<readonly AuditEntry[]>
  }
  readonly clock: Clock
  readonly log: Log
  readonly pollMs: number
}

/** Longer than any transaction may run: an entry is stamped when its transaction begins and seen when it commits. */
const overlapMs = 20_000
const queueCountMax = 1_000
/** Less than a queue holds: while the next page is read, subscribers take what they were told of this one. */
const batchCountMax = 500
const subscriberCountMax = 1_000

/**
 * Tells subscribers what was appended to the audit trail, on whichever replica. It polls, and only while somebody
 * listens. Entries become visible out of order (a long transaction commits late), so each look goes back by more than a
 * transaction may last, page by page up to the newest, and what was told before is left out.
 */
export class AuditFeed implements Service {
  readonly name = 'audit-feed'
  readonly #options: AuditFeedOptions
  readonly #subscribers = new Map<Subscriber<AuditEntry>, (entry: AuditEntry) => boolean>()
  #told = new Set<string>()
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
      const told = new Set<string>()
      let afterId: string | null = null
      for (let count = batchCountMax; count === batchCountMax && !this.#stopped; ) {
        const entries = await reader.since(new Date(horizonMs), afterId, batchCountMax)
        count = entries.length
        afterId = entries.at(-1)?.id ?? null
        for (const { id } of entries) told.add(id)
        for (const entry of entries) if (!this.#told.has(entry.id)) this.#tell(entry)
        // At once, so that a fault on a later page does not make the earlier ones be told twice.
        for (const { id } of entries) this.#told.add(id)
      }
      this.#told = told
    } catch (fault) {
      log.warn({ fault }, 'could not look for new audit entries; trying again')
    }
  }

  #tell(entry: AuditEntry): void {
    for (const [subscriber, is] of this.#subscribers) if (is(entry)) subscriber.push(entry)
  }
}
