/**
 * Why a call did not succeed. `code` is from the control plane's closed set (`BAD_USER_INPUT`, `UNAUTHENTICATED`,
 * `FORBIDDEN`, `NOT_FOUND`, `CONFLICT`, `LIMIT_EXCEEDED`, `UNAVAILABLE`, `INTERNAL`, …), or one of the client's own:
 * `UNREACHABLE` (no connection), `TIMEOUT`, `ABORTED` (your signal), `BAD_ANSWER` (not GraphQL).
 */
export class SwitchyardError extends Error {
  override readonly name = 'SwitchyardError'
  readonly code: string
  /** Path of the input that the refusal is about, for example `input.targets[0].modelId`. */
  readonly field: string | null
  /** What to quote to an operator. */
  readonly requestId: string | null
  readonly httpStatus: number | null
  readonly detail: Readonly<Record<string, unknown>>

  constructor(
    message: string,
    facts: {
      code: string
      field?: string | null
      requestId?: string | null
      httpStatus?: number | null
      detail?: Readonly<Record<string, unknown>>
      cause?: unknown
    },
  ) {
    super(message, facts.cause === undefined ? {} : { cause: facts.cause })
    this.code = facts.code
    this.field = facts.field ?? null
    this.requestId = facts.requestId ?? null
    this.httpStatus = facts.httpStatus ?? null
    this.detail = facts.detail ?? {}
  }
}
