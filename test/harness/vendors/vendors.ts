import type { ProviderSecret } from '../../../agent/src/providers/provider-dialect.js'
import type { TargetSpec } from '../agent-door.js'
import { AnthropicFake } from './anthropic-fake.js'
import { AzureOpenaiFake } from './azure-openai-fake.js'
import { BedrockFake } from './bedrock-fake.js'
import { OpenaiFake } from './openai-fake.js'
import type { VendorFake } from './vendor-fake.js'
import { VertexFake } from './vertex-fake.js'

/** Every vendor that conversations are tested against, and how a target and a credential for it look. */
export interface Vendor {
  readonly name: string
  open(): Promise<{ readonly fake: VendorFake; readonly target: TargetSpec; readonly secret: ProviderSecret }>
}

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
