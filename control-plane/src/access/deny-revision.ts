import { must } from '../../../proto/std/assert.js'
import type { Transaction } from '../database/database.js'

/**
 * Bumps the one deny revision under its row's lock, in the caller's transaction, and returns the new number. Every
 * mutation that takes something away (a key revoked, a tenant archived) calls it beside `bumpIntentRevisions`, so that
 * the deny sections go out without waiting for anything else. Call it last: the row is one for the whole installation
 * and its lock is held until commit.
 */
export async function bumpDenyRevision(transaction: Transaction): Promise<bigint> {
  const rows = await transaction.rows.$queryRaw<{ revision: bigint }[]>`
    INSERT INTO "DenyRevision" (id, revision) VALUES (1, 1)
    ON CONFLICT (id) DO UPDATE SET revision = "DenyRevision".revision + 1
    RETURNING revision`
  return must(rows[0], 'an upsert returns its row').revision
}
