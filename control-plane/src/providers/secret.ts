import { createPrivateKey } from 'node:crypto'
import { z } from 'zod'
import { isRefusal } from '../../../proto/std/refusal.js'
import { parseBaseUrl } from './base-url.js'
import type { ProviderKind } from './provider-kind.js'

/**
 * What a secret looks like, by the provider's kind: one text that a header carries, or the JSON object that a vendor's own
 * way of proving oneself needs. JSON is kept minified, with the members that agents read and no others, in printable ASCII.
 * No sentence here repeats anything of what was given, not even what a parser says of it.
 */
export const secretCharactersMax = 8_192

/** Turns what was given into what is sealed, or says what was expected. */
export function secretFor(kind: ProviderKind): z.ZodType<string> {
  return schemas[kind] ?? headerText
}

/** True when Azure is to be shown tokens of Entra ID, not the text as it is. */
export function isEntraSecret(secret: string): boolean {
  return secret.startsWith('{')
}

const sized = z
  .string()
  .trim()
  .min(1, 'expected at least one character')
  .max(secretCharactersMax, `expected at most ${secretCharactersMax} characters`)

const headerText = sized
  // It becomes the value of a header: anything else would be refused, or worse split, on every request.
  .regex(/^[\x21-\x7e]*$/, 'expected printable ASCII without spaces, as a header can carry it')

const missing = 'is missing, or not a text'
/** Printable ASCII, as everything is that JSON is made of here: what carries secrets to agents takes nothing else. */
const member = (charactersMax: number, pattern = /^[\x20-\x7e]+$/) =>
  z
    .string(missing)
    .max(charactersMax, `has more than ${charactersMax} characters`)
    .regex(pattern, 'is empty, or holds characters that it cannot have')

/** An https address that agents may call: a secret of this kind says itself where it is shown. */
const tokenAddress = member(512, /^[\x21-\x7e]+$/).refine((text) => {
  const address = parseBaseUrl(text)
  return !isRefusal(address) && address.startsWith('https://')
}, 'is not an https address that an agent may call')

const entra = z.strictObject({
  // Both stand in the path of the address that tokens come from.
  tenantId: member(253, /^[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?$/),
  clientId: member(128, /^[A-Za-z0-9-]+$/),
  clientSecret: member(1_024),
  authorityHost: tokenAddress
    .refine((text) => new URL(text).pathname === '/', 'is not an origin: scheme, host and port, no path')
    .transform((text) => new URL(text).origin)
    .optional(),
})

const awsKeys = z.strictObject({
  accessKeyId: member(128, /^[A-Za-z0-9_]+$/),
  secretAccessKey: member(256, /^[\x21-\x7e]+$/),
  sessionToken: member(secretCharactersMax, /^[\x21-\x7e]+$/).optional(),
})

/** As Google writes it; members that agents have no use for are left out. */
const serviceAccount = z.object({
  type: z.literal('service_account', 'is not service_account'),
  project_id: member(128).optional(),
  private_key_id: member(128).optional(),
  private_key: member(secretCharactersMax, /^[\x20-\x7e\r\n]+$/).refine(isRsaKey, 'is not an RSA key in PEM'),
  client_email: member(320, /^[\x21-\x7e]+@[\x21-\x7e]+$/),
  token_uri: tokenAddress,
})

function isRsaKey(pem: string): boolean {
  try {
    return createPrivateKey(pem).asymmetricKeyType === 'rsa'
  } catch {
    return false
  }
}

function json(schema: z.ZodType<object>, expected: string) {
  return sized.transform((text, context) => {
    const no = (message: string) => {
      context.addIssue({ code: 'custom', message })
      return z.NEVER
    }
    const parsed = parseObject(text)
    if (parsed === null) return no(`expected ${expected}`)
    const result = schema.safeParse(parsed)
    if (result.success) return JSON.stringify(result.data)
    const [issue] = result.error.issues
    const name = issue?.path[0]
    return no(name === undefined ? `expected ${expected}, and no other member` : `${String(name)} ${issue?.message}`)
  })
}

const entraJson = json(entra, 'a JSON object with tenantId, clientId, clientSecret and, if need be, authorityHost')
const schemas: { readonly [Kind in ProviderKind]?: z.ZodType<string> } = {
  'azure-openai': z.string().transform((text, context) => {
    const result = (isEntraSecret(text.trim()) ? entraJson : headerText).safeParse(text)
    if (result.success) return result.data
    for (const { message } of result.error.issues) context.addIssue({ code: 'custom', message })
    return z.NEVER
  }),
  bedrock: json(awsKeys, 'a JSON object with accessKeyId, secretAccessKey and, if it is temporary, sessionToken'),
  vertex: json(serviceAccount, "the JSON of a service account's key, as Google gives it"),
}

function parseObject(text: string): object | null {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : null
  } catch {
    return null
  }
}
