import { z } from 'zod'

/**
 * What a provider wants to be shown. Either a secret, sealed at rest and never given back by any door, or a reference that
 * each agent resolves on its own machine. A reference makes an agent read its own environment or files and send them to
 * the provider's address, so only a platform admin may set one.
 */
export interface Credential {
  readonly id: string
  readonly version: number
  readonly kind: 'secret' | 'reference'
  /** `env:NAME` or `file:/path`; null for a secret. */
  readonly reference: string | null
  readonly createdAt: Date
}

export const secretCharactersMax = 8_192

const secret = z
  .string()
  .trim()
  .min(1, 'expected at least one character')
  .max(secretCharactersMax, `expected at most ${secretCharactersMax} characters`)
  // It becomes the value of a header: anything else would be refused, or worse split, on every request.
  .regex(/^[\x21-\x7e]*$/, 'expected printable ASCII without spaces, as a header can carry it')

const reference = z
  .string()
  .trim()
  .refine(
    (text) => /^env:[A-Za-z_][A-Za-z0-9_]{0,127}$/.test(text) || isFileReference(text),
    'expected env:NAME or file:/absolute/path',
  )

function isFileReference(text: string): boolean {
  return /^file:\/[\x20-\x7e]{1,511}$/.test(text) && !text.split('/').includes('..')
}

/** Exactly one of `secret` and `reference`. */
export const credentialInput = z
  .object({ secret: secret.nullish(), reference: reference.nullish() })
  .transform((input, context) => {
    if (input.secret != null && input.reference == null) return { kind: 'secret' as const, secret: input.secret }
    if (input.reference != null && input.secret == null) {
      return { kind: 'reference' as const, reference: input.reference }
    }
    context.addIssue({ code: 'custom', message: 'expected exactly one of secret and reference' })
    return z.NEVER
  })

export type CredentialContent = z.output<typeof credentialInput>

/** Associated data of a sealed secret: a ciphertext moved to another row does not open. */
export function credentialContext(id: string, version: number): string {
  return `credential/${id}/${version}`
}
