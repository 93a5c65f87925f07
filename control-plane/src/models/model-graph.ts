import { Field, ID, InputType, Int, ObjectType, registerEnumType } from 'type-graphql'
import { formatUsd } from '../../../proto/std/money.js'
import { Access } from '../api/access-rule.js'
import { connectionType } from '../api/connection.js'
import { DateTime } from '../api/scalars.js'
import { EnvironmentRevisionGraph } from '../tenancy/intent-revision-graph.js'
import type { Capability, Model, ModelPrice } from './model.js'

export const CapabilityGraph = { CHAT: 'chat', EMBEDDINGS: 'embeddings' } as const satisfies Record<string, Capability>
registerEnumType(CapabilityGraph, { name: 'Capability' })

@Access('model.read')
@ObjectType('ModelPrice', { description: 'Dollars per million tokens, as decimal text, exact.' })
export class ModelPriceGraph {
  @Field(() => Int, { description: 'What usage records name; versions are only ever added.' })
  version!: number

  @Field(() => String)
  inputUsdPerMillion!: string

  @Field(() => String)
  cachedInputUsdPerMillion!: string

  @Field(() => String)
  outputUsdPerMillion!: string

  @Field(() => String, {
    nullable: true,
    description: "Input written into the vendor's prompt cache; null: it costs as other input does.",
  })
  cacheWriteInputUsdPerMillion!: string | null

  @Field(() => DateTime)
  createdAt!: Date
}

@Access('model.read')
@ObjectType('Model', { description: "An entry of the tenant's registry." })
export class ModelGraph {
  @Field(() => ID)
  id!: string

  @Field(() => ID)
  tenantId!: string

  @Field(() => String)
  name!: string

  @Field(() => String, { description: 'The name that is sent upstream unless a target says otherwise.' })
  upstreamModel!: string

  @Field(() => [CapabilityGraph])
  capabilities!: readonly Capability[]

  @Field(() => Int, { nullable: true, description: 'Null: not known.' })
  contextTokensMax!: number | null

  @Field(() => Int, {
    nullable: true,
    description: 'Of one answer; sent where a vendor wants a number and the client gave none. Null: not known.',
  })
  outputTokensMax!: number | null

  @Field(() => ModelPriceGraph, {
    nullable: true,
    description: 'In force; null: requests are recorded without a cost.',
  })
  price!: ModelPriceGraph | null

  @Field(() => DateTime)
  createdAt!: Date

  @Field(() => DateTime, { nullable: true })
  archivedAt!: Date | null

  @Field(() => Int, { description: 'Rises with each change; give it to an update that must not overwrite another.' })
  rowVersion!: number
}

export const ModelConnection = connectionType('Model', () => ModelGraph, 'model.read')

@InputType()
export class ModelFilterInput {
  @Field(() => CapabilityGraph, { nullable: true })
  capability?: Capability | null

  @Field(() => String, { nullable: true })
  name?: string | null

  @Field(() => Boolean, { nullable: true })
  includeArchived?: boolean | null
}

@InputType({ description: 'Dollars per million tokens as decimal text with at most nine places, for example "0.15".' })
export class ModelPriceInput {
  @Field(() => String)
  inputUsdPerMillion!: string

  @Field(() => String, { nullable: true, description: 'As input when left out.' })
  cachedInputUsdPerMillion?: string | null

  @Field(() => String)
  outputUsdPerMillion!: string

  @Field(() => String, {
    nullable: true,
    description: "Input written into the vendor's prompt cache; as input when left out.",
  })
  cacheWriteInputUsdPerMillion?: string | null
}

@InputType()
export class CreateModelInput {
  @Field(() => ID, { nullable: true, description: 'For platform admins; everybody else has one of their own.' })
  tenantId?: string | null

  @Field(() => String, { description: '1 to 128 letters, digits and . _ : / @ + -' })
  name!: string

  @Field(() => String, { nullable: true, description: 'As the name when left out.' })
  upstreamModel?: string | null

  @Field(() => [CapabilityGraph])
  capabilities!: Capability[]

  @Field(() => Int, { nullable: true })
  contextTokensMax?: number | null

  @Field(() => Int, { nullable: true })
  outputTokensMax?: number | null

  @Field(() => ModelPriceInput, { nullable: true })
  price?: ModelPriceInput | null
}

@InputType({ description: 'What is left out stays as it is.' })
export class UpdateModelInput {
  @Field(() => ID)
  modelId!: string

  @Field(() => Int, { nullable: true, description: 'Refuse with CONFLICT unless the model still has this version.' })
  rowVersion?: number | null

  @Field(() => String, { nullable: true })
  name?: string | null

  @Field(() => String, { nullable: true })
  upstreamModel?: string | null

  @Field(() => [CapabilityGraph], { nullable: true })
  capabilities?: Capability[] | null

  @Field(() => Int, { nullable: true, description: '0: not known.' })
  contextTokensMax?: number | null

  @Field(() => Int, { nullable: true, description: '0: not known.' })
  outputTokensMax?: number | null
}

@InputType()
export class SetModelPriceInput {
  @Field(() => ID)
  modelId!: string

  @Field(() => ModelPriceInput)
  price!: ModelPriceInput
}

@Access('model.read')
@ObjectType()
export class ModelPayload {
  @Field(() => ModelGraph)
  model!: ModelGraph

  @Field(() => [EnvironmentRevisionGraph], { description: 'Of every environment that may feel the change.' })
  intentRevisions!: EnvironmentRevisionGraph[]
}

export function modelGraph(model: Model): ModelGraph {
  const { price, contextTokensMax, outputTokensMax } = model
  return {
    ...model,
    contextTokensMax: contextTokensMax === 0 ? null : contextTokensMax,
    outputTokensMax: outputTokensMax === 0 ? null : outputTokensMax,
    price: price === null ? null : modelPriceGraph(price),
  }
}

export function modelPriceGraph(price: ModelPrice): ModelPriceGraph {
  return {
    version: price.version,
    inputUsdPerMillion: formatUsd(price.inputNanoUsdPerMillion),
    cachedInputUsdPerMillion: formatUsd(price.cachedInputNanoUsdPerMillion),
    outputUsdPerMillion: formatUsd(price.outputNanoUsdPerMillion),
    cacheWriteInputUsdPerMillion:
      price.cacheWriteInputNanoUsdPerMillion === null ? null : formatUsd(price.cacheWriteInputNanoUsdPerMillion),
    createdAt: price.createdAt,
  }
}
