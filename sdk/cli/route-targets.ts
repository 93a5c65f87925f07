import { type ExplainRouteInput, everyNode } from '../client.js'
import type { Session } from './session.js'
import { CliFault } from './settings.js'

/** A target as people call it. */
export interface NamedTarget {
  readonly targetId: string
  readonly upstreamModel: string
  readonly providerName: string
}

export function targetName({ upstreamModel, providerName }: Omit<NamedTarget, 'targetId'>): string {
  return `${upstreamModel}@${providerName}`
}

/** `model@provider`, model alone, or the id. */
export function isNamed(target: NamedTarget, name: string): boolean {
  return name === targetName(target) || name === target.upstreamModel || name === target.targetId
}

/** The control plane knows ids, and refuses those that are none of its own; names are looked up here. */
export function isTargetId(name: string): boolean {
  return name.startsWith('tgt_')
}

/**
 * What the targets of an environment's routes are called, of each route with those of its defaults. Asked for only where
 * somebody writes names: decisions are explained by ids.
 */
export class RouteTargets {
  readonly #byRoute: ReadonlyMap<string, readonly NamedTarget[]>
  readonly #byId: ReadonlyMap<string, NamedTarget>

  constructor(byRoute: ReadonlyMap<string, readonly NamedTarget[]>) {
    this.#byRoute = byRoute
    this.#byId = new Map([...byRoute.values()].flat().map((target) => [target.targetId, target]))
  }

  /** Of targets that nobody called by name. */
  static readonly none = new RouteTargets(new Map())

  /** Whether the target with this id is called so. */
  isNamed(targetId: string, name: string): boolean {
    const target = this.#byId.get(targetId)
    return target === undefined ? targetId === name : isNamed(target, name)
  }

  /** Ids of those of `route` that are called so, at least one. `where`: for the fault that says that there is none. */
  idsOf(route: string, name: string, where: string): readonly string[] {
    if (isTargetId(name)) return [name]
    const targets = this.#byRoute.get(route) ?? []
    const found = targets.filter((target) => isNamed(target, name))
    if (found.length > 0) return found.map(({ targetId }) => targetId)
    const names = [...new Set(targets.map(targetName))].join(', ') || 'none'
    throw new CliFault(`${where}: no target of the route ${route} is called ${name}; there are: ${names}`)
  }

  /** What is supposed of targets by name, by id: of all that are called so. */
  healthOf({ model, health }: Pick<ExplainRouteInput, 'model' | 'health'>, where: string): ExplainRouteInput['health'] {
    return (
      health?.flatMap(({ targetId: name, ...supposed }) =>
        this.idsOf(model, name, where).map((targetId) => ({ ...supposed, targetId })),
      ) ?? null
    )
  }
}

/** `none` where all of `names` are ids. */
export async function fetchRouteTargets(
  { client }: Session,
  { tenantId, environmentId }: { readonly tenantId: string; readonly environmentId: string },
  names: readonly string[],
): Promise<RouteTargets> {
  if (names.every(isTargetId)) return RouteTargets.none
  const models = new Map<string, string>()
  for await (const { id, upstreamModel } of everyNode(
    async (after) => (await client.models({ tenantId, after })).models,
  ))
    models.set(id, upstreamModel)
  const providers = new Map<string, string>()
  for await (const { id, name } of everyNode(async (after) => (await client.providers({ tenantId, after })).providers))
    providers.set(id, name)
  const routes = []
  const filter = { environmentId }
  for await (const route of everyNode(async (after) => (await client.routes({ tenantId, filter, after })).routes))
    routes.push(route)
  const own = new Map(
    routes.map(({ id, targets }) => [
      id,
      targets.map((target) => ({
        targetId: target.id,
        upstreamModel: target.upstreamModel ?? models.get(target.modelId) ?? '',
        providerName: providers.get(target.providerId) ?? '',
      })),
    ]),
  )
  return new RouteTargets(
    new Map(
      routes.map(({ id, name, defaultRouteId }) => [
        name,
        [...(own.get(id) ?? []), ...(own.get(defaultRouteId ?? '') ?? [])],
      ]),
    ),
  )
}
