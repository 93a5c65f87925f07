import { parseJsonObject, textOf } from '../../conversation/json-object.js'
import type { Expiring } from '../access-tokens.js'
import type { AuthorizationFault } from '../provider-dialect.js'
import type { TokenAnswer } from '../token-client.js'

/** An access token of Entra ID for Azure OpenAI. */
export interface AzureToken extends Expiring {
  /** What a header can carry. */
  readonly accessToken: string
}

/** What tokens are asked for: the resource of Azure AI services, which Azure OpenAI is one of. */
export const audience = 'https://cognitiveservices.azure.com'

/** How long to wait for an answer, and the clock that lifetimes count from. */
export interface TokenTerms {
  readonly timeoutMs: number
  /** UTC, before the token was asked for. */
  readonly askedAtMs: number
}

/** "No" that is meant for now, in the words of OAuth (RFC 6749, section 4.1.2.1). */
const passing: ReadonlySet<string> = new Set(['temporarily_unavailable', 'server_error'])

/**
 * The token in an answer of `who`, or why there is none. Of a refusal only the codes go into the message: what is written
 * beside them may repeat what was sent. Sources: Microsoft's documentation, "OAuth 2.0 client credentials flow", "Microsoft
 * Entra authentication and authorization error codes" and, for the machine's own identity, "How to use managed identities
 * for Azure resources on an Azure VM to acquire an access token".
 */
export function tokenIn(answer: TokenAnswer, { askedAtMs }: TokenTerms, who: string): AzureToken | AuthorizationFault {
  const fields = parseJsonObject(answer.body)
  if (answer.status === 200) {
    const accessToken = textOf(fields?.['access_token'])
    // The instance metadata service tells seconds as a text.
    const expiresInSeconds = Number(fields?.['expires_in'] ?? Number.NaN)
    if (accessToken === null || !/^[\x21-\x7e]+$/.test(accessToken) || !(expiresInSeconds > 0)) {
      return unavailable(who, 'answered with something that is no access token')
    }
    return { accessToken, expiresAtMs: askedAtMs + expiresInSeconds * 1000 }
  }
  const error = codeIn(fields?.['error'])
  if (error === null || passing.has(error) || answer.status < 400 || answer.status > 403) {
    return unavailable(who, `answered HTTP ${answer.status}${error === null ? '' : ` (${error})`}`)
  }
  const detail = /AADSTS\d{1,10}/.exec(textOf(fields?.['error_description']) ?? '')?.[0]
  return { fault: 'rejected', message: `${who} refused (${detail === undefined ? error : `${error}, ${detail}`})` }
}

/** Nobody said no. */
function unavailable(who: string, what: string): AuthorizationFault {
  return { fault: 'unavailable', message: `${who} ${what}` }
}

/** What was thrown while asking or reading: names what could not be reached, never what was sent. */
export function failed(what: string, thrown: unknown): AuthorizationFault {
  return { fault: 'unavailable', message: `${what}: ${thrown instanceof Error ? thrown.message : String(thrown)}` }
}

function codeIn(error: unknown): string | null {
  return typeof error === 'string' && /^[a-z_]{1,64}$/.test(error) ? error : null
}
