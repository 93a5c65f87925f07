import { createHash } from 'node:crypto'
import type { Json } from '../../proto/std/canonical-json.js'

/** Words that common tokenizers turn into exactly one token when a space stands before them. */
const words = (
  'the of and to in is you that it he was for on are as with his they at be this have from or one had by but not what ' +
  'all were we when your can said there use an each which she do how their if will up other about out many then them ' +
  'these so some her would make like him into time has look two more write go see number no way could people my than ' +
  'first water been call who oil its now find long down day did get come made may part over new sound take only little ' +
  'work know place year live me back give most very after thing our just name good sentence man think say great where ' +
  'help through much before line right too mean old any same tell boy follow came want show also around form three small'
).split(' ')

/** A 32-bit seed of any text. */
export function seedOf(text: string): number {
  return createHash('sha256').update(text).digest().readUInt32LE(0)
}

/** Numbers in [0, 1), the same for the same seed on every machine (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

/**
 * The simulator's tokens: a run of up to eight letters or digits with the space before it, up to four other characters, or
 * white space. Every generated word is exactly one.
 */
export function tokensOf(text: string): string[] {
  return text.match(/ ?[\p{L}\p{N}]{1,8}| ?[^\s\p{L}\p{N}]{1,4}|\s+/gu) ?? []
}

/** `count` tokens of text: a first word with a capital, words with a space before them, a full stop now and then. */
export function generateTokens(random: () => number, count: number): string[] {
  const tokens: string[] = []
  let sentenceStart = true
  let inSentence = 0
  while (tokens.length < count) {
    if (inSentence > 5 && random() < 0.12) {
      tokens.push('.')
      sentenceStart = true
      inSentence = 0
      continue
    }
    const word = words[Math.floor(random() * words.length)] ?? 'the'
    const cased = sentenceStart ? word.charAt(0).toUpperCase() + word.slice(1) : word
    tokens.push(tokens.length === 0 ? cased : ` ${cased}`)
    sentenceStart = false
    inSentence += 1
  }
  return tokens
}

/** A unit vector that depends only on the text; texts that are equal have equal vectors. */
export function embeddingOf(text: string, dimensions: number): Float32Array {
  const random = randomFrom(seedOf(text))
  const vector = new Float32Array(dimensions)
  let squares = 0
  for (let i = 0; i < dimensions; i++) {
    const value = random() * 2 - 1
    vector[i] = value
    squares += value * value
  }
  const length = Math.sqrt(squares) || 1
  return vector.map((value) => value / length)
}

/** A value that has the shape of a JSON Schema, as far as a simulator needs it: type, properties, items, enum, const. */
export function sampleOf(schema: unknown, random: () => number, depth = 0): Json {
  if (typeof schema !== 'object' || schema === null || depth > 8) return null
  const { type, properties, items, enum: choices, const: constant } = schema as Record<string, unknown>
  if (constant !== undefined) return constant as Json
  if (Array.isArray(choices) && choices.length > 0) return choices[Math.floor(random() * choices.length)] as Json
  const kind = Array.isArray(type) ? type[0] : type
  if (kind === 'object' || (kind === undefined && properties)) {
    const members = Object.entries((properties ?? {}) as Record<string, unknown>)
    return Object.fromEntries(members.map(([name, member]) => [name, sampleOf(member, random, depth + 1)]))
  }
  if (kind === 'array') return [sampleOf(items, random, depth + 1)]
  if (kind === 'integer') return Math.floor(random() * 100)
  if (kind === 'number') return Math.round(random() * 10_000) / 100
  if (kind === 'boolean') return random() < 0.5
  if (kind === 'null') return null
  return words[Math.floor(random() * words.length)] ?? 'the'
}
