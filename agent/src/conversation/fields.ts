import { type Refusal, refuse } from '../../../proto/std/refusal.js'
import { isJsonObject, type JsonObject } from './json-object.js'
import type { Losses } from './losses.js'

/**
 * Strict reading of a JSON object whose every member is wanted, named or told about: a member of the wrong type is refused
 * with its path, and what nobody read is a loss. Readers of whole conversations throw inside and catch once, in
 * `readStrictly`; a conversation is only read where it must be translated.
 */
export type FieldRefusalCode = 'missing_field' | 'invalid_type' | 'invalid_value'

/** Runs `read`; the refusal of the first member that does not fit, returned. */
export function readStrictly<T>(read: () => T): T | Refusal<FieldRefusalCode> {
  try {
    return read()
  } catch (thrown) {
    if (thrown instanceof FieldRefused) return thrown.refusal
    throw thrown
  }
}

class FieldRefused extends Error {
  override readonly name = 'FieldRefused'
  constructor(readonly refusal: Refusal<FieldRefusalCode>) {
    super(refusal.message)
  }
}

/** Levels of nesting that a reader follows; deeper is no conversation. */
const lossDepthMax = 8

export class Fields {
  readonly #value: JsonObject
  readonly #read = new Set<string>()
  readonly #children: Fields[] = []

  /** `at` is where the object stands in the client's body, empty for the body itself. */
  constructor(
    value: JsonObject,
    readonly at: string,
  ) {
    this.#value = value
  }

  /** Path of a member. */
  path(name: string): string {
    return this.at === '' ? name : `${this.at}.${name}`
  }

  /** Whether the member is there and not null. */
  has(name: string): boolean {
    return this.#value[name] !== undefined && this.#value[name] !== null
  }

  /** The member as it is; counts as read. */
  raw(name: string): unknown {
    this.#read.add(name)
    return this.#value[name] ?? null
  }

  text(name: string): string | null {
    const value = this.raw(name)
    if (value !== null && typeof value !== 'string') throw wrongType(this.path(name), 'a string', value)
    return value
  }

  requiredText(name: string): string {
    return this.text(name) ?? this.#missing(name)
  }

  /** One of `options`. */
  option<const T extends string>(name: string, options: readonly T[]): T | null {
    const value = this.text(name)
    if (value === null) return null
    const option = options.find((candidate) => candidate === value)
    if (option === undefined) throw this.invalid(name, `expected one of ${options.join(', ')}`)
    return option
  }

  boolean(name: string): boolean | null {
    const value = this.raw(name)
    if (value !== null && typeof value !== 'boolean') throw wrongType(this.path(name), 'a boolean', value)
    return value
  }

  /** A finite number within [min, max]. */
  number(name: string, min: number, max: number): number | null {
    const value = this.raw(name)
    if (value === null) return null
    if (typeof value !== 'number') throw wrongType(this.path(name), 'a number', value)
    if (!(value >= min && value <= max)) throw this.invalid(name, `expected a number from ${min} to ${max}`)
    return value
  }

  integer(name: string, min: number, max = Number.MAX_SAFE_INTEGER): number | null {
    const value = this.number(name, min, max)
    if (value !== null && !Number.isSafeInteger(value)) throw this.invalid(name, 'expected an integer')
    return value
  }

  object(name: string): Fields | null {
    const value = this.raw(name)
    return value === null ? null : this.#child(value, this.path(name))
  }

  requiredObject(name: string): Fields {
    return this.object(name) ?? this.#missing(name)
  }

  /** An object that is passed on as it is (a schema). */
  json(name: string): JsonObject | null {
    const value = this.raw(name)
    if (value !== null && !isJsonObject(value)) throw wrongType(this.path(name), 'an object', value)
    return value
  }

  /** Members of an array of objects; empty when absent. */
  objects(name: string): Fields[] {
    return this.array(name).map((value, index) => this.#child(value, `${this.path(name)}[${index}]`))
  }

  texts(name: string): string[] {
    return this.array(name).map((value, index) => {
      if (typeof value !== 'string') throw wrongType(`${this.path(name)}[${index}]`, 'a string', value)
      return value
    })
  }

  array(name: string): readonly unknown[] {
    const value = this.raw(name)
    if (value === null) return []
    if (!Array.isArray(value)) throw wrongType(this.path(name), 'an array', value)
    return value
  }

  isText(name: string): boolean {
    return typeof this.#value[name] === 'string'
  }

  /** Counts as read: understood, and nothing to do about it. */
  skip(...names: string[]): void {
    for (const name of names) this.#read.add(name)
  }

  /** Everything counts as read: the whole object is told about at once. */
  skipAll(): void {
    for (const name of Object.keys(this.#value)) this.#read.add(name)
  }

  invalid(name: string, reason: string): Error {
    const field = this.path(name)
    return new FieldRefused(refuse('invalid_value', `Invalid value for '${field}': ${reason}.`, { field }))
  }

  /** Every member that was given and that nobody read, here and below, is a loss. */
  loseUnread(losses: Losses, depth = 0): void {
    for (const [name, value] of Object.entries(this.#value)) {
      if (value !== null && value !== undefined && !this.#read.has(name)) losses.setting(this.path(name))
    }
    if (depth < lossDepthMax) for (const child of this.#children) child.loseUnread(losses, depth + 1)
  }

  #child(value: unknown, at: string): Fields {
    if (!isJsonObject(value)) throw wrongType(at, 'an object', value)
    const child = new Fields(value, at)
    this.#children.push(child)
    return child
  }

  #missing(name: string): never {
    const field = this.path(name)
    throw new FieldRefused(refuse('missing_field', `Missing required parameter: '${field}'.`, { field }))
  }
}

/** In OpenAI's own words. */
export function wrongTypeRefusal(field: string, expected: string, value: unknown): Refusal<'invalid_type'> {
  const got = value === null ? 'null' : Array.isArray(value) ? 'an array' : `a ${typeof value}`
  return refuse('invalid_type', `Invalid type for '${field}': expected ${expected}, but got ${got} instead.`, { field })
}

function wrongType(field: string, expected: string, value: unknown): Error {
  return new FieldRefused(wrongTypeRefusal(field, expected, value))
}
