import type { AmbientSources } from './providers/ambient.js'

/**
 * The clouds' own variables, under their own names: whoever runs a workload there has them set by the platform. Read only
 * for the clouds that `SWITCHYARD_AGENT_AMBIENT_CREDENTIALS` permits.
 */
export function ambientIn(
  environment: Readonly<Record<string, string | undefined>>,
  permitted: readonly string[],
): AmbientSources {
  const value = (name: string, fallback = '') => environment[name] || fallback
  return Object.freeze({
    aws: permitted.includes('aws')
      ? Object.freeze({
          accessKeyId: value('AWS_ACCESS_KEY_ID'),
          secretAccessKey: value('AWS_SECRET_ACCESS_KEY'),
          sessionToken: value('AWS_SESSION_TOKEN'),
          webIdentityTokenFile: value('AWS_WEB_IDENTITY_TOKEN_FILE'),
          roleArn: value('AWS_ROLE_ARN'),
          roleSessionName: value('AWS_ROLE_SESSION_NAME', 'switchyard-agent'),
          stsEndpoint: value('AWS_ENDPOINT_URL_STS'),
        })
      : null,
    azure: permitted.includes('azure')
      ? Object.freeze({
          tenantId: value('AZURE_TENANT_ID'),
          clientId: value('AZURE_CLIENT_ID'),
          federatedTokenFile: value('AZURE_FEDERATED_TOKEN_FILE'),
          authorityHost: value('AZURE_AUTHORITY_HOST', 'https://login.microsoftonline.com'),
          metadataHost: value('AZURE_POD_IDENTITY_AUTHORITY_HOST', 'http://169.254.169.254'),
        })
      : null,
    google: permitted.includes('google')
      ? Object.freeze({ metadataHost: `http://${value('GCE_METADATA_HOST', 'metadata.google.internal')}` })
      : null,
  })
}
