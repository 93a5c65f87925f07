import type pg from 'pg'
import { must } from '../../../proto/std/assert.js'
import { type Clock, systemClock } from '../../../proto/std/clock.js'
import { pauseEvery } from '../../../proto/std/pause.js'
import type { Database } from '../database/database.js'
import {
  type ApiKeyRow,
  type CachePurgeRow,
  type ClusterRow,
  compileApiKey,
  compileDenyEntry,
  type DenyRow,
  type EnvironmentIntent,
  type EnvironmentRow,
  type ModelRow,
  type ProviderRow,
  type RouteRow,
  type RuleRow,
  type TargetRow,
} from './compile-snapshot.js'
import { type CompiledResource, sliceMs } from './snapshot.js'

/**
 * Cheap to ask, four times a second on every replica: each number rises with every commit that concerns the fleet, under
 * the lock of the row that it is in. Never "ids above the last": sequences commit out of order.
 */
export interface IntentPulse {
  /** Null: this installation has no identity yet. */
  readonly epoch: number | null
  readonly denyRevision: number
  /** Changes whenever an environment's revision, or the number of environments or clusters, does. */
  readonly intent: string
  /** Newest stored generation, by view. */
  readonly heads: ReadonlyMap<string, { readonly epoch: number; readonly generation: number }>
  /** Id of the key that signs. */
  readonly signingKeyId: string | null
}

/** What decides who gets what, as it was at one instant: all but the content of environments. */
export interface Intent {
  readonly epoch: number
  readonly denyRevision: number
  readonly clusters: readonly ClusterRow[]
  /** Archived ones included. */
  readonly environments: readonly EnvironmentRow[]
  /** Of keys that are revoked and have not expired, by the environment they belonged to. */
  readonly denied: ReadonlyMap<string, readonly CompiledResource[]>
}

/**
 * Reads intent by set-based SQL, never a row per round trip. Keeps compiled keys by (row id, row version). Compiling ten
 * thousand keys takes longer than requests should wait, so it is done in slices.
 */
export class IntentReader {
  readonly #sql: pg.Pool
  readonly #clock: Clock
  readonly #apiKeys = new Map<string, CachedResource>()
  #denied = new Map<string, CachedResource>()

  /** `clock`: for slices of long work; default: the system's. */
  constructor(database: Pick<Database, 'sql'>, clock: Clock = systemClock) {
    this.#sql = database.sql
    this.#clock = clock
  }

  async loadPulse(): Promise<IntentPulse> {
    const { rows } = await this.#sql.query<{
      epoch: string | null
      denyRevision: string | null
      intent: string
      signingKeyId: string | null
      heads: { view: string; epoch: number; generation: number }[] | null
    }>(pulseQuery)
    const row = must(rows[0], 'a query without FROM returns one row')
    return {
      epoch: row.epoch === null ? null : Number(row.epoch),
      denyRevision: Number(row.denyRevision ?? 0),
      intent: row.intent,
      signingKeyId: row.signingKeyId,
      heads: new Map((row.heads ?? []).map(({ view, epoch, generation }) => [view, { epoch, generation }])),
    }
  }

  /** Revisions, placement and denials at one instant. Null while the installation has no identity. */
  load(): Promise<Intent | null> {
    return this.#atOneInstant(async (client) => {
      const head = await client.query<{ epoch: string; denyRevision: string | null }>(
        `SELECT epoch, (SELECT revision FROM "DenyRevision" WHERE id = 1) AS "denyRevision" FROM "Installation"`,
      )
      const installation = head.rows[0]
      if (installation === undefined) return null
      const clusters = await client.query<ClusterRow>(`SELECT id, name, cloud, region FROM "Cluster" ORDER BY id`)
      return {
        epoch: Number(installation.epoch),
        denyRevision: Number(installation.denyRevision ?? 0),
        clusters: clusters.rows,
        environments: await loadEnvironmentRows(client),
        denied: await this.#loadDenied(client),
      }
    })
  }

  /** The content of those environments that are in service and that `wanted` picks, each with its revision, at one instant. */
  loadEnvironments(wanted: (environment: EnvironmentRow) => boolean): Promise<ReadonlyMap<string, EnvironmentIntent>> {
    return this.#atOneInstant(async (client) => {
      const rows = await loadEnvironmentRows(client)
      return this.#loadEnvironments(
        client,
        rows.filter((environment) => !environment.archived && wanted(environment)),
      )
    })
  }

  /** One repeatable-read transaction: a revision and what it is the revision of are never read apart. */
  async #atOneInstant<T>(work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    const client = await this.#sql.connect()
    let broken = false
    try {
      await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
      const value = await work(client)
      await client.query('COMMIT')
      return value
    } catch (error) {
      broken = true
      throw error
    } finally {
      client.release(broken)
    }
  }

  /** One environment without its keys, for who explains and does not enforce. Null: there is none, or it is archived. */
  async loadWithoutKeys(environmentId: string): Promise<EnvironmentIntent | null> {
    return this.#atOneInstant(async (client) => {
      const environment = (await loadEnvironmentRows(client, environmentId)).find(({ archived }) => !archived)
      if (environment === undefined) return null
      return (await this.#loadEnvironments(client, [environment], false)).get(environmentId) ?? null
    })
  }

  async #loadEnvironments(
    client: pg.PoolClient,
    environments: readonly EnvironmentRow[],
    withKeys = true,
  ): Promise<ReadonlyMap<string, EnvironmentIntent>> {
    if (environments.length === 0) return new Map()
    const ids = environments.map((environment) => environment.id)
    const routes = await loadRoutes(client, ids)
    const targets = [...routes.values()].flat().flatMap((route) => route.rules.flatMap((rule) => rule.targets))
    const classifierIds = [...routes.values()].flat().flatMap(({ classifierProviderId }) => classifierProviderId ?? [])
    const providerIds = new Set([...targets.map((target) => target.providerId), ...classifierIds])
    const providers = await loadProviders(client, [...providerIds])
    const models = await loadModels(client, [...new Set(targets.map((target) => target.modelId))])
    const cachePurges = await loadCachePurges(client, ids)
    const apiKeys = withKeys ? await this.#loadApiKeys(client, ids) : new Map<string, readonly CompiledResource[]>()
    return new Map(
      environments.map((environment) => [
        environment.id,
        {
          environment,
          routes: routes.get(environment.id) ?? [],
          // A target of another tenant cannot be made; were it there, it must not work.
          providers: providers.filter((provider) => provider.tenantId === environment.tenantId),
          models: models.filter((model) => model.tenantId === environment.tenantId),
          apiKeys: apiKeys.get(environment.id) ?? [],
          cachePurges: cachePurges.get(environment.id) ?? [],
        },
      ]),
    )
  }

  async #loadApiKeys(
    client: pg.PoolClient,
    environmentIds: readonly string[],
  ): Promise<ReadonlyMap<string, readonly CompiledResource[]>> {
    // A key that expired long ago refuses nobody who was not refused yesterday.
    const index = await loadKeyIndex(
      client,
      `"environmentId" = ANY($1) AND "revokedAt" IS NULL
       AND ("expiresAt" IS NULL OR "expiresAt" > now() - interval '1 day')`,
      [environmentIds],
    )
    const { known, stale } = lookUp(index, this.#apiKeys)
    if (stale.length > 0) {
      const { rows } = await client.query<Omit<ApiKeyRow, 'expiresAtMs'> & { expiresAt: Date | null }>(
        `SELECT id, "rowVersion", "secretHash", "teamId", "allowedRoutes", "internalOnly", "mayPin", "expiresAt",
                "inFlightMax", "requestsPerMinuteMax"
         FROM "ApiKey" WHERE id = ANY($1)`,
        [stale],
      )
      const pause = pauseEvery(sliceMs, this.#clock)
      for (const row of rows) {
        await pause()
        const resource = compileApiKey({ ...row, expiresAtMs: row.expiresAt?.getTime() ?? 0 })
        known.set(row.id, { rowVersion: row.rowVersion, resource })
      }
    }
    for (const [id, cached] of known) this.#apiKeys.set(id, cached)
    return resourcesByEnvironment(index, known)
  }

  async #loadDenied(client: pg.PoolClient): Promise<ReadonlyMap<string, readonly CompiledResource[]>> {
    const index = await loadKeyIndex(
      client,
      `"revokedAt" IS NOT NULL AND ("expiresAt" IS NULL OR "expiresAt" > now())`,
      [],
    )
    const { known, stale } = lookUp(index, this.#denied)
    if (stale.length > 0) {
      const { rows } = await client.query<
        Omit<DenyRow, 'expiresAtMs'> & { expiresAt: Date | null; rowVersion: number }
      >(
        `SELECT id, "environmentId", "secretHash", "abortOnRevoke" AS abort, "expiresAt", "rowVersion"
         FROM "ApiKey" WHERE id = ANY($1)`,
        [stale],
      )
      const pause = pauseEvery(sliceMs, this.#clock)
      for (const row of rows) {
        await pause()
        const resource = compileDenyEntry({ ...row, expiresAtMs: row.expiresAt?.getTime() ?? 0 })
        known.set(row.id, { rowVersion: row.rowVersion, resource })
      }
    }
    // The index is all there is: what expired is forgotten.
    this.#denied = known
    return resourcesByEnvironment(index, known)
  }

  /** Forgets every compiled key that is not among `resources`. Not while `loadEnvironments` runs. */
  retain(resources: Iterable<readonly CompiledResource[]>): void {
    const kept = new Set<CompiledResource>()
    for (const list of resources) for (const resource of list) kept.add(resource)
    for (const [id, { resource }] of this.#apiKeys) if (!kept.has(resource)) this.#apiKeys.delete(id)
  }
}

/** All, or the one with this id. */
async function loadEnvironmentRows(
  client: pg.PoolClient,
  id: string | null = null,
): Promise<readonly EnvironmentRow[]> {
  const { rows } = await client.query<EnvironmentRow & { intentRevision: string }>(
    `SELECT e.id, e."tenantId", t.name AS "tenantName", e.name, e."permittedRegions", e."routingPreference",
            e."intentRevision",
            (e."archivedAt" IS NOT NULL OR t."archivedAt" IS NOT NULL) AS archived
     FROM "Environment" e JOIN "Tenant" t ON t.id = e."tenantId" WHERE $1::text IS NULL OR e.id = $1 ORDER BY e.id`,
    [id],
  )
  return rows.map((row) => Object.freeze({ ...row, intentRevision: Number(row.intentRevision) }))
}

interface KeyIndexRow {
  readonly id: string
  readonly environmentId: string
  readonly rowVersion: number
}

/** Ids and versions of keys, in order of id. One text per environment: ten thousand rows cost more than their content. */
async function loadKeyIndex(
  client: pg.PoolClient,
  condition: string,
  values: readonly unknown[],
): Promise<readonly KeyIndexRow[]> {
  const { rows } = await client.query<{ environmentId: string; keys: string }>(
    `SELECT "environmentId", string_agg(id || ' ' || "rowVersion", ',' ORDER BY id COLLATE "C") AS keys
     FROM "ApiKey" WHERE ${condition} GROUP BY "environmentId"`,
    [...values],
  )
  return rows.flatMap(({ environmentId, keys }) =>
    keys.split(',').map((text) => {
      const blank = text.indexOf(' ')
      return { id: text.slice(0, blank), environmentId, rowVersion: Number(text.slice(blank + 1)) }
    }),
  )
}

interface CachedResource {
  readonly rowVersion: number
  readonly resource: CompiledResource
}

/** What of the index is compiled already, and the ids of what is not. A map of its own: two loads may run at once. */
function lookUp(
  index: readonly KeyIndexRow[],
  cache: ReadonlyMap<string, CachedResource>,
): { readonly known: Map<string, CachedResource>; readonly stale: readonly string[] } {
  const known = new Map<string, CachedResource>()
  const stale: string[] = []
  for (const { id, rowVersion } of index) {
    const cached = cache.get(id)
    if (cached?.rowVersion === rowVersion) known.set(id, cached)
    else stale.push(id)
  }
  return { known, stale }
}

function resourcesByEnvironment(
  index: readonly { readonly id: string; readonly environmentId: string }[],
  cache: ReadonlyMap<string, CachedResource>,
): ReadonlyMap<string, readonly CompiledResource[]> {
  const groups = groupBy(index, (row) => row.environmentId)
  return new Map(
    [...groups].map(([environmentId, rows]) => [
      environmentId,
      rows.map(({ id }) => must(cache.get(id), 'a row of the index was compiled').resource),
    ]),
  )
}

const pulseQuery = `
  SELECT (SELECT epoch FROM "Installation") AS epoch,
         (SELECT revision FROM "DenyRevision" WHERE id = 1) AS "denyRevision",
         (SELECT count(*) || '/' || coalesce(sum("intentRevision"), 0) FROM "Environment")
           || '/' || (SELECT count(*) FROM "Cluster") AS intent,
         (SELECT id FROM "SigningKey" WHERE "retiredAt" IS NULL ORDER BY "createdAt" DESC, id DESC LIMIT 1)
           AS "signingKeyId",
         (SELECT json_agg(newest) FROM (
            SELECT s.view, s.epoch, s.generation FROM "Cluster" c CROSS JOIN LATERAL (
              SELECT view, epoch, generation FROM "Snapshot" WHERE view = c.id || '/main'
              ORDER BY epoch DESC, generation DESC LIMIT 1) s) newest) AS heads`

async function loadRoutes(
  client: pg.PoolClient,
  environmentIds: readonly string[],
): Promise<ReadonlyMap<string, readonly RouteRow[]>> {
  const routes = await client.query<Omit<RouteRow, 'rules'> & { environmentId: string }>(
    `SELECT id, "environmentId", name, "totalTimeoutMs", "unsupportedSettings", "defaultRouteId",
            "lastResortCachedAgeMaxSeconds", "lastResortApology", "lastResortSafeAnswer", "hedgingBudgetPpm",
            "hedgingDelayMinMs", "classifierProviderId", "classifierTimeoutMs", to_jsonb(c) AS cache
     FROM "Route" LEFT JOIN "RouteCache" c ON c."routeId" = "Route".id WHERE "environmentId" = ANY($1) ORDER BY id`,
    [environmentIds],
  )
  const rules = await client.query<Omit<RuleRow, 'targets'> & { routeId: string }>(
    `SELECT u.id, u."routeId", u.name, u.condition, u.strategy, u."stickyBy", u."complexityLowPpm",
            u."complexityHighPpm"
     FROM "RouteRule" u JOIN "Route" r ON r.id = u."routeId"
     WHERE r."environmentId" = ANY($1) ORDER BY u."routeId", u.position`,
    [environmentIds],
  )
  const targets = await client.query<TargetRow & { routeId: string; ruleId: string | null }>(
    `SELECT t.id, t."routeId", t."ruleId", t."providerId", t."modelId", t."upstreamModel",
            t."connectTimeoutMs" AS "connectMs", t."firstTokenTimeoutMs" AS "firstTokenMs",
            t."idleTimeoutMs" AS "idleMs", t."totalTimeoutMs" AS "totalMs", t.weight, t.tier, t.tasks, t.quality,
            t."nodePool", t.owner, t.temperature, t."outputTokensMax", t."breakerFailures", t."breakerOpenMs",
            t."breakerFailurePpm", t."breakerWindowMs", t."breakerRequestsMin", t."warmUpIntervalMs",
            t."batchSize", t."batchWaitMs"
     FROM "RouteTarget" t JOIN "Route" r ON r.id = t."routeId"
     WHERE r."environmentId" = ANY($1) ORDER BY t."routeId", t.position`,
    [environmentIds],
  )
  const rulesByRoute = groupBy(rules.rows, (rule) => rule.routeId)
  const targetsByRoute = groupBy(targets.rows, (target) => target.routeId)
  return groupBy(
    routes.rows.map((route) => ({
      ...route,
      rules: joinRules(route.id, rulesByRoute.get(route.id) ?? [], targetsByRoute.get(route.id) ?? []),
    })),
    (route) => route.environmentId,
  )
}

/**
 * Targets that name no rule were written by a release without rules, which leaves old rules behind: they are one rule that
 * always applies.
 */
function joinRules(
  routeId: string,
  rules: readonly Omit<RuleRow, 'targets'>[],
  targets: readonly (TargetRow & { readonly ruleId: string | null })[],
): readonly RuleRow[] {
  if (targets.every(({ ruleId }) => ruleId !== null)) {
    return rules.map((rule) => ({ ...rule, targets: targets.filter(({ ruleId }) => ruleId === rule.id) }))
  }
  const always = { condition: null, strategy: 'ordered', stickyBy: null, complexityLowPpm: 0, complexityHighPpm: 0 }
  return [{ id: `rul_${routeId.slice(4)}`, name: 'rule-1', ...always, targets }]
}

async function loadCachePurges(
  client: pg.PoolClient,
  environmentIds: readonly string[],
): Promise<ReadonlyMap<string, readonly CachePurgeRow[]>> {
  const { rows } = await client.query<Omit<CachePurgeRow, 'atMs'> & { environmentId: string; at: Date }>(
    `SELECT id, "environmentId", at, "routeId", "promptId", "promptVersion", tag, "documentId"
     FROM "CachePurge" WHERE "environmentId" = ANY($1) ORDER BY "environmentId", at, id`,
    [environmentIds],
  )
  const purges = rows.map(({ at, ...purge }) => ({ ...purge, atMs: at.getTime() }))
  return groupBy(purges, (purge) => purge.environmentId)
}

async function loadProviders(
  client: pg.PoolClient,
  ids: readonly string[],
): Promise<readonly (ProviderRow & { tenantId: string })[]> {
  const { rows } = await client.query<ProviderRow & { tenantId: string }>(
    `SELECT p.id, p."tenantId", p."rowVersion", p.name, p.kind, p."baseUrl", p.region, p."connectionsMax",
            p."apiVersion", p."vendorRegion", p."vendorProject", p.external,
            coalesce(p."replicaUrls", '{}') AS "replicaUrls", p."replicaScrapeMs",
            c.id AS "credentialId", c.version AS "credentialVersion"
     FROM "Provider" p LEFT JOIN LATERAL (
       SELECT id, version FROM "Credential" WHERE "providerId" = p.id AND "retiredAt" IS NULL
       ORDER BY version DESC LIMIT 1) c ON true
     WHERE p.id = ANY($1) AND p."archivedAt" IS NULL ORDER BY p.id`,
    [ids],
  )
  return rows
}

async function loadModels(
  client: pg.PoolClient,
  ids: readonly string[],
): Promise<readonly (ModelRow & { tenantId: string })[]> {
  const { rows } = await client.query<
    Omit<ModelRow, 'price'> & {
      tenantId: string
      priceVersion: number | null
      input: string
      cachedInput: string
      output: string
      cacheWriteInput: string | null
    }
  >(
    `SELECT m.id, m."tenantId", m."rowVersion", m.name, m."upstreamModel", m.capabilities, m."contextTokensMax",
            m."outputTokensMax", p.version AS "priceVersion", p."inputNanoUsdPerMillion" AS input,
            p."cachedInputNanoUsdPerMillion" AS "cachedInput", p."outputNanoUsdPerMillion" AS output,
            p."cacheWriteInputNanoUsdPerMillion" AS "cacheWriteInput"
     FROM "Model" m LEFT JOIN LATERAL (
       SELECT * FROM "ModelPrice" WHERE "modelId" = m.id ORDER BY version DESC LIMIT 1) p ON true
     WHERE m.id = ANY($1) AND m."archivedAt" IS NULL ORDER BY m.id`,
    [ids],
  )
  return rows.map(({ priceVersion, input, cachedInput, output, cacheWriteInput, ...model }) => ({
    ...model,
    price:
      priceVersion === null
        ? null
        : {
            ...{
              version: priceVersion,
              input: Number(input),
              cachedInput: Number(cachedInput),
              output: Number(output),
            },
            cacheWriteInput: cacheWriteInput === null ? null : Number(cacheWriteInput),
          },
  }))
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const item of items) {
    const group = groups.get(keyOf(item))
    if (group === undefined) groups.set(keyOf(item), [item])
    else group.push(item)
  }
  return groups
}
