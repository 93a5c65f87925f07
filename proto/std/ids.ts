import { randomBytes, randomFillSync } from 'node:crypto'

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
  rule: 'rul',
  target: 'tgt',
  apiKey: 'key',
  audit: 'aud',
  installation: 'ins',
  request: 'req',
  cachePurge: 'pur',
} as const

export type IdKind = keyof typeof idPrefixes

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz'
const alphabetCodes = Buffer.from(alphabet)

/**
 * Random bytes for names, drawn from the system's generator a page at a time: several are made for every request. Secrets
 * are drawn directly.
 */
class NamePool {
  readonly #bytes = Buffer.alloc(2048)
  #hex = ''
  #letters = ''
  #at = this.#bytes.length

  hex(byteCount: number): string {
    const at = this.#take(byteCount)
    return this.#hex.slice(at * 2, (at + byteCount) * 2)
  }

  /** Each of a byte of its own. */
  letters(count: number): string {
    const at = this.#take(count)
    return this.#letters.slice(at, at + count)
  }

  #take(byteCount: number): number {
    if (this.#at + byteCount > this.#bytes.length) this.#refill()
    const at = this.#at
    this.#at += byteCount
    return at
  }

  #refill(): void {
    const bytes = randomFillSync(this.#bytes)
    this.#hex = bytes.toString('hex')
    for (let i = 0; i < bytes.length; i++) bytes[i] = alphabetCodes[(bytes[i] ?? 0) & 31] ?? 0
    this.#letters = bytes.toString('latin1')
    this.#at = 0
  }
}

const names = new NamePool()
/** 2^20 ms: how long the first six characters of a moment stay the same. */
const eraMs = 1_048_576
let era = -1
let eraText = ''

/** A new id of `kind`, its time part from `nowMs`. */
export function newId(kind: IdKind, nowMs: number): string {
  return `${idPrefixes[kind]}_${timeText(nowMs)}${names.letters(16)}`
}

/** The ten characters of a moment. */
function timeText(nowMs: number): string {
  const nowEra = Math.floor(nowMs / eraMs)
  if (nowEra !== era) {
    era = nowEra
    eraText = ''
    for (let rest = nowEra, i = 0; i < 6; i++) {
      eraText = alphabet.charAt(rest % 32) + eraText
      rest = Math.floor(rest / 32)
    }
  }
  const ms = nowMs - nowEra * eraMs
  return eraText + letter(ms >>> 15) + letter(ms >>> 10) + letter(ms >>> 5) + letter(ms)
}

function letter(bits: number): string {
  return alphabet.charAt(bits & 31)
}

/** 32 lower-case hexadecimal characters, never all zero: a W3C trace id. */
export function newTraceId(): string {
  const id = names.hex(16)
  return id === '00000000000000000000000000000000' ? newTraceId() : id
}

/** 16 lower-case hexadecimal characters, never all zero: a W3C span id. */
export function newSpanId(): string {
  const id = names.hex(8)
  return id === '0000000000000000' ? newSpanId() : id
}

/** `byteCount` random bytes, from the system's generator. */
export function randomSecret(byteCount: number): Uint8Array {
  return randomBytes(byteCount)
}

/** A random number in [0, 1), for jitter and sampling only. */
export function randomUnit(): number {
  return Math.random()
}
