import { z } from 'zod'
import { checkInput } from '../access/check-input.js'
import { type ProviderKind, providerKinds } from './provider-kind.js'
import { secretFor } from './secret.js'

/**
 * What a provider wants to be shown. Either a secret, sealed at rest and never given back by any door, or a reference that
 * each agent resolves on its own machine. A reference makes an agent read its own environment or files, or act as the
 * identity that its own cloud gave it, towards the provider's address; so only a platform admin may set one.
 */
export interface Credential {
  readonly id: string
  readonly version: number
  readonly kind: 'secret' | 'reference'
  /** `env:NAME`, `file:/path` or `ambient:` and a cloud; null for a secret. */
  readonly reference: string | null
  readonly createdAt: Date
}

export type CredentialContent =
  | { readonly kind: 'secret'; readonly secret: string }
  | { readonly kind: 'reference'; readonly reference: string }

/** Exactly one of `secret` and `reference`; what may stand in either depends on the provider's kind: `readCredential`. */
export const credentialInput = z
  .object({ secret: z.string().nullish(), reference: z.string().nullish() })
  .transform((input, context): CredentialContent => {
    if (input.secret != null && input.reference == null) return { kind: 'secret', secret: input.secret }
    if (input.reference != null && input.secret == null) return { kind: 'reference', reference: input.reference }
    context.addIssue({ code: 'custom', message: 'expected exactly one of secret and reference' })
    return z.NEVER
  })

/** The content as it is stored, or a refusal `bad_input` that says what a provider of the kind takes and echoes nothing. */
export function readCredential(kind: ProviderKind, content: CredentialContent): CredentialContent {
  return content.kind === 'secret'
    ? { kind: 'secret', secret: checkInput(secretFor(kind), content.secret, 'input.credential.secret') }
    : { kind: 'reference', reference: checkInput(referenceFor(kind), content.reference, 'input.credential.reference') }
}

/** An identity that the agent's own cloud gives it: nothing is kept anywhere, and nothing is to be rotated. */
const ambient: { readonly [Kind in ProviderKind]?: string } = {
  bedrock: 'ambient:aws',
  'azure-openai': 'ambient:azure',
  vertex: 'ambient:google',
}

function referenceFor(kind: ProviderKind): z.ZodType<string> {
  const own = ambient[kind]
  const expected = own === undefined ? 'env:NAME or file:/absolute/path' : `env:NAME, file:/absolute/path or ${own}`
  return z
    .string()
    .trim()
    .superRefine((text, context) => {
      if (text === own || isVariable(text) || isFile(text)) return
      const owner = providerKinds.find((other) => ambient[other] === text)
      const why = owner === undefined ? '' : `${text} is for providers of kind ${owner}, not ${kind}; `
      context.addIssue({ code: 'custom', message: `${why}expected ${expected}` })
    })
}

function isVariable(text: string): boolean {
  return /^env:[A-Za-z_][A-Za-z0-9_]{0,127}$/.test(text)
}

function isFile(text: string): boolean {
  return /^file:\/[\x20-\x7e]{1,511}$/.test(text) && !text.split('/').includes('..')
}

/** Associated data of a sealed secret: a ciphertext moved to another row does not open. */
export function credentialContext(id: string, version: number): string {
  return `credential/${id}/${version}`
}
