import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { RefusalError } from '../../../proto/std/refusal.js'
import { type CredentialContent, readCredential } from './credential.js'
import { type ProviderKind, providerKinds } from './provider-kind.js'
import { secretCharactersMax } from './secret.js'

const pem = (type: 'rsa' | 'ec') =>
  (type === 'rsa'
    ? generateKeyPairSync('rsa', { modulusLength: 2048 })
    : generateKeyPairSync('ec', { namedCurve: 'P-256' })
  ).privateKey
    .export({ type: 'pkcs8', format: 'pem' })
    .toString()
const rsa = pem('rsa')
const google = {
  ...{ type: 'service_account', project_id: 'acme-prod-1', private_key_id: 'k1', private_key: rsa },
  ...{ client_email: 'gateway@acme-prod-1.iam.gserviceaccount.com', client_id: '1', universe_domain: 'googleapis.com' },
  ...{ auth_uri: 'https://accounts.google.com/o/oauth2/auth', token_uri: 'https://oauth2.googleapis.com/token' },
}
const aws = { accessKeyId: 'AKIAEXAMPLE', secretAccessKey: 'zz/Secret+Key=' }
const entra = { tenantId: '00000000-0000-0000-0000-000000000001', clientId: 'c0', clientSecret: 'Q~zzSecret' }

function read(
  kind: ProviderKind,
  content: { secret: string } | { reference: string },
): CredentialContent | RefusalError {
  try {
    return readCredential(
      kind,
      'secret' in content ? { kind: 'secret', ...content } : { kind: 'reference', ...content },
    )
  } catch (error) {
    if (error instanceof RefusalError) return error
    throw error
  }
}
const pretty = (value: object) => `\n${JSON.stringify(value, null, 2)}\n`

describe('a secret', () => {
  test.each<[ProviderKind, string, string]>([
    ['openai', ' sk-1 ', 'sk-1'],
    ['anthropic', 'sk-ant-1', 'sk-ant-1'],
    ['azure-openai', ' 0123abcd ', '0123abcd'],
    ['azure-openai', pretty(entra), JSON.stringify(entra)],
    [
      'azure-openai',
      pretty({ ...entra, authorityHost: 'https://login.microsoftonline.us/' }),
      JSON.stringify({ ...entra, authorityHost: 'https://login.microsoftonline.us' }),
    ],
    ['bedrock', pretty(aws), JSON.stringify(aws)],
    ['bedrock', pretty({ ...aws, sessionToken: 'tok//==' }), JSON.stringify({ ...aws, sessionToken: 'tok//==' })],
    [
      'vertex',
      pretty(google),
      JSON.stringify({
        ...{ type: google.type, project_id: google.project_id, private_key_id: 'k1', private_key: rsa },
        ...{ client_email: google.client_email, token_uri: google.token_uri },
      }),
    ],
  ])('of %s is kept as agents read it', (kind, given, kept) => {
    expect(read(kind, { secret: given })).toEqual({ kind: 'secret', secret: kept })
    expect(kept).toMatch(/^[\x20-\x7e]+$/)
  })

  test.each<[ProviderKind, string, string]>([
    ['openai', 'zz words', 'printable ASCII without spaces'],
    ['openai', '', 'at least one character'],
    ['anthropic', 'z'.repeat(secretCharactersMax + 1), 'at most'],
    ['azure-openai', 'zz words', 'printable ASCII without spaces'],
    ['azure-openai', '{"zz', 'a JSON object with tenantId'],
    ['azure-openai', pretty({ ...entra, tenantId: 'zz/../x' }), 'tenantId is empty, or holds characters'],
    ['azure-openai', pretty({ ...entra, clientSecret: '' }), 'clientSecret is empty'],
    ['azure-openai', pretty({ ...entra, clientSecret: 'zzé' }), 'clientSecret is empty, or holds characters'],
    ['azure-openai', pretty({ ...entra, zz: 1 }), 'and no other member'],
    ['azure-openai', pretty({ ...entra, authorityHost: 'http://zz.example.com' }), 'authorityHost is not an https'],
    ['azure-openai', pretty({ ...entra, authorityHost: 'https://169.254.169.254' }), 'authorityHost is not an https'],
    ['azure-openai', pretty({ ...entra, authorityHost: 'https://zz.example.com/x' }), 'authorityHost is not an origin'],
    ['bedrock', 'AKIAzz:zz', 'a JSON object with accessKeyId, secretAccessKey'],
    ['bedrock', '["zz"]', 'a JSON object with accessKeyId'],
    ['bedrock', pretty({ accessKeyId: 'AKIAzz' }), 'secretAccessKey is missing'],
    ['bedrock', pretty({ ...aws, secretAccessKey: 'zz\nzz' }), 'secretAccessKey is empty, or holds'],
    ['bedrock', pretty({ ...aws, AccessKeyId: 'zz' }), 'and no other member'],
    ['vertex', 'zz', "the JSON of a service account's key"],
    ['vertex', pretty({ ...google, type: 'zz' }), 'type is not service_account'],
    ['vertex', pretty({ ...google, private_key: 'zz' }), 'private_key is not an RSA key'],
    ['vertex', pretty({ ...google, private_key: pem('ec') }), 'private_key is not an RSA key'],
    ['vertex', pretty({ ...google, client_email: 'zz' }), 'client_email'],
    ['vertex', pretty({ ...google, token_uri: 'http://zz.example.com' }), 'token_uri is not an https'],
    ['vertex', pretty({ ...google, token_uri: undefined }), 'token_uri is missing'],
  ])('of %s that is none is refused, and not repeated', (kind, secret, words) => {
    const refused = read(kind, { secret }) as RefusalError
    expect(refused.refusal).toMatchObject({ code: 'bad_input', field: 'input.credential.secret' })
    expect(refused.message).toContain(words)
    expect(JSON.stringify(refused.refusal)).not.toContain('zz')
  })
})

describe('a reference', () => {
  test.each(['env:UPSTREAM_KEY', 'file:/run/secrets/key'])('%s is for every kind', (reference) => {
    for (const kind of providerKinds) expect(read(kind, { reference })).toEqual({ kind: 'reference', reference })
  })

  test.each<[string, ProviderKind]>([
    ['ambient:aws', 'bedrock'],
    ['ambient:azure', 'azure-openai'],
    ['ambient:google', 'vertex'],
  ])('%s is for %s only', (reference, owner) => {
    for (const kind of providerKinds) {
      const result = read(kind, { reference })
      if (kind === owner) expect(result).toEqual({ kind: 'reference', reference })
      else {
        expect(result).toMatchObject({ refusal: { code: 'bad_input', field: 'input.credential.reference' } })
        expect((result as RefusalError).message).toContain(
          `${reference} is for providers of kind ${owner}, not ${kind}`,
        )
      }
    }
  })

  test.each(['ambient:', 'ambient:aws ', 'ambient:AWS', 'vault:x', 'env:1X', 'file:relative', 'file:/a/../b'])(
    '%s is none of openai',
    (reference) => {
      expect(read('openai', { reference })).toMatchObject({ refusal: { field: 'input.credential.reference' } })
    },
  )
})
