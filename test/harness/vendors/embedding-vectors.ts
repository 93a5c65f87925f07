import { createHash } from 'node:crypto'

/** What fakes make of texts: vectors that tests can make again, to see that each text got its own. */

/** A vector of length 1 that only this text has, of numbers that 32 bits hold exactly. */
export function vectorFor(text: string, length: number): number[] {
  const bytes = createHash('sha256').update(text).digest()
  const raw = Array.from({ length }, (_none, index) => ((bytes[index % 32] ?? 0) - 127.5) / (1 + (index >> 5)))
  const norm = Math.hypot(...raw)
  return raw.map((number) => Math.fround(number / norm))
}

/** As OpenAI packs it. */
export function packed(vector: readonly number[]): string {
  const bytes = Buffer.alloc(vector.length * 4)
  for (const [index, number] of vector.entries()) bytes.writeFloatLE(number, index * 4)
  return bytes.toString('base64')
}

/** `total` tokens over so many texts; the first has what is left. */
export function sharesOf(total: number, count: number): number[] {
  const share = Math.floor(total / count)
  return Array.from({ length: count }, (_none, index) => (index === 0 ? total - share * (count - 1) : share))
}
