import type { Transaction } from '../database/database.js'
import { Prisma } from '../database/generated/client.js'

/**
 * Bumps the intent revision of each environment under its row's lock, in the caller's transaction, and returns the new
 * numbers. Rows are locked in id order, so two mutations that touch several environments cannot deadlock.
 */
export async function bumpIntentRevisions(
  transaction: Transaction,
  environmentIds: readonly string[],
): Promise<ReadonlyMap<string, bigint>> {
  if (environmentIds.length === 0) return new Map()
  const ids = [...new Set(environmentIds)].sort()
  await transaction.rows
    .$queryRaw`SELECT id FROM "Environment" WHERE id IN (${Prisma.join(ids)}) ORDER BY id FOR UPDATE`
  const rows = await transaction.rows.$queryRaw<{ id: string; intentRevision: bigint }[]>`
    UPDATE "Environment" SET "intentRevision" = "intentRevision" + 1 WHERE id IN (${Prisma.join(ids)})
    RETURNING id, "intentRevision"`
  return new Map(rows.map((row) => [row.id, row.intentRevision]))
}

/** The same for every environment of a tenant that is not archived: for a change that any of its routes may feel. */
export async function bumpTenantIntentRevisions(
  transaction: Transaction,
  tenantId: string,
): Promise<ReadonlyMap<string, bigint>> {
  const environments = await transaction.rows.environment.findMany({
    where: { tenantId, archivedAt: null },
    select: { id: true },
  })
  return bumpIntentRevisions(
    transaction,
    environments.map((environment) => environment.id),
  )
}

/** Wakes the reconciler of this replica after a commit. Only a hint: the others poll, and a lost bell changes nothing. */
export interface Bell {
  ring(): void
}
