import { describe, expect, test } from 'vitest'
import { ambientIn } from './ambient-settings.js'

const everything = {
  ...{ AWS_ACCESS_KEY_ID: 'AKIA1', AWS_SECRET_ACCESS_KEY: 'aws-secret', AWS_SESSION_TOKEN: 'aws-session' },
  ...{ AWS_WEB_IDENTITY_TOKEN_FILE: '/aws/token', AWS_ROLE_ARN: 'arn:aws:iam::1:role/r', AWS_ROLE_SESSION_NAME: 'me' },
  ...{ AWS_ENDPOINT_URL_STS: 'https://sts.example', AZURE_TENANT_ID: 'tenant', AZURE_CLIENT_ID: 'client' },
  ...{ AZURE_FEDERATED_TOKEN_FILE: '/azure/token', AZURE_AUTHORITY_HOST: 'https://login.example/' },
  ...{ AZURE_POD_IDENTITY_AUTHORITY_HOST: 'http://127.0.0.1:2579', GCE_METADATA_HOST: '127.0.0.1:8080' },
}

const aws = {
  ...{ accessKeyId: 'AKIA1', secretAccessKey: 'aws-secret', sessionToken: 'aws-session' },
  ...{ webIdentityTokenFile: '/aws/token', roleArn: 'arn:aws:iam::1:role/r', roleSessionName: 'me' },
  stsEndpoint: 'https://sts.example',
}
const azure = {
  ...{ tenantId: 'tenant', clientId: 'client', federatedTokenFile: '/azure/token' },
  ...{ authorityHost: 'https://login.example/', metadataHost: 'http://127.0.0.1:2579' },
}
const google = { metadataHost: 'http://127.0.0.1:8080' }

/** The same variables, and which of them were looked at. */
function watched(variables: Readonly<Record<string, string>>) {
  const read: string[] = []
  const environment = new Proxy(variables, {
    get(target, name) {
      read.push(String(name))
      return target[String(name)]
    },
  })
  return { environment, read }
}

describe('the identities of the machine', () => {
  const cases: [string, string[], object, RegExp][] = [
    ['none', [], { aws: null, azure: null, google: null }, /^never$/],
    ['aws', ['aws'], { aws, azure: null, google: null }, /^AWS_/],
    ['azure', ['azure'], { aws: null, azure, google: null }, /^AZURE_/],
    ['google', ['google'], { aws: null, azure: null, google }, /^GCE_/],
    ['all', ['google', 'aws', 'azure'], { aws, azure, google }, /^(AWS|AZURE|GCE)_/],
    ['what no cloud is called', ['AWS', 'azure ', '', 'alibaba'], { aws: null, azure: null, google: null }, /^never$/],
  ]
  test.each(cases)('%s: as permitted, and nothing of the others is even read', (_name, permitted, expected, names) => {
    const { environment, read } = watched(everything)
    expect(ambientIn(environment, permitted)).toEqual(expected)
    expect(read.filter((name) => !names.test(name))).toEqual([])
  })

  test.each([
    ['set to nothing', Object.fromEntries(Object.keys(everything).map((name) => [name, '']))],
    ['not set', {}],
  ])('are where they usually are with variables %s', (_name, environment) => {
    expect(ambientIn(environment, ['aws', 'azure', 'google'])).toEqual({
      aws: {
        ...{ accessKeyId: '', secretAccessKey: '', sessionToken: '', webIdentityTokenFile: '', roleArn: '' },
        ...{ roleSessionName: 'switchyard-agent', stsEndpoint: '' },
      },
      azure: {
        ...{ tenantId: '', clientId: '', federatedTokenFile: '' },
        ...{ authorityHost: 'https://login.microsoftonline.com', metadataHost: 'http://169.254.169.254' },
      },
      google: { metadataHost: 'http://metadata.google.internal' },
    })
  })

  test('are settled: nobody changes them later', () => {
    const ambient = ambientIn(everything, ['aws', 'azure', 'google'])
    expect([ambient, ambient.aws, ambient.azure, ambient.google].every(Object.isFrozen)).toBe(true)
  })
})
