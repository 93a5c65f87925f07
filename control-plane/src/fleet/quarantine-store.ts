import type pg from 'pg'
import type { Database } from '../database/database.js'
import type { AgentRefusal } from './agent-status.js'

export interface QuarantineKey {
  readonly agentVersion: string
  readonly view: string
  /** Hexadecimal. */
  readonly rootHash: string
}

/**
 * In force: some sections were refused; still offered to agents that have not taken the rest, never again to those that
 * have. Lifted: an agent that still has it in its own list must be told before it is offered.
 */
export type QuarantineState = 'in force' | 'lifted'

/** Rows of `Quarantine`: content of which an agent version refused sections for good. */
export class QuarantineStore {
  readonly #sql: pg.Pool

  constructor(database: Pick<Database, 'sql'>) {
    this.#sql = database.sql
  }

  /** Puts content into quarantine, also when it had been lifted before. */
  async put(key: QuarantineKey, refusals: readonly AgentRefusal[]): Promise<void> {
    await this.#sql.query(
      `INSERT INTO "Quarantine" ("agentVersion", view, "rootHash", refusals) VALUES ($1, $2, $3, $4)
       ON CONFLICT ("agentVersion", view, "rootHash") DO UPDATE SET
         refusals = excluded.refusals, "createdAt" = now(), "liftedAt" = NULL, "liftedBy" = NULL`,
      [key.agentVersion, key.view, Buffer.from(key.rootHash, 'hex'), JSON.stringify(refusals)],
    )
  }

  /** All that concern roots still served: of the newest generation of each view. */
  async loadCurrent(): Promise<ReadonlyMap<string, QuarantineState>> {
    const { rows } = await this.#sql.query<{
      agentVersion: string
      view: string
      rootHash: Buffer
      state: QuarantineState
    }>(
      `SELECT q."agentVersion", q.view, q."rootHash",
              CASE WHEN q."liftedAt" IS NULL THEN 'in force' ELSE 'lifted' END AS state
       FROM "Quarantine" q CROSS JOIN LATERAL (
         SELECT "rootHash" FROM "Snapshot" WHERE view = q.view ORDER BY epoch DESC, generation DESC LIMIT 1) newest
       WHERE newest."rootHash" = q."rootHash"`,
    )
    return new Map(rows.map((row) => [quarantineName({ ...row, rootHash: row.rootHash.toString('hex') }), row.state]))
  }
}

/** One text for one key. */
export function quarantineName({ agentVersion, view, rootHash }: QuarantineKey): string {
  return `${rootHash} ${view} ${agentVersion}`
}
