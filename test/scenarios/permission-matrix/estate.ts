import { randomBytes } from 'node:crypto'
import type { Database } from '../../../control-plane/src/database/database.js'
import { type IdKind, newId } from '../../../proto/std/ids.js'

const laterMs = Date.UTC(2100, 0, 1)

/**
 * Everything a tenant can own, planted as rows so that every field that may be null is not. Each text holds the tenant's
 * mark, each number its own figure, so that a value seen by somebody else gives itself away.
 */
export class Estate {
  readonly mark: string
  readonly figure: number
  readonly tenantId: string
  /** Every id that was planted, and the marked words that are looked up by. */
  readonly ids = new Set<string>()
  readonly #database: Database
  readonly #providerUrl: string
  #routing: Promise<Routing> | null = null
  #count = 0

  /** The ones that reading probes look at. */
  environmentId = ''
  archivedEnvironmentId = ''
  teamId = ''
  memberId = ''
  apiKeyId = ''
  providerId = ''
  modelId = ''
  routeId = ''
  /** Whose rules the other routes take as their defaults. */
  defaultRouteId = ''
  auditEntryId = ''
  requestId = ''
  agentId = ''

  private constructor(database: Database, options: { mark: string; figure: number; providerUrl: string }) {
    this.#database = database
    this.#providerUrl = options.providerUrl
    this.mark = options.mark
    this.figure = options.figure
    this.tenantId = this.#id('tenant')
  }

  static async plant(
    database: Database,
    options: { mark: string; figure: number; providerUrl: string },
  ): Promise<Estate> {
    const estate = new Estate(database, options)
    await estate.#plantAll()
    return estate
  }

  /** A name of this estate that was not used before. */
  name(): string {
    return `${this.mark}-${++this.#count}`
  }

  async environment(more: { archivedAt?: Date } = {}): Promise<string> {
    const id = this.#id('environment')
    await this.#database.rows.environment.create({
      data: {
        ...{ id, tenantId: this.tenantId, name: this.name(), permittedRegions: [this.mark, 'local'] },
        ...{ intentRevision: BigInt(this.figure), createdAt: this.#at(), ...more },
      },
    })
    return id
  }

  async team(): Promise<string> {
    const id = this.#id('team')
    await this.#database.rows.team.create({
      data: { id, tenantId: this.tenantId, name: this.name(), createdAt: this.#at() },
    })
    return id
  }

  async member(): Promise<string> {
    const id = this.#id('member')
    const name = this.name()
    await this.#database.rows.member.create({
      data: {
        ...{ id, tenantId: this.tenantId, subject: `subject-${name}`, email: `${name}@example.com`, displayName: name },
        ...{ roles: ['viewer'], createdAt: this.#at(), disabledAt: this.#at() },
      },
    })
    return id
  }

  async apiKey(more: { revokedAt?: Date; rotatedFromId?: string } = {}): Promise<string> {
    const id = this.#id('apiKey')
    await this.#database.rows.apiKey.create({
      data: {
        ...{ id, tenantId: this.tenantId, environmentId: this.environmentId, teamId: this.teamId, name: this.name() },
        ...{ prefix: `sk-sy-${this.name()}`, secretHash: new Uint8Array(randomBytes(32)), allowedRoutes: [this.mark] },
        ...{ internalOnly: true, mayPin: true },
        ...{
          inFlightMax: this.figure,
          requestsPerMinuteMax: this.figure + 1,
          expiresAt: new Date(laterMs + this.figure),
        },
        ...{ abortOnRevoke: false, createdBy: `subject-${this.mark}`, createdAt: this.#at(), ...more },
      },
    })
    return id
  }

  /** Live, with a credential by reference; `secret`: with none, so that a test of it calls it. */
  async provider(
    more: { archivedAt?: Date; credential?: false; external?: false; kind?: 'classifier' } = {},
  ): Promise<string> {
    const id = this.#id('provider')
    const { credential, ...rest } = more
    await this.#database.rows.provider.create({
      data: {
        ...{
          id,
          tenantId: this.tenantId,
          name: this.name(),
          kind: 'vllm',
          baseUrl: this.#providerUrl,
          region: this.mark,
        },
        // As no kind has them all: what may be null is not, so that each is looked at.
        ...{ apiVersion: this.name(), vendorRegion: this.name(), vendorProject: this.name(), slaNote: this.name() },
        ...{
          slaAvailabilityPpm: this.figure,
          vendorRequestsPerMinute: this.figure,
          vendorTokensPerMinute: this.figure,
        },
        ...{ replicaUrls: [`http://${this.mark}:8000/v1`], replicaScrapeMs: 1_000 + this.figure },
        ...{ connectionsMax: this.figure, createdAt: this.#at(), rowVersion: this.figure, ...rest },
      },
    })
    if (credential !== false) {
      const credentialId = this.#id('credential')
      await this.#database.rows.credential.create({
        data: {
          ...{ id: credentialId, version: this.figure, providerId: id, reference: `env:${this.mark}` },
          createdAt: this.#at(),
        },
      })
    }
    return id
  }

  async model(more: { archivedAt?: Date; capabilities?: string[] } = {}): Promise<string> {
    const id = this.#id('model')
    const nano = BigInt(this.figure) * 1_000_000_000n
    await this.#database.rows.model.create({
      data: {
        ...{ id, tenantId: this.tenantId, name: this.name(), upstreamModel: this.name(), capabilities: ['chat'] },
        outputTokensMax: this.figure + 1,
        ...{ contextTokensMax: this.figure, createdAt: this.#at(), rowVersion: this.figure, ...more },
        prices: {
          create: {
            ...{ version: this.figure, inputNanoUsdPerMillion: nano, cachedInputNanoUsdPerMillion: nano + 1n },
            ...{ outputNanoUsdPerMillion: nano + 2n, cacheWriteInputNanoUsdPerMillion: nano + 3n },
            createdAt: this.#at(),
          },
        },
      },
    })
    return id
  }

  /** With a rule that says everything that can be said, the defaults of another route behind it, and what it keeps. */
  async route(): Promise<string> {
    const id = await this.#ruledRoute()
    await this.#database.rows.routeCache.create({
      data: {
        ...{ routeId: id, ttls: { [this.mark]: this.figure }, ttlSeconds: this.figure, ageMaxSeconds: this.figure },
        ...{ staleSeconds: this.figure, semanticThresholdPpm: this.figure, semanticEmbeddingRoute: this.name() },
        ...{ detailApiKeyIds: [this.apiKeyId], tags: [this.mark], updatedAt: this.#at() },
      },
    })
    return id
  }

  /** The name of a route that makes embeddings. */
  async embeddingRoute(): Promise<string> {
    const modelId = await this.model({ capabilities: ['embeddings'] })
    const name = this.name()
    await this.#route({ name, rules: [{ targets: [{ ...this.#target(), modelId }] }] })
    return name
  }

  async #purge(): Promise<void> {
    await this.#database.rows.cachePurge.create({
      data: {
        ...{ id: this.#id('cachePurge'), environmentId: this.environmentId, at: this.#at(), routeId: this.routeId },
        ...{ promptId: this.name(), promptVersion: this.name(), tag: this.name(), documentId: this.name() },
        createdBy: `subject-${this.mark}`,
      },
    })
  }

  async #ruledRoute(): Promise<string> {
    return this.#route({
      ...{ classifierProviderId: await this.provider({ kind: 'classifier' }) },
      classifierTimeoutMs: 1_000 + (this.figure % 1_000),
      ...{ defaultRouteId: this.defaultRouteId || null, lastResortCachedAgeMaxSeconds: this.figure },
      ...{ lastResortApology: this.name(), lastResortSafeAnswer: this.name() },
      ...{ hedgingBudgetPpm: this.figure, hedgingDelayMinMs: this.figure },
      rules: [
        {
          ...{ condition: `team == "${this.mark}"`, strategy: 'weighted', stickyBy: 'user' },
          ...{ complexityLowPpm: this.figure, complexityHighPpm: this.figure + 1 },
          targets: [this.#fullTarget()],
        },
      ],
    })
  }

  /** An environment whose intent compiles, with usage of its routes: what is explained and reckoned. */
  routing(): Promise<Routing> {
    this.#routing ??= this.#plantRouting()
    return this.#routing
  }

  async #plantRouting(): Promise<Routing> {
    const environmentId = await this.environment()
    const [inside, outside] = [await this.provider({ external: false }), await this.provider()]
    const modelId = await this.model()
    const at = (providerId: string, more: object) => ({ ...this.#target(), providerId, modelId, ...more })
    const [low, high] = [at(inside, { tier: 'low', quality: 10 }), at(outside, { tier: 'high', quality: 90 })]
    const fond = at(inside, { quality: 50 })
    const model = this.name()
    const routeId = await this.#route({
      ...{ environmentId, name: model },
      rules: [
        { condition: 'headers["x-none"] == "a"', targets: [at(inside, {})] },
        { strategy: 'complexity', targets: [low, high] },
      ],
    })
    const fondRouteId = await this.#route({ environmentId, rules: [{ strategy: 'preference', targets: [fond] }] })
    // Who served is who the hop and the record both name.
    const served = (targetId: string) => {
      const by = { providerId: inside, modelId }
      return { environmentId, ...by, hops: [{ targetId, ...by, outcome: 'ok' }] }
    }
    await this.#record({ ...served(low.id), routeId })
    await this.#record({ ...served(fond.id), routeId: fondRouteId })
    return { environmentId, routeId, model }
  }

  async #route({ rules, ...more }: { rules: readonly RulePlan[] } & Record<string, unknown>): Promise<string> {
    const id = this.#id('route')
    await this.#database.rows.route.create({
      data: {
        ...{ id, tenantId: this.tenantId, environmentId: this.environmentId, name: this.name() },
        ...{ totalTimeoutMs: 100_000 + this.figure, createdAt: this.#at(), rowVersion: this.figure, ...more },
      },
    })
    let position = 0
    for (const [index, { targets, ...rule }] of rules.entries()) {
      const ruleId = this.#id('rule')
      await this.#database.rows.routeRule.create({
        data: { id: ruleId, routeId: id, position: index, name: this.name(), ...rule },
      })
      for (const target of targets) {
        await this.#database.rows.routeTarget.create({ data: { ...target, routeId: id, ruleId, position: position++ } })
      }
    }
    return id
  }

  #target() {
    return {
      ...{ id: this.#id('target'), providerId: this.providerId, modelId: this.modelId },
      ...{ upstreamModel: this.name(), connectTimeoutMs: 1_000 + this.figure },
      ...{ firstTokenTimeoutMs: 2_000 + this.figure, idleTimeoutMs: 3_000 + this.figure },
      totalTimeoutMs: 4_000 + this.figure,
    }
  }

  #fullTarget() {
    return {
      ...this.#target(),
      ...{ weight: this.figure, tier: 'medium', tasks: [this.mark], quality: this.figure % 100 },
      ...{ nodePool: this.name(), owner: this.name(), temperature: this.figure / 1_000, outputTokensMax: this.figure },
      ...{ breakerFailures: this.figure, breakerOpenMs: this.figure, breakerFailurePpm: this.figure },
      ...{ breakerWindowMs: this.figure, breakerRequestsMin: this.figure, warmUpIntervalMs: this.figure },
      ...{ batchSize: this.figure, batchWaitMs: this.figure },
    }
  }

  async #record(more: {
    environmentId: string
    routeId: string
    providerId: string
    modelId: string
    hops: object[]
  }): Promise<void> {
    const figure = BigInt(this.figure)
    await this.#database.rows.usageRecord.create({
      data: {
        ...{ agentId: this.#id('agent'), bootEpoch: figure, lane: 0, sequence: 0n, requestId: this.name() },
        ...{ traceId: this.name(), startedAt: this.#at(), tenantId: this.tenantId, apiKeyId: this.apiKeyId },
        ...{ userId: this.name(), operation: 'chat_completions', requestedModel: this.name(), clusterId: this.name() },
        ...{ region: this.mark, usageSource: 'provider', latencyUs: figure, providerLatencyUs: figure },
        ...{ guardrailLatencyUs: figure, status: 'ok', httpStatus: 200, fallbackUsed: false, stream: false },
        ...{ snapshotGeneration: figure, contentHash: new Uint8Array(32), costNanoUsd: figure },
        ...{ tokensIn: figure, tokensOut: figure, ...more },
      },
    })
  }

  async #plantAll(): Promise<void> {
    await this.#database.rows.tenant.create({
      data: { id: this.tenantId, slug: this.mark, name: `Tenant ${this.mark}`, createdAt: this.#at() },
    })
    this.environmentId = await this.environment()
    this.archivedEnvironmentId = await this.environment({ archivedAt: this.#at() })
    this.teamId = await this.team()
    await this.team()
    this.memberId = await this.member()
    await this.member()
    const rotatedFromId = await this.apiKey()
    this.apiKeyId = await this.apiKey({ revokedAt: this.#at(), rotatedFromId })
    this.providerId = await this.provider({ archivedAt: this.#at() })
    this.modelId = await this.model({ archivedAt: this.#at() })
    this.defaultRouteId = await this.#route({ rules: [{ targets: [this.#target()] }] })
    this.routeId = await this.route()
    await this.route()
    await this.#purge()
    this.auditEntryId = await this.#auditEntry()
    await this.#usage()
  }

  async #auditEntry(): Promise<string> {
    const id = this.#id('audit')
    await this.#database.rows.auditEntry.create({
      data: {
        ...{
          id,
          tenantId: this.tenantId,
          actor: `subject-${this.mark}`,
          actorKind: 'token',
          action: `${this.mark}.done`,
        },
        ...{
          subjectKind: `kind-${this.mark}`,
          subjectId: this.routeId,
          before: { mark: this.mark },
          after: { mark: this.mark },
        },
        ...{ requestId: `req-${this.mark}`, createdAt: this.#at() },
      },
    })
    return id
  }

  async #usage(): Promise<void> {
    this.requestId = `req-usage-${this.mark}`
    this.agentId = this.#id('agent')
    const clusterId = this.#id('cluster')
    const figure = BigInt(this.figure)
    const facts = {
      ...{ tenantId: this.tenantId, environmentId: this.environmentId, apiKeyId: this.apiKeyId, teamId: this.teamId },
      ...{
        routeName: this.name(),
        providerId: this.providerId,
        actualModel: this.name(),
        clusterId,
        region: this.mark,
      },
      ...{ tokensIn: figure, tokensOut: figure + 1n, tokensInCached: figure + 2n, tokensOutReasoning: figure + 3n },
      tokensInCacheWrite: figure + 6n,
      ...{ costNanoUsd: figure + 4n, latencyUs: figure * 1000n + 5n },
    }
    const hop = {
      ...{ index: this.figure, targetId: this.name(), providerId: this.providerId, modelId: this.modelId },
      ...{ upstreamModel: this.name(), outcome: this.name(), httpStatus: this.figure },
      ...{ startedUs: this.figure, durationUs: this.figure + 1 },
      ...{ tokensIn: this.figure, tokensOut: this.figure + 1, costNanoUsd: this.figure + 2 },
    }
    this.ids.add(`${this.agentId}/${figure}/${this.figure}/${figure}`)
    await this.#database.rows.usageRecord.create({
      data: {
        ...{ ...facts, agentId: this.agentId, bootEpoch: figure, lane: this.figure, sequence: figure },
        ...{
          requestId: this.requestId,
          traceId: `trace-${this.mark}`,
          spanId: `span-${this.mark}`,
          startedAt: this.#at(),
        },
        ...{
          userId: `user-${this.mark}`,
          operation: `operation-${this.mark}`,
          routeId: this.routeId,
          modelId: this.modelId,
        },
        ...{ requestedModel: this.name(), usageSource: `source-${this.mark}`, priceVersion: this.figure },
        ...{ providerLatencyUs: figure * 10n, guardrailLatencyUs: figure * 20n, firstTokenUs: figure * 30n },
        ...{ status: this.figure % 2 ? 'failed' : 'aborted', code: `code-${this.mark}`, httpStatus: this.figure },
        ...{ fallbackUsed: true, hops: [hop], stream: true, temperature: this.figure / 10 },
        ...{ promptId: this.name(), promptVersion: this.name(), guardrailResult: this.name() },
        ...{ groundingScore: this.figure / 100, cacheHit: 'exact', snapshotGeneration: figure },
        ...{ savedNanoUsd: figure, savedTokensIn: figure + 1n, savedTokensOut: figure + 2n },
        routingOverride: `target=${this.mark}`,
        ...{ contentHash: new Uint8Array(32), storedAt: this.#at() },
      },
    })
    const { clusterId: cluster, ...sums } = facts
    await this.#database.rows.usageRollup.create({
      data: {
        ...{
          ...sums,
          clusterId: cluster,
          granularity: 'hour',
          bucketAt: new Date(Date.UTC(2026, 0, 2, this.figure % 24)),
        },
        ...{ requestCount: figure, refusedCount: figure + 6n, failedCount: figure + 7n, fallbackCount: figure + 8n },
        unpricedCount: figure + 9n,
      },
    })
    await this.#database.sql.query(
      `INSERT INTO "SpoolLane" ("agentId", "bootEpoch", lane, class, "nextSequence", ranges, "updatedAt")
       VALUES ($1, $2, 0, 'usage', $2, '{}', now()), ($1, $2, 1, 'usage', $2, '{}', now())`,
      [this.agentId, this.figure],
    )
  }

  #id(kind: IdKind): string {
    const id = newId(kind, laterMs - this.ids.size)
    this.ids.add(id)
    return id
  }

  /** An instant of this estate only. */
  #at(): Date {
    return new Date(Date.UTC(2026, 0, 1) + this.figure * 60_000 + ++this.#count)
  }
}

interface Routing {
  readonly environmentId: string
  readonly routeId: string
  /** The name of that route. */
  readonly model: string
}

interface RulePlan {
  readonly condition?: string
  readonly strategy?: string
  readonly stickyBy?: string
  readonly complexityLowPpm?: number
  readonly complexityHighPpm?: number
  readonly targets: readonly {
    readonly id: string
    readonly providerId: string
    readonly modelId: string
    readonly connectTimeoutMs: number
    readonly firstTokenTimeoutMs: number
    readonly idleTimeoutMs: number
    readonly totalTimeoutMs: number
  }[]
}
