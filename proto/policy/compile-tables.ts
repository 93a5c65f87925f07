import type { ApiKeyResource__Output } from '../gen/switchyard/v1/ApiKeyResource.js'
import type { Breaker__Output } from '../gen/switchyard/v1/Breaker.js'
import type { CachePolicy__Output } from '../gen/switchyard/v1/CachePolicy.js'
import type { CachePurge__Output } from '../gen/switchyard/v1/CachePurge.js'
import type { Classifier__Output } from '../gen/switchyard/v1/Classifier.js'
import type { Hedging__Output } from '../gen/switchyard/v1/Hedging.js'
import type { LastResort__Output } from '../gen/switchyard/v1/LastResort.js'
import type { ModelResource__Output } from '../gen/switchyard/v1/ModelResource.js'
import type { ProviderResource__Output } from '../gen/switchyard/v1/ProviderResource.js'
import type { Resource__Output } from '../gen/switchyard/v1/Resource.js'
import type { RouteResource__Output } from '../gen/switchyard/v1/RouteResource.js'
import type { Rule__Output } from '../gen/switchyard/v1/Rule.js'
import type { Target__Output } from '../gen/switchyard/v1/Target.js'
import { assert } from '../std/assert.js'
import { ShardedMap } from '../std/sharded-map.js'
import { type Condition, compileCondition, isCondition } from './condition.js'
import type {
  ApiKeyTable,
  BreakerTable,
  CachePurgeTable,
  CacheTable,
  ClassifierTable,
  ClusterTable,
  DecisionTables,
  DenyTable,
  EnvironmentTable,
  HedgingTable,
  LastResortTable,
  LookupTable,
  Measure,
  ModelTable,
  ProviderTable,
  ReplicaPlace,
  RouteTable,
  RuleTable,
  TargetTable,
} from './tables.js'

/**
 * From decoded resources to decision tables, by difference: the caller says what changed in which section, everything else
 * is shared with the tables before. That is what makes one denied key among ten thousand cost microseconds: no resource is
 * decoded twice, no other section is looked at, and the key maps share their shards.
 *
 * A section is compiled whole or not at all. `compileSection` answers with refusals instead of a section when something in
 * it does not fit; the caller then leaves that section as it was and joins the others.
 */
export interface SectionChange {
  readonly name: string
  /** New and changed resources, by their full name. */
  readonly changed: readonly { readonly name: string; readonly resource: Resource__Output }[]
  /** Full names of resources that are gone. */
  readonly gone: readonly string[]
}

/** Why a section does not compile. The codes are those of a snapshot refusal. */
export interface CompileRefusal {
  readonly code:
    | 'resource_malformed'
    | 'environment_missing'
    | 'default_route_missing'
    | 'target_provider_missing'
    | 'target_model_missing'
    | 'classifier_provider_missing'
    | 'condition_invalid'
    | 'word_unknown'
    | 'weights_missing'
    | 'tiers_missing'
    | 'thresholds_invalid'
    | 'breaker_invalid'
    | 'url_invalid'
    | 'key_hash_invalid'
    | 'key_hash_taken'
  readonly section: string
  readonly resource: string
  readonly path: string
  readonly message: string
}

/** One section, compiled. Opaque to callers but for its name and its providers. */
export interface CompiledSection {
  readonly name: string
  readonly cluster: ClusterTable | null
  readonly environment: EnvironmentTable | null
  /** By id; what readiness is reported for. */
  readonly providers: ReadonlyMap<string, ProviderTable>
  /** Everything but keys and denials, decoded, by name: the next difference is applied to it. */
  readonly resources: ReadonlyMap<string, Resource__Output>
  /** Full name → what it stands for. */
  readonly keys: ShardedMap<KeyRow>
  readonly denials: ShardedMap<DenyRow>
}

/** A compiled section and how it differs from the one it was compiled from; kept only until it is joined. */
export interface SectionCompilation {
  readonly section: CompiledSection
  readonly before: CompiledSection | null
  /** A null row: the name is gone. */
  readonly keys: readonly (readonly [name: string, row: KeyRow | null])[]
  readonly denials: readonly (readonly [name: string, row: DenyRow | null])[]
}

export interface KeyRow {
  readonly name: string
  readonly section: string
  readonly secretHash: string
  readonly facts: Omit<ApiKeyTable, 'environment'>
}

export interface DenyRow {
  readonly name: string
  readonly section: string
  readonly secretHash: string
  readonly table: DenyTable
}

/** All sections joined: the decision tables and what the next difference needs. */
export interface CompiledSnapshot {
  readonly tables: DecisionTables
  readonly sections: ReadonlyMap<string, CompiledSection>
  readonly keys: ShardedMap<KeyRow>
  readonly denied: ShardedMap<DenyRow>
}

export interface CompileHeader {
  readonly epoch: number
  readonly generation: number
  /** Lower-case hexadecimal. */
  readonly rootHash: string
}

/**
 * The section that `change` leads to from `before` (null: from nothing), or everything wrong with it. The generator yields
 * now and then so that a caller with other work may pause; nothing is visible before it returns.
 */
export function* compileSection(
  before: CompiledSection | null,
  change: SectionChange,
): Generator<void, SectionCompilation | readonly CompileRefusal[], void> {
  const refusals: CompileRefusal[] = []
  const report: Report = (code, message, resource, path = '') => {
    if (refusals.length < 20) refusals.push({ code, section: change.name, resource, path, message })
  }
  const resources = new Map(before?.resources)
  const keys: [string, KeyRow | null][] = []
  const denials: [string, DenyRow | null][] = []
  let structural = before === null
  for (const name of change.gone) {
    if (resources.delete(name)) structural = true
    else if (before?.keys.has(name)) keys.push([name, null])
    else if (before?.denials.has(name)) denials.push([name, null])
  }
  for (const [index, { name, resource }] of change.changed.entries()) {
    if (index % sliceCount === sliceCount - 1) yield
    if (resource.apiKey) {
      const row = keyRow(change.name, name, resource.apiKey, report)
      if (row) keys.push([name, row])
    } else if (resource.deny) {
      if (resource.deny.secretHash.length !== hashBytes) {
        report('key_hash_invalid', 'a SHA-256 has 32 bytes', name, 'secretHash')
        continue
      }
      const { subjectId, abort, expiresAtUnixMs } = resource.deny
      const table = Object.freeze({ subjectId, abort, expiresAtMs: expiryOf(expiresAtUnixMs) })
      const secretHash = resource.deny.secretHash.toString('hex')
      denials.push([name, Object.freeze({ name, section: change.name, secretHash, table })])
    } else {
      resources.set(name, resource)
      structural = true
    }
  }
  yield
  const structure =
    structural || before === null
      ? compileStructure(change.name, resources, report)
      : { cluster: before.cluster, environment: before.environment, providers: before.providers }
  if (keys.length > 0 && structure.environment === null) {
    report('environment_missing', 'keys without the environment they belong to', change.name)
  }
  if (refusals.length > 0) return refusals
  const section: CompiledSection = Object.freeze({
    name: change.name,
    ...structure,
    resources,
    keys: applied(before?.keys ?? ShardedMap.empty<KeyRow>(), keys),
    denials: applied(before?.denials ?? ShardedMap.empty<DenyRow>(), denials),
  })
  return { section, before, keys, denials }
}

export interface JoinOptions {
  readonly header: CompileHeader
  readonly before: CompiledSnapshot | null
  /** Sections that changed, each compiled from what `before` has under its name. */
  readonly compilations: readonly SectionCompilation[]
  /** Names of sections that are no more. */
  readonly gone: readonly string[]
}

/**
 * The tables that follow `before`: everything that did not change is shared with it. Returns refusals when two resources
 * claim one key's hash: a request could then be either's.
 */
export function* joinTables(options: JoinOptions): Generator<void, CompiledSnapshot | readonly CompileRefusal[], void> {
  const { header, before, compilations } = options
  const sections = new Map(before?.sections)
  const keyRemovals: string[] = []
  const keyAdditions: [string, KeyRow][] = []
  const denyRemovals: string[] = []
  const denyAdditions: [string, DenyRow][] = []
  for (const name of options.gone) {
    const old = sections.get(name)
    for (const [, row] of old?.keys.entries() ?? []) keyRemovals.push(row.secretHash)
    for (const [, row] of old?.denials.entries() ?? []) denyRemovals.push(row.secretHash)
    sections.delete(name)
  }
  for (const { section, before: old, keys, denials } of compilations) {
    assert((sections.get(section.name) ?? null) === old, `section ${section.name} was compiled from something else`)
    for (const [name, row] of keys) {
      const replaced = old?.keys.get(name)
      if (replaced) keyRemovals.push(replaced.secretHash)
      if (row) keyAdditions.push([row.secretHash, row])
    }
    for (const [name, row] of denials) {
      const replaced = old?.denials.get(name)
      if (replaced) denyRemovals.push(replaced.secretHash)
      if (row) denyAdditions.push([row.secretHash, row])
    }
    sections.set(section.name, section)
    yield
  }
  const keptKeys = (before?.keys ?? ShardedMap.empty<KeyRow>()).with([], keyRemovals)
  const keptDenied = (before?.denied ?? ShardedMap.empty<DenyRow>()).with([], denyRemovals)
  yield
  const taken = [...claimedTwice(keptKeys, keyAdditions), ...claimedTwice(keptDenied, denyAdditions)]
  if (taken.length > 0) return taken
  const keys = keptKeys.with(keyAdditions)
  const denied = keptDenied.with(denyAdditions)
  const sameEnvironments =
    options.gone.length === 0 &&
    compilations.every(({ section, before: old }) => section.environment === (old?.environment ?? null))
  const environments = sameEnvironments && before !== null ? before.tables.environments : environmentsOf(sections)
  const sameKeys = keys === before?.keys && environments === before.tables.environments
  const tables: DecisionTables = Object.freeze({
    ...header,
    cluster: [...sections.values()].find((section) => section.cluster !== null)?.cluster ?? null,
    environments,
    keys: sameKeys ? before.tables.keys : new KeyLookup(keys, environments),
    denied: denied === before?.denied ? before.tables.denied : new DenyLookup(denied),
  })
  return Object.freeze({ tables, sections, keys, denied })
}

/** Runs a generator of this file to its end, without a pause. */
export function finish<T>(steps: Generator<void, T, void>): T {
  for (;;) {
    const step = steps.next()
    if (step.done) return step.value
  }
}

/** All at once, for explanations, simulations and tests: sections from nothing to tables, or the first refusals. */
export function compileTables(
  header: CompileHeader,
  sections: readonly Omit<SectionChange, 'gone'>[],
): CompiledSnapshot | readonly CompileRefusal[] {
  const compilations: SectionCompilation[] = []
  for (const section of sections) {
    const result = finish(compileSection(null, { ...section, gone: [] }))
    if (!isCompiled(result)) return result
    compilations.push(result)
  }
  return finish(joinTables({ header, before: null, compilations, gone: [] }))
}

export function isCompiled<T extends object>(result: T | readonly CompileRefusal[]): result is T {
  return !Array.isArray(result)
}

// ---------------------------------------------------------------------------------------------------------------- keys

/**
 * Keys of all environments. Rows are shared between generations; a row meets its environment when it is first asked for,
 * so that a changed route does not touch ten thousand keys. What was made is kept: a key that is used is made once.
 */
class KeyLookup implements LookupTable<ApiKeyTable> {
  readonly #rows: ShardedMap<KeyRow>
  readonly #environments: ReadonlyMap<string, EnvironmentTable>
  readonly #made = new Map<string, ApiKeyTable>()

  constructor(rows: ShardedMap<KeyRow>, environments: ReadonlyMap<string, EnvironmentTable>) {
    this.#rows = rows
    this.#environments = environments
  }

  get size(): number {
    return this.#rows.size
  }

  get(secretHash: string): ApiKeyTable | undefined {
    const made = this.#made.get(secretHash)
    if (made !== undefined) return made
    const row = this.#rows.get(secretHash)
    const environment = row && this.#environments.get(row.section)
    if (row === undefined || environment === undefined) return undefined
    const table = Object.freeze({ ...row.facts, environment })
    this.#made.set(secretHash, table)
    return table
  }
}

class DenyLookup implements LookupTable<DenyTable> {
  readonly #rows: ShardedMap<DenyRow>

  constructor(rows: ShardedMap<DenyRow>) {
    this.#rows = rows
  }

  get size(): number {
    return this.#rows.size
  }

  get(secretHash: string): DenyTable | undefined {
    return this.#rows.get(secretHash)?.table
  }
}

type Report = (code: CompileRefusal['code'], message: string, resource: string, path?: string) => void

const sliceCount = 256
const hashBytes = 32

function keyRow(section: string, name: string, key: ApiKeyResource__Output, report: Report): KeyRow | null {
  if (key.secretHash.length !== hashBytes) {
    report('key_hash_invalid', 'a SHA-256 has 32 bytes', name, 'secretHash')
    return null
  }
  return Object.freeze({
    name,
    section,
    secretHash: key.secretHash.toString('hex'),
    facts: Object.freeze({
      id: key.id,
      teamId: key.teamId === '' ? null : key.teamId,
      allowedRoutes: key.allowedRoutes.length === 0 ? null : new Set(key.allowedRoutes),
      expiresAtMs: expiryOf(key.expiresAtUnixMs),
      mayPin: key.mayPin,
      allowExternal: !key.internalOnly,
      inFlightMax: key.inFlightMax,
      requestsPerMinuteMax: key.requestsPerMinuteMax,
    }),
  })
}

/** 0 on the wire means never. */
function expiryOf(unixMs: number): number {
  return unixMs === 0 ? Number.POSITIVE_INFINITY : unixMs
}

function applied<V>(map: ShardedMap<V>, delta: readonly (readonly [string, V | null])[]): ShardedMap<V> {
  return map.with(
    delta.filter((entry): entry is readonly [string, V] => entry[1] !== null),
    delta.filter((entry) => entry[1] === null).map(([name]) => name),
  )
}

function claimedTwice<Row extends KeyRow | DenyRow>(
  kept: ShardedMap<Row>,
  additions: readonly (readonly [string, Row])[],
): CompileRefusal[] {
  const seen = new Map<string, Row>()
  const refusals: CompileRefusal[] = []
  for (const [hash, row] of additions) {
    const other = seen.get(hash) ?? kept.get(hash)
    seen.set(hash, row)
    if (other === undefined || refusals.length >= 20) continue
    refusals.push({
      code: 'key_hash_taken',
      section: row.section,
      resource: row.name,
      path: 'secretHash',
      message: `${other.name} of ${other.section} has the same hash`,
    })
  }
  return refusals
}

function environmentsOf(sections: ReadonlyMap<string, CompiledSection>): ReadonlyMap<string, EnvironmentTable> {
  const environments = new Map<string, EnvironmentTable>()
  for (const { name, environment } of sections.values()) if (environment) environments.set(name, environment)
  return environments
}

// ----------------------------------------------------------------------------------------------------------- structure

interface Structure {
  readonly cluster: ClusterTable | null
  readonly environment: EnvironmentTable | null
  readonly providers: ReadonlyMap<string, ProviderTable>
}

/** Providers, models and routes of one section, joined. */
function compileStructure(
  section: string,
  resources: ReadonlyMap<string, Resource__Output>,
  report: Report,
): Structure {
  const providers = new Map<string, ProviderTable>()
  const models = new Map<string, ModelTable>()
  let cluster: ClusterTable | null = null
  for (const [name, { cluster: found, provider, model }] of resources) {
    if (found) cluster = clusterTable(found)
    if (model) models.set(model.id, modelTable(model))
    if (provider) {
      const table = providerTable(provider, (path) => report('url_invalid', 'not an http or https URL', name, path))
      if (table) providers.set(provider.id, table)
    }
  }
  const routes = joinRoutes(resources, { providers, models }, report)
  const environment = [...resources.values()].find((resource) => resource.environment)?.environment
  if (environment === undefined || environment === null) {
    if (routes.size > 0) report('environment_missing', 'routes without the environment they belong to', section)
    return { cluster, environment: null, providers }
  }
  return {
    cluster,
    providers,
    environment: Object.freeze({
      tenantId: environment.tenantId,
      tenantName: environment.tenantName,
      environmentId: environment.environmentId,
      environmentName: environment.environmentName,
      permittedRegions: new Set(environment.permittedRegions),
      routingPreference: preferenceOf(environment, report),
      cachePurges: Object.freeze(environment.cachePurges.map(cachePurgeTable)),
      routes,
    }),
  }
}

function clusterTable(cluster: NonNullable<Resource__Output['cluster']>): ClusterTable {
  const { id, name, region, cloud, spanSamplePpm } = cluster
  return Object.freeze({ id, name, region, cloud, spanSamplePpm })
}

function providerTable(provider: ProviderResource__Output, reportUrl: (path: string) => void): ProviderTable | null {
  const place = placeOf(provider.baseUrl)
  const replicas = provider.replicaUrls.map(placeOf)
  if (place === null) reportUrl('baseUrl')
  const wrongIndex = replicas.indexOf(null)
  if (wrongIndex !== -1) reportUrl(`replicaUrls[${wrongIndex}]`)
  if (place === null || !replicas.every((replica) => replica !== null)) return null
  return Object.freeze({
    id: provider.id,
    name: provider.name,
    kind: provider.kind,
    ...place,
    region: provider.region,
    credential:
      provider.credentialId === ''
        ? null
        : Object.freeze({ id: provider.credentialId, version: provider.credentialVersion }),
    connectionsMax: provider.connectionsMax,
    apiVersion: provider.apiVersion,
    vendorRegion: provider.vendorRegion,
    vendorProject: provider.vendorProject,
    external: provider.external,
    replicas: Object.freeze(replicas.length === 0 ? [place] : replicas),
    replicaScrapeMs: provider.replicaScrapeMs === 0 ? null : provider.replicaScrapeMs,
  })
}

/** Null: not an http or https URL. */
function placeOf(baseUrl: string): ReplicaPlace | null {
  if (!URL.canParse(baseUrl)) return null
  const url = new URL(baseUrl)
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return null
  return Object.freeze({ origin: url.origin, basePath: url.pathname.replace(/\/+$/, '') })
}

function modelTable(model: ModelResource__Output): ModelTable {
  return Object.freeze({
    id: model.id,
    name: model.name,
    upstreamModel: model.upstreamModel,
    capabilities: new Set(model.capabilities),
    price:
      model.price === null || model.price === undefined
        ? null
        : Object.freeze({
            version: model.price.version,
            inputNanoUsdPerMillion: BigInt(model.price.inputNanoUsdPerMillion),
            cachedInputNanoUsdPerMillion: BigInt(model.price.cachedInputNanoUsdPerMillion),
            outputNanoUsdPerMillion: BigInt(model.price.outputNanoUsdPerMillion),
            cacheWriteInputNanoUsdPerMillion:
              model.price.cacheWriteInputNanoUsdPerMillion === undefined
                ? null
                : BigInt(model.price.cacheWriteInputNanoUsdPerMillion),
          }),
    outputTokensMax: model.outputTokensMax === 0 ? null : model.outputTokensMax,
    contextTokensMax: model.contextTokensMax === 0 ? null : model.contextTokensMax,
  })
}

interface Joined {
  readonly providers: ReadonlyMap<string, ProviderTable>
  readonly models: ReadonlyMap<string, ModelTable>
}

/** Every route with its rules, and behind them those of the route that it takes its defaults from. */
function joinRoutes(
  resources: ReadonlyMap<string, Resource__Output>,
  joined: Joined,
  report: Report,
): Map<string, RouteTable> {
  const own = new Map<string, OwnRoute>()
  for (const [name, { route }] of resources) {
    if (route) own.set(route.id, { name, route, rules: ruleTables(name, route, joined, report) })
  }
  const routes = new Map<string, RouteTable>()
  for (const { name, route, rules } of own.values()) {
    const defaults = route.defaultRouteId ? own.get(route.defaultRouteId) : undefined
    if (route.defaultRouteId && (defaults === undefined || defaults.route === route)) {
      report('default_route_missing', `route ${route.defaultRouteId} is not there`, name, 'defaultRouteId')
    }
    const classifier = classifierTable(route.classifier, joined, (code, message, field) =>
      report(code, message, name, `classifier.${field}`),
    )
    routes.set(route.name, routeTable(name, route, { rules, defaults: defaults?.rules ?? [], classifier }, report))
  }
  return routes
}

interface OwnRoute {
  readonly name: string
  readonly route: RouteResource__Output
  readonly rules: readonly RuleTable[]
}

/** What of a route its resource only names. */
interface JoinedRoute {
  /** Its own. */
  readonly rules: readonly RuleTable[]
  readonly defaults: readonly RuleTable[]
  readonly classifier: ClassifierTable | null
}

function routeTable(
  name: string,
  route: RouteResource__Output,
  { rules: own, defaults, classifier }: JoinedRoute,
  report: Report,
): RouteTable {
  const conducts = ['refuse', 'drop'] as const
  const conduct = known(route.unsupportedSettings || 'refuse', conducts, (message) =>
    report('word_unknown', message, name, 'unsupportedSettings'),
  )
  const rules = Object.freeze([...own, ...defaults])
  return Object.freeze({
    id: route.id,
    name: route.name,
    totalTimeoutMs: route.totalTimeoutMs,
    dropsUnsupported: conduct === 'drop',
    lastResort: lastResortTable(route.lastResort),
    hedging: hedgingTable(route.hedging),
    cache: cacheTable(route.cache),
    classifier,
    rules,
    ownRuleCount: own.length,
    measures: measuresOf(rules),
  })
}

/** What must be known of a prompt before these rules can decide. */
function measuresOf(rules: readonly RuleTable[]): ReadonlySet<Measure> {
  const measures = new Set<Measure>()
  for (const { program, strategy } of rules) {
    if (program?.reads.has('complexity') || strategy === 'complexity') measures.add('complexity')
    if (program?.reads.has('prompt_class') || strategy === 'task') measures.add('prompt_class')
    if (program?.reads.has('tokens_in') || strategy === 'cheapest' || strategy === 'preference')
      measures.add('tokens_in')
  }
  return measures
}

function ruleTables(name: string, route: RouteResource__Output, joined: Joined, report: Report): readonly RuleTable[] {
  return route.rules.map((rule, index) => {
    const path = `rules[${index}]`
    return ruleTable(rule, joined, (code, message, field) => report(code, message, name, `${path}.${field}`))
  })
}

type ReportField = (code: CompileRefusal['code'], message: string, field: string) => void

function ruleTable(rule: Rule__Output, joined: Joined, report: ReportField): RuleTable {
  const strategy = known(rule.strategy || 'ordered', strategies, (message) =>
    report('word_unknown', message, 'strategy'),
  )
  const stickyBy = known(rule.stickyBy || null, stickyNames, (message) => report('word_unknown', message, 'stickyBy'))
  const condition = rule.condition === '' ? null : rule.condition
  const table: RuleTable = Object.freeze({
    id: rule.id,
    name: rule.name,
    condition,
    program: condition === null ? null : compiledCondition(condition, report),
    strategy: strategy ?? 'ordered',
    stickyBy,
    complexityLow: rule.complexityLowPpm / 1_000_000,
    complexityHigh: rule.complexityHighPpm / 1_000_000,
    targets: Object.freeze(
      rule.targets.flatMap((target, index) =>
        targetTable(target, joined, (code, message, field) => report(code, message, `targets[${index}].${field}`)),
      ),
    ),
  })
  if (table.targets.length === rule.targets.length) checkStrategy(table, report)
  return table
}

function compiledCondition(text: string, report: ReportField): Condition | null {
  const condition = compileCondition(text)
  if (isCondition(condition)) return condition
  report('condition_invalid', `at character ${condition.at}: ${condition.message}`, 'condition')
  return null
}

/** A strategy with nothing to go by would choose by accident. */
function checkStrategy({ strategy, targets, complexityLow, complexityHigh }: RuleTable, report: ReportField): void {
  if (strategy === 'weighted' && targets.every(({ weight }) => weight === 0)) {
    report('weights_missing', 'the weights are all 0, so that no target could be first', 'targets')
  }
  if (strategy !== 'complexity') return
  if (targets.every(({ tier }) => tier === null)) {
    report('tiers_missing', 'no target says for which tier it is', 'targets')
  }
  if (complexityLow > complexityHigh || complexityHigh > 1) {
    const field = complexityHigh > 1 ? 'complexityHighPpm' : 'complexityLowPpm'
    report('thresholds_invalid', 'the lower threshold is at most the upper one, and that at most 1', field)
  }
}

function targetTable(
  target: Target__Output,
  joined: Joined,
  report: (code: CompileRefusal['code'], message: string, field: string) => void,
): TargetTable[] {
  const provider = joined.providers.get(target.providerId)
  const model = joined.models.get(target.modelId)
  if (!provider) report('target_provider_missing', `provider ${target.providerId} is not there`, 'providerId')
  if (!model) report('target_model_missing', `model ${target.modelId} is not there`, 'modelId')
  if (!provider || !model) return []
  const deadlines = target.deadlines
  return [
    Object.freeze({
      id: target.id,
      provider,
      model,
      upstreamModel: target.upstreamModel === '' ? model.upstreamModel : target.upstreamModel,
      deadlines: Object.freeze({
        connectMs: deadlines?.connectMs ?? 0,
        firstTokenMs: deadlines?.firstTokenMs ?? 0,
        idleMs: deadlines?.idleMs ?? 0,
        totalMs: deadlines?.totalMs ?? 0,
      }),
      weight: target.weight,
      tier: known(target.tier || null, tiers, (message) => report('word_unknown', message, 'tier')),
      tasks: new Set(target.tasks),
      quality: target.quality === 0 ? null : target.quality,
      nodePool: target.nodePool,
      owner: target.owner,
      parameters: Object.freeze({
        temperature: target.parameters?.temperature ?? null,
        outputTokensMax: target.parameters?.outputTokensMax ?? null,
      }),
      breaker: breakerTable(target.breaker, (message) => report('breaker_invalid', message, 'breaker')),
      warmUpIntervalMs: target.warmUp?.intervalMs || null,
      batchSize: target.batchSize || null,
      batchWaitMs: target.batchWaitMs,
    }),
  ]
}

const strategies = [
  ...(['ordered', 'weighted', 'least_latency', 'cheapest', 'preference', 'complexity', 'task'] as const),
] as const
const stickyNames = ['user', 'session'] as const
const tiers = ['low', 'medium', 'high'] as const
const preferences = ['cheapest', 'balanced', 'best'] as const

function preferenceOf(
  { environmentId, routingPreference }: NonNullable<Resource__Output['environment']>,
  report: Report,
): EnvironmentTable['routingPreference'] {
  const preference = known(routingPreference || 'balanced', preferences, (message) =>
    report('word_unknown', message, `environment/${environmentId}`, 'routingPreference'),
  )
  return preference ?? 'balanced'
}

/** `word` where it is one of `words`, null for null; a word that this version does not know is told, never guessed at. */
function known<const T extends string>(
  word: string | null,
  words: readonly T[],
  report: (message: string) => void,
): T | null {
  if (word === null) return null
  const found = words.find((one) => one === word)
  if (found === undefined) report(`this version knows ${words.join(', ')}, not ${JSON.stringify(word.slice(0, 40))}`)
  return found ?? null
}

function lastResortTable(lastResort: LastResort__Output | null | undefined): LastResortTable | null {
  if (!lastResort) return null
  const { cachedAgeMaxSeconds, apology, safeAnswer } = lastResort
  return Object.freeze({ cachedAgeMaxSeconds, apology, safeAnswer })
}

function hedgingTable(hedging: Hedging__Output | null | undefined): HedgingTable | null {
  if (!hedging || hedging.budgetPpm === 0) return null
  return Object.freeze({ budgetRatio: hedging.budgetPpm / 1_000_000, delayMinMs: hedging.delayMinMs })
}

const cacheShares = ['environment', 'team', 'api_key'] as const

function cacheTable(cache: CachePolicy__Output | null | undefined): CacheTable | null {
  if (!cache) return null
  const { anyTemperature, sharedBy, ttls, ttlSeconds, ageMaxSeconds, staleSeconds, shared, semantic } = cache
  return Object.freeze({
    anyTemperature,
    // A word of a later version shares with fewest.
    sharedBy: sharedBy === '' ? 'environment' : (cacheShares.find((share) => share === sharedBy) ?? 'user'),
    ttlSeconds: new Map(ttls.map(({ promptClass, seconds }) => [promptClass, seconds])),
    otherTtlSeconds: ttlSeconds,
    ...{ ageMaxSeconds, staleSeconds, shared },
    semantic: semantic
      ? Object.freeze({ threshold: semantic.thresholdPpm / 1_000_000, embeddingRoute: semantic.embeddingRoute })
      : null,
    detailApiKeys: new Set(cache.detailApiKeyIds),
    tags: Object.freeze([...cache.tags]),
  })
}

function classifierTable(
  classifier: Classifier__Output | null | undefined,
  { providers }: Joined,
  report: ReportField,
): ClassifierTable | null {
  if (!classifier) return null
  const { providerId, timeoutMs } = classifier
  const provider = providers.get(providerId)
  if (provider === undefined) {
    report('classifier_provider_missing', `provider ${providerId} is not there`, 'providerId')
    return null
  }
  return Object.freeze({ provider, timeoutMs })
}

function cachePurgeTable(purge: CachePurge__Output): CachePurgeTable {
  const { id, atUnixMs, routeId, promptId, promptVersion, tag, documentId } = purge
  return Object.freeze({
    ...{ id, atMs: atUnixMs },
    ...{ routeId: routeId || null, promptId: promptId || null, promptVersion: promptVersion || null },
    ...{ tag: tag || null, documentId: documentId || null },
  })
}

function breakerTable(
  breaker: Breaker__Output | null | undefined,
  report: (message: string) => void,
): BreakerTable | null {
  if (!breaker) return null
  const { failures, openMs, failurePpm, windowMs, requestsMin } = breaker
  if ([failures, openMs, windowMs, requestsMin].some((value) => value < 1)) report('every number of it is above zero')
  if (failurePpm < 1 || failurePpm > 1_000_000) report('the share of failures is above zero and at most one')
  return Object.freeze({ failures, openMs, failureRatio: failurePpm / 1_000_000, windowMs, requestsMin })
}
