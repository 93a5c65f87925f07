import { describe, expect, test } from 'vitest'
import { endpointInput, isExternalKind, providerKinds } from './provider-kind.js'

const read = (input: object) => endpointInput.safeParse(input)
const nothing = { apiVersion: null, vendorRegion: null, vendorProject: null, replicaUrls: [], replicaScrapeMs: null }
const vllm = { kind: 'vllm', baseUrl: 'http://vllm:8000/v1' }
const azure = { kind: 'azure-openai', baseUrl: 'https://acme.openai.azure.com', apiVersion: '2024-10-21' }
const vertex = { kind: 'vertex', vendorRegion: 'europe-west4', vendorProject: 'acme-prod-1' }

describe('where a provider lives, and what its requests need', () => {
  test.each<[object, object]>([
    [{ kind: 'openai' }, { baseUrl: 'https://api.openai.com/v1' }],
    [{ kind: 'openai', baseUrl: 'https://proxy.example.com/v1/' }, { baseUrl: 'https://proxy.example.com/v1' }],
    [{ kind: 'anthropic' }, { baseUrl: 'https://api.anthropic.com/v1' }],
    [{ kind: 'vllm', baseUrl: 'http://vllm:8000/v1', apiVersion: null }, { baseUrl: 'http://vllm:8000/v1' }],
    [
      { ...vllm, replicaUrls: ['http://vllm-0:8000/v1/', ' http://10.0.0.7:8000/v1'], replicaScrapeMs: 500 },
      {
        ...{ baseUrl: vllm.baseUrl, replicaUrls: ['http://vllm-0:8000/v1', 'http://10.0.0.7:8000/v1'] },
        replicaScrapeMs: 500,
      },
    ],
    [{ kind: 'openai', replicaUrls: [] }, { baseUrl: 'https://api.openai.com/v1' }],
    [{ kind: 'classifier', baseUrl: 'http://judge:8080/v2/' }, { baseUrl: 'http://judge:8080/v2' }],
    [azure, { baseUrl: 'https://acme.openai.azure.com', apiVersion: '2024-10-21' }],
    [
      { ...azure, apiVersion: '2025-04-01-preview' },
      { baseUrl: azure.baseUrl, apiVersion: '2025-04-01-preview' },
    ],
    [
      { ...azure, apiVersion: 'v1' },
      { baseUrl: azure.baseUrl, apiVersion: 'v1' },
    ],
    [
      { kind: 'bedrock', vendorRegion: 'eu-central-1' },
      { baseUrl: 'https://bedrock-runtime.eu-central-1.amazonaws.com', vendorRegion: 'eu-central-1' },
    ],
    [
      { kind: 'bedrock', vendorRegion: 'us-gov-west-1' },
      { baseUrl: 'https://bedrock-runtime.us-gov-west-1.amazonaws.com', vendorRegion: 'us-gov-west-1' },
    ],
    [
      { kind: 'bedrock', vendorRegion: 'eu-west-1', baseUrl: 'https://vpce-1.example.com' },
      { baseUrl: 'https://vpce-1.example.com', vendorRegion: 'eu-west-1' },
    ],
    [
      vertex,
      {
        baseUrl: 'https://europe-west4-aiplatform.googleapis.com',
        ...{ vendorRegion: 'europe-west4', vendorProject: 'acme-prod-1' },
      },
    ],
    [
      { ...vertex, vendorRegion: 'global', vendorProject: 'example.com:acme-prod' },
      {
        baseUrl: 'https://aiplatform.googleapis.com',
        ...{ vendorRegion: 'global', vendorProject: 'example.com:acme-prod' },
      },
    ],
  ])('%j is complete', (input, expected) => {
    expect(read(input)).toEqual({ success: true, data: { ...nothing, ...expected } })
  })

  test.each<[object, string, string]>([
    [{ kind: 'vllm' }, 'baseUrl', 'needs one, such as http://vllm:8000/v1'],
    [{ kind: 'ollama' }, 'baseUrl', 'needs one'],
    [{ kind: 'openai-compatible' }, 'baseUrl', 'needs one'],
    [{ kind: 'azure-openai', apiVersion: 'v1' }, 'baseUrl', 'https://NAME.openai.azure.com'],
    [{ kind: 'classifier' }, 'baseUrl', 'needs one, such as http://classifier:8080'],
    [{ kind: 'openai', baseUrl: 'http://169.254.169.254/' }, 'baseUrl', 'metadata'],
    [{ kind: 'openai', apiVersion: 'v1' }, 'apiVersion', 'kind openai has none'],
    [{ kind: 'anthropic', vendorRegion: 'eu-central-1' }, 'vendorRegion', 'kind anthropic has none'],
    [{ kind: 'bedrock', vendorRegion: 'eu-central-1', vendorProject: 'acme-1' }, 'vendorProject', 'has none'],
    [{ ...azure, vendorRegion: 'westeurope' }, 'vendorRegion', 'has none'],
    [{ ...azure, apiVersion: undefined }, 'apiVersion', 'needs one: expected a date'],
    [{ ...azure, apiVersion: '2024-10-21&x=1' }, 'apiVersion', 'expected a date'],
    [{ ...azure, apiVersion: '' }, 'apiVersion', 'expected a date'],
    [{ kind: 'bedrock' }, 'vendorRegion', 'needs one: expected an AWS region'],
    [{ kind: 'bedrock', vendorRegion: 'frankfurt' }, 'vendorRegion', 'expected an AWS region'],
    [{ kind: 'bedrock', vendorRegion: 'eu-central-1.evil.com/' }, 'vendorRegion', 'expected an AWS region'],
    [{ kind: 'bedrock', vendorRegion: 'cn-north-1' }, 'baseUrl', 'needs one'],
    [{ kind: 'bedrock', vendorRegion: 'us-isob-east-1' }, 'baseUrl', 'needs one'],
    [{ ...vertex, vendorRegion: undefined }, 'vendorRegion', 'needs one: expected a Google Cloud location'],
    [{ ...vertex, vendorRegion: 'eu-central-1' }, 'vendorRegion', 'expected a Google Cloud location'],
    [{ ...vertex, vendorRegion: 'eu' }, 'baseUrl', 'needs one'],
    [{ ...vertex, vendorProject: null }, 'vendorProject', 'needs one: expected the id'],
    [{ ...vertex, vendorProject: 'a/b' }, 'vendorProject', 'expected the id'],
  ])('%j is refused by its field', (input, field, words) => {
    const { error } = read(input)
    expect(error?.issues).toMatchObject([{ path: [field], message: expect.stringContaining(words) }])
  })

  test.each<[object, (string | number)[], string]>([
    [{ kind: 'openai', replicaUrls: ['https://a.example.com'] }, ['replicaUrls'], 'kind openai has none'],
    [
      { kind: 'classifier', baseUrl: 'http://judge', replicaUrls: ['http://a'] },
      ['replicaUrls'],
      'classifier has none',
    ],
    [{ kind: 'anthropic', replicaScrapeMs: 500 }, ['replicaScrapeMs'], 'kind anthropic agents read nothing'],
    [{ ...vllm, replicaUrls: ['http://a', 'ftp://b'] }, ['replicaUrls', 1], 'https:// or http://'],
    [{ ...vllm, replicaUrls: ['http://user:pw@a'] }, ['replicaUrls', 0], 'credential'],
    [{ ...vllm, replicaUrls: ['http://169.254.169.254/v1'] }, ['replicaUrls', 0], 'metadata'],
    [{ ...vllm, replicaUrls: ['http://a/v1', 'http://a/v1/'] }, ['replicaUrls', 1], 'given before'],
    [
      { ...vllm, replicaUrls: Array.from({ length: 65 }, (_, index) => `http://vllm-${index}`) },
      ['replicaUrls'],
      'at most 64',
    ],
  ])('replicas of %j are refused by where they stand', (input, path, words) => {
    expect(read(input).error?.issues).toMatchObject([{ path, message: expect.stringContaining(words) }])
  })

  test('what runs on machines of the tenant is not external, unless somebody says so', () => {
    const own = ['vllm', 'ollama', 'openai-compatible', 'classifier']
    expect(providerKinds.filter((kind) => !isExternalKind(kind))).toEqual(own)
  })
})
