import { randomBytes, randomUUID } from 'node:crypto'

/**
 * Names for things. Ids are `<prefix>_<26 characters>`: 48 bits of milliseconds and 79 random bits in Crockford base 32
 * (the ULID layout), so that they sort by creation and say what they name.
 *
 * Randomness for names comes out of `randomUUID`, which draws from the system's generator for 128 at a time: a name is made
 * for every request, and a draw of its own for each cost more than anything else there. Secrets are drawn directly.
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

/** 32 lower-case hexadecimal characters, 122 bits of them random, never all zero: a W3C trace id. */
export function newTraceId(): string {
  return randomUUID().replaceAll('-', '')
}

/** 16 lower-case hexadecimal characters, all of them random: a W3C span id. */
export function newSpanId(): string {
  const uuid = randomUUID()
  return uuid.slice(0, 8) + uuid.slice(28)
}

/** `byteCount` random bytes, from the system's generator. */
export function randomSecret(byteCount: number): Uint8Array {
  return randomBytes(byteCount)
}

/** A random number in [0, 1), for jitter and sampling only. */
export function randomUnit(): number {
  return Math.random()
}
