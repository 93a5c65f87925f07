import type { Clock } from '../../../proto/std/clock.js'
import type { Log, Service } from '../../../proto/std/service.js'
import { Watch } from '../../../proto/std/watch.js'
import type { Bell } from '../tenancy/intent-revision.js'
import type { AgentStatusStore } from './agent-status-store.js'
import type { QuarantineState, QuarantineStore } from './quarantine-store.js'
import type { PublicSigningKey, SigningKeys } from './signing-keys.js'

/** What every stream must know and any replica may change. */
export interface FleetFacts {
  readonly signingKeys: readonly PublicSigningKey[]
  /** By `quarantineName`; of content that is desired now. */
  readonly quarantines: ReadonlyMap<string, QuarantineState>
}

/**
 * Follows what is common to all streams: trusted signing keys and quarantines. Also tells the record that the streams of
 * this replica are alive.
 */
export class FleetFactsWatcher implements Service, Bell {
  readonly name = 'fleet-facts'
  readonly facts = new Watch<FleetFacts | null>(null)
  readonly #options: {
    signingKeys: SigningKeys
    quarantines: QuarantineStore
    statuses: AgentStatusStore
    clock: Clock
    log: Log
    pollMs: number
  }
  readonly #streamIds = new Set<string>()
  readonly #stopping = new AbortController()
  #bell = new AbortController()
  #loop: Promise<void> | null = null
  #shown = ''
  #touchedAtMs = 0

  constructor(options: {
    signingKeys: SigningKeys
    quarantines: QuarantineStore
    statuses: AgentStatusStore
    clock: Clock
    log: Log
    pollMs?: number
  }) {
    this.#options = { pollMs: 1000, ...options }
  }

  /** Counts a stream as alive until the returned function is called. */
  enter(streamId: string): () => void {
    this.#streamIds.add(streamId)
    return () => this.#streamIds.delete(streamId)
  }

  /** Looks at once. */
  ring(): void {
    this.#bell.abort()
  }

  /** Resolves when the facts are known for the first time, or after the first look failed. */
  async run(): Promise<void> {
    await this.#look()
    this.#loop ??= this.#watchUntilStopped()
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new Error('stopped'))
    this.#bell.abort()
    await this.#loop
    this.facts.close()
  }

  async #watchUntilStopped(): Promise<void> {
    const { clock, pollMs } = this.#options
    for (;;) {
      this.#bell = new AbortController()
      if (this.#stopping.signal.aborted) return
      await clock.sleep(pollMs, this.#bell.signal).catch(() => {})
      if (this.#stopping.signal.aborted) return
      await this.#look()
    }
  }

  async #look(): Promise<void> {
    const { signingKeys, quarantines, statuses, clock, log } = this.#options
    try {
      const next = { signingKeys: await signingKeys.loadTrusted(), quarantines: await quarantines.loadCurrent() }
      const shown = JSON.stringify([next.signingKeys.map(({ keyId }) => keyId), [...next.quarantines]])
      if (shown !== this.#shown) this.facts.set(Object.freeze(next))
      this.#shown = shown
      if (this.#touchedAtMs + touchMs <= clock.nowMs()) {
        await statuses.touch([...this.#streamIds])
        this.#touchedAtMs = clock.nowMs()
      }
    } catch (error) {
      log.debug({ service: this.name, err: error }, 'could not look at signing keys and quarantines; again soon')
    }
  }
}

/** Four times within `silentMsMax`, so that one missed look does not make a fleet look dead. */
const touchMs = 15_000
