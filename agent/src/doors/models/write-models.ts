import type { RouteTable } from '../../../../proto/policy/tables.js'
import type { ModelsWriter } from '../../request/ports.js'

/**
 * Routes as the models that clients list. A client of Anthropic's says so by its header `anthropic-version` and expects
 * another list than OpenAI's. Sources: OpenAI's API reference, "Models"; Anthropic's API reference, "List Models" and
 * "Get a Model" (version 2026-10-21).
 */
export const openaiModels: ModelsWriter = Object.freeze({
  list: (routes: readonly RouteTable[]) => JSON.stringify({ object: 'list', data: routes.map(openaiModel) }),
  one: (route: RouteTable) => JSON.stringify(openaiModel(route)),
})

export const anthropicModels: ModelsWriter = Object.freeze({
  list: (routes: readonly RouteTable[]) =>
    JSON.stringify({
      data: routes.map(anthropicModel),
      has_more: false,
      first_id: routes[0]?.name ?? null,
      last_id: routes.at(-1)?.name ?? null,
    }),
  one: (route: RouteTable) => JSON.stringify(anthropicModel(route)),
})

/** When it was made is not the client's to know. */
function openaiModel({ name }: RouteTable): object {
  return { id: name, object: 'model', created: 0, owned_by: 'switchyard' }
}

/** "May be set to an epoch value if the release date is unknown." What models can do differs from target to target: null. */
function anthropicModel(route: RouteTable): object {
  const models = route.rules.flatMap(({ targets }) => targets.map(({ model }) => model))
  return {
    type: 'model',
    id: route.name,
    display_name: route.name,
    created_at: '1970-01-01T00:00:00Z',
    max_input_tokens: leastOf(models.map(({ contextTokensMax }) => contextTokensMax)),
    max_tokens: leastOf(models.map(({ outputTokensMax }) => outputTokensMax)),
    ...{ capabilities: null, lifecycle: 'active', deprecated_at: null, retires_at: null, line: null },
  }
}

/** What every target gives; null where that is not known of one. */
function leastOf(limits: readonly (number | null)[]): number | null {
  const known = limits.filter((limit) => limit !== null)
  return known.length === 0 || known.length < limits.length ? null : Math.min(...known)
}
