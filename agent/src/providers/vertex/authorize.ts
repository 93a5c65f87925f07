import type { ProviderTable } from '../../../../proto/policy/tables.js'
import type { Clock } from '../../../../proto/std/clock.js'
import type { AccessTokens } from '../access-tokens.js'
import type { AmbientSources } from '../ambient.js'
import type { Authorization, AuthorizationFault, OutgoingCall, ProviderSecret } from '../provider-dialect.js'
import type { TokenClient } from '../token-client.js'
import type { AccessToken } from './access-token.js'
import { askMetadataServer } from './metadata-server.js'
import { exchangeServiceAccount } from './service-account.js'

export interface VertexTools {
  readonly clock: Clock
  readonly tokens: AccessTokens
  readonly client: TokenClient
  readonly ambient: AmbientSources
}

/**
 * Who we are to Google: a bearer token, got for a service account's key or from the machine's own metadata server, and
 * kept for as long as it holds. Never rejects, never throws.
 */
export function authorizeVertex(
  tools: VertexTools,
  { provider, timeoutMs }: OutgoingCall,
  secret: ProviderSecret | null,
): Authorization | Promise<Authorization> {
  if (secret === null) return []
  const { clock, client, tokens, ambient } = tools
  const options = { clock, client, timeoutMs }
  const key = tokenKey(provider)
  if (typeof secret === 'string')
    return headersOf(tokens.get(key, timeoutMs, () => exchangeServiceAccount(secret, options)))
  if (secret.ambient !== 'google')
    return { fault: 'rejected', message: `a machine identity of ${secret.ambient}, not Google` }
  if (ambient.google === null) return notPermitted
  const { metadataHost } = ambient.google
  return headersOf(tokens.get(key, timeoutMs, () => askMetadataServer(metadataHost, options)))
}

const notPermitted: AuthorizationFault = Object.freeze({
  fault: 'rejected',
  message:
    'this agent may not use its machine’s Google identity: SWITCHYARD_AGENT_AMBIENT_CREDENTIALS does not name it',
})

type Held = AccessToken | AuthorizationFault

function headersOf(held: Held | Promise<Held>): Authorization | Promise<Authorization> {
  return held instanceof Promise ? held.then(bearer) : bearer(held)
}

function bearer(held: Held): Authorization {
  return 'fault' in held ? held : ['authorization', `Bearer ${held.token}`]
}

/** The secret itself is no key: keys are kept longer, and shown sooner, than what they lead to. */
export function tokenKey({ credential }: ProviderTable): string {
  return `vertex ${credential?.id} ${credential?.version}`
}
