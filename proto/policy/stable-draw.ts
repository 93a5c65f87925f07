/**
 * Which share somebody falls into, the same every time and on every agent: a hash of texts as a number between 0 and 1
 * (neither included). FNV-1a over UTF-16 units with the finalizer of MurmurHash3, which spreads what differs in one letter.
 */
export function stableDraw(...parts: readonly string[]): number {
  let hash = 0x811c9dc5
  for (const part of parts) {
    for (let index = 0; index < part.length; index++) {
      const unit = part.charCodeAt(index)
      hash = Math.imul(hash ^ (unit & 0xff), 0x01000193)
      hash = Math.imul(hash ^ (unit >>> 8), 0x01000193)
    }
    // Ends the part: `ab` and `c` are not `a` and `bc`.
    hash = Math.imul(hash ^ 0x1ff, 0x01000193)
  }
  hash ^= hash >>> 16
  hash = Math.imul(hash, 0x85ebca6b)
  hash ^= hash >>> 13
  hash = Math.imul(hash, 0xc2b2ae35)
  hash ^= hash >>> 16
  return ((hash >>> 0) + 0.5) / 0x1_0000_0000
}
