import { z } from 'zod'
import { throwRefusal } from '../../../proto/std/refusal.js'
import { checkInput } from '../access/check-input.js'
import { requirePermission } from '../access/permission.js'
import type { Actor } from '../access/principal.js'
import { tenantScope } from '../access/tenant-scope.js'
import type { Page, PageArgs } from '../database/page.js'
import type { LaneCoverage, StoredUsage, TotalsFilter, UsageFilter, UsageGroup, UsageTotal } from './usage-question.js'
import type { UsageReader } from './usage-reader.js'

export interface TotalsInput extends TotalsFilter {
  readonly from: Date
  readonly to: Date
}

/** How far back one question may reach: minutes for two days, hours for a year. */
const totalsDaysMax = { minute: 2, hour: 366 } as const
const dayMs = 86_400_000

const text = z.string().min(1, 'expected at least one character').max(256, 'expected at most 256 characters').nullish()
const usageFilter = z
  .object({
    from: z.date().nullish(),
    to: z.date().nullish(),
    ...{ environmentId: text, apiKeyId: text, teamId: text, userId: text, routeName: text, providerId: text },
    ...{ modelId: text, model: text, clusterId: text, region: text, status: text, requestId: text, traceId: text },
    routingOverridden: z.boolean().nullish(),
  })
  .refine((filter) => filter.from == null || filter.to == null || filter.from < filter.to, {
    path: ['to'],
    message: 'expected an instant after from',
  })

/** Use cases of reading usage. Evidence is never written here. */
export class UsageService {
  readonly #reader: UsageReader

  constructor(reader: UsageReader) {
    this.#reader = reader
  }

  /** Newest first. Of the named tenant, else of the actor's own. */
  async list(
    actor: Actor,
    tenantId: string | null | undefined,
    filter: UsageFilter,
    args: PageArgs,
  ): Promise<Page<StoredUsage>> {
    const scope = this.#scope(actor, tenantId)
    return this.#reader.page(scope, checkInput(usageFilter, filter, 'filter'), args)
  }

  /** The newest of the tenant with this request id, or null. */
  async findByRequestId(
    actor: Actor,
    tenantId: string | null | undefined,
    requestId: string,
  ): Promise<StoredUsage | null> {
    return this.#reader.findByRequestId(this.#scope(actor, tenantId), requestId)
  }

  /** Refuses a time that is too long for the granularity, and too many totals. */
  async totals(
    actor: Actor,
    tenantId: string | null | undefined,
    question: {
      readonly filter: TotalsInput
      readonly granularity: 'minute' | 'hour'
      readonly groupBy: readonly UsageGroup[]
      readonly byBucket: boolean
    },
  ): Promise<readonly UsageTotal[]> {
    const scope = this.#scope(actor, tenantId)
    const { from, to, ...filter } = question.filter
    const daysMax = totalsDaysMax[question.granularity]
    if (to <= from) throwRefusal('bad_input', 'filter.to: expected an instant after from', { field: 'filter.to' })
    if (to.getTime() - from.getTime() > daysMax * dayMs) {
      throwRefusal('limit_exceeded', `by ${question.granularity} at most ${daysMax} days at once`, {
        field: 'filter.from',
      })
    }
    return this.#reader.findTotals({ ...question, tenantId: scope, from, to, filter })
  }

  /** Lanes are shared by the tenants of a cluster, so only platform admins see them. */
  async coverage(actor: Actor, agentId: string | null, args: PageArgs): Promise<Page<LaneCoverage>> {
    requirePermission(actor, 'fleet.read', null)
    return this.#reader.pageLanes(agentId, args)
  }

  #scope(actor: Actor, tenantId: string | null | undefined): string {
    const scope = tenantScope(actor, tenantId, 'tenantId')
    requirePermission(actor, 'usage.read', scope)
    return scope
  }
}
