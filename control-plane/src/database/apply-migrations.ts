import { migrate } from '../../../prisma/migrate.js'
import { Backoff } from '../../../proto/std/backoff.js'
import type { Clock } from '../../../proto/std/clock.js'
import { randomUnit } from '../../../proto/std/ids.js'
import type { Log } from '../../../proto/std/service.js'
import { classifyDatabaseError } from './database-error.js'

/**
 * Brings the database up to this release, waiting at most `waitMs` for a Postgres that is not up yet: whoever starts
 * everything at once starts the control plane too early now and then. Any other fault is thrown as it is.
 */
export async function applyMigrations(options: {
  readonly url: string
  readonly waitMs: number
  readonly clock: Clock
  readonly log: Log
}): Promise<void> {
  const { url, waitMs, clock, log } = options
  const endUs = clock.monotonicUs() + waitMs * 1_000
  const backoff = new Backoff({ minMs: 100, maxMs: 2_000 }, randomUnit)
  for (;;) {
    try {
      await migrate({ url, log })
      return
    } catch (fault) {
      const delayMs = backoff.nextMs()
      const isAway = classifyDatabaseError(fault)?.kind === 'unavailable'
      if (!isAway || clock.monotonicUs() + delayMs * 1_000 > endUs) throw fault
      log[backoff.logLevel]({ fault, delayMs }, 'the database does not answer yet; trying again')
      await clock.sleep(delayMs)
    }
  }
}
