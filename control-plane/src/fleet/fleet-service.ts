import type { z } from 'zod'
import type { Clock } from '../../../proto/std/clock.js'
import { newId, randomSecret } from '../../../proto/std/ids.js'
import { throwRefusal } from '../../../proto/std/refusal.js'
import { checkInput, shapes } from '../access/check-input.js'
import { requirePermission } from '../access/permission.js'
import type { Actor } from '../access/principal.js'
import type { AuditStore } from '../audit/audit-store.js'
import type { Database, Transaction } from '../database/database.js'
import type { Page, PageArgs } from '../database/page.js'
import { isUniqueViolation } from '../database/unique-violation.js'
import type { Bell } from '../tenancy/intent-revision.js'
import { type AgentView, auditAgent, type Quarantine } from './agent-status.js'
import type { CertificateAuthority } from './certificate-authority.js'
import { auditCluster, type Cluster, createClusterInput, createJoinTokenInput, type JoinToken } from './cluster.js'
import type { FleetReader } from './fleet-reader.js'
import { formatJoinToken, hashJoinSecret } from './join-token.js'
import type { SigningKeys } from './signing-keys.js'

export interface FleetServiceOptions {
  readonly database: Database
  readonly reader: FleetReader
  readonly authority: CertificateAuthority
  readonly signingKeys: SigningKeys
  readonly audit: AuditStore
  readonly clock: Clock
  /** The reconciler's: clusters, epochs and signing keys change what agents get. */
  readonly bell: Bell
  /** The gate's and the delivery's: revocations and lifted quarantines take effect on live streams. */
  readonly fleetBell: Bell
}

const joinTokenMinutesDefault = 10

/** Use cases of clusters and agents. The fleet belongs to the installation: only platform admins reach it. */
export class FleetService {
  readonly #options: FleetServiceOptions

  /** For data loaders. */
  readonly clusterById = Object.freeze({
    load: async (actor: Actor, ids: readonly string[]): Promise<readonly (Cluster | null)[]> => {
      requirePermission(actor, 'fleet.read', null)
      const found = new Map((await this.#options.reader.findClusters(ids)).map((cluster) => [cluster.id, cluster]))
      return ids.map((id) => found.get(id) ?? null)
    },
  })

  constructor(options: FleetServiceOptions) {
    this.#options = options
  }

  async findCluster(actor: Actor, id: string): Promise<Cluster | null> {
    requirePermission(actor, 'fleet.read', null)
    return this.#options.reader.findCluster(id)
  }

  async listClusters(actor: Actor, args: PageArgs): Promise<Page<Cluster>> {
    requirePermission(actor, 'fleet.read', null)
    return this.#options.reader.pageClusters(args)
  }

  async findAgent(actor: Actor, id: string): Promise<AgentView | null> {
    requirePermission(actor, 'fleet.read', null)
    return this.#options.reader.findAgent(id)
  }

  async listAgents(
    actor: Actor,
    args: PageArgs,
    filter: { clusterId?: string | null; revoked?: boolean } = {},
  ): Promise<Page<AgentView>> {
    requirePermission(actor, 'fleet.read', null)
    return this.#options.reader.pageAgents(args, filter)
  }

  async listQuarantines(actor: Actor, options: { lifted?: boolean } = {}): Promise<readonly Quarantine[]> {
    requirePermission(actor, 'fleet.read', null)
    return this.#options.reader.listQuarantines(options)
  }

  /** Refuses `conflict` when the name is taken. */
  async createCluster(actor: Actor, input: z.input<typeof createClusterInput>): Promise<Cluster> {
    requirePermission(actor, 'fleet.write', null)
    const fields = checkInput(createClusterInput, input)
    const now = this.#now()
    const cluster: Cluster = { id: newId('cluster', now.getTime()), ...fields, createdAt: now }
    try {
      await this.#change(now, async (transaction) => {
        await transaction.rows.cluster.create({ data: cluster })
        await this.#append(transaction, actor, 'cluster.create', 'cluster', cluster.id, {
          after: auditCluster(cluster),
        })
      })
    } catch (error) {
      if (isUniqueViolation(error))
        throwRefusal('conflict', `the name ${fields.name} is taken`, { field: 'input.name' })
      throw error
    }
    this.#options.bell.ring()
    return cluster
  }

  /** An invitation for one agent, ten minutes long unless said otherwise. Its text is in this answer and nowhere else. */
  async createJoinToken(actor: Actor, input: z.input<typeof createJoinTokenInput>): Promise<JoinToken> {
    requirePermission(actor, 'fleet.write', null)
    const { clusterId, lifetimeMinutes } = checkInput(createJoinTokenInput, input)
    const now = this.#now()
    const id = newId('joinToken', now.getTime())
    const secret = Buffer.from(randomSecret(32))
    const expiresAt = new Date(now.getTime() + (lifetimeMinutes ?? joinTokenMinutesDefault) * 60_000)
    await this.#change(now, async (transaction) => {
      const cluster = await transaction.rows.cluster.findUnique({ where: { id: clusterId } })
      if (cluster === null) throwRefusal('not_found', 'no such cluster', { field: 'input.clusterId' })
      await transaction.rows.joinToken.create({
        data: {
          ...{ id, clusterId, expiresAt, createdBy: actor.principal.subject, createdAt: now },
          tokenHash: new Uint8Array(hashJoinSecret(secret)),
        },
      })
      await this.#append(transaction, actor, 'join-token.create', 'join-token', id, {
        after: { clusterId, expiresAt: expiresAt.toISOString() },
      })
    })
    const { certificateSha256 } = this.#options.authority
    return { id, clusterId, expiresAt, text: formatJoinToken({ id, secret, certificateSha256 }) }
  }

  /** Its certificates are worth nothing from now on; its streams end on every replica within a second. For good. */
  async revokeAgent(actor: Actor, agentId: string): Promise<AgentView> {
    requirePermission(actor, 'fleet.write', null)
    checkInput(shapes.id, agentId, 'agentId')
    await this.#change(this.#now(), async (transaction) => {
      const { rows, now } = transaction
      await rows.$queryRaw`SELECT id FROM "Agent" WHERE id = ${agentId} FOR UPDATE`
      const agent = await rows.agent.findUnique({ where: { id: agentId } })
      if (agent === null) return throwRefusal('not_found', 'no such agent', { field: 'agentId' })
      if (agent.revokedAt !== null) return
      await rows.agent.update({ where: { id: agentId }, data: { revokedAt: now } })
      await rows.agentCertificate.updateMany({ where: { agentId, revokedAt: null }, data: { revokedAt: now } })
      await this.#append(transaction, actor, 'agent.revoke', 'agent', agentId, {
        before: auditAgent(agent),
        after: auditAgent({ ...agent, revokedAt: now }),
      })
    })
    this.#options.fleetBell.ring()
    const agent = await this.#options.reader.findAgent(agentId)
    return agent ?? throwRefusal('not_found', 'no such agent', { field: 'agentId' })
  }

  /** Offers refused content once more to the agents of that version. Lifting twice changes nothing. */
  async liftQuarantine(
    actor: Actor,
    input: { agentVersion: string; view: string; rootHash: string },
  ): Promise<Quarantine> {
    requirePermission(actor, 'fleet.write', null)
    if (!/^[0-9a-f]{64}$/.test(input.rootHash)) {
      throwRefusal('bad_input', 'expected 64 hexadecimal characters', { field: 'input.rootHash' })
    }
    const key = {
      ...{ agentVersion: input.agentVersion, view: input.view },
      rootHash: new Uint8Array(Buffer.from(input.rootHash, 'hex')),
    }
    const { agentVersion, view, rootHash } = input
    await this.#change(this.#now(), async (transaction) => {
      const where = { agentVersion_view_rootHash: key }
      const row = await transaction.rows.quarantine.findUnique({ where })
      if (row === null) return throwRefusal('not_found', 'no such quarantine', { field: 'input.rootHash' })
      if (row.liftedAt !== null) return
      const liftedBy = actor.principal.subject
      await transaction.rows.quarantine.update({ where, data: { liftedAt: transaction.now, liftedBy } })
      await this.#append(transaction, actor, 'quarantine.lift', 'quarantine', rootHash, {
        after: { agentVersion, view },
      })
    })
    this.#options.fleetBell.ring()
    const lifted = await this.#options.reader.findQuarantine({ agentVersion, view, rootHash })
    return lifted ?? throwRefusal('not_found', 'no such quarantine', { field: 'input.rootHash' })
  }

  /**
   * After the database was restored from a backup: generations that agents hold may be ahead of those in the record, and
   * they would refuse to follow. A new epoch outranks every earlier number. Returns it.
   */
  async newEpoch(actor: Actor): Promise<number> {
    requirePermission(actor, 'fleet.write', null)
    const epoch = await this.#change(this.#now(), async (transaction) => {
      const before = await transaction.rows.installation.findFirst()
      if (before === null) return throwRefusal('unavailable', 'this installation has no identity yet')
      const after = await transaction.rows.installation.update({
        where: { id: before.id },
        data: { epoch: { increment: 1 } },
      })
      await this.#append(transaction, actor, 'installation.new-epoch', 'installation', before.id, {
        before: { epoch: Number(before.epoch) },
        after: { epoch: Number(after.epoch) },
      })
      return Number(after.epoch)
    })
    this.#options.bell.ring()
    return epoch
  }

  /** Adds a key that signs from now on; earlier keys stay trusted until they are retired. Returns its id. */
  async addSigningKey(actor: Actor): Promise<string> {
    requirePermission(actor, 'fleet.write', null)
    const keyId = await this.#change(this.#now(), async (transaction) => {
      const id = await this.#options.signingKeys.add(transaction)
      await this.#append(transaction, actor, 'signing-key.add', 'signing-key', id, {})
      return id
    })
    this.#options.fleetBell.ring()
    this.#options.bell.ring()
    return keyId
  }

  /** Agents stop trusting the key. Refuses `conflict` for the last one: nobody could sign any more. */
  async retireSigningKey(actor: Actor, keyId: string): Promise<void> {
    requirePermission(actor, 'fleet.write', null)
    await this.#change(this.#now(), async (transaction) => {
      const { rows, now } = transaction
      const keys = await rows.$queryRaw<{ id: string }[]>`
        SELECT id FROM "SigningKey" WHERE "retiredAt" IS NULL ORDER BY id FOR UPDATE`
      if (!keys.some(({ id }) => id === keyId)) throwRefusal('not_found', 'no such key in use', { field: 'keyId' })
      if (keys.length === 1) throwRefusal('conflict', 'it is the only one; add another first', { field: 'keyId' })
      await rows.signingKey.update({ where: { id: keyId }, data: { retiredAt: now } })
      await this.#append(transaction, actor, 'signing-key.retire', 'signing-key', keyId, {})
    })
    this.#options.fleetBell.ring()
    this.#options.bell.ring()
  }

  #now(): Date {
    return new Date(this.#options.clock.nowMs())
  }

  #change<T>(now: Date, work: (transaction: Transaction) => Promise<T>): Promise<T> {
    return this.#options.database.transaction(now, work)
  }

  #append(
    transaction: Transaction,
    actor: Actor,
    action: string,
    subjectKind: string,
    subjectId: string,
    change: Pick<Parameters<AuditStore['append']>[1], 'before' | 'after'>,
  ): Promise<void> {
    return this.#options.audit.append(transaction, { actor, tenantId: null, action, subjectKind, subjectId, ...change })
  }
}
