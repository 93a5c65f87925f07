import type { Clock } from '../../../../proto/std/clock.js'
import type { AccessTokens } from '../access-tokens.js'
import type { AmbientSources } from '../ambient.js'
import type { AuthorizationFault, OutgoingCall, ProviderSecret } from '../provider-dialect.js'
import type { TokenClient } from '../token-client.js'
import { type AwsCredentials, awsCredentials, credentialsInSecret } from './aws-credentials.js'
import { WebIdentity } from './web-identity.js'

/**
 * Who the agent is to AWS: the keys that a provider's secret holds, or what the machine was given, in the order of AWS's own
 * SDKs: keys in the environment, then a web identity. Other sources of theirs (profiles, instance and container metadata)
 * are not asked.
 */
export interface AwsTools {
  readonly clock: Clock
  readonly tokens: AccessTokens
  readonly client: TokenClient
  readonly ambient: Pick<AmbientSources, 'aws'>
}

type Identified = AwsCredentials | AuthorizationFault | Promise<AwsCredentials | AuthorizationFault>

/** Secrets beyond this many: the one read longest ago is forgotten. */
const secretsMax = 256

export class AwsIdentity {
  readonly #bySecret = new Map<string, AwsCredentials | AuthorizationFault>()
  readonly #ambient: (call: OutgoingCall) => Identified

  constructor(tools: AwsTools) {
    this.#ambient = ambientIdentity(tools)
  }

  get(call: OutgoingCall, secret: ProviderSecret): Identified {
    if (typeof secret === 'string') return this.#bySecret.get(secret) ?? this.#read(secret)
    return secret.ambient === 'aws'
      ? this.#ambient(call)
      : { fault: 'unavailable', message: `an identity of ${secret.ambient} is none for AWS` }
  }

  #read(secret: string): AwsCredentials | AuthorizationFault {
    const credentials = credentialsInSecret(secret) ?? unreadableSecret
    if (this.#bySecret.size >= secretsMax) {
      for (const oldest of this.#bySecret.keys()) {
        this.#bySecret.delete(oldest)
        break
      }
    }
    this.#bySecret.set(secret, credentials)
    return credentials
  }
}

/** Nothing that AWS could ever take: shown in the fleet like a credential that it refused. */
const unreadableSecret: AuthorizationFault = Object.freeze({
  fault: 'rejected',
  message: 'the secret is not a JSON object with accessKeyId, secretAccessKey and, if it is temporary, sessionToken',
})

function ambientIdentity({ ambient: { aws }, ...tools }: AwsTools): (call: OutgoingCall) => Identified {
  if (aws === null) return unavailable('aws is not listed in SWITCHYARD_AGENT_AMBIENT_CREDENTIALS')
  if (aws.accessKeyId !== '' || aws.secretAccessKey !== '') {
    const keys = awsCredentials(aws.accessKeyId, aws.secretAccessKey, aws.sessionToken === '' ? null : aws.sessionToken)
    return keys === null ? unavailable('AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are no pair of keys') : () => keys
  }
  if (aws.webIdentityTokenFile === '' || aws.roleArn === '') {
    return unavailable(
      'the environment has neither AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY nor AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN',
    )
  }
  const identity = new WebIdentity(aws, tools)
  return (call) => identity.get(call.provider.vendorRegion, call.timeoutMs)
}

function unavailable(message: string): () => AuthorizationFault {
  const fault: AuthorizationFault = Object.freeze({ fault: 'unavailable', message })
  return () => fault
}
