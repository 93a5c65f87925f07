import type { z } from 'zod'
import { must } from '../../../proto/std/assert.js'
import type { Clock } from '../../../proto/std/clock.js'
import { throwRefusal } from '../../../proto/std/refusal.js'
import { checkInput } from '../access/check-input.js'
import { requirePermission } from '../access/permission.js'
import type { Actor } from '../access/principal.js'
import type { TargetUsageReader } from '../usage/target-usage-reader.js'
import type { RouteReader } from './route-reader.js'
import type { RouteService } from './route-service.js'
import type { RoutingTables } from './routing-tables.js'
import {
  estimatePreferences,
  type Period,
  type PreferenceSaving,
  periodOf,
  preferenceSavingInput,
  reportTiers,
  type TierReport,
  tierReportInput,
} from './saving.js'

export interface SavingServiceOptions {
  readonly routes: RouteService
  readonly reader: RouteReader
  readonly tables: RoutingTables
  readonly usage: TargetUsageReader
  readonly clock: Clock
}

/** What routing saves, of what was served in a bounded time. */
export class SavingService {
  readonly #options: SavingServiceOptions

  constructor(options: SavingServiceOptions) {
    this.#options = options
  }

  /** Refuses `bad_input` for a route without a complexity rule. */
  async reportTiers(actor: Actor, input: z.input<typeof tierReportInput>): Promise<TierReport> {
    const { routeId, ...time } = checkInput(tierReportInput, input)
    const { routes, reader, tables, usage } = this.#options
    const found = await routes.find(actor, routeId)
    const missing = { message: 'no such route', field: 'input.routeId' }
    if (found === null) return throwRefusal('not_found', missing.message, { field: missing.field })
    requirePermission(actor, 'usage.read', found.tenantId, missing)
    const period = this.#period(time)
    const { tenantId, environmentId } = found
    const seen = must(await reader.findEnvironment(environmentId), 'a route has its environment')
    const { environment } = await tables.load(seen)
    const route = must(environment.routes.get(found.name), 'a route that is there is in its tables')
    const report = reportTiers(route, await usage.findByTarget({ tenantId, environmentId, routeId, ...period }), period)
    return (
      report ??
      throwRefusal('bad_input', 'input.routeId: no rule of the route goes by complexity', { field: missing.field })
    )
  }

  async estimatePreferences(actor: Actor, input: z.input<typeof preferenceSavingInput>): Promise<PreferenceSaving> {
    const { environmentId, ...time } = checkInput(preferenceSavingInput, input)
    const { reader, tables, usage } = this.#options
    const missing = { message: 'no such environment', field: 'input.environmentId' }
    const seen = await reader.findEnvironment(environmentId)
    if (seen === null) return throwRefusal('not_found', missing.message, { field: missing.field })
    requirePermission(actor, 'usage.read', seen.tenantId, missing)
    const period = this.#period(time)
    const { environment } = await tables.load(seen)
    const question = { tenantId: seen.tenantId, environmentId, routeId: null, ...period }
    return estimatePreferences(environment, await usage.findByTarget(question), period)
  }

  #period(time: { from?: Date | null | undefined; to?: Date | null | undefined }): Period {
    const period = periodOf(time, this.#options.clock.nowMs())
    if (typeof period !== 'string') return period
    return throwRefusal('bad_input', `input.to: ${period}`, { field: 'input.to' })
  }
}
