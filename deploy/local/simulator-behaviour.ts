/** How the simulator behaves: speed, length and the ways in which it may fail. Everything a test or a person may turn. */
export interface Behaviour {
  /** From the request's acceptance to the first byte of the answer. */
  readonly ttftMs: number
  /** Speed of generation; 0 writes as fast as the client reads. */
  readonly tokensPerSecond: number
  /** Length of every answer; 0 lets the seed choose (12 to 96). */
  readonly outputTokens: number
  /** Share of prompt tokens reported as cached. */
  readonly cachedPromptRatio: number
  /** Share of accepted requests that fail as `failure` says; 1 fails all. */
  readonly failureRatio: number
  readonly failure: FailureKind | null
  /** At most so many failures, then none; null is without end. Counted down by the simulator. */
  readonly failureCountMax: number | null
  /** Status of an `http_error`. */
  readonly failureStatus: number
  /** Tokens written before a failure in the middle of a stream. */
  readonly failAfterTokens: number
  /** Told to the client in `retry-after` and `retry-after-ms` of a 429. */
  readonly retryAfterMs: number
  /** Requests a minute before a 429; 0 is no limit. */
  readonly requestsPerMinuteMax: number
  /** Requests that generate at once; the others wait and are `vllm:num_requests_waiting`. 0 is no limit. */
  readonly concurrencyMax: number
}

export const failureKinds = [
  /** The connection is reset when the request's head arrives: nothing was accepted. */
  'refuse_connection',
  /** Accepted, then reset without an answer. */
  'reset_before_headers',
  /** Accepted, then silence until the client leaves. */
  'hang_before_headers',
  /** The stream stops after `failAfterTokens` and stays open until the client leaves. */
  'hang_mid_stream',
  /** `failureStatus` with an OpenAI error body. */
  'http_error',
  /** 429 with retry-after. */
  'rate_limited',
  /** One event (or the body) is no JSON. */
  'malformed_chunk',
  /** The connection is reset after `failAfterTokens`. */
  'truncated_stream',
  /** The body ends properly after `failAfterTokens`, without finish reason, usage or `[DONE]`. */
  'missing_done',
] as const
export type FailureKind = (typeof failureKinds)[number]

export const behaviourDefault: Behaviour = Object.freeze({
  ttftMs: 0,
  tokensPerSecond: 0,
  outputTokens: 0,
  cachedPromptRatio: 0,
  failureRatio: 1,
  failure: null,
  failureCountMax: null,
  failureStatus: 503,
  failAfterTokens: 5,
  retryAfterMs: 1_000,
  requestsPerMinuteMax: 0,
  concurrencyMax: 0,
})

const numberRanges: Readonly<Record<string, readonly [min: number, max: number]>> = {
  ttftMs: [0, 3_600_000],
  tokensPerSecond: [0, 1_000_000],
  outputTokens: [0, 100_000],
  cachedPromptRatio: [0, 1],
  failureRatio: [0, 1],
  failureStatus: [400, 599],
  failAfterTokens: [0, 100_000],
  retryAfterMs: [0, 3_600_000],
  requestsPerMinuteMax: [0, 1_000_000],
  concurrencyMax: [0, 100_000],
}

/** The knobs named in `value`; a sentence when one is unknown or out of range. */
export function parseBehaviour(value: unknown): Partial<Behaviour> | string {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'behaviour is a JSON object of knobs'
  for (const [name, knob] of Object.entries(value)) {
    const range = numberRanges[name]
    if (range) {
      if (typeof knob !== 'number' || !(knob >= range[0] && knob <= range[1]))
        return `${name} is a number from ${range[0]} to ${range[1]}`
    } else if (name === 'failure') {
      if (knob !== null && !failureKinds.some((kind) => kind === knob))
        return `failure is null or one of ${failureKinds.join(', ')}`
    } else if (name === 'failureCountMax') {
      if (knob !== null && !(Number.isInteger(knob) && Number(knob) >= 0)) return 'failureCountMax is null or a count'
    } else {
      return `${name} is no knob; the knobs are ${Object.keys(behaviourDefault).join(', ')}`
    }
  }
  return value as Partial<Behaviour>
}
