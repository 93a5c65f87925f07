import { parseJsonObject, textOf } from '../../conversation/json-object.js'
import type { AzureAmbient } from '../ambient.js'
import type { AuthorizationFault } from '../provider-dialect.js'
import type { TokenClient } from '../token-client.js'
import { type AzureToken, audience, failed, type TokenTerms, tokenIn } from './access-token.js'

/**
 * Asks Entra ID for a token in the name of an application (OAuth 2.0 client credentials), which proves itself with a secret
 * or with what its platform signed for it. Sources: Microsoft's documentation, "OAuth 2.0 client credentials flow on the
 * Microsoft identity platform", first and third case; "Workload identity federation".
 */
const who = 'Entra ID'
const publicAuthorityHost = 'https://login.microsoftonline.com'
const jwtBearer = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

interface Application {
  readonly authorityHost: string
  readonly tenantId: string
  readonly clientId: string
}

/** With a provider's secret: JSON with `tenantId`, `clientId`, `clientSecret` and perhaps `authorityHost`. */
export async function askWithSecret(
  client: TokenClient,
  secret: string,
  terms: TokenTerms,
): Promise<AzureToken | AuthorizationFault> {
  const fields = parseJsonObject(secret)
  const tenantId = textOf(fields?.['tenantId'])
  const clientId = textOf(fields?.['clientId'])
  const clientSecret = textOf(fields?.['clientSecret'])
  if (tenantId === null || clientId === null || clientSecret === null) {
    const wanted = 'tenantId, clientId and clientSecret'
    return { fault: 'rejected', message: `the credential is neither a key nor a JSON object with ${wanted}` }
  }
  const authorityHost = textOf(fields?.['authorityHost']) ?? publicAuthorityHost
  const application = { authorityHost, tenantId, clientId }
  return ask(client, application, { client_secret: clientSecret }, { ...terms, ambient: false })
}

/** With the token that the platform keeps in a file for this workload. */
export async function askWithFederatedToken(
  client: TokenClient,
  { authorityHost, tenantId, clientId, federatedTokenFile }: AzureAmbient,
  terms: TokenTerms,
): Promise<AzureToken | AuthorizationFault> {
  let assertion: string
  try {
    assertion = await client.readTokenFile(federatedTokenFile)
  } catch (thrown) {
    return failed('the federated token file could not be read', thrown)
  }
  const proof = { client_assertion_type: jwtBearer, client_assertion: assertion }
  return ask(client, { authorityHost, tenantId, clientId }, proof, { ...terms, ambient: true })
}

async function ask(
  client: TokenClient,
  { authorityHost, tenantId, clientId }: Application,
  proof: Readonly<Record<string, string>>,
  terms: TokenTerms & { readonly ambient: boolean },
): Promise<AzureToken | AuthorizationFault> {
  const { timeoutMs, ambient } = terms
  const form = { client_id: clientId, scope: `${audience}/.default`, grant_type: 'client_credentials', ...proof }
  try {
    const answer = await client.call({
      method: 'POST',
      // Platforms set the host with a slash behind it.
      url: `${authorityHost.replace(/\/+$/, '')}/${encodeURIComponent(tenantId)}/oauth2/v2.0/token`,
      headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' },
      body: new URLSearchParams(form).toString(),
      ...{ timeoutMs, ambient },
    })
    return tokenIn(answer, terms, who)
  } catch (thrown) {
    return failed(`${who} could not be asked`, thrown)
  }
}
