import { Field, ID, InputType, Int, ObjectType, registerEnumType } from 'type-graphql'
import { Access } from '../api/access-rule.js'
import { connectionType } from '../api/connection.js'
import { DateTime } from '../api/scalars.js'
import { EnvironmentRevisionGraph } from '../tenancy/intent-revision-graph.js'
import { CredentialGraph, CredentialInput } from './credential-graph.js'
import { connectionsMaxDefault, slaNoteCharactersMax } from './provider.js'
import { type ProviderKind, replicaScrapeMsMax, replicaScrapeMsMin, replicasMax } from './provider-kind.js'
import type { ProviderTest } from './test-outcome.js'

export const ProviderKindGraph = {
  OPENAI: 'openai',
  AZURE_OPENAI: 'azure-openai',
  ANTHROPIC: 'anthropic',
  BEDROCK: 'bedrock',
  VERTEX: 'vertex',
  VLLM: 'vllm',
  OLLAMA: 'ollama',
  OPENAI_COMPATIBLE: 'openai-compatible',
  CLASSIFIER: 'classifier',
} as const satisfies Record<string, ProviderKind>
registerEnumType(ProviderKindGraph, {
  name: 'ProviderKind',
  description: 'CLASSIFIER serves no model: it measures the prompts of routes that name it as their classifier.',
})

@Access('provider.read')
@ObjectType('Provider', { description: 'An account or endpoint of one kind in one region.' })
export class ProviderGraph {
  @Field(() => ID)
  id!: string

  @Field(() => ID)
  tenantId!: string

  @Field(() => String)
  name!: string

  @Field(() => ProviderKindGraph)
  kind!: ProviderKind

  @Field(() => String, { description: 'Without a trailing slash.' })
  baseUrl!: string

  @Field(() => String, { nullable: true, description: 'AZURE_OPENAI: a date with or without -preview, or v1.' })
  apiVersion!: string | null

  @Field(() => String, {
    nullable: true,
    description: 'BEDROCK: the AWS region. VERTEX: the Google Cloud location. Not the region that environments permit.',
  })
  vendorRegion!: string | null

  @Field(() => String, { nullable: true, description: 'VERTEX: the id of the Google Cloud project.' })
  vendorProject!: string | null

  @Field(() => [String], {
    description:
      'Base URLs of servers that are alike, of which agents choose one for each request; empty: baseUrl alone.',
  })
  replicaUrls!: readonly string[]

  @Field(() => Int, {
    nullable: true,
    description: "Milliseconds between two readings of each server's metrics; null: as agents do.",
  })
  replicaScrapeMs!: number | null

  @Field(() => String)
  region!: string

  @Field(() => Int, { description: 'Connections that each agent may hold open to it, to each replica if it has some.' })
  connectionsMax!: number

  @Field(() => Boolean, {
    description: "Runs outside the tenant's own walls. Keys that are internalOnly never call it.",
  })
  external!: boolean

  @Field(() => Int, {
    nullable: true,
    description:
      'Availability that the vendor states, in parts per million: 999000 is 99.9 %. Nothing is decided by it.',
  })
  slaAvailabilityPpm!: number | null

  @Field(() => String, { nullable: true, description: 'What else the vendor states.' })
  slaNote!: string | null

  @Field(() => Int, {
    nullable: true,
    description: 'Requests per minute that the vendor says it takes. Nothing is decided by it.',
  })
  vendorRequestsPerMinute!: number | null

  @Field(() => Int, {
    nullable: true,
    description: 'Tokens per minute that the vendor says it takes. Nothing is decided by it.',
  })
  vendorTokensPerMinute!: number | null

  @Field(() => CredentialGraph, { nullable: true, description: 'Null: the provider wants none.' })
  credential!: CredentialGraph | null

  @Field(() => DateTime)
  createdAt!: Date

  @Field(() => DateTime, { nullable: true })
  archivedAt!: Date | null

  @Field(() => Int, { description: 'Rises with each change; give it to an update that must not overwrite another.' })
  rowVersion!: number
}

export const ProviderConnection = connectionType('Provider', () => ProviderGraph, 'provider.read')

@InputType()
export class ProviderFilterInput {
  @Field(() => ProviderKindGraph, { nullable: true })
  kind?: ProviderKind | null

  @Field(() => String, { nullable: true })
  region?: string | null

  @Field(() => Boolean, { nullable: true })
  includeArchived?: boolean | null
}

@InputType()
export class CreateProviderInput {
  @Field(() => ID, { nullable: true, description: 'For platform admins; everybody else has one of their own.' })
  tenantId?: string | null

  @Field(() => String, { description: '1 to 63 lower-case letters, digits and dashes.' })
  name!: string

  @Field(() => ProviderKindGraph)
  kind!: ProviderKind

  @Field(() => String, {
    nullable: true,
    description: `http or https, for example https://api.openai.com/v1. When left out, the vendor's own: of OPENAI and ANTHROPIC,
and by vendorRegion of BEDROCK and VERTEX; the other kinds need one. AZURE_OPENAI: the resource's, without /openai.`,
  })
  baseUrl?: string | null

  @Field(() => String, {
    nullable: true,
    description: 'Of AZURE_OPENAI, which needs it: a date such as 2024-10-21, with or without -preview, or v1.',
  })
  apiVersion?: string | null

  @Field(() => String, {
    nullable: true,
    description:
      'Of BEDROCK and VERTEX, which need it: an AWS region such as eu-central-1; a location such as europe-west4, or global.',
  })
  vendorRegion?: string | null

  @Field(() => String, {
    nullable: true,
    description: 'Of VERTEX, which needs it: the id of a Google Cloud project.',
  })
  vendorProject?: string | null

  @Field(() => [String], {
    nullable: true,
    description: `Of VLLM, OLLAMA and OPENAI_COMPATIBLE: base URLs of servers that are alike, at most ${replicasMax}. Each request
goes to the one that has most of its prompt cached and is not overloaded; baseUrl is then used for tests only.`,
  })
  replicaUrls?: string[] | null

  @Field(() => Int, {
    nullable: true,
    description: `Milliseconds between two readings of each server's /metrics, ${replicaScrapeMsMin} to ${replicaScrapeMsMax}. When left
out: 1000, of VLLM and of providers with several replicas; others are not read.`,
  })
  replicaScrapeMs?: number | null

  @Field(() => String, { description: 'Where it computes; environments use it only if they permit this region.' })
  region!: string

  @Field(() => Int, { nullable: true, description: `Per agent; ${connectionsMaxDefault} when left out.` })
  connectionsMax?: number | null

  @Field(() => Boolean, {
    nullable: true,
    description: "Runs outside the tenant's own walls. When left out: true, but of VLLM, OLLAMA and OPENAI_COMPATIBLE.",
  })
  external?: boolean | null

  @Field(() => Int, { nullable: true, description: 'As the vendor states it, in parts per million, to 1000000.' })
  slaAvailabilityPpm?: number | null

  @Field(() => String, { nullable: true, description: `At most ${slaNoteCharactersMax} characters.` })
  slaNote?: string | null

  @Field(() => Int, { nullable: true, description: "The vendor's own limit, as it states it." })
  vendorRequestsPerMinute?: number | null

  @Field(() => Int, { nullable: true, description: "The vendor's own limit, as it states it." })
  vendorTokensPerMinute?: number | null

  @Field(() => CredentialInput, { nullable: true, description: 'None: the provider wants none.' })
  credential?: CredentialInput | null
}

@InputType({ description: 'What is left out stays as it is. The kind never changes.' })
export class UpdateProviderInput {
  @Field(() => ID)
  providerId!: string

  @Field(() => Int, { nullable: true, description: 'Refuse with CONFLICT unless the provider still has this version.' })
  rowVersion?: number | null

  @Field(() => String, { nullable: true })
  name?: string | null

  @Field(() => String, { nullable: true, description: 'Another server needs the credential given again.' })
  baseUrl?: string | null

  @Field(() => String, { nullable: true })
  apiVersion?: string | null

  @Field(() => String, {
    nullable: true,
    description: "The vendor's own address follows it, and another server needs the credential given again.",
  })
  vendorRegion?: string | null

  @Field(() => String, { nullable: true, description: 'Another project needs the credential given again.' })
  vendorProject?: string | null

  @Field(() => [String], {
    nullable: true,
    description: 'All of them; an empty list leaves baseUrl alone. Another server needs the credential given again.',
  })
  replicaUrls?: string[] | null

  @Field(() => Int, { nullable: true })
  replicaScrapeMs?: number | null

  @Field(() => String, { nullable: true })
  region?: string | null

  @Field(() => Int, { nullable: true })
  connectionsMax?: number | null

  @Field(() => Boolean, { nullable: true })
  external?: boolean | null

  @Field(() => Int, {
    nullable: true,
    description: 'As the vendor states it, in parts per million, to 1000000. Null takes it away.',
  })
  slaAvailabilityPpm?: number | null

  @Field(() => String, {
    nullable: true,
    description: `At most ${slaNoteCharactersMax} characters. Null takes it away.`,
  })
  slaNote?: string | null

  @Field(() => Int, { nullable: true, description: "The vendor's own limit, as it states it. Null takes it away." })
  vendorRequestsPerMinute?: number | null

  @Field(() => Int, { nullable: true, description: "The vendor's own limit, as it states it. Null takes it away." })
  vendorTokensPerMinute?: number | null

  @Field(() => CredentialInput, { nullable: true })
  credential?: CredentialInput | null
}

@Access('provider.read')
@ObjectType()
export class ProviderPayload {
  @Field(() => ProviderGraph)
  provider!: ProviderGraph

  @Field(() => [EnvironmentRevisionGraph], { description: 'Of every environment that may feel the change.' })
  intentRevisions!: EnvironmentRevisionGraph[]
}

export const ProviderTestStepGraph = {
  RESOLVE: 'resolve',
  CONNECT: 'connect',
  TLS: 'tls',
  REQUEST: 'request',
  CREDENTIAL: 'credential',
  ANSWER: 'answer',
  DONE: 'done',
} as const satisfies Record<string, ProviderTest['step']>
registerEnumType(ProviderTestStepGraph, { name: 'ProviderTestStep', description: 'How far a test came.' })

@Access('provider.write')
@ObjectType()
export class ProviderTestPayload {
  @Field(() => ProviderGraph)
  provider!: ProviderGraph

  @Field(() => Boolean)
  ok!: boolean

  @Field(() => ProviderTestStepGraph)
  step!: ProviderTest['step']

  @Field(() => String, { description: 'What happened and what to do next.' })
  sentence!: string

  @Field(() => Int, { nullable: true })
  httpStatus!: number | null

  @Field(() => Int)
  durationMs!: number

  @Field(() => [String], { description: 'Models that the provider lists, at most 500.' })
  models!: readonly string[]
}
