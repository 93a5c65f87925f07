/** What a join token says besides its secret: which authority to trust. The text itself goes to the control plane whole. */
export interface JoinToken {
  readonly text: string
  /** SHA-256 of the authority's certificate (DER), 32 bytes. */
  readonly authorityPin: Buffer
}

/** `sjt_<id>.<secret>.<pin>`, or null when `text` is not one. */
export function parseJoinToken(text: string): JoinToken | null {
  const parts = text.split('.')
  const pin = Buffer.from(parts[2] ?? '', 'base64url')
  if (parts.length !== 3 || !parts[0]?.startsWith('sjt_') || parts[1] === '' || pin.length !== 32) return null
  return Object.freeze({ text, authorityPin: pin })
}
