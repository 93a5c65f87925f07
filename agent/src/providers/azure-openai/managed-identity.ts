import type { AzureAmbient } from '../ambient.js'
import type { AuthorizationFault } from '../provider-dialect.js'
import type { TokenClient } from '../token-client.js'
import { type AzureToken, audience, failed, type TokenTerms, tokenIn } from './access-token.js'

const who = 'the instance metadata service'

/**
 * Asks the machine for a token of its managed identity; of the one called `clientId` where the machine has several. Source:
 * Microsoft's documentation, "How to use managed identities for Azure resources on an Azure VM to acquire an access token".
 */
export async function askMachine(
  client: TokenClient,
  { metadataHost, clientId }: AzureAmbient,
  terms: TokenTerms,
): Promise<AzureToken | AuthorizationFault> {
  const query = new URLSearchParams({ 'api-version': '2018-02-01', resource: audience })
  if (clientId !== '') query.set('client_id', clientId)
  try {
    const answer = await client.call({
      method: 'GET',
      url: `${metadataHost.replace(/\/+$/, '')}/metadata/identity/oauth2/token?${query}`,
      headers: { metadata: 'true', accept: 'application/json' },
      body: null,
      timeoutMs: terms.timeoutMs,
      ambient: true,
    })
    return tokenIn(answer, terms, who)
  } catch (thrown) {
    return failed(`${who} could not be asked`, thrown)
  }
}
