/**
 * What identities the agent's own machine has, as settings permit them: null for a cloud that is not permitted, which then
 * no provider record can use.
 */
export interface AmbientSources {
  readonly aws: AwsAmbient | null
  readonly azure: AzureAmbient | null
  readonly google: GoogleAmbient | null
}

/** The variables of AWS's SDKs; empty where not set. Static keys count before a web identity. */
export interface AwsAmbient {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken: string
  readonly webIdentityTokenFile: string
  readonly roleArn: string
  readonly roleSessionName: string
  /** Base URL of STS; empty: the one of the provider's region. */
  readonly stsEndpoint: string
}

/** The variables of Azure's workload identity; without a token file the machine's managed identity is asked. */
export interface AzureAmbient {
  readonly tenantId: string
  readonly clientId: string
  readonly federatedTokenFile: string
  /** For example `https://login.microsoftonline.com`. */
  readonly authorityHost: string
  /** Base URL of the instance metadata service. */
  readonly metadataHost: string
}

export interface GoogleAmbient {
  /** Base URL of the metadata server. */
  readonly metadataHost: string
}
