import { expect, test } from 'vitest'
import type { ProviderKind } from './provider-kind.js'
import { type OpenCredential, probeOf } from './provider-probe.js'

const baseUrl = 'https://h.example.com/b'
const of = (kind: ProviderKind, credential: OpenCredential | null, apiVersion: string | null = null) =>
  probeOf({ kind, baseUrl, apiVersion }, credential)
const secret = { secret: 's' }
const entra = { secret: '{"tenantId":"t","clientId":"c","clientSecret":"s"}' }

test.each<[ProviderKind, string | null, string, Record<string, string>]>([
  ['openai', null, '/models', { authorization: 'Bearer s' }],
  ['vllm', null, '/models', { authorization: 'Bearer s' }],
  ['anthropic', null, '/models', { 'x-api-key': 's', 'anthropic-version': '2023-06-01' }],
  ['azure-openai', '2024-10-21', '/openai/models?api-version=2024-10-21', { 'api-key': 's' }],
  ['azure-openai', 'v1', '/openai/v1/models', { 'api-key': 's' }],
])('%s (%s) is asked for its models at %s', (kind, apiVersion, path, headers) => {
  expect(of(kind, secret, apiVersion)).toMatchObject({
    asks: 'models',
    url: `${baseUrl}${path}`,
    withSecret: true,
    headers,
  })
  const open = of(kind, null, apiVersion)
  expect(open).toMatchObject({ asks: 'models', withSecret: false })
  expect(JSON.stringify(open)).not.toMatch(/Bearer|api-key/)
})

test.each<[string, ProviderKind, OpenCredential | null, string]>([
  ['Entra ID', 'azure-openai', entra, 'only an agent can test that'],
  ["Azure's ambient identity", 'azure-openai', { reference: 'ambient:azure' }, 'ambient:azure: only an agent'],
  ['Bedrock', 'bedrock', { secret: '{"accessKeyId":"s"}' }, 'first used by an agent'],
  ['Bedrock by reference', 'bedrock', { reference: 'env:AWS' }, 'first used by an agent'],
  ['Vertex', 'vertex', { reference: 'ambient:google' }, 'first used by an agent'],
  ['A classifier', 'classifier', { secret: 's' }, 'Only agents ask it'],
  ['A classifier by reference', 'classifier', { reference: 'env:JUDGE' }, 'Only agents ask it'],
  ['Vertex without a credential', 'vertex', null, 'has no credential'],
])('%s is only reached, and told so', (_, kind, credential, words) => {
  const probe = of(kind, credential, 'v1')
  expect(probe).toEqual({ asks: 'anything', url: `${baseUrl}/`, untested: expect.stringContaining(words) })
})

test.each<[ProviderKind, string]>([
  ['openai', 'env:KEY'],
  ['azure-openai', 'file:/run/secrets/key'],
])('a reference of %s (%s) is left to the agents', (kind, reference) => {
  expect(of(kind, { reference }, 'v1')).toEqual({ asks: 'nothing', untested: expect.stringContaining(reference) })
})
