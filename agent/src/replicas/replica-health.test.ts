import { describe, expect, it } from 'vitest'
import { ReplicaHealth } from './replica-health.js'

const never = Number.NEGATIVE_INFINITY
const second = 1_000_000

/** Requests that begin and end at once, each with its outcome; and what is thought of the replica then. */
function after(outcomes: readonly string[], nowUs = 0): ReplicaHealth {
  const health = new ReplicaHealth()
  for (const outcome of outcomes) {
    health.begin(nowUs)
    health.tell(outcome, nowUs, nowUs)
  }
  return health
}

describe('a replica', () => {
  it.each<[string, string[], boolean]>([
    ['is asked that nobody has asked', [], true],
    ['is left out when it cannot be reached', ['connect_error'], false],
    ['is left out when no connection comes in time', ['timeout_connect'], false],
    ['is asked after one fault', ['upstream_5xx'], true],
    ['is asked after two faults', ['malformed', 'timeout_first_token'], true],
    ['is left out after three faults', ['upstream_5xx', 'timeout_first_token', 'rate_limited'], false],
    ['is asked when an answer came between faults', ['upstream_5xx', 'upstream_5xx', 'ok', 'upstream_5xx'], true],
    ['is asked though clients were refused', ['upstream_4xx', 'upstream_4xx', 'upstream_4xx'], true],
    ['is asked though clients left', ['aborted', 'aborted', 'aborted', 'timeout_total'], true],
  ])('%s', (_, outcomes, isHealthy) => {
    expect(after(outcomes).isHealthy(0, never)).toBe(isHealthy)
  })

  it('is tried by one request when its pause is over, and the pause doubles each time that fails', () => {
    const health = after(['connect_error'])
    let nowUs = 0
    for (const pauseSeconds of [1, 2, 4, 8, 16, 32, 60, 60]) {
      expect(health.isHealthy(nowUs + pauseSeconds * second - 1, never)).toBe(false)
      nowUs += pauseSeconds * second
      expect(health.isHealthy(nowUs, never)).toBe(true)
      health.begin(nowUs)
      expect(health.isHealthy(nowUs, never)).toBe(false)
      health.tell('connect_error', nowUs, nowUs)
    }
    nowUs += 60 * second
    health.begin(nowUs)
    health.tell('ok', nowUs, nowUs + 1)
    expect(health.isHealthy(nowUs + 1, never)).toBe(true)
    health.tell('connect_error', nowUs + 2, nowUs + 2)
    expect(health.isHealthy(nowUs + 2 + second, never)).toBe(true)
  })

  it('may be tried by another when the one that tried it left', () => {
    const health = after(['connect_error'])
    health.begin(second)
    health.tell('aborted', second, second + 5)
    expect(health.isHealthy(second + 5, never)).toBe(true)
  })

  it('lets the others in with the first word of its try, and is out again by the next fault until an answer is whole', () => {
    const health = after(['upstream_5xx', 'upstream_5xx', 'upstream_5xx'])
    health.begin(second)
    expect(health.isHealthy(second + 5, never)).toBe(false)
    health.answer(second)
    // The stream of the try may go on for minutes.
    expect(health.isHealthy(second + 5, never)).toBe(true)
    health.tell('timeout_idle', second + 6, second + 7)
    expect(health.isHealthy(second + 8, never)).toBe(false)
    // Twice as long as before: it was not well in between.
    expect(health.isHealthy(2 * second + 8, never)).toBe(false)
    expect(health.isHealthy(3 * second + 7, never)).toBe(true)
  })

  it('is not let in by the first word of a request that was sent before it failed', () => {
    const health = after(['connect_error'], 100)
    health.answer(50)
    expect(health.isHealthy(200, never)).toBe(false)
  })

  it('that could not be reached is asked as soon as it is heard again; one that failed is not', () => {
    const unreachable = after(['connect_error'])
    expect([unreachable.isHealthy(9, 0), unreachable.isHealthy(9, 5)]).toEqual([false, true])
    expect(after(['upstream_5xx', 'upstream_5xx', 'upstream_5xx']).isHealthy(9, 5)).toBe(false)
  })

  it('is not judged by requests that were sent before it failed', () => {
    const health = after(['connect_error'], 100)
    health.tell('ok', 50, 200)
    expect(health.isHealthy(200, never)).toBe(false)
    health.tell('connect_error', 60, 300)
    expect(health.isHealthy(100 + second, never)).toBe(true)
  })
})
