import type pg from 'pg'
import type { Clock } from '../../../proto/std/clock.js'
import { type Refusal, refuse } from '../../../proto/std/refusal.js'
import type { Log, Service } from '../../../proto/std/service.js'
import type { Database } from '../database/database.js'
import type { Bell } from '../tenancy/intent-revision.js'
import type { Peer } from './peer.js'

/** Ends a call, saying why. */
export type EndCall = (reason: Refusal) => void

/**
 * Lets agents in and throws them out. TLS looks at a certificate once, at the handshake; a stream outlives that by days. So
 * every call asks here when it starts, and ends when its certificate lapses, when its agent or certificate is revoked (on
 * any replica: every one polls), or when this process drains.
 */
export class PeerGate implements Service, Bell {
  readonly name = 'fleet-peer-gate'
  readonly #options: { database: Pick<Database, 'sql'>; installationId: string; clock: Clock; log: Log; pollMs: number }
  readonly #sql: pg.Pool
  readonly #present = new Set<{ readonly peer: Peer; readonly end: EndCall }>()
  readonly #stopping = new AbortController()
  #bell = new AbortController()
  #draining = false
  #loop: Promise<void> | null = null

  constructor(options: {
    database: Pick<Database, 'sql'>
    installationId: string
    clock: Clock
    log: Log
    /** Between two looks for revoked agents. */
    pollMs?: number
  }) {
    this.#options = { pollMs: 500, ...options }
    this.#sql = options.database.sql
  }

  /** Null: may come in. Refuses (`unauthenticated`) who is revoked, unknown, or of another installation. */
  async admit(peer: Peer): Promise<Refusal | null> {
    if (this.#draining) return goingAway
    if (peer.installationId !== this.#options.installationId) {
      return refuse('unauthenticated', 'the certificate is of another installation')
    }
    if (peer.certificateNotAfterMs <= this.#options.clock.nowMs()) return lapsed
    const { rows } = await this.#sql.query<{ revoked: boolean }>(
      `SELECT (a."revokedAt" IS NOT NULL OR c."revokedAt" IS NOT NULL) AS revoked
       FROM "Agent" a JOIN "AgentCertificate" c ON c."agentId" = a.id
       WHERE a.id = $1 AND a."clusterId" = $2 AND c.serial = $3`,
      [peer.agentId, peer.clusterId, peer.serial],
    )
    if (rows[0] === undefined) return refuse('unauthenticated', 'the certificate is not in the record')
    return rows[0].revoked ? revoked : null
  }

  /** Registers a call that was admitted; `end` is called at most once. Returns the way out, to be called when it is over. */
  enter(peer: Peer, end: EndCall): () => void {
    const { clock } = this.#options
    const leave = () => {
      cancelTimer()
      this.#present.delete(presence)
    }
    const presence = {
      peer,
      end: (reason: Refusal) => {
        leave()
        end(reason)
      },
    }
    const lifeMs = Math.min(peer.certificateNotAfterMs - clock.nowMs(), timerMsMax)
    const cancelTimer = clock.after(lifeMs, () => presence.end(lapsed))
    this.#present.add(presence)
    return leave
  }

  /** Looks at once; called after a revocation on this replica. */
  ring(): void {
    this.#bell.abort()
  }

  async run(): Promise<void> {
    this.#loop ??= this.#watchUntilStopped()
  }

  /** Lets nobody in any more and ends every call, so that agents turn to another replica. */
  async drain(): Promise<void> {
    this.#draining = true
    for (const { end } of [...this.#present]) end(goingAway)
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new Error('stopped'))
    this.#bell.abort()
    await this.#loop
    await this.drain()
  }

  async #watchUntilStopped(): Promise<void> {
    const { clock, log, pollMs } = this.#options
    while (!this.#stopping.signal.aborted) {
      this.#bell = new AbortController()
      try {
        await this.#endRevoked()
      } catch (error) {
        log.debug({ service: this.name, err: error }, 'could not look for revoked agents; again soon')
      }
      if (this.#stopping.signal.aborted) return
      await clock.sleep(pollMs, this.#bell.signal).catch(() => {})
    }
  }

  async #endRevoked(): Promise<void> {
    if (this.#present.size === 0) return
    const present = [...this.#present]
    const { rows } = await this.#sql.query<{ agentId: string | null; serial: string | null }>(
      `SELECT id AS "agentId", NULL AS serial FROM "Agent" WHERE id = ANY($1) AND "revokedAt" IS NOT NULL
       UNION ALL
       SELECT NULL, serial FROM "AgentCertificate" WHERE serial = ANY($2) AND "revokedAt" IS NOT NULL`,
      [[...new Set(present.map(({ peer }) => peer.agentId))], present.map(({ peer }) => peer.serial)],
    )
    if (rows.length === 0) return
    const agents = new Set(rows.map((row) => row.agentId))
    const serials = new Set(rows.map((row) => row.serial))
    for (const { peer, end } of present) if (agents.has(peer.agentId) || serials.has(peer.serial)) end(revoked)
  }
}

const revoked = refuse('unauthenticated', 'this agent was revoked')
const goingAway = refuse('unavailable', 'this replica is going away')
const lapsed = refuse('unauthenticated', 'the certificate lapsed; renew it or enrol again')
/** Node's timers hold 31 bits of milliseconds. */
const timerMsMax = 2 ** 31 - 1
