import type { ProviderTable } from '../../../../proto/policy/tables.js'
import type { Clock } from '../../../../proto/std/clock.js'
import type { AccessTokens } from '../access-tokens.js'
import type { AzureAmbient } from '../ambient.js'
import type {
  AmbientIdentity,
  Authorization,
  AuthorizationFault,
  OutgoingCall,
  ProviderSecret,
} from '../provider-dialect.js'
import type { TokenClient } from '../token-client.js'
import type { AzureToken, TokenTerms } from './access-token.js'
import { askWithFederatedToken, askWithSecret } from './entra-id.js'
import { askMachine } from './managed-identity.js'

/** What is needed to exchange a credential for a token. */
export interface AzureTools {
  readonly clock: Clock
  readonly tokens: AccessTokens
  readonly client: TokenClient
  readonly ambient: { readonly azure: AzureAmbient | null }
}

/**
 * Who we are to Azure OpenAI: a key as it is, or a token of Entra ID, kept until it ends. Secrets that are JSON are for
 * Entra ID; no key begins with a brace, and one that is damaged must not go anywhere as a key.
 */
export class AzureAuthorizer {
  readonly #tools: AzureTools

  constructor(tools: AzureTools) {
    this.#tools = tools
  }

  authorize(
    { provider, timeoutMs }: OutgoingCall,
    secret: ProviderSecret | null,
  ): Authorization | Promise<Authorization> {
    if (secret === null) return []
    if (typeof secret === 'string' && !secret.startsWith('{')) return ['api-key', secret]
    const token = this.#tools.tokens.get(tokenKey(provider), timeoutMs, () =>
      this.#ask(secret, { timeoutMs, askedAtMs: this.#tools.clock.nowMs() }),
    )
    return token instanceof Promise ? token.then(headersOf) : headersOf(token)
  }

  async #ask(secret: ProviderSecret, terms: TokenTerms): Promise<AzureToken | AuthorizationFault> {
    const { client } = this.#tools
    return typeof secret === 'string' ? askWithSecret(client, secret, terms) : this.#askAmbient(secret, terms)
  }

  async #askAmbient({ ambient: cloud }: AmbientIdentity, terms: TokenTerms): Promise<AzureToken | AuthorizationFault> {
    const { client, ambient } = this.#tools
    const { azure } = ambient
    if (cloud !== 'azure') return misconfigured(`Azure OpenAI takes ambient:azure, not ambient:${cloud}`)
    if (azure === null) return misconfigured('azure is not listed in SWITCHYARD_AGENT_AMBIENT_CREDENTIALS')
    if (azure.federatedTokenFile === '') return askMachine(client, azure, terms)
    if (azure.tenantId === '' || azure.clientId === '') {
      return misconfigured('AZURE_FEDERATED_TOKEN_FILE needs AZURE_TENANT_ID and AZURE_CLIENT_ID beside it')
    }
    return askWithFederatedToken(client, azure, terms)
  }
}

function misconfigured(message: string): AuthorizationFault {
  return { fault: 'unavailable', message }
}

function headersOf(token: AzureToken | AuthorizationFault): Authorization {
  return 'fault' in token ? token : ['authorization', `Bearer ${token.accessToken}`]
}

/** The secret itself is no key: keys are kept longer, and shown sooner, than what they lead to. */
export function tokenKey({ credential }: ProviderTable): string {
  return `azure-openai ${credential?.id}@${credential?.version}`
}
