import type { Clock } from '../../../proto/std/clock.js'
import type { Refusal } from '../../../proto/std/refusal.js'
import type { Peer } from './peer.js'
import type { PeerGate } from './peer-gate.js'

/** An agent that makes no call for so long passes the gate anew. */
const idleMs = 60_000

interface Admission {
  /** Of the call that passes the gate; others of the agent wait for the same. */
  readonly outcome: Promise<Refusal | null>
  lastUsedUs: number
}

/**
 * Lets an agent's many short calls through the gate by one question to the record. An admission stands as a stream's does:
 * it ends with the certificate, at a revocation (within a second, as the gate promises), when this process drains, and
 * after a minute without calls. At most one per certificate that is not revoked.
 */
export class StandingAdmissions {
  readonly #gate: Pick<PeerGate, 'admit' | 'enter'>
  readonly #clock: Clock
  readonly #standing = new Map<string, Admission>()
  readonly #leaves = new Set<() => void>()

  constructor(gate: Pick<PeerGate, 'admit' | 'enter'>, clock: Clock) {
    this.#gate = gate
    this.#clock = clock
  }

  /** Null: may come in. Refuses as the gate does; a refusal is asked for anew by the next call. */
  admit(peer: Peer): Promise<Refusal | null> {
    // All that the gate looks at: another agent's name beside a known serial is another question.
    const key = `${peer.serial} ${peer.agentId} ${peer.clusterId} ${peer.installationId}`
    const standing = this.#standing.get(key)
    if (standing !== undefined) {
      standing.lastUsedUs = this.#clock.monotonicUs()
      return standing.outcome
    }
    const admission: Admission = { outcome: this.#ask(key, peer), lastUsedUs: this.#clock.monotonicUs() }
    this.#standing.set(key, admission)
    return admission.outcome
  }

  /** Every admission is over. */
  end(): void {
    for (const leave of [...this.#leaves]) leave()
  }

  async #ask(key: string, peer: Peer): Promise<Refusal | null> {
    let refusal: Refusal | null
    try {
      refusal = await this.#gate.admit(peer)
    } catch (fault) {
      this.#standing.delete(key)
      throw fault
    }
    if (refusal === null) this.#enter(key, peer)
    else this.#standing.delete(key)
    return refusal
  }

  #enter(key: string, peer: Peer): void {
    const forget = () => {
      cancelIdle()
      this.#leaves.delete(leave)
      this.#standing.delete(key)
    }
    const leaveGate = this.#gate.enter(peer, forget)
    const leave = () => {
      leaveGate()
      forget()
    }
    let cancelIdle = () => {}
    const watch = (ms: number) => {
      cancelIdle = this.#clock.after(ms, () => {
        const lastUsedUs = this.#standing.get(key)?.lastUsedUs ?? 0
        const leftMs = idleMs - (this.#clock.monotonicUs() - lastUsedUs) / 1_000
        if (leftMs > 0) watch(leftMs)
        else leave()
      })
    }
    this.#leaves.add(leave)
    watch(idleMs)
  }
}
