import { createHash } from 'node:crypto'
import { bumpDenyRevision } from '../../control-plane/src/access/deny-revision.js'
import type { Database } from '../../control-plane/src/database/database.js'
import { bumpIntentRevisions } from '../../control-plane/src/tenancy/intent-revision.js'
import { newId } from '../../proto/std/ids.js'

/**
 * Intent written as rows, for tests of what reads it: the services that write it have tests of their own. Every method does
 * what a mutation does: rows, revisions, commit.
 */
export class IntentRows {
  readonly database: Database
  readonly tenantId: string
  readonly environmentId: string
  readonly providerId: string
  readonly modelId: string

  private constructor(database: Database) {
    this.database = database
    this.tenantId = newId('tenant', Date.now())
    this.environmentId = newId('environment', Date.now())
    this.providerId = newId('provider', Date.now())
    this.modelId = newId('model', Date.now())
  }

  /** A tenant with one environment (region `eu`), one provider, one model with a price, and no route. */
  static async make(database: Database): Promise<IntentRows> {
    const rows = new IntentRows(database)
    const { tenantId, environmentId, providerId, modelId } = rows
    await database.rows.tenant.create({ data: { id: tenantId, slug: tenantId.replace('_', '-'), name: 'Tenant' } })
    await database.rows.environment.create({
      data: { id: environmentId, tenantId, name: 'production', permittedRegions: ['eu'] },
    })
    await database.rows.provider.create({
      data: {
        id: providerId,
        tenantId,
        name: 'sim',
        kind: 'openai-compatible',
        baseUrl: 'http://h:1/v1',
        region: 'eu',
      },
    })
    await database.rows.model.create({
      data: { id: modelId, tenantId, name: 'small', upstreamModel: 'small-1', capabilities: ['chat'] },
    })
    await database.rows.modelPrice.create({
      data: {
        ...{ modelId, version: 1 },
        ...{ inputNanoUsdPerMillion: 5n, cachedInputNanoUsdPerMillion: 2n, outputNanoUsdPerMillion: 9n },
      },
    })
    await rows.change(async () => {})
    return rows
  }

  async addEnvironment(permittedRegions: readonly string[] = ['eu']): Promise<string> {
    const id = newId('environment', Date.now())
    await this.database.rows.environment.create({
      data: {
        id,
        tenantId: this.tenantId,
        name: id.slice(4),
        permittedRegions: [...permittedRegions],
        intentRevision: 1n,
      },
    })
    return id
  }

  async addCluster(region = 'eu'): Promise<string> {
    const id = newId('cluster', Date.now())
    await this.database.rows.cluster.create({
      data: { id, name: id.replace('_', '-'), kind: 'egress', cloud: 'test', region },
    })
    return id
  }

  /** A route with one target; `providerId` and `modelId` as given, so that it can be a broken one. Returns its id. */
  addRoute(
    name: string,
    options: { providerId?: string; modelId?: string; environmentId?: string } = {},
  ): Promise<string> {
    const id = newId('route', Date.now())
    const environmentId = options.environmentId ?? this.environmentId
    return this.change(async (rows) => {
      await rows.route.create({
        data: { id, tenantId: this.tenantId, environmentId, name, totalTimeoutMs: 60_000 },
      })
      await rows.routeTarget.create({
        data: {
          ...{ id: newId('target', Date.now()), routeId: id, position: 0 },
          ...{ providerId: options.providerId ?? this.providerId, modelId: options.modelId ?? this.modelId },
          ...{ connectTimeoutMs: 1000, firstTokenTimeoutMs: 1000, idleTimeoutMs: 1000, totalTimeoutMs: 1000 },
        },
      })
      return id
    }, environmentId)
  }

  /** Keys by one statement; returns their ids in order. */
  async addKeys(count: number, environmentId = this.environmentId): Promise<readonly string[]> {
    const ids = Array.from({ length: count }, () => newId('apiKey', Date.now()))
    const hashes = ids.map((id) => new Uint8Array(createHash('sha256').update(id).digest()))
    await this.change(async (rows) => {
      await rows.$executeRaw`
        INSERT INTO "ApiKey" (id, "tenantId", "environmentId", name, prefix, "secretHash", "allowedRoutes",
                              "inFlightMax", "requestsPerMinuteMax", "createdBy")
        SELECT id, ${this.tenantId}, ${environmentId}, id, id, hash, '{}', 10, 100, 'test'
        FROM unnest(${ids}::text[], ${hashes}::bytea[]) AS key(id, hash)`
    }, environmentId)
    return ids
  }

  /** Revokes as the product does: deny revision and intent revision in the key's own transaction. */
  async revokeKey(id: string): Promise<void> {
    await this.database.transaction(new Date(), async (transaction) => {
      const key = await transaction.rows.apiKey.update({
        where: { id },
        data: { revokedAt: transaction.now, rowVersion: { increment: 1 } },
      })
      await bumpIntentRevisions(transaction, [key.environmentId])
      await bumpDenyRevision(transaction)
    })
  }

  /** Runs `work` and bumps the environment's revision, in one transaction. */
  change<T>(
    work: (rows: Parameters<Parameters<Database['transaction']>[1]>[0]['rows']) => Promise<T>,
    environmentId = this.environmentId,
  ): Promise<T> {
    return this.database.transaction(new Date(), async (transaction) => {
      const value = await work(transaction.rows)
      await bumpIntentRevisions(transaction, [environmentId])
      return value
    })
  }

  async revision(environmentId = this.environmentId): Promise<number> {
    const row = await this.database.rows.environment.findUniqueOrThrow({ where: { id: environmentId } })
    return Number(row.intentRevision)
  }
}
