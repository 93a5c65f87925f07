/** A promise of our own code that did not hold: a fault, never an expected "no" (that is a `Refusal`). */
export class AssertionFault extends Error {
  override readonly name = 'AssertionFault'
}

/** Throws `AssertionFault` when `condition` is false. For broken promises of our own code only; bad input is refused. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionFault(message)
}

/** The value, or a fault when it is null or undefined. */
export function must<T>(value: T | null | undefined, message: string): T {
  assert(value !== null && value !== undefined, message)
  return value
}

/** For the default branch of a switch over a closed set: a compile-time error when a case is missing. */
export function unreachable(value: never): never {
  throw new AssertionFault(`unreachable: ${String(value)}`)
}
