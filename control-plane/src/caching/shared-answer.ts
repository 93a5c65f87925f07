import { sharedNameBytes, sharedSecondsMax, sharedValueBytesMax } from '../../../proto/policy/shared-answer.js'
import { type Refusal, refuse } from '../../../proto/std/refusal.js'

/** An answer that agents of one cluster share. To the control plane it is a name and bytes that say nothing. */
export interface SharedAnswer {
  readonly clusterId: string
  readonly name: Buffer
  readonly value: Buffer
  readonly bornAt: Date
  readonly expiresAt: Date
}

/** Counted for each answer beside its value: row, name and three indexes. */
export const answerOverheadBytes = 512

/** Null: may be looked for. */
export function checkName(name: Uint8Array): Refusal<'bad_input'> | null {
  return name.length === sharedNameBytes ? null : refuse('bad_input', `name: expected ${sharedNameBytes} bytes`)
}

/** The answer as it is kept at `nowMs`; what says that it was born later than that was born now. */
export function answerOf(
  clusterId: string,
  put: { name: Buffer; value: Buffer; ttlSeconds: number; bornAtUnixMs: number },
  nowMs: number,
): SharedAnswer | Refusal<'bad_input'> {
  const { name, value, ttlSeconds, bornAtUnixMs } = put
  const unnamed = checkName(name)
  if (unnamed !== null) return unnamed
  if (value.length === 0 || value.length > sharedValueBytesMax) {
    return refuse('bad_input', `value: expected 1 to ${sharedValueBytesMax} bytes`)
  }
  if (ttlSeconds < 1 || ttlSeconds > sharedSecondsMax) {
    return refuse('bad_input', `ttl_seconds: expected 1 to ${sharedSecondsMax}`)
  }
  // An agent whose clock is ahead must not keep newer answers out for as long as that.
  const bornAt = new Date(Math.min(Math.max(0, bornAtUnixMs), nowMs))
  return Object.freeze({ clusterId, name, value, bornAt, expiresAt: new Date(nowMs + ttlSeconds * 1_000) })
}
