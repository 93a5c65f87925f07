import { compileCondition, isCondition } from './condition.js'
import type { ApiKeyTable, EnvironmentTable, RouteTable, RuleTable, TargetTable } from './tables.js'

/** For tests: tables with few words. What is left out is the plainest there is. */
export interface TargetSketch extends Partial<Omit<TargetTable, 'id' | 'provider' | 'model' | 'tasks'>> {
  readonly region?: string
  readonly external?: boolean
  readonly capabilities?: readonly string[]
  /** Nano-dollars per million tokens, in and out; left out: no price. */
  readonly price?: readonly [input: bigint, output: bigint]
  readonly contextTokensMax?: number
  readonly outputTokensMax?: number
  readonly tasks?: readonly string[]
}

export function sketchTarget(id: string, sketch: TargetSketch = {}): TargetTable {
  const { region = 'eu', external = false, capabilities = ['chat'], price, tasks = [], ...rest } = sketch
  const { contextTokensMax = null, outputTokensMax = null, ...members } = rest
  return {
    id,
    provider: {
      ...{ id: `prv_${id}`, name: `provider ${id}`, kind: 'vllm', origin: 'http://localhost:1', basePath: '/v1' },
      ...{ region, external, credential: null, connectionsMax: 1 },
      ...{ apiVersion: '', vendorRegion: '', vendorProject: '' },
      ...{ replicas: [{ origin: 'http://localhost:1', basePath: '/v1' }], replicaScrapeMs: 1_000 },
    },
    model: {
      ...{ id: `mdl_${id}`, name: 'm', upstreamModel: 'm', capabilities: new Set(capabilities) },
      ...{ contextTokensMax, outputTokensMax },
      price:
        price === undefined
          ? null
          : {
              ...{ version: 1, inputNanoUsdPerMillion: price[0], cachedInputNanoUsdPerMillion: price[0] },
              ...{ outputNanoUsdPerMillion: price[1], cacheWriteInputNanoUsdPerMillion: null },
            },
    },
    upstreamModel: 'llama',
    deadlines: { connectMs: 1, firstTokenMs: 2, idleMs: 3, totalMs: 4 },
    ...{ weight: 0, tier: null, quality: null, nodePool: '', owner: '', tasks: new Set(tasks) },
    ...{ parameters: { temperature: null, outputTokensMax: null }, breaker: null, warmUpIntervalMs: null },
    ...{ batchSize: null, batchWaitMs: 0 },
    ...members,
  }
}

export interface RuleSketch extends Partial<Omit<RuleTable, 'program'>> {
  /** Keep the condition's text without compiling it. */
  readonly uncompiled?: true
}

export function sketchRule(id: string, sketch: RuleSketch): RuleTable {
  const { uncompiled, ...members } = sketch
  const text = members.condition ?? null
  const program = text === null || uncompiled ? null : compileCondition(text)
  if (program !== null && !isCondition(program)) throw new Error(`${text}: ${program.at}: ${program.message}`)
  return {
    ...{ id, name: '', condition: text, program, strategy: 'ordered', stickyBy: null },
    ...{ complexityLow: 0.3, complexityHigh: 0.7, targets: [] },
    ...members,
  }
}

export function sketchRoute(name: string, ...rules: readonly RuleSketch[]): RouteTable {
  return {
    ...{ id: `rte_${name}`, name, totalTimeoutMs: 10, dropsUnsupported: false, lastResort: null, hedging: null },
    ...{ cache: null, classifier: null, ownRuleCount: rules.length, measures: new Set() },
    rules: rules.map((rule, index) => sketchRule(rule.id ?? `rule-${index}`, rule)),
  }
}

export interface KeySketch {
  readonly regions?: readonly string[]
  readonly allowed?: readonly string[]
  readonly preference?: EnvironmentTable['routingPreference']
  readonly internalOnly?: boolean
  readonly teamId?: string
}

export function sketchKey(routes: readonly RouteTable[], sketch: KeySketch = {}): ApiKeyTable {
  return {
    id: 'key_1',
    teamId: sketch.teamId ?? null,
    environment: {
      ...{ tenantId: 'ten_1', tenantName: 't', environmentId: 'env_1', environmentName: 'production' },
      permittedRegions: new Set(sketch.regions ?? []),
      routingPreference: sketch.preference ?? 'balanced',
      cachePurges: [],
      routes: new Map(routes.map((one) => [one.name, one])),
    },
    allowedRoutes: sketch.allowed ? new Set(sketch.allowed) : null,
    ...{ allowExternal: sketch.internalOnly !== true, mayPin: false },
    expiresAtMs: Number.POSITIVE_INFINITY,
    ...{ inFlightMax: 1, requestsPerMinuteMax: 1 },
  }
}
