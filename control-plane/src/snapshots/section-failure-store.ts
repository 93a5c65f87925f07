import type pg from 'pg'
import { environmentOfSection } from '../../../proto/snapshot/consistency.js'
import type { SnapshotRefusal } from '../../../proto/snapshot/snapshot-refusal.js'
import type { Database } from '../database/database.js'

/** Why the newest intent of a section is not in its view's snapshot: its first refusal. */
export interface SectionFailure {
  readonly view: string
  readonly sectionName: string
  readonly intentRevision: number
  readonly code: string
  /** `<resource> <field>`, for example `route/rte_1 rules[0].targets[1].modelId`. */
  readonly path: string
  readonly message: string
  readonly since: Date
}

export interface FailedSection {
  readonly sectionName: string
  readonly intentRevision: number
  readonly refusal: SnapshotRefusal
}

/** Rows of `SectionFailure`: what keeps an environment on its last good content, shown to its tenant. */
export class SectionFailureStore {
  readonly #sql: pg.Pool

  constructor(database: Pick<Database, 'sql'>) {
    this.#sql = database.sql
  }

  /** Makes `failed` all there is for the view. A failure that stays keeps its first instant. */
  async replace(view: string, failed: readonly FailedSection[]): Promise<void> {
    const places = failed.map(({ sectionName }) => environmentOfSection(sectionName))
    await this.#sql.query(
      `WITH failed AS (
         SELECT * FROM unnest($2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::text[])
           AS f(name, tenant, environment, revision, code, path, message)),
       gone AS (
         DELETE FROM "SectionFailure" WHERE view = $1 AND "sectionName" NOT IN (SELECT name FROM failed))
       INSERT INTO "SectionFailure"
         (view, "sectionName", "tenantId", "environmentId", "intentRevision", code, path, message)
       SELECT $1, name, tenant, environment, revision, code, path, message FROM failed
       ON CONFLICT (view, "sectionName") DO UPDATE SET
         "intentRevision" = excluded."intentRevision", code = excluded.code, path = excluded.path,
         message = excluded.message`,
      [
        view,
        failed.map(({ sectionName }) => sectionName),
        places.map((place) => place?.tenantId ?? null),
        places.map((place) => place?.environmentId ?? null),
        failed.map(({ intentRevision }) => intentRevision),
        failed.map(({ refusal }) => refusal.code),
        failed.map(({ refusal }) => `${refusal.resource} ${refusal.path}`.trim()),
        failed.map(({ refusal }) => refusal.message),
      ],
    )
  }

  /** Of one environment, in every view that keeps it back. */
  async findOfEnvironment(environmentId: string): Promise<readonly SectionFailure[]> {
    const { rows } = await this.#sql.query<Omit<SectionFailure, 'intentRevision'> & { intentRevision: string }>(
      `SELECT view, "sectionName", "intentRevision", code, path, message, "createdAt" AS since
       FROM "SectionFailure" WHERE "environmentId" = $1 ORDER BY view`,
      [environmentId],
    )
    return rows.map((row) => ({ ...row, intentRevision: Number(row.intentRevision) }))
  }
}
