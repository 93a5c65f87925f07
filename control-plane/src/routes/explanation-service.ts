import type { z } from 'zod'
import { explainRequest } from '../../../proto/policy/explain.js'
import type { Clock } from '../../../proto/std/clock.js'
import { throwRefusal } from '../../../proto/std/refusal.js'
import { checkInput } from '../access/check-input.js'
import { isPermitted } from '../access/permission.js'
import type { Actor } from '../access/principal.js'
import type { ApiKey } from '../tenancy/api-key.js'
import {
  type AskingKey,
  type ExplainRouteInput,
  explainRouteInput,
  factsOf,
  findContradiction,
  findUnknownTarget,
  healthOf,
  type InputFlaw,
  keyTable,
  plainKey,
  type RouteExplanation,
} from './explanation.js'
import type { RouteReader } from './route-reader.js'
import type { RoutingTables } from './routing-tables.js'

export interface ExplanationServiceOptions {
  readonly reader: RouteReader
  readonly tables: RoutingTables
  /** Null: none, or not the actor's to see. */
  readonly findApiKey: (actor: Actor, id: string) => Promise<ApiKey | null>
  readonly clock: Clock
}

/** Where a request would go, and why. Nothing is sent and nothing is written. */
export class ExplanationService {
  readonly #options: ExplanationServiceOptions

  constructor(options: ExplanationServiceOptions) {
    this.#options = options
  }

  /**
   * Refuses `conflict` while the environment's intent does not compile, `bad_input` with the field of what contradicts itself
   * or is about nothing. A request that would be refused is an answer.
   */
  async explain(actor: Actor, input: z.input<typeof explainRouteInput>): Promise<RouteExplanation> {
    const checked = checkInput(explainRouteInput, input)
    refuseFlaw(findContradiction(checked))
    const { environmentId } = checked
    const { reader, tables, clock } = this.#options
    const seen = await reader.findEnvironment(environmentId)
    if (seen === null || !isPermitted(actor, 'route.read', seen.tenantId)) {
      return throwRefusal('not_found', 'no such environment', { field: 'input.environmentId' })
    }
    const key = await this.#keyOf(actor, checked)
    const { environment, intentRevision } = await tables.load(seen)
    refuseFlaw(findUnknownTarget(checked, environment))
    const facts = factsOf(checked, clock.nowMs())
    const explanation = explainRequest(facts, keyTable(key, environment), healthOf(checked))
    return {
      ...{ environmentId, intentRevision, explanation },
      complexity: facts.prompt?.complexity() ?? null,
      promptClass: facts.prompt?.promptClass() ?? null,
      tokensIn: facts.prompt?.tokensIn() ?? null,
    }
  }

  async #keyOf(actor: Actor, input: ExplainRouteInput): Promise<AskingKey> {
    if (input.apiKeyId == null) return plainKey(input)
    const key = await this.#options.findApiKey(actor, input.apiKeyId)
    if (key === null || key.environmentId !== input.environmentId) {
      return throwRefusal('not_found', 'no such API key in this environment', { field: 'input.apiKeyId' })
    }
    return {
      ...{ id: key.id, teamId: key.teamId, allowExternal: !key.internalOnly },
      allowedRoutes: key.allowedRoutes.length === 0 ? null : new Set(key.allowedRoutes),
    }
  }
}

function refuseFlaw(flaw: InputFlaw | null): void {
  if (flaw !== null) throwRefusal('bad_input', `${flaw.field}: ${flaw.message}`, { field: flaw.field })
}
