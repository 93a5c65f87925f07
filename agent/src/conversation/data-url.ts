import type { BytesSource } from './conversation.js'

const pattern = /^data:([a-z0-9.+-]+\/[a-z0-9.+-]+)(?:;[a-z0-9-]+=[^;,]*)*;base64,/i

/** The bytes of a `data:` URL (RFC 2397) in base64; null for anything else. Does not look at the base64 itself. */
export function bytesOfDataUrl(url: string): BytesSource | null {
  const match = pattern.exec(url.slice(0, 256))
  if (match === null) return null
  return { kind: 'base64', mediaType: (match[1] ?? '').toLowerCase(), data: url.slice(match[0].length) }
}

export function dataUrlOf({ mediaType, data }: BytesSource): string {
  return `data:${mediaType};base64,${data}`
}
