import { randomBytes, randomUUID } from 'node:crypto'

/**
 * Names for things. Ids are `<prefix>_<26 characters>`: 48 bits of milliseconds and 79 random bits in Crockford base 32
 * (the ULID layout), so that they sort by creation and say what they name.
 *
 * Randomness for names comes out of `randomUUID`, which draws from the system's generator for 128 at a time; secrets are
 * drawn directly.
 */
export const idPrefixes = {
  tenant: 'ten',
  team: 'team',
  member: 'mem',
  environment: 'env',
  cluster: 'clu',
  agent: 'agt',
  joinToken: 'jtk',
  provider: 'prv',
  credential: 'crd',
  model: 'mdl',
  route: 'rte',
  target: 'tgt',
  apiKey: 'key',
  audit: 'aud',
  installation: 'ins',
  request: 'req',
} as const

export type IdKind = keyof typeof idPrefixes

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz'

/** A new id of `kind`, its time part from `nowMs`. */
export function newId(kind: IdKind, nowMs: number): string {
  let time = ''
  for (let rest = nowMs, i = 0; i < 10; i++) {
    time = alphabet.charAt(rest % 32) + time
    rest = Math.floor(rest / 32)
  }
  const uuid = randomUUID()
  let random = ''
  // The lower five bits of each of its sixteen bytes; one of the eighty is fixed by the version.
  for (let i = 0; i < uuid.length; i += 2) {
    if (uuid.charCodeAt(i) === 0x2d) i += 1
    random += alphabet.charAt(Number.parseInt(uuid.slice(i, i + 2), 16) & 31)
  }
  return `${idPrefixes[kind]}_${time}${random}`
}

/** 32 lower-case hexadecimal characters, never all zero: a W3C trace id. */
export function newTraceId(): string {
  return newSpanId() + newSpanId()
}

/**
 * 16 lower-case hexadecimal characters, never all zero: a W3C span id. Random enough to be unique, not to be a secret: ids
 * of traces are made for every request, and the standard asks for no more.
 */
export function newSpanId(): string {
  const high = (Math.random() * 0x1_0000_0000) >>> 0
  const low = (Math.random() * 0x1_0000_0000) >>> 0
  return hexOf(high) + hexOf(high === 0 && low === 0 ? 1 : low)
}

function hexOf(word: number): string {
  const text = word.toString(16)
  return text.length === 8 ? text : text.padStart(8, '0')
}

/** Id of a request that came without one: as `newId`, random as a span id is. */
export function newRequestId(nowMs: number): string {
  let time = ''
  for (let rest = nowMs, i = 0; i < 10; i++) {
    time = alphabet.charAt(rest % 32) + time
    rest = Math.floor(rest / 32)
  }
  return `${idPrefixes.request}_${time}${randomText(8)}${randomText(8)}`
}

/** `length` ≤ 10 characters of the alphabet. */
function randomText(length: number): string {
  let rest = Math.floor(Math.random() * 2 ** (5 * length))
  let text = ''
  for (let i = 0; i < length; i++) {
    text += alphabet.charAt(rest % 32)
    rest = Math.floor(rest / 32)
  }
  return text
}

/** `byteCount` random bytes, from the system's generator. */
export function randomSecret(byteCount: number): Uint8Array {
  return randomBytes(byteCount)
}

/** A random number in [0, 1), for jitter and sampling only. */
export function randomUnit(): number {
  return Math.random()
}
