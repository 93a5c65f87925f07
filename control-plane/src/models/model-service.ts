import type { z } from 'zod'
import { must } from '../../../proto/std/assert.js'
import type { Clock } from '../../../proto/std/clock.js'
import { newId } from '../../../proto/std/ids.js'
import { throwRefusal } from '../../../proto/std/refusal.js'
import { checkInput } from '../access/check-input.js'
import { isPermitted, requirePermission } from '../access/permission.js'
import type { Actor } from '../access/principal.js'
import { tenantScope } from '../access/tenant-scope.js'
import type { AuditStore } from '../audit/audit-store.js'
import type { Database, Transaction } from '../database/database.js'
import type { Page, PageArgs } from '../database/page.js'
import { isUniqueViolation } from '../database/unique-violation.js'
import { type Bell, bumpTenantIntentRevisions } from '../tenancy/intent-revision.js'
import {
  auditModel,
  type Capability,
  capabilities,
  createModelInput,
  type Model,
  type ModelPrice,
  modelsPerTenantMax,
  type PriceFields,
  pricesPerModelMax,
  setModelPriceInput,
  updateModelInput,
} from './model.js'
import type { ModelFilter, ModelReader } from './model-reader.js'
import type { ModelStore } from './model-store.js'

export interface ModelServiceOptions {
  readonly database: Database
  readonly models: ModelStore
  readonly reader: ModelReader
  readonly audit: AuditStore
  readonly clock: Clock
  readonly bell: Bell
}

/** A model, and the new intent revision of every environment that may feel the change. */
export interface ModelChange {
  readonly model: Model
  readonly intentRevisions: ReadonlyMap<string, bigint>
}

const priceHistoryMax = 100

/** Use cases of the registry. Every change bumps all environments of the tenant, since any of their routes may use it. */
export class ModelService {
  readonly #options: ModelServiceOptions

  /** For data loaders: null for models that are not the actor's to see. */
  readonly byId = Object.freeze({
    load: async (actor: Actor, ids: readonly string[]): Promise<readonly (Model | null)[]> => {
      const found = await this.#options.models.findMany(ids)
      const visible = found.filter((model) => isPermitted(actor, 'model.read', model.tenantId))
      const byId = new Map(visible.map((model) => [model.id, model]))
      return ids.map((id) => byId.get(id) ?? null)
    },
  })

  /** For data loaders, by model id: its prices, newest first, at most `priceHistoryMax`; null as above. */
  readonly pricesById = Object.freeze({
    load: async (actor: Actor, ids: readonly string[]): Promise<readonly (readonly ModelPrice[] | null)[]> => {
      const [visible, prices] = await Promise.all([
        this.byId.load(actor, ids),
        this.#options.models.findPrices(ids, priceHistoryMax),
      ])
      return ids.map((id, index) => (visible[index] ? (prices.get(id) ?? []) : null))
    },
  })

  constructor(options: ModelServiceOptions) {
    this.#options = options
  }

  /** Null when there is none or it is not the actor's. */
  async find(actor: Actor, id: string): Promise<Model | null> {
    const [model] = await this.byId.load(actor, [id])
    return model ?? null
  }

  /** Of the named tenant, else of the actor's own. */
  async list(
    actor: Actor,
    tenantId: string | null | undefined,
    filter: ModelFilter,
    args: PageArgs,
  ): Promise<Page<Model>> {
    const scope = tenantScope(actor, tenantId, 'tenantId')
    requirePermission(actor, 'model.read', scope)
    return this.#options.reader.page(scope, filter, args)
  }

  /** Refuses `bad_input` by field, `conflict` for a taken name, `limit_exceeded` beyond `modelsPerTenantMax`. */
  create(actor: Actor, input: z.input<typeof createModelInput>): Promise<ModelChange> {
    const { tenantId: given, price, ...fields } = checkInput(createModelInput, input)
    const tenantId = tenantScope(actor, given)
    requirePermission(actor, 'model.write', tenantId)
    return this.#change(async (transaction) => {
      const { models, reader } = this.#options
      const intentRevisions = await bumpTenantIntentRevisions(transaction, tenantId)
      if (!(await reader.isTenantActive(transaction, tenantId))) {
        throwRefusal('not_found', 'no such tenant', { field: 'input.tenantId' })
      }
      if ((await models.countOfTenant(transaction, tenantId)) >= modelsPerTenantMax) {
        throwRefusal('limit_exceeded', `a tenant has at most ${modelsPerTenantMax} models; archive one first`)
      }
      const id = newId('model', transaction.now.getTime())
      await models.insert(transaction, {
        ...{ id, tenantId, name: fields.name, capabilities: fields.capabilities },
        upstreamModel: fields.upstreamModel ?? fields.name,
        contextTokensMax: fields.contextTokensMax ?? 0,
        outputTokensMax: fields.outputTokensMax ?? 0,
      })
      if (price) await models.insertPrice(transaction, id, 1, price)
      const model = must(await models.findLocked(transaction, id), 'the model just inserted is there')
      await this.#record(transaction, actor, 'model.create', null, model)
      return { model, intentRevisions }
    })
  }

  /** Changes what is given. A capability that a route's other targets rest on cannot be taken away. */
  update(actor: Actor, input: z.input<typeof updateModelInput>): Promise<ModelChange> {
    const { modelId, rowVersion, ...given } = checkInput(updateModelInput, input)
    return this.#changeExisting(actor, modelId, 'model.update', async (transaction, before) => {
      if (rowVersion != null && rowVersion !== before.rowVersion) {
        throwRefusal('conflict', `changed meanwhile (version ${before.rowVersion}); read it again and repeat`, {
          field: 'input.rowVersion',
        })
      }
      const model = await this.#options.models.update(transaction, before.id, {
        name: given.name ?? before.name,
        upstreamModel: given.upstreamModel ?? before.upstreamModel,
        capabilities: given.capabilities ?? before.capabilities,
        contextTokensMax: given.contextTokensMax ?? before.contextTokensMax,
        outputTokensMax: given.outputTokensMax ?? before.outputTokensMax,
      })
      await this.#requireRoutesWork(transaction, model)
      return model
    })
  }

  /** Adds a price version, in force from now on; what was recorded before keeps the version it was priced with. */
  setPrice(actor: Actor, input: z.input<typeof setModelPriceInput>): Promise<ModelChange> {
    const { modelId, price } = checkInput(setModelPriceInput, input)
    return this.#changeExisting(actor, modelId, 'model.set-price', async (transaction, before) => {
      const { models } = this.#options
      if (before.price !== null && isSamePrice(before.price, price)) return before
      const version = (before.price?.version ?? 0) + 1
      if (version > pricesPerModelMax) {
        throwRefusal('limit_exceeded', `a model has at most ${pricesPerModelMax} price versions; create another model`)
      }
      await models.insertPrice(transaction, modelId, version, price)
      return models.update(transaction, modelId, {})
    })
  }

  /** For good. Refused with `conflict`, naming the routes, while one has a target that uses it. */
  archive(actor: Actor, modelId: string): Promise<ModelChange> {
    return this.#changeExisting(actor, modelId, 'model.archive', async (transaction, before) => {
      const { models, reader } = this.#options
      const model = await models.archive(transaction, before.id)
      // After the write: its lock keeps routes from taking the model while we look.
      const routes = await reader.findRoutesWith(transaction, before.id)
      if (routes.length > 0) {
        const names = routes.slice(0, 10).map((route) => `${route.name} (${route.environmentName})`)
        throwRefusal('conflict', `used by the routes ${names.join(', ')}; change or delete those first`, {
          field: 'modelId',
          detail: { reason: 'in_use', routeCount: routes.length },
        })
      }
      return model
    })
  }

  async #requireRoutesWork(transaction: Transaction, model: Model): Promise<void> {
    const routes = await this.#options.reader.findRoutesWith(transaction, model.id)
    const broken = routes.find((route) =>
      route.otherCapabilities.some((others) => !shareCapability([model.capabilities, ...others])),
    )
    if (broken === undefined) return
    throwRefusal(
      'bad_input',
      `input.capabilities: the route ${broken.name} (${broken.environmentName}) would have no capability left that all models of a rule share`,
      { field: 'input.capabilities' },
    )
  }

  async #changeExisting(
    actor: Actor,
    modelId: string,
    action: string,
    work: (transaction: Transaction, before: Model) => Promise<Model>,
  ): Promise<ModelChange> {
    const { tenantId } = await this.#requireWritable(actor, modelId)
    return this.#change(async (transaction) => {
      // Environments before models, everywhere: the order of locks that keeps two changes from waiting for each other.
      const intentRevisions = await bumpTenantIntentRevisions(transaction, tenantId)
      const found = await this.#options.models.findLocked(transaction, modelId)
      const before = requireActive(must(found, `model ${modelId} is never deleted`))
      const model = await work(transaction, before)
      await this.#record(transaction, actor, action, before, model)
      return { model, intentRevisions }
    })
  }

  /** The model, of a tenant in which the actor may write; refuses `not_found` for another's, exactly as for none. */
  async #requireWritable(actor: Actor, modelId: string): Promise<Model> {
    const model = await this.find(actor, modelId)
    if (model === null) throwRefusal('not_found', 'no such model', { field: 'modelId' })
    requirePermission(actor, 'model.write', model.tenantId)
    return requireActive(model)
  }

  #record(transaction: Transaction, actor: Actor, action: string, before: Model | null, after: Model): Promise<void> {
    return this.#options.audit.append(transaction, {
      ...{ actor, tenantId: after.tenantId, action, subjectKind: 'model', subjectId: after.id },
      ...(before === null ? {} : { before: auditModel(before) }),
      after: auditModel(after),
    })
  }

  /** One transaction; wakes the reconciler after the commit. */
  async #change(work: (transaction: Transaction) => Promise<ModelChange>): Promise<ModelChange> {
    const { database, clock, bell } = this.#options
    try {
      const change = await database.transaction(new Date(clock.nowMs()), work)
      bell.ring()
      return change
    } catch (error) {
      if (isUniqueViolation(error)) {
        throwRefusal('conflict', 'input.name: the tenant has, or had, a model of this name', { field: 'input.name' })
      }
      throw error
    }
  }
}

/** True when there is something that every one of them can do. */
export function shareCapability(lists: readonly (readonly string[])[]): boolean {
  return capabilities.some((capability: Capability) => lists.every((list) => list.includes(capability)))
}

function requireActive(model: Model): Model {
  if (model.archivedAt === null) return model
  throwRefusal('conflict', 'the model is archived', { field: 'modelId' })
}

function isSamePrice(price: ModelPrice, fields: PriceFields): boolean {
  return (
    price.inputNanoUsdPerMillion === fields.inputNanoUsdPerMillion &&
    price.cachedInputNanoUsdPerMillion === fields.cachedInputNanoUsdPerMillion &&
    price.outputNanoUsdPerMillion === fields.outputNanoUsdPerMillion &&
    price.cacheWriteInputNanoUsdPerMillion === fields.cacheWriteInputNanoUsdPerMillion
  )
}
