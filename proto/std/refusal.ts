/**
 * An expected "no": a code from a closed set, a sentence that tells what to do next, the field it is about, and values.
 * Refusals are returned, not thrown, wherever a caller must branch on them; where a stack must be unwound (a GraphQL
 * resolver, a transaction) `RefusalError` carries one. Each door turns codes into its own dialect in one file.
 */
export interface Refusal<Code extends string = string> {
  readonly refused: true
  readonly code: Code
  readonly message: string
  /** Path of the input it is about, for example `targets[0].modelId`. */
  readonly field?: string
  readonly detail?: Readonly<Record<string, string | number | boolean>>
}

export interface RefusalExtra {
  field?: string
  detail?: Readonly<Record<string, string | number | boolean>>
}

/** A frozen refusal. */
export function refuse<Code extends string>(code: Code, message: string, extra: RefusalExtra = {}): Refusal<Code> {
  return Object.freeze({ refused: true as const, code, message, ...extra })
}

export function isRefusal(value: unknown): value is Refusal {
  return typeof value === 'object' && value !== null && (value as { refused?: unknown }).refused === true
}

/** A refusal on its way up a stack. The boundary unwraps it; nothing else catches it. */
export class RefusalError extends Error {
  override readonly name = 'RefusalError'
  constructor(readonly refusal: Refusal) {
    super(refusal.message)
  }
}

/** Throws a `RefusalError`. */
export function throwRefusal(code: string, message: string, extra: RefusalExtra = {}): never {
  throw new RefusalError(refuse(code, message, extra))
}
