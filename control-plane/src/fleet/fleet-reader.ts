import type { Clock } from '../../../proto/std/clock.js'
import type { Database } from '../database/database.js'
import type { Prisma } from '../database/generated/client.js'
import { decodeCursor, encodeCursor, type Page, type PageArgs, pageOf } from '../database/page.js'
import { type AgentRefusal, type AgentView, attemptOutcomes, type Quarantine, silentMsMax } from './agent-status.js'
import { type Cluster, clusterKinds } from './cluster.js'

/** Questions to the record of the fleet: who is there, what they should have, what they have. */
export class FleetReader {
  readonly #database: Database
  readonly #clock: Clock

  constructor(options: { database: Database; clock: Clock }) {
    this.#database = options.database
    this.#clock = options.clock
  }

  async findCluster(id: string): Promise<Cluster | null> {
    const row = await this.#database.rows.cluster.findUnique({ where: { id } })
    return row === null ? null : clusterOf(row)
  }

  async findClusters(ids: readonly string[]): Promise<readonly Cluster[]> {
    const rows = await this.#database.rows.cluster.findMany({ where: { id: { in: [...ids] } } })
    return rows.map(clusterOf)
  }

  /** Oldest first. */
  async pageClusters(args: PageArgs): Promise<Page<Cluster>> {
    const [after] = decodeCursor(args.after, 1) ?? []
    const rows = await this.#database.rows.cluster.findMany({
      where: after === undefined ? {} : { id: { gt: after } },
      orderBy: { id: 'asc' },
      take: args.first + 1,
    })
    return pageOf(rows.map(clusterOf), args, ({ id }) => encodeCursor(id))
  }

  async findAgent(id: string): Promise<AgentView | null> {
    const row = await this.#database.rows.agent.findUnique({ where: { id }, include: { status: true } })
    return row === null ? null : ((await this.#viewsOf([row]))[0] ?? null)
  }

  /** Oldest first; of one cluster or of all. Revoked ones only when asked for. */
  async pageAgents(
    args: PageArgs,
    filter: { clusterId?: string | null; revoked?: boolean } = {},
  ): Promise<Page<AgentView>> {
    const [after] = decodeCursor(args.after, 1) ?? []
    const rows = await this.#database.rows.agent.findMany({
      where: {
        ...(filter.clusterId ? { clusterId: filter.clusterId } : {}),
        ...(filter.revoked ? {} : { revokedAt: null }),
        ...(after === undefined ? {} : { id: { gt: after } }),
      },
      include: { status: true },
      orderBy: { id: 'asc' },
      take: args.first + 1,
    })
    return pageOf(await this.#viewsOf(rows), args, ({ id }) => encodeCursor(id))
  }

  /** In force, newest first; lifted ones too when asked for. At most a hundred. */
  async listQuarantines(options: { lifted?: boolean } = {}): Promise<readonly Quarantine[]> {
    const rows = await this.#database.rows.quarantine.findMany({
      where: options.lifted ? {} : { liftedAt: null },
      orderBy: { createdAt: 'desc' },
      take: 100,
    })
    return rows.map(quarantineOf)
  }

  /** Lifted or not. `rootHash` in hexadecimal. */
  async findQuarantine(key: Pick<Quarantine, 'agentVersion' | 'view' | 'rootHash'>): Promise<Quarantine | null> {
    const rootHash = new Uint8Array(Buffer.from(key.rootHash, 'hex'))
    const row = await this.#database.rows.quarantine.findUnique({
      where: { agentVersion_view_rootHash: { agentVersion: key.agentVersion, view: key.view, rootHash } },
    })
    return row === null ? null : quarantineOf(row)
  }

  async #viewsOf(rows: readonly AgentRow[]): Promise<readonly AgentView[]> {
    const views = [...new Set(rows.flatMap((row) => row.status?.desiredView ?? []))]
    const heads = await this.#database.sql.query<{ view: string; epoch: string; generation: string; rootHash: Buffer }>(
      `SELECT s.* FROM unnest($1::text[]) AS v(name) CROSS JOIN LATERAL (
         SELECT view, epoch, generation, "rootHash" FROM "Snapshot" WHERE view = v.name
         ORDER BY epoch DESC, generation DESC LIMIT 1) s`,
      [views],
    )
    const desired = new Map(
      heads.rows.map((head) => [
        head.view,
        {
          view: head.view,
          ...{ epoch: Number(head.epoch), generation: Number(head.generation) },
          rootHash: head.rootHash.toString('hex'),
        },
      ]),
    )
    const nowMs = this.#clock.nowMs()
    return rows.map((row) => agentViewOf(row, desired.get(row.status?.desiredView ?? '') ?? null, nowMs))
  }
}

type AgentRow = Prisma.AgentGetPayload<{ include: { status: true } }>

function agentViewOf(row: AgentRow, desired: AgentView['desired'], nowMs: number): AgentView {
  const { status } = row
  const applied =
    status === null || status.appliedRootHash === null
      ? null
      : {
          ...{ epoch: Number(status.appliedEpoch), generation: Number(status.appliedGeneration) },
          ...{ rootHash: hex(status.appliedRootHash), at: status.appliedAt },
        }
  const outcome = attemptOutcomes.find((known) => known === status?.attemptOutcome)
  const lastAttempt =
    status?.attemptedRootHash && status.attemptedAt && outcome
      ? {
          ...{ generation: Number(status.attemptedGeneration ?? 0), rootHash: hex(status.attemptedRootHash) },
          ...{ at: status.attemptedAt, outcome, refusals: refusalsOf(status.attemptRefusals) },
        }
      : null
  const seenMs = status?.lastSeenAt?.getTime() ?? 0
  return {
    ...{ id: row.id, name: row.name, clusterId: row.clusterId, createdAt: row.createdAt, revokedAt: row.revokedAt },
    version: status?.version ?? '',
    connected: (status?.connected ?? false) && seenMs + silentMsMax > nowMs,
    lastSeenAt: status?.lastSeenAt ?? null,
    ...{ desired, applied, lastAttempt },
    inSync:
      desired !== null &&
      applied?.epoch === desired.epoch &&
      applied.generation === desired.generation &&
      applied.rootHash === desired.rootHash,
    spool: {
      bytes: status?.spoolBytes ?? 0n,
      bytesMax: status?.spoolBytesMax ?? 0n,
      recordCount: status?.spoolRecordCount ?? 0n,
    },
    inFlightCount: status?.inFlightCount ?? 0,
    certificateNotAfter: status?.certificateNotAfter ?? null,
    limits: { snapshotBytesMax: status?.snapshotBytesMax ?? 0n, resourcesMax: status?.resourcesMax ?? 0 },
    targets: targetsOf(status?.targets),
  }
}

function clusterOf(row: Prisma.ClusterModel): Cluster {
  return { ...row, kind: clusterKinds.find((kind) => kind === row.kind) ?? 'egress' }
}

function quarantineOf(row: Prisma.QuarantineModel): Quarantine {
  return { ...row, rootHash: hex(row.rootHash), refusals: refusalsOf(row.refusals) }
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

/** Written by this room only, in this shape; see `agent-status-store.ts`. */
function refusalsOf(json: Prisma.JsonValue | undefined): readonly AgentRefusal[] {
  return Array.isArray(json) ? (json as unknown as readonly AgentRefusal[]) : []
}

function targetsOf(json: Prisma.JsonValue | undefined): AgentView['targets'] {
  return Array.isArray(json) ? (json as unknown as AgentView['targets']) : []
}
