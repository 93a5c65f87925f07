import { Arg, Args, Ctx, FieldResolver, ID, Mutation, Query, Resolver, Root } from 'type-graphql'
import { Access } from '../api/access-rule.js'
import { type Connection, ConnectionArgs, pageArgs, toConnection } from '../api/connection.js'
import { type GraphContext, requireActor } from '../api/context.js'
import { environmentRevisions } from '../tenancy/intent-revision-graph.js'
import {
  CreateModelInput,
  ModelConnection,
  ModelFilterInput,
  ModelGraph,
  ModelPayload,
  ModelPriceGraph,
  modelGraph,
  modelPriceGraph,
  SetModelPriceInput,
  UpdateModelInput,
} from './model-graph.js'
import type { ModelChange, ModelService } from './model-service.js'

@Resolver(() => ModelGraph)
export class ModelResolver {
  readonly #models: ModelService

  constructor(models: ModelService) {
    this.#models = models
  }

  @Access('model.read')
  @Query(() => ModelGraph, { nullable: true })
  async model(@Ctx() context: GraphContext, @Arg('id', () => ID) id: string): Promise<ModelGraph | null> {
    const model = await this.#models.find(requireActor(context), id)
    return model === null ? null : modelGraph(model)
  }

  @Access('model.read')
  @Query(() => ModelConnection, { description: 'Of one tenant: your own, or the one a platform admin names.' })
  async models(
    @Ctx() context: GraphContext,
    @Args(() => ConnectionArgs) args: ConnectionArgs,
    @Arg('tenantId', () => ID, { nullable: true }) tenantId?: string | null,
    @Arg('filter', () => ModelFilterInput, { nullable: true }) filter?: ModelFilterInput | null,
  ): Promise<Connection<ModelGraph>> {
    const page = await this.#models.list(requireActor(context), tenantId, filter ?? {}, pageArgs(args))
    return toConnection(page, modelGraph)
  }

  @Access('model.read')
  @FieldResolver(() => [ModelPriceGraph], { description: 'Newest first, at most 100.' })
  async prices(@Ctx() context: GraphContext, @Root() model: ModelGraph): Promise<ModelPriceGraph[]> {
    const prices = await context.loaders.load(this.#models.pricesById, model.id)
    return (prices ?? []).map(modelPriceGraph)
  }

  @Access('model.write')
  @Mutation(() => ModelPayload)
  async createModel(
    @Ctx() context: GraphContext,
    @Arg('input', () => CreateModelInput) input: CreateModelInput,
  ): Promise<ModelPayload> {
    return payload(await this.#models.create(requireActor(context), input))
  }

  @Access('model.write')
  @Mutation(() => ModelPayload)
  async updateModel(
    @Ctx() context: GraphContext,
    @Arg('input', () => UpdateModelInput) input: UpdateModelInput,
  ): Promise<ModelPayload> {
    return payload(await this.#models.update(requireActor(context), input))
  }

  @Access('model.write')
  @Mutation(() => ModelPayload, { description: 'Adds a price version, in force from now on.' })
  async setModelPrice(
    @Ctx() context: GraphContext,
    @Arg('input', () => SetModelPriceInput) input: SetModelPriceInput,
  ): Promise<ModelPayload> {
    return payload(await this.#models.setPrice(requireActor(context), input))
  }

  @Access('model.write')
  @Mutation(() => ModelPayload, { description: 'Out of service for good. Refused while a route has a target with it.' })
  async archiveModel(@Ctx() context: GraphContext, @Arg('modelId', () => ID) modelId: string): Promise<ModelPayload> {
    return payload(await this.#models.archive(requireActor(context), modelId))
  }
}

function payload({ model, intentRevisions }: ModelChange): ModelPayload {
  return { model: modelGraph(model), intentRevisions: environmentRevisions(intentRevisions) }
}
