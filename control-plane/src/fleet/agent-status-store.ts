import type pg from 'pg'
import type { AgentHello__Output } from '../../../proto/gen/switchyard/v1/AgentHello.js'
import type { AgentStatus__Output } from '../../../proto/gen/switchyard/v1/AgentStatus.js'
import { must } from '../../../proto/std/assert.js'
import type { Database } from '../database/database.js'
import type { AgentRefusal, AttemptOutcome } from './agent-status.js'

/** What became of one offer. */
export interface Attempt {
  readonly epoch: number
  readonly generation: number
  readonly rootHash: Buffer
  readonly outcome: AttemptOutcome
  readonly refusals: readonly AgentRefusal[]
  /** What is in effect after it. */
  readonly appliedGeneration: number
  readonly appliedRootHash: Buffer
}

/** What delivery must know of an agent when its stream begins. */
export interface AgentFacts {
  readonly agentId: string
  readonly name: string
  readonly sealingPublicKey: Buffer
  /** What the agent should follow. */
  readonly desiredView: string
  /** What its row says of the last attempt, if the agent was of the same version then. */
  readonly lastAttempt: {
    readonly generation: number
    readonly rootHash: Buffer
    readonly refusals: readonly AgentRefusal[]
  } | null
}

/**
 * Rows of `AgentStatus`. Each connection owns its agent's row under a stream id: what an older stream still has to say, or
 * its late end, changes nothing. Writes are one statement each.
 */
export class AgentStatusStore {
  readonly #sql: pg.Pool

  constructor(database: Pick<Database, 'sql'>) {
    this.#sql = database.sql
  }

  /** Takes the row for `streamId` with what the agent says of itself. */
  async begin(agentId: string, streamId: string, hello: AgentHello__Output): Promise<AgentFacts> {
    const version = hello.agentVersion
    const { rows } = await this.#sql.query<BegunRow>(
      `WITH before AS (
         SELECT version, "attemptedGeneration", "attemptedRootHash", "attemptRefusals"
         FROM "AgentStatus" WHERE "agentId" = $1),
       begun AS (
         UPDATE "AgentStatus" SET connected = true, "lastSeenAt" = now(), "streamId" = $2, version = $3,
           "bootEpoch" = $4, "protocolVersion" = $5, "snapshotBytesMax" = $6, "resourcesMax" = $7,
           "appliedEpoch" = $8, "appliedGeneration" = $9, "appliedRootHash" = $10,
           "appliedAt" = CASE WHEN "appliedRootHash" IS NOT DISTINCT FROM $10 THEN "appliedAt" ELSE now() END
         WHERE "agentId" = $1 RETURNING "agentId", "desiredView")
       SELECT a.id AS "agentId", a.name, a."sealingPublicKey", begun."desiredView", before.*
       FROM begun JOIN "Agent" a ON a.id = begun."agentId" CROSS JOIN before`,
      [
        ...[agentId, streamId, version, hello.bootEpoch, hello.protocolVersion, hello.snapshotBytesMax],
        ...[Math.min(hello.resourcesMax, 2 ** 31 - 1), hello.epoch, hello.generation],
        hello.rootHash.length === 32 ? hello.rootHash : null,
      ],
    )
    const row = must(rows[0], `agent ${agentId} has a status row`)
    const { attemptedGeneration: generation, attemptedRootHash: rootHash, attemptRefusals: refusals } = row
    const known = row.version === version && generation !== null && rootHash !== null
    return {
      ...{ agentId, name: row.name, sealingPublicKey: row.sealingPublicKey, desiredView: row.desiredView },
      lastAttempt: known ? { generation: Number(generation), rootHash, refusals: refusals ?? [] } : null,
    }
  }

  /** The last attempt and what is in effect after it. */
  async recordAttempt(agentId: string, streamId: string, attempt: Attempt): Promise<void> {
    await this.#sql.query(
      `UPDATE "AgentStatus" SET "lastSeenAt" = now(), "attemptedGeneration" = $3, "attemptedRootHash" = $4,
         "attemptedAt" = now(), "attemptOutcome" = $5, "attemptRefusals" = $6,
         "appliedEpoch" = CASE WHEN $5 = 'refused' THEN "appliedEpoch" ELSE $7 END,
         "appliedGeneration" = $8,
         "appliedAt" = CASE WHEN "appliedRootHash" IS NOT DISTINCT FROM $9 THEN "appliedAt" ELSE now() END,
         "appliedRootHash" = $9
       WHERE "agentId" = $1 AND "streamId" = $2`,
      [
        ...[agentId, streamId, attempt.generation, attempt.rootHash, attempt.outcome],
        ...[JSON.stringify(attempt.refusals), attempt.epoch, attempt.appliedGeneration],
        attempt.appliedRootHash.length === 32 ? attempt.appliedRootHash : null,
      ],
    )
  }

  async recordStatus(agentId: string, streamId: string, status: AgentStatus__Output): Promise<void> {
    await this.#sql.query(
      `UPDATE "AgentStatus" SET "lastSeenAt" = now(), "spoolBytes" = $3, "spoolBytesMax" = $4,
         "spoolRecordCount" = $5, "inFlightCount" = $6, "certificateNotAfter" = $7, targets = $8,
         "appliedEpoch" = $9, "appliedGeneration" = $10, "appliedRootHash" = $11
       WHERE "agentId" = $1 AND "streamId" = $2`,
      [
        ...[agentId, streamId, status.spoolBytes, status.spoolBytesMax, status.spoolRecordCount, status.inFlightCount],
        status.certificateNotAfterUnixMs > 0 ? new Date(status.certificateNotAfterUnixMs) : null,
        JSON.stringify(status.targets.slice(0, targetsMax)),
        ...[status.appliedEpoch, status.appliedGeneration],
        status.appliedRootHash.length === 32 ? status.appliedRootHash : null,
      ],
    )
  }

  /** One statement for every stream of this replica: these connections answer. */
  async touch(streamIds: readonly string[]): Promise<void> {
    if (streamIds.length === 0) return
    await this.#sql.query(`UPDATE "AgentStatus" SET "lastSeenAt" = now() WHERE "streamId" = ANY($1)`, [streamIds])
  }

  /** Marks the agent as gone, unless a newer stream has the row. */
  async end(agentId: string, streamId: string): Promise<void> {
    await this.#sql.query(
      `UPDATE "AgentStatus" SET connected = false, "streamId" = NULL WHERE "agentId" = $1 AND "streamId" = $2`,
      [agentId, streamId],
    )
  }
}

/** Providers that one agent reports on; more would be a message nobody reads. */
const targetsMax = 1000

interface BegunRow {
  readonly name: string
  readonly sealingPublicKey: Buffer
  readonly desiredView: string
  /** Before this hello. */
  readonly version: string
  readonly attemptedGeneration: string | null
  readonly attemptedRootHash: Buffer | null
  readonly attemptRefusals: readonly AgentRefusal[] | null
}
