import { createHash, hash } from 'node:crypto'
import { type CacheKeyFacts, cacheKeyHead } from '../../../proto/policy/cache-key.js'

/** Bytes of a key, head and body, that are brought together to be hashed in one call. */
export const scratchBytes = 8 * 1024

/** SHA-256 of the key. `scratch`: memory of `scratchBytes` that nobody else uses meanwhile. */
export function keyDigest(facts: CacheKeyFacts, scratch: Uint8Array): string {
  const head = cacheKeyHead(facts, scratch)
  let length = head.length
  for (const part of facts.body) if (part instanceof Uint8Array) length += part.length
  // One call costs less than several; beyond a few thousand bytes copying them costs more.
  if (length > scratch.length || head.buffer !== scratch.buffer) return inPieces(facts, head)
  let at = head.length
  for (const part of facts.body) {
    if (!(part instanceof Uint8Array)) continue
    scratch.set(part, at)
    at += part.length
  }
  return hash('sha256', scratch.subarray(0, length), 'base64url')
}

function inPieces(facts: CacheKeyFacts, head: Uint8Array): string {
  const digest = createHash('sha256').update(head)
  for (const part of facts.body) if (part instanceof Uint8Array) digest.update(part)
  return digest.digest('base64url')
}
