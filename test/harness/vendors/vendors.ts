import type { ProviderSecret } from '../../../agent/src/providers/provider-dialect.js'
import type { TargetSpec } from '../agent-door.js'
import { AnthropicFake } from './anthropic-fake.js'
import { AzureOpenaiFake } from './azure-openai-fake.js'
import { BedrockFake } from './bedrock-fake.js'
import { OpenaiFake } from './openai-fake.js'
import type { VendorFake } from './vendor-fake.js'
import { VertexFake } from './vertex-fake.js'

/** A vendor, and how a target and a credential for it look. */
export interface Vendor {
  readonly name: string
  open(): Promise<{ readonly fake: VendorFake; readonly target: TargetSpec; readonly secret: ProviderSecret }>
}

/** Every vendor that conversations are tested against. */
export const vendors: readonly Vendor[] = [
  {
    name: 'openai',
    open: async () => {
      const fake = await new OpenaiFake().start()
      return { fake, target: { kind: fake.kind, origin: fake.origin, upstreamModel: 'gpt-4.1' }, secret: fake.secret }
    },
  },
  {
    name: 'anthropic',
    open: async () => {
      const fake = await new AnthropicFake().start()
      const target = { kind: fake.kind, origin: fake.origin, upstreamModel: 'claude-sonnet-4-20250514' }
      return { fake, target, secret: fake.secret }
    },
  },
  ...['2024-10-21', 'v1'].map((apiVersion) => ({
    name: `azure-openai ${apiVersion}`,
    open: async () => {
      const fake = await new AzureOpenaiFake({ apiVersion }).start()
      const target = { kind: fake.kind, origin: fake.origin, basePath: '', apiVersion, upstreamModel: fake.deployment }
      return { fake, target, secret: fake.secret }
    },
  })),
  {
    name: 'bedrock',
    open: async () => {
      const fake = await new BedrockFake().start()
      const upstreamModel = 'anthropic.claude-sonnet-4-20250514-v1:0'
      const target = { kind: fake.kind, origin: fake.origin, basePath: '', vendorRegion: fake.region, upstreamModel }
      return { fake, target, secret: fake.secret }
    },
  },
  {
    name: 'vertex',
    open: async () => {
      const fake = await new VertexFake().start()
      return { fake, target: fake.target(), secret: fake.secret }
    },
  },
]

/** Every vendor and model that embeddings are tested against. */
export interface EmbeddingVendor extends Vendor {
  /** In one call; more are refused. */
  readonly textsMax: number
  /** A length of vectors that can be asked for; null: it has only one. */
  readonly dimensions: number | null
  /** It tells how many tokens that were. */
  readonly tellsUsage: boolean
}

export const embeddingVendors: readonly EmbeddingVendor[] = [
  {
    ...{ name: 'openai', textsMax: 2_048, dimensions: 256, tellsUsage: true },
    open: async () => {
      const fake = await new OpenaiFake().start()
      const target = { kind: fake.kind, origin: fake.origin, upstreamModel: 'text-embedding-3-small' }
      return { fake, target, secret: fake.secret }
    },
  },
  ...['2024-10-21', 'v1'].map((apiVersion) => ({
    ...{ name: `azure-openai ${apiVersion}`, textsMax: 2_048, dimensions: 256, tellsUsage: true },
    open: async () => {
      const fake = await new AzureOpenaiFake({ apiVersion }).start()
      const target = { kind: fake.kind, origin: fake.origin, basePath: '', apiVersion, upstreamModel: fake.deployment }
      return { fake, target, secret: fake.secret }
    },
  })),
  ...[
    { model: 'text-embedding-005', textsMax: 250 },
    { model: 'gemini-embedding-001', textsMax: 1 },
    { model: 'gemini-embedding-2', textsMax: 1 },
    { model: 'publishers/intfloat/models/multilingual-e5-large-instruct-maas', textsMax: 1 },
  ].map(({ model, textsMax }) => ({
    ...{ name: `vertex ${model}`, textsMax, dimensions: 256, tellsUsage: true },
    open: async () => {
      const fake = await new VertexFake().start()
      return { fake, target: fake.target(model), secret: fake.secret }
    },
  })),
  ...[
    { model: 'amazon.titan-embed-text-v1', textsMax: 1, dimensions: null, tellsUsage: true },
    { model: 'amazon.titan-embed-text-v2:0', textsMax: 1, dimensions: 256, tellsUsage: true },
    { model: 'cohere.embed-multilingual-v3', textsMax: 96, dimensions: null, tellsUsage: false },
    { model: 'eu.cohere.embed-v4:0', textsMax: 96, dimensions: 256, tellsUsage: false },
    { model: 'amazon.nova-2-multimodal-embeddings-v1:0', textsMax: 1, dimensions: 256, tellsUsage: false },
  ].map(({ model, ...rest }) => ({
    ...{ name: `bedrock ${model}`, ...rest },
    open: async () => {
      const fake = await new BedrockFake().start()
      const target = { kind: fake.kind, origin: fake.origin, basePath: '', vendorRegion: fake.region }
      return { fake, target: { ...target, upstreamModel: model }, secret: fake.secret }
    },
  })),
]
