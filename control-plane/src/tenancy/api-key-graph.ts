import { Field, ID, InputType, Int, ObjectType, registerEnumType } from 'type-graphql'
import { Access } from '../api/access-rule.js'
import { connectionType } from '../api/connection.js'
import { BigIntString, DateTime } from '../api/scalars.js'
import { inFlightMaxDefault, requestsPerMinuteMaxDefault } from './api-key.js'

export enum ApiKeyStateGraph {
  ACTIVE = 'active',
  EXPIRED = 'expired',
  REVOKED = 'revoked',
}
registerEnumType(ApiKeyStateGraph, { name: 'ApiKeyState' })

@Access('api-key.read')
@ObjectType('ApiKey', { description: 'What a program of the tenant proves itself with to the agents.' })
export class ApiKeyGraph {
  @Field(() => ID)
  id!: string

  @Field(() => ID)
  tenantId!: string

  @Field(() => ID)
  environmentId!: string

  @Field(() => ID, { nullable: true })
  teamId!: string | null

  @Field(() => String)
  name!: string

  @Field(() => String, { description: 'First characters of the key, to recognise it by; never enough to use it.' })
  prefix!: string

  @Field(() => [String], { description: 'Route names; empty = every route of the environment.' })
  allowedRoutes!: readonly string[]

  @Field(() => Boolean, {
    description: 'May not call models at providers that are external; agents leave those targets out.',
  })
  internalOnly!: boolean

  @Field(() => Boolean, {
    description:
      'May name its target with the header x-switchyard-target and switch fallbacks off with x-switchyard-fallback: none. Each use is on the usage record as routingOverride.',
  })
  mayPin!: boolean

  @Field(() => Int, { description: 'Requests at the same time, per agent.' })
  inFlightMax!: number

  @Field(() => Int, { description: 'Requests per minute, per agent.' })
  requestsPerMinuteMax!: number

  @Field(() => DateTime, { nullable: true })
  expiresAt!: Date | null

  @Field(() => DateTime, { nullable: true })
  revokedAt!: Date | null

  @Field(() => Boolean, { description: 'Revoking it ended its running streams too.' })
  abortOnRevoke!: boolean

  @Field(() => ID, { nullable: true, description: 'The key that this one replaces.' })
  rotatedFromId!: string | null

  @Field(() => String, { description: 'Subject of the token that made it.' })
  createdBy!: string

  @Field(() => DateTime)
  createdAt!: Date
}

export const ApiKeyConnection = connectionType('ApiKey', () => ApiKeyGraph, 'api-key.read')

@InputType()
export class CreateApiKeyInput {
  @Field(() => ID)
  environmentId!: string

  @Field(() => String)
  name!: string

  @Field(() => ID, { nullable: true })
  teamId?: string | null

  @Field(() => [String], { nullable: true, description: 'Route names; none = every route of the environment.' })
  allowedRoutes?: string[] | null

  @Field(() => Boolean, { nullable: true, description: 'Never call external providers; false when left out.' })
  internalOnly?: boolean | null

  @Field(() => Boolean, {
    nullable: true,
    description: 'Name targets and switch fallbacks off by header; false when left out.',
  })
  mayPin?: boolean | null

  @Field(() => Int, { nullable: true, description: `Per agent; ${inFlightMaxDefault} when left out.` })
  inFlightMax?: number | null

  @Field(() => Int, { nullable: true, description: `Per agent; ${requestsPerMinuteMaxDefault} when left out.` })
  requestsPerMinuteMax?: number | null

  @Field(() => DateTime, { nullable: true })
  expiresAt?: Date | null
}

@InputType({ description: 'What is left out stays as it is; null takes a team or an expiry away.' })
export class UpdateApiKeyInput {
  @Field(() => ID)
  apiKeyId!: string

  @Field(() => String, { nullable: true })
  name?: string | null

  @Field(() => ID, { nullable: true })
  teamId?: string | null

  @Field(() => [String], { nullable: true })
  allowedRoutes?: string[] | null

  @Field(() => Boolean, { nullable: true })
  internalOnly?: boolean | null

  @Field(() => Boolean, { nullable: true })
  mayPin?: boolean | null

  @Field(() => Int, { nullable: true })
  inFlightMax?: number | null

  @Field(() => Int, { nullable: true })
  requestsPerMinuteMax?: number | null

  @Field(() => DateTime, { nullable: true })
  expiresAt?: Date | null
}

@InputType()
export class RevokeApiKeyInput {
  @Field(() => ID)
  apiKeyId!: string

  @Field(() => Boolean, { nullable: true, description: 'End its running streams too.' })
  abort?: boolean | null
}

@InputType()
export class RotateApiKeyInput {
  @Field(() => ID)
  apiKeyId!: string

  @Field(() => Int, { description: 'How long the old key keeps working, 0 to 43200 minutes.' })
  overlapMinutes!: number
}

@Access('api-key.read')
@ObjectType()
export class ApiKeyPayload {
  @Field(() => ApiKeyGraph)
  apiKey!: ApiKeyGraph

  @Field(() => BigIntString)
  intentRevision!: bigint
}

@Access('api-key.write')
@ObjectType()
export class ApiKeyMadePayload {
  @Field(() => ApiKeyGraph)
  apiKey!: ApiKeyGraph

  @Field(() => String, { description: 'The whole key. It is shown this once and kept nowhere.' })
  secret!: string

  @Field(() => ApiKeyGraph, { nullable: true, description: 'The key that it replaces, with its new expiry.' })
  previous!: ApiKeyGraph | null

  @Field(() => BigIntString)
  intentRevision!: bigint
}
