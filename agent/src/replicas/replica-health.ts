/**
 * Whether a replica is asked. Of a provider alone: another tenant's deadlines and requests must not decide about this one's.
 * A connection that is not made leaves the replica out at once, other faults the third time in a row; each time for twice as
 * long, and then one request may try. Its first word lets the others in again, a whole answer makes all forgotten, and a
 * reading that finds a server again where there was none lets them in too.
 */
const faultsMax = 3
const pauseMinUs = 1_000_000
const pauseMaxUs = 60_000_000

export class ReplicaHealth {
  #faultCount = 0
  #isUnreachable = false
  /** It is not asked, but for a try. */
  #isOut = false
  /** The last pause; 0: there was none since the last good answer. */
  #pauseUs = 0
  #failedAtUs = Number.NEGATIVE_INFINITY
  #isTried = false

  /** `heardUs`: when the server was last found to be there. */
  isHealthy(nowUs: number, heardUs: number): boolean {
    if (!this.#isOut) return true
    if (this.#isUnreachable && heardUs > this.#failedAtUs) return true
    return !this.#isTried && nowUs - this.#failedAtUs >= this.#pauseUs
  }

  /** A request is sent there. */
  begin(nowUs: number): void {
    if (this.#isOut && nowUs - this.#failedAtUs >= this.#pauseUs) this.#isTried = true
  }

  /**
   * The request that was sent at `begunUs` has its first word, which a try need not do more than have: its stream may take
   * minutes. Faults stay counted until an answer is whole, so that a replica that breaks off every stream is still left out.
   */
  answer(begunUs: number): void {
    if (!this.#isOut || begunUs < this.#failedAtUs) return
    this.#isOut = false
    this.#isTried = false
  }

  /** How the request that was sent at `begunUs` ended, in the words of a record's hops. */
  tell(outcome: string, begunUs: number, nowUs: number) {
    // Sent before the failure was known: it says nothing new.
    if (begunUs < this.#failedAtUs) return
    this.#isTried = false
    switch (outcome) {
      case 'ok':
      // The client's own fault, and still an answer.
      case 'upstream_4xx':
        this.#faultCount = 0
        this.#pauseUs = 0
        this.#isOut = false
        return
      case 'connect_error':
      case 'timeout_connect':
        return this.#fail(true, nowUs)
      case 'timeout_first_token':
      case 'timeout_idle':
      case 'rate_limited':
      case 'upstream_5xx':
      case 'malformed':
        return this.#fail(false, nowUs)
      // The client left, or little time was left: nothing is known.
      default:
        return
    }
  }

  #fail(isUnreachable: boolean, nowUs: number): void {
    this.#faultCount += 1
    if (!isUnreachable && this.#faultCount < faultsMax) return
    this.#isOut = true
    this.#isUnreachable = isUnreachable
    this.#failedAtUs = nowUs
    this.#pauseUs = Math.min(pauseMaxUs, Math.max(pauseMinUs, this.#pauseUs * 2))
  }
}
