import { Field, ID, InputType, Int, ObjectType, registerEnumType } from 'type-graphql'
import { Access } from '../api/access-rule.js'
import { connectionType } from '../api/connection.js'
import { DateTime } from '../api/scalars.js'
import { EnvironmentRevisionGraph } from '../tenancy/intent-revision-graph.js'
import { connectionsMaxDefault, type ProviderKind } from './provider.js'
import type { ProviderTest } from './provider-tester.js'

export const ProviderKindGraph = {
  OPENAI: 'openai',
  VLLM: 'vllm',
  OLLAMA: 'ollama',
  OPENAI_COMPATIBLE: 'openai-compatible',
} as const satisfies Record<string, ProviderKind>
registerEnumType(ProviderKindGraph, { name: 'ProviderKind' })

export const CredentialKindGraph = { SECRET: 'secret', REFERENCE: 'reference' } as const
registerEnumType(CredentialKindGraph, { name: 'CredentialKind' })

@Access('provider.read')
@ObjectType('Credential', { description: 'What is known of the credential in force; never the secret itself.' })
export class CredentialGraph {
  @Field(() => ID)
  id!: string

  @Field(() => Int, { description: 'Rises with each rotation.' })
  version!: number

  @Field(() => CredentialKindGraph)
  kind!: 'secret' | 'reference'

  @Field(() => String, {
    nullable: true,
    description: 'env:NAME or file:/path, which each agent reads itself; null for a secret.',
  })
  reference!: string | null

  @Field(() => DateTime)
  createdAt!: Date
}

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

  @Field(() => String)
  region!: string

  @Field(() => Int, { description: 'Connections that each agent may hold open to it.' })
  connectionsMax!: number

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

@InputType({ description: 'Exactly one of the two.' })
export class CredentialInput {
  @Field(() => String, { nullable: true, description: 'Sealed at rest, sent to agents only, never shown again.' })
  secret?: string | null

  @Field(() => String, {
    nullable: true,
    description: 'env:NAME or file:/path, read by each agent on its own machine; for platform admins only.',
  })
  reference?: string | null
}

@InputType()
export class CreateProviderInput {
  @Field(() => ID, { nullable: true, description: 'For platform admins; everybody else has one of their own.' })
  tenantId?: string | null

  @Field(() => String, { description: '1 to 63 lower-case letters, digits and dashes.' })
  name!: string

  @Field(() => ProviderKindGraph)
  kind!: ProviderKind

  @Field(() => String, { description: 'http or https, for example https://api.openai.com/v1.' })
  baseUrl!: string

  @Field(() => String, { description: 'Where it computes; environments use it only if they permit this region.' })
  region!: string

  @Field(() => Int, { nullable: true, description: `Per agent; ${connectionsMaxDefault} when left out.` })
  connectionsMax?: number | null

  @Field(() => CredentialInput, { nullable: true, description: 'None: the provider wants none.' })
  credential?: CredentialInput | null
}

@InputType({ description: 'What is left out stays as it is.' })
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
  region?: string | null

  @Field(() => Int, { nullable: true })
  connectionsMax?: number | null

  @Field(() => CredentialInput, { nullable: true })
  credential?: CredentialInput | null
}

@InputType()
export class RotateProviderCredentialInput {
  @Field(() => ID)
  providerId!: string

  @Field(() => CredentialInput)
  credential!: CredentialInput
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
