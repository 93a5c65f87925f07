import type { Database } from '../database/database.js'
import type { EnvironmentDelivery } from './environment-delivery.js'

interface Row {
  readonly environmentId: string
  readonly tenantId: string
  readonly clusterId: string
  readonly clusterName: string
  readonly region: string
  readonly desiredRevision: string | null
  readonly appliedRevision: string | null
  readonly agentCount: number
  readonly upToDateCount: number
  readonly failureRevision: string | null
  readonly code: string | null
  readonly path: string | null
  readonly message: string | null
  readonly since: Date | null
}

/** An environment's delivery, with the tenant it belongs to. */
export interface OwnedDelivery {
  readonly tenantId: string
  readonly delivery: EnvironmentDelivery
}

/** How far intent has come, by environment and cluster. */
export class DeliveryReader {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  /** Of every cluster in a region that the environment permits, by name; one query for all environments. */
  async findOfEnvironments(environmentIds: readonly string[]): Promise<readonly OwnedDelivery[]> {
    const { rows } = await this.#database.sql.query<Row>(deliveryQuery, [environmentIds])
    return rows.map((row) => ({ tenantId: row.tenantId, delivery: deliveryOf(row) }))
  }
}

/**
 * Views and sections are named as `snapshots/snapshot.ts` (`viewOf`) and `proto/snapshot/consistency.ts`
 * (`environmentSection`) do. An agent has a section at the revision that the section has in the snapshot whose root it applied. A root that is no
 * snapshot's (parts of one were refused) tells nothing, and counts as nothing applied.
 */
const deliveryQuery = `
  WITH place AS (
    SELECT e.id AS "environmentId", e."tenantId", e."intentRevision", c.id AS "clusterId", c.name AS "clusterName", c.region,
           c.id || '/main' AS view, 'environment/' || e."tenantId" || '/' || e.id AS section
    FROM "Environment" e JOIN "Cluster" c ON c.region = ANY (e."permittedRegions")
    WHERE e.id = ANY ($1::text[])
  )
  SELECT n."environmentId", n."tenantId", n."clusterId", n."clusterName", n.region,
         desired.revision AS "desiredRevision",
         CASE WHEN agents.count = agents.known THEN agents.lowest END AS "appliedRevision",
         agents.count AS "agentCount", agents.current AS "upToDateCount",
         f."intentRevision" AS "failureRevision", f.code, f.path, f.message, f."createdAt" AS since
  FROM place n
  LEFT JOIN LATERAL (
    SELECT section."intentRevision" AS revision
    FROM (SELECT sections FROM "Snapshot" WHERE view = n.view ORDER BY epoch DESC, generation DESC LIMIT 1) newest
    JOIN LATERAL jsonb_array_elements(newest.sections) AS held ON held ->> 'name' = n.section
    JOIN "SnapshotSection" section ON section.hash = decode(held ->> 'hash', 'hex')
  ) AS desired ON true
  CROSS JOIN LATERAL (
    SELECT count(*)::int AS count, count(section."intentRevision")::int AS known, min(section."intentRevision") AS lowest,
           count(*) FILTER (WHERE section."intentRevision" >= n."intentRevision")::int AS current
    FROM "Agent" a
    LEFT JOIN "AgentStatus" s ON s."agentId" = a.id
    LEFT JOIN "Snapshot" applied ON applied.view = s."desiredView" AND applied.epoch = s."appliedEpoch"
      AND applied.generation = s."appliedGeneration" AND applied."rootHash" = s."appliedRootHash"
    LEFT JOIN LATERAL (SELECT held ->> 'hash' AS hash FROM jsonb_array_elements(applied.sections) AS held
      WHERE held ->> 'name' = n.section) AS held ON true
    LEFT JOIN "SnapshotSection" section ON section.hash = decode(held.hash, 'hex')
    WHERE a."clusterId" = n."clusterId" AND a."revokedAt" IS NULL
  ) AS agents
  LEFT JOIN "SectionFailure" f ON f.view = n.view AND f."environmentId" = n."environmentId"
  ORDER BY n."environmentId", n."clusterName"`

function deliveryOf(row: Row): EnvironmentDelivery {
  const { environmentId, clusterId, clusterName, region, agentCount, upToDateCount } = row
  const { code, path, message, since } = row
  return {
    ...{ environmentId, clusterId, clusterName, region, agentCount, upToDateCount },
    desiredRevision: wholeOf(row.desiredRevision),
    appliedRevision: wholeOf(row.appliedRevision),
    failure:
      code === null || path === null || message === null || since === null
        ? null
        : { intentRevision: wholeOf(row.failureRevision) ?? 0n, code, path, message, since },
  }
}

/** node-postgres gives BIGINT as text. */
function wholeOf(text: string | null): bigint | null {
  return text === null ? null : BigInt(text)
}
