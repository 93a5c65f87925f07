import { randomBytes } from 'node:crypto'

/**
 * Names for things. Ids are `<prefix>_<26 characters>`: 48 bits of milliseconds and 80 random bits in Crockford base 32
 * (the ULID layout), so that they sort by creation and say what they name.
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
  let random = ''
  for (const byte of randomBytes(16)) random += alphabet.charAt(byte & 31)
  return `${idPrefixes[kind]}_${time}${random}`
}

/** 32 lower-case hexadecimal characters, never all zero: a W3C trace id. */
export function newTraceId(): string {
  return randomBytes(16).toString('hex')
}

/** 16 lower-case hexadecimal characters: a W3C span id. */
export function newSpanId(): string {
  return randomBytes(8).toString('hex')
}

/** `byteCount` random bytes, from the system's generator. */
export function randomSecret(byteCount: number): Uint8Array {
  return randomBytes(byteCount)
}

/** A random number in [0, 1), for jitter and sampling only. */
export function randomUnit(): number {
  return Math.random()
}
