import type { Command } from 'commander'
import type { UsageGroup } from '../client.js'
import type { Session } from './session.js'
import { CliFault } from './settings.js'
import { formatTable } from './table.js'

const groups = {
  environment: { group: 'ENVIRONMENT', member: 'environmentId' },
  key: { group: 'API_KEY', member: 'apiKeyId' },
  team: { group: 'TEAM', member: 'teamId' },
  route: { group: 'ROUTE', member: 'routeName' },
  provider: { group: 'PROVIDER', member: 'providerId' },
  model: { group: 'MODEL', member: 'model' },
  cluster: { group: 'CLUSTER', member: 'clusterId' },
  region: { group: 'REGION', member: 'region' },
} as const satisfies Record<string, { group: UsageGroup; member: string }>

type GroupName = keyof typeof groups

interface UsageOptions {
  last?: string
  request?: string
  trace?: string
  overridden?: boolean
  by?: string
  since?: string
}

/** `switchyard usage`: the newest records, or sums by something. */
export function addUsageCommand(program: Command, open: () => Session): void {
  program
    .command('usage')
    .description('what was asked, what it took and what it cost')
    .option('--last <count>', 'newest records to show, 1 to 100 (default: 20)')
    .option('--request <id>', 'the record of one request, by its x-request-id')
    .option('--trace <id>', 'the records of one trace')
    .option('--overridden', 'only where the client named a target or did without fallbacks, by header')
    .option('--by <what>', `sums instead of records: ${Object.keys(groups).join(', ')}`)
    .option('--since <span>', 'with --by, how far back: 30m, 24h or 7d (default: 24h)')
    .action(async (options: UsageOptions) => {
      refuseMixture(options)
      const session = open()
      const tenantId = await session.fetchTenantId()
      if (options.by !== undefined) return printTotals(session, tenantId, options.by, options.since ?? '24h')
      const first = Number(options.last ?? 20)
      if (!Number.isInteger(first) || first < 1 || first > 100)
        throw new CliFault(`--last is ${JSON.stringify(options.last)}: expected 1 to 100`)
      const filter = {
        ...{ requestId: options.request ?? null, traceId: options.trace ?? null },
        routingOverridden: options.overridden ?? null,
      }
      const { usage } = await session.client.usage({ tenantId, filter, first })
      const records = usage.edges.map(({ node }) => node)
      session.print(records, () => {
        if (records.length === 0) return 'no records; one is here a few seconds after its answer ended\n'
        return formatTable(
          [
            ...['time', 'request', 'route', 'model', 'in', 'out', 'usd', 'ms', 'status'],
            ...(options.overridden ? ['key', 'override'] : []),
          ],
          records.map((record) => [
            record.timestamp,
            record.requestId,
            (record.routeName ?? record.requestedModel) || record.operation,
            record.model,
            record.tokensIn,
            record.tokensOut,
            record.costUsd,
            record.latencyMs.toFixed(1),
            record.code ? `${record.status} (${record.code})` : record.status,
            ...(options.overridden ? [record.apiKeyId, record.routingOverride] : []),
          ]),
        )
      })
    })
}

/** An option that would change nothing is a misunderstanding. */
function refuseMixture(options: UsageOptions): void {
  const { by, since } = options
  if (by === undefined && since !== undefined)
    throw new CliFault('--since is for sums: say of what, for example --by model')
  const ofRecords = (['last', 'request', 'trace', 'overridden'] as const).find((name) => options[name] !== undefined)
  if (by !== undefined && ofRecords !== undefined)
    throw new CliFault(`--${ofRecords} is for records and --by is for sums: leave one out`)
}

async function printTotals(session: Session, tenantId: string, by: string, since: string): Promise<void> {
  if (!Object.hasOwn(groups, by))
    throw new CliFault(`--by is ${JSON.stringify(by)}: expected one of ${Object.keys(groups).join(', ')}`)
  const { group, member } = groups[by as GroupName]
  const spanMs = spanOf(since)
  // Buckets are whole, so both ends are: the one that holds `since`, and the one that is still open.
  const bucketMs = spanMs <= 48 * 3_600_000 ? 60_000 : 3_600_000
  const nowMs = session.nowMs()
  const { usageTotals } = await session.client.usageTotals({
    tenantId,
    filter: {
      from: new Date(Math.floor((nowMs - spanMs) / bucketMs) * bucketMs).toISOString(),
      to: new Date(nowMs + bucketMs).toISOString(),
    },
    granularity: bucketMs === 60_000 ? 'MINUTE' : 'HOUR',
    groupBy: [group],
    byBucket: false,
  })
  session.print(usageTotals, () =>
    formatTable(
      [by, 'requests', 'refused', 'failed', 'in', 'out', 'usd', 'mean ms'],
      usageTotals.map((total) => [
        total[member] ?? 'none',
        total.requestCount,
        total.refusedCount,
        total.failedCount,
        total.tokensIn,
        total.tokensOut,
        total.costUsd,
        total.latencyMsMean?.toFixed(1) ?? null,
      ]),
    ),
  )
}

function spanOf(text: string): number {
  const match = /^(\d{1,4})(m|h|d)$/.exec(text)
  const unitMs = { m: 60_000, h: 3_600_000, d: 86_400_000 }[match?.[2] as 'm' | 'h' | 'd']
  if (!match || !unitMs || Number(match[1]) * unitMs > 366 * 86_400_000)
    throw new CliFault(`--since is ${JSON.stringify(text)}: expected minutes, hours or days, for example 30m, 24h, 7d`)
  return Number(match[1]) * unitMs
}
