import type { z } from 'zod'
import { must } from '../../../proto/std/assert.js'
import type { Clock } from '../../../proto/std/clock.js'
import { newId } from '../../../proto/std/ids.js'
import { RefusalError, throwRefusal } from '../../../proto/std/refusal.js'
import { checkInput } from '../access/check-input.js'
import { isPermitted, requirePermission } from '../access/permission.js'
import type { Actor } from '../access/principal.js'
import { tenantScope } from '../access/tenant-scope.js'
import type { AuditStore } from '../audit/audit-store.js'
import type { Database, Transaction } from '../database/database.js'
import type { Page, PageArgs } from '../database/page.js'
import { isUniqueViolation } from '../database/unique-violation.js'
import type { ModelReader } from '../models/model-reader.js'
import type { ProviderReader } from '../providers/provider-reader.js'
import { type Bell, bumpIntentRevisions } from '../tenancy/intent-revision.js'
import {
  auditRoute,
  completeTotal,
  createRouteInput,
  type Route,
  routesPerEnvironmentMax,
  targetsOf,
  targetsPerRouteMax,
  updateRouteInput,
} from './route.js'
import { findFlaw } from './route-consistency.js'
import type { EnvironmentOfRoute, RouteFilter, RouteReader } from './route-reader.js'
import type { RouteStore } from './route-store.js'
import { isPlain, plainRule, type Rule, type RuleInput, thresholdDefaults } from './rule.js'
import { completeTarget, type Target, type TargetInput } from './target.js'

export interface RouteServiceOptions {
  readonly database: Database
  readonly routes: RouteStore
  readonly reader: RouteReader
  readonly providers: ProviderReader
  readonly models: ModelReader
  readonly audit: AuditStore
  readonly clock: Clock
  readonly bell: Bell
}

/** A route, and the intent revision of its environment from which on agents follow it. */
export interface RouteChange {
  readonly route: Route
  readonly intentRevision: bigint
}

/** Use cases of routes. A route that cannot work is refused here, with the path of what is wrong. */
export class RouteService {
  readonly #options: RouteServiceOptions

  /** For data loaders: null for routes that are not the actor's to see. */
  readonly byId = Object.freeze({
    load: async (actor: Actor, ids: readonly string[]): Promise<readonly (Route | null)[]> => {
      const found = await this.#options.routes.findMany(ids)
      const visible = found.filter((route) => isPermitted(actor, 'route.read', route.tenantId))
      const byId = new Map(visible.map((route) => [route.id, route]))
      return ids.map((id) => byId.get(id) ?? null)
    },
  })

  constructor(options: RouteServiceOptions) {
    this.#options = options
  }

  /** Null when there is none or it is not the actor's. */
  async find(actor: Actor, id: string): Promise<Route | null> {
    const [route] = await this.byId.load(actor, [id])
    return route ?? null
  }

  /** Of the named tenant, else of the actor's own. */
  async list(
    actor: Actor,
    tenantId: string | null | undefined,
    filter: RouteFilter,
    args: PageArgs,
  ): Promise<Page<Route>> {
    const scope = tenantScope(actor, tenantId, 'tenantId')
    requirePermission(actor, 'route.read', scope)
    return this.#options.reader.page(scope, filter, args)
  }

  /** Refuses `bad_input` with the path of what cannot work, `conflict` for a taken name, `limit_exceeded`. */
  async create(actor: Actor, input: z.input<typeof createRouteInput>): Promise<RouteChange> {
    const checked = checkInput(createRouteInput, input)
    const { environmentId, name, unsupportedSettings } = checked
    const form = formOf(checked) ?? throwNothing()
    const given = rulesGiven(checked)
    const seen = await this.#options.reader.findEnvironment(environmentId)
    if (seen === null || !isPermitted(actor, 'route.read', seen.tenantId)) {
      return throwRefusal('not_found', 'no such environment', { field: 'input.environmentId' })
    }
    requirePermission(actor, 'route.write', seen.tenantId)
    return this.#change(environmentId, async (transaction, environment) => {
      const { routes } = this.#options
      if ((await routes.countOfEnvironment(transaction, environmentId)) >= routesPerEnvironmentMax) {
        throwRefusal('limit_exceeded', `an environment has at most ${routesPerEnvironmentMax} routes; delete one first`)
      }
      const total = completeTotal(checked.totalTimeoutMs, given)
      const route: Route = {
        id: newId('route', transaction.now.getTime()),
        ...{ tenantId: environment.tenantId, environmentId, name, totalTimeoutMs: total },
        rules: completeRules(given, total, [], transaction.now),
        ...{ defaultRouteId: checked.defaultRouteId ?? null, unsupportedSettings },
        ...{ lastResort: checked.lastResort ?? null, hedging: checked.hedging ?? null },
        classifier: checked.classifier ?? null,
        ...{ createdAt: transaction.now, rowVersion: 1 },
      }
      await this.#requireWorks(transaction, route, environment, form)
      await routes.insert(transaction, route)
      await this.#record(transaction, actor, 'route.create', null, route)
      return route
    })
  }

  /** Changes what is given; the name is what clients call, so it never changes. */
  async update(actor: Actor, input: z.input<typeof updateRouteInput>): Promise<RouteChange> {
    const checked = checkInput(updateRouteInput, input)
    const { routeId, rowVersion } = checked
    const form = formOf(checked)
    const { environmentId } = await this.#requireWritable(actor, routeId, 'input.routeId')
    return this.#change(environmentId, async (transaction, environment) => {
      const before = requireFound(await this.#options.routes.findLocked(transaction, routeId), 'input.routeId')
      if (rowVersion != null && rowVersion !== before.rowVersion) {
        throwRefusal('conflict', `changed meanwhile (version ${before.rowVersion}); read it again and repeat`, {
          field: 'input.rowVersion',
        })
      }
      if (form === 'targets' && !isPlain(before.rules)) {
        const message = 'the route has rules, which would be lost: give rules instead'
        throwRefusal('bad_input', `input.targets: ${message}`, { field: 'input.targets' })
      }
      const total = checked.totalTimeoutMs ?? before.totalTimeoutMs
      const route: Route = {
        ...before,
        totalTimeoutMs: total,
        unsupportedSettings: checked.unsupportedSettings ?? before.unsupportedSettings,
        rules:
          form === null
            ? before.rules
            : completeRules(namedAs(before.rules, form, rulesGiven(checked)), total, before.rules, transaction.now),
        defaultRouteId: checked.defaultRouteId === undefined ? before.defaultRouteId : checked.defaultRouteId,
        lastResort: checked.lastResort === undefined ? before.lastResort : checked.lastResort,
        hedging: checked.hedging === undefined ? before.hedging : checked.hedging,
        classifier: checked.classifier === undefined ? before.classifier : checked.classifier,
        rowVersion: before.rowVersion + 1,
      }
      await this.#requireWorks(transaction, route, environment, form ?? (isPlain(before.rules) ? 'targets' : 'rules'))
      await this.#options.routes.replace(transaction, route)
      await this.#record(transaction, actor, 'route.update', before, route)
      return route
    })
  }

  /** Requests for its name are refused as soon as agents have applied the returned revision. */
  async delete(actor: Actor, routeId: string): Promise<RouteChange> {
    const { environmentId } = await this.#requireWritable(actor, routeId, 'routeId')
    return this.#change(environmentId, async (transaction) => {
      const route = requireFound(await this.#options.routes.findLocked(transaction, routeId), 'routeId')
      const [dependent] = await this.#options.routes.findDependents(transaction, routeId)
      if (dependent !== undefined) {
        throwRefusal('conflict', `the route ${dependent} takes its default rules from it; change that first`, {
          field: 'routeId',
          detail: { reason: 'in_use' },
        })
      }
      await this.#options.routes.delete(transaction, routeId)
      await this.#record(transaction, actor, 'route.delete', route, null)
      return route
    })
  }

  async #requireWorks(
    transaction: Transaction,
    route: Route,
    environment: EnvironmentOfRoute,
    form: RuleForm,
  ): Promise<void> {
    const { tenantId } = environment
    const targets = targetsOf(route)
    if (targets.length > targetsPerRouteMax) {
      throwRefusal('bad_input', `input.rules: expected at most ${targetsPerRouteMax} targets over all rules`, {
        field: 'input.rules',
      })
    }
    await this.#requireDefaults(transaction, route)
    // Providers before models, everywhere; both stay as they are until this transaction ends.
    const { classifier } = route
    const providers = await this.#options.providers.findUsable(transaction, tenantId, [
      ...targets.map((target) => target.providerId),
      ...(classifier === null ? [] : [classifier.providerId]),
    ])
    const models = await this.#options.models.findUsable(
      transaction,
      tenantId,
      targets.map((target) => target.modelId),
    )
    const flaw = findFlaw(route, { environment, providers, models, form })
    if (flaw !== null) throw new RefusalError(flaw)
  }

  /** Another route of the environment, and one step only: what has defaults is nobody's default. */
  async #requireDefaults(transaction: Transaction, route: Route): Promise<void> {
    if (route.defaultRouteId === null) return
    const field = 'input.defaultRouteId'
    const no = (message: string) => throwRefusal('bad_input', `${field}: ${message}`, { field })
    if (route.defaultRouteId === route.id) no('a route cannot be its own default')
    const { routes } = this.#options
    // Nobody writes routes of this environment meanwhile: its row is locked.
    const [defaults] = await routes.findWithin(transaction, [route.defaultRouteId])
    if (defaults === undefined || defaults.environmentId !== route.environmentId) {
      return no('no such route in this environment')
    }
    if (defaults.defaultRouteId !== null) no(`the route ${defaults.name} has defaults itself`)
    const [dependent] = await routes.findDependents(transaction, route.id)
    if (dependent !== undefined) no(`the route ${dependent} takes its defaults from this one`)
  }

  /** The route, of a tenant in which the actor may write; refuses `not_found` for another's, exactly as for none. */
  async #requireWritable(actor: Actor, routeId: string, field: string): Promise<Route> {
    const route = requireFound(await this.find(actor, routeId), field)
    requirePermission(actor, 'route.write', route.tenantId)
    return route
  }

  #record(
    transaction: Transaction,
    actor: Actor,
    action: string,
    before: Route | null,
    after: Route | null,
  ): Promise<void> {
    const { tenantId, id } = must(after ?? before, 'a change has a side')
    return this.#options.audit.append(transaction, {
      ...{ actor, tenantId, action, subjectKind: 'route', subjectId: id },
      ...(before === null ? {} : { before: auditRoute(before) }),
      ...(after === null ? {} : { after: auditRoute(after) }),
    })
  }

  /** One transaction that begins with the environment's lock; wakes the reconciler after the commit. */
  async #change(
    environmentId: string,
    work: (transaction: Transaction, environment: EnvironmentOfRoute) => Promise<Route>,
  ): Promise<RouteChange> {
    const { database, reader, clock, bell } = this.#options
    try {
      const change = await database.transaction(new Date(clock.nowMs()), async (transaction) => {
        const revisions = await bumpIntentRevisions(transaction, [environmentId])
        const environment = await reader.findEnvironment(environmentId, transaction)
        if (environment === null || !environment.active) {
          return throwRefusal('conflict', 'the environment is archived', { field: 'input.environmentId' })
        }
        const route = await work(transaction, environment)
        return { route, intentRevision: must(revisions.get(environmentId), 'its revision was just bumped') }
      })
      bell.ring()
      return change
    } catch (error) {
      if (isUniqueViolation(error)) {
        throwRefusal('conflict', 'input.name: the environment has a route of this name', { field: 'input.name' })
      }
      throw error
    }
  }
}

type RuleForm = 'targets' | 'rules'

interface GivenRules {
  readonly targets?: readonly TargetInput[] | null | undefined
  readonly rules?: readonly RuleInput[] | null | undefined
}

/** Which of the two was given; null: neither. Both are refused. */
function formOf({ targets, rules }: GivenRules): RuleForm | null {
  if (targets != null && rules != null) {
    const message = 'give targets (one rule that always applies) or rules, not both'
    throwRefusal('bad_input', `input.rules: ${message}`, { field: 'input.rules' })
  }
  return targets != null ? 'targets' : rules != null ? 'rules' : null
}

function throwNothing(): never {
  return throwRefusal('bad_input', 'input.targets: expected at least one target, or rules', { field: 'input.targets' })
}

function rulesGiven({ targets, rules }: GivenRules): readonly RuleInput[] {
  return rules ?? [plainRule(targets ?? [])]
}

/** Targets alone stay under the rule that they were under. */
function namedAs(before: readonly Rule[], form: RuleForm, given: readonly RuleInput[]): readonly RuleInput[] {
  const [only] = before
  return form === 'targets' && only !== undefined ? given.map((rule) => ({ ...rule, name: only.name })) : given
}

/**
 * Rules as given, else the defaults. A rule that was there before (same name) keeps its id: in the evidence, and for whoever
 * sticks to it. So does a target (same provider, model and name): first every rule finds its own again, then rules take what
 * is left, of rules that are gone before what others dropped. So a target that stays where it is never loses its id to one
 * elsewhere that is the same.
 */
function completeRules(
  inputs: readonly RuleInput[],
  totalTimeoutMs: number,
  before: readonly Rule[],
  now: Date,
): readonly Rule[] {
  const names = namesOf(inputs)
  const ids = targetIdsOf(inputs, names, before, now)
  return inputs.map((input, index) => {
    const name = must(names[index], 'every rule has a name')
    return {
      id: before.find((rule) => rule.name === name)?.id ?? newId('rule', now.getTime()),
      ...{ name, condition: input.condition?.trim() || null, strategy: input.strategy ?? 'ordered' },
      stickyBy: input.stickyBy ?? null,
      complexityLow: input.complexityLow ?? thresholdDefaults.complexityLow,
      complexityHigh: input.complexityHigh ?? thresholdDefaults.complexityHigh,
      targets: input.targets.map((target, place) => ({
        id: must(ids[index]?.[place], 'every target has an id'),
        ...completeTarget(target, totalTimeoutMs),
      })),
    }
  })
}

/** As given, else a free one. Refuses `bad_input` for a name that two have. */
function namesOf(inputs: readonly RuleInput[]): readonly string[] {
  const taken = new Set(inputs.flatMap(({ name }) => name ?? []))
  const names = new Set<string>()
  for (const [index, input] of inputs.entries()) {
    const name = input.name ?? freeName(index, taken)
    if (names.has(name)) {
      const field = `input.rules[${index}].name`
      throwRefusal('bad_input', `${field}: another rule of the route is called ${name}`, { field })
    }
    names.add(name)
  }
  return [...names]
}

/** `rule-2` for the second, or the next number that nobody took. */
function freeName(index: number, taken: Set<string>): string {
  for (let number = index + 1; ; number++) {
    const name = `rule-${number}`
    if (taken.has(name)) continue
    taken.add(name)
    return name
  }
}

/** By rule, the ids of its targets. */
function targetIdsOf(
  inputs: readonly RuleInput[],
  names: readonly string[],
  before: readonly Rule[],
  now: Date,
): readonly (readonly string[])[] {
  const free = new Map(before.map((rule) => [rule.name, [...rule.targets]]))
  const kept = inputs.map(({ targets }, index) => {
    const own = free.get(names[index] ?? '') ?? []
    return targets.map((target) => takeSame(own, target)?.id)
  })
  const isKept = new Set(names)
  const [gone, dropped] = [true, false].map((isGone) =>
    [...free].filter(([name]) => isKept.has(name) !== isGone).flatMap(([, targets]) => targets),
  )
  const left = [...(gone ?? []), ...(dropped ?? [])]
  return inputs.map(({ targets }, index) =>
    targets.map(
      (target, place) => kept[index]?.[place] ?? takeSame(left, target)?.id ?? newId('target', now.getTime()),
    ),
  )
}

/** Takes the first that is the same away from `free`. */
function takeSame(free: Target[], { providerId, modelId, upstreamModel = null }: TargetInput): Target | undefined {
  const index = free.findIndex(
    (target) =>
      target.providerId === providerId && target.modelId === modelId && target.upstreamModel === upstreamModel,
  )
  return index === -1 ? undefined : free.splice(index, 1)[0]
}

function requireFound(route: Route | null, field: string): Route {
  return route ?? throwRefusal('not_found', 'no such route', { field })
}
