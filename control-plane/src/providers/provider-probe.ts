import type { ProviderFields } from './provider.js'
import type { ProviderKind } from './provider-kind.js'
import { isEntraSecret } from './secret.js'

/**
 * What a test of a provider does, by its kind and credential: the control plane shows secrets that go into a header as they
 * are, and nothing else. It signs nothing and fetches no tokens, for that is the agents' work, done with code that is theirs.
 */
export type Probe =
  /** Asks for the list of models. */
  | {
      readonly asks: 'models'
      readonly url: string
      readonly headers: Readonly<Record<string, string>>
      readonly withSecret: boolean
      /** What to look at when the list is not there. */
      readonly notThere: string
    }
  /** Asks for anything, without the credential: that there is an answer at all is what can be known from here. */
  | { readonly asks: 'anything'; readonly url: string; readonly untested: string }
  /** Asks nothing. */
  | { readonly asks: 'nothing'; readonly untested: string }

/** A credential as far as the control plane can open it. */
export type OpenCredential = { readonly secret: string } | { readonly reference: string }

const anthropicVersion = '2023-06-01'
const fleetView = 'the fleet view shows for each agent whether this provider is ready'

/** Pure. */
export function probeOf(
  { kind, baseUrl, apiVersion }: Pick<ProviderFields, 'kind' | 'baseUrl' | 'apiVersion'>,
  credential: OpenCredential | null,
): Probe {
  const anything = (untested: string): Probe => ({ asks: 'anything', url: `${baseUrl}/`, untested })
  if (kind === 'bedrock' || kind === 'vertex') {
    return anything(
      credential === null
        ? `It has no credential; whether it wants one is first seen by an agent, and ${fleetView}.`
        : `Its credential is first used by an agent, so nothing is known of it here; ${fleetView}.`,
    )
  }
  if (kind === 'classifier') {
    // It has no list of models; whether it takes what it is shown is first seen where a prompt is.
    return anything(
      `Only agents ask it about prompts, and count what comes of it (classifier_calls_total); ${fleetView}.`,
    )
  }
  if (credential !== null && 'reference' in credential) {
    const { reference } = credential
    if (reference.startsWith('ambient:')) return anything(onlyAnAgent(`The credential is ${reference}`))
    return {
      asks: 'nothing',
      untested: `The credential is ${reference}, which only agents can read, so it cannot be tested from here; ${fleetView}.`,
    }
  }
  const secret = credential?.secret ?? null
  if (kind === 'azure-openai' && secret !== null && isEntraSecret(secret)) {
    return anything(onlyAnAgent('The credential is for Entra ID'))
  }
  return {
    asks: 'models',
    url: `${baseUrl}${listPath(kind, apiVersion)}`,
    headers: { ...(kind === 'anthropic' && { 'anthropic-version': anthropicVersion }), ...shown(kind, secret) },
    withSecret: secret !== null,
    notThere:
      kind === 'azure-openai'
        ? 'give the address of the resource itself, https://NAME.openai.azure.com, without /openai, and an API version that it has'
        : 'most servers want a base URL that ends in /v1',
  }
}

function onlyAnAgent(what: string): string {
  return `${what}: only an agent can test that, so it was not used here; ${fleetView}.`
}

function listPath(kind: ProviderKind, apiVersion: string | null): string {
  if (kind !== 'azure-openai') return '/models'
  return apiVersion === 'v1' ? '/openai/v1/models' : `/openai/models?api-version=${apiVersion}`
}

function shown(kind: ProviderKind, secret: string | null): Record<string, string> {
  if (secret === null) return {}
  if (kind === 'azure-openai') return { 'api-key': secret }
  return kind === 'anthropic' ? { 'x-api-key': secret } : { authorization: `Bearer ${secret}` }
}
