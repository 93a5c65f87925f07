import { createPublicKey, verify, X509Certificate } from 'node:crypto'
import type { EnrolRequest__Output } from '../../../proto/gen/switchyard/v1/EnrolRequest.js'
import type { EnrolResponse } from '../../../proto/gen/switchyard/v1/EnrolResponse.js'
import { isSealingKey } from '../../../proto/snapshot/seal.js'
import type { Clock } from '../../../proto/std/clock.js'
import { newId } from '../../../proto/std/ids.js'
import { isRefusal, RefusalError, throwRefusal } from '../../../proto/std/refusal.js'
import type { Log } from '../../../proto/std/service.js'
import { type Actor, systemPrincipal } from '../access/principal.js'
import type { AuditStore } from '../audit/audit-store.js'
import type { Database, Transaction } from '../database/database.js'
import { viewOf } from '../snapshots/snapshot.js'
import type { CertificateAuthority, IssuedCertificate } from './certificate-authority.js'
import type { GrpcContract } from './grpc-contract.js'
import type { GrpcRegistration } from './grpc-server.js'
import { hashJoinSecret, parseJoinToken } from './join-token.js'
import { peerOfCertificate } from './peer.js'
import type { SigningKeys } from './signing-keys.js'

export interface EnrolmentOptions {
  readonly database: Database
  readonly authority: CertificateAuthority
  readonly signingKeys: SigningKeys
  readonly audit: AuditStore
  readonly clock: Clock
  readonly log: Log
}

/**
 * How an agent gets its identity. The token is consumed, the agent made and its certificate recorded in one transaction: a
 * token answers exactly once, whoever asks and however often. The agent's id is ours, never its choice; an agent whose
 * certificate lapsed proves with its old key who it was and stays the same agent, because its spool is numbered under that
 * id.
 */
export class Enrolment {
  readonly #options: EnrolmentOptions
  #runningCount = 0

  constructor(options: EnrolmentOptions) {
    this.#options = options
  }

  registration(contract: GrpcContract): GrpcRegistration {
    return {
      port: 'enrol',
      service: contract.enrolment,
      methods: { Enrol: (request: EnrolRequest__Output) => this.enrol(request) },
    }
  }

  /**
   * Refuses `unauthenticated` for a token that is unknown, used or too old, without saying which, and `unavailable` while
   * too many ask at once: this door is open to strangers, and each try costs a transaction.
   */
  async enrol(request: EnrolRequest__Output): Promise<EnrolResponse> {
    if (this.#runningCount >= runningMax) throwRefusal('unavailable', 'many agents enrol at this moment; try again')
    this.#runningCount += 1
    try {
      return await this.#enrol(request)
    } finally {
      this.#runningCount -= 1
    }
  }

  async #enrol(request: EnrolRequest__Output): Promise<EnrolResponse> {
    const { database, authority, signingKeys, clock, log } = this.#options
    const token = parseJoinToken(request.joinToken)
    if (token === null) return throwRefusal('bad_input', 'not a join token', { field: 'join_token' })
    if (!isSealingKey(request.sealingPublicKey)) {
      throwRefusal('bad_input', 'not an X25519 public key', { field: 'sealing_public_key' })
    }
    if (!/^[a-z0-9-]{1,63}$/.test(request.agentName)) {
      throwRefusal('bad_input', 'expected 1 to 63 lower-case letters, digits and dashes', { field: 'agent_name' })
    }
    const now = new Date(clock.nowMs())
    const enrolled = await database.transaction(now, async (transaction) => {
      const agentId = newId('agent', now.getTime())
      const clusterId = await consumeToken(transaction, { id: token.id, secret: token.secret, agentId })
      const lapsedId = await this.#lapsedAgentId(transaction, request, clusterId)
      const agent = { agentId: lapsedId ?? agentId, clusterId }
      const issued = await authority.issueAgentCertificate(request.csrDer, agent)
      if (isRefusal(issued)) throw new RefusalError(issued)
      await this.#store(transaction, request, { ...agent, tokenId: token.id, returned: lapsedId !== null, issued })
      return { agent, issued }
    })
    log.info({ ...enrolled.agent, serial: enrolled.issued.serial }, 'an agent enrolled')
    return {
      certificate: certificateMessage(enrolled.issued),
      installationId: authority.installationId,
      ...enrolled.agent,
      signingKeys: (await signingKeys.loadTrusted()).map(({ keyId, publicKey }) => ({ keyId, publicKey })),
    }
  }

  /** The agent that the request proves to have been, or null: then a new one is made. */
  async #lapsedAgentId(
    { rows }: Transaction,
    request: EnrolRequest__Output,
    clusterId: string,
  ): Promise<string | null> {
    const { authority } = this.#options
    const { lapsedCertificateDer: der, lapsedKeySignature: signature, csrDer } = request
    if (der.length === 0 || !authority.isOurs(der)) return null
    const peer = peerOfCertificate(der)
    if (isRefusal(peer) || peer.installationId !== authority.installationId || peer.clusterId !== clusterId) return null
    const publicKey = createPublicKey(new X509Certificate(der).publicKey.export({ format: 'pem', type: 'spki' }))
    if (!verify('sha256', csrDer, publicKey, signature)) return null
    const certificate = await rows.agentCertificate.findUnique({
      where: { serial: peer.serial },
      include: { agent: true },
    })
    const isInForce = certificate?.agentId === peer.agentId && certificate.revokedAt === null
    return isInForce && certificate.agent.revokedAt === null ? peer.agentId : null
  }

  async #store(
    transaction: Transaction,
    request: EnrolRequest__Output,
    enrolled: { agentId: string; clusterId: string; tokenId: string; returned: boolean; issued: IssuedCertificate },
  ): Promise<void> {
    const { rows, now } = transaction
    const { agentId, clusterId, tokenId, returned } = enrolled
    const data = { name: request.agentName, sealingPublicKey: new Uint8Array(request.sealingPublicKey) }
    if (returned) {
      await rows.agent.update({ where: { id: agentId }, data })
      await rows.joinToken.update({ where: { id: tokenId }, data: { usedByAgentId: agentId } })
    } else {
      await rows.agent.create({ data: { ...data, id: agentId, clusterId, createdAt: now } })
    }
    const certificateNotAfter = new Date(enrolled.issued.notAfterMs)
    await rows.agentStatus.upsert({
      where: { agentId },
      create: {
        agentId,
        desiredView: viewOf(clusterId),
        version: request.agentVersion.slice(0, 64),
        certificateNotAfter,
      },
      update: { certificateNotAfter },
    })
    await storeCertificate(transaction, agentId, enrolled.issued)
    const actor: Actor = { principal: systemPrincipal, requestId: tokenId }
    await this.#options.audit.append(transaction, {
      ...{ actor, tenantId: null, action: returned ? 'agent.return' : 'agent.enrol' },
      ...{ subjectKind: 'agent', subjectId: agentId },
      after: { name: request.agentName, clusterId, joinTokenId: tokenId, serial: enrolled.issued.serial },
    })
  }
}

/** Enrolments at one moment: a rack that starts, not a flood. */
const runningMax = 16

/** Records a certificate, so that it can be revoked by its serial. */
export async function storeCertificate(
  { rows, now }: Transaction,
  agentId: string,
  { serial, notBeforeMs, notAfterMs }: IssuedCertificate,
): Promise<void> {
  await rows.agentCertificate.create({
    data: { serial, agentId, notBefore: new Date(notBeforeMs), notAfter: new Date(notAfterMs), createdAt: now },
  })
}

export function certificateMessage(issued: IssuedCertificate): NonNullable<EnrolResponse['certificate']> {
  return {
    chainDer: issued.chainDer.slice(0, -1),
    caDer: issued.chainDer.slice(-1),
    notBeforeUnixMs: issued.notBeforeMs,
    notAfterUnixMs: issued.notAfterMs,
  }
}

/** One conditional update: of any number who try at once, one finds the token unused. Returns the cluster it leads to. */
async function consumeToken(
  { rows, now }: Transaction,
  token: { id: string; secret: Buffer; agentId: string },
): Promise<string> {
  const consumed = await rows.$queryRaw<{ clusterId: string }[]>`
    UPDATE "JoinToken" SET "usedAt" = ${now}, "usedByAgentId" = ${token.agentId}
    WHERE id = ${token.id} AND "tokenHash" = ${hashJoinSecret(token.secret)}
      AND "usedAt" IS NULL AND "expiresAt" > ${now}
    RETURNING "clusterId"`
  return (
    consumed[0]?.clusterId ??
    throwRefusal('unauthenticated', 'the join token is not valid: make a new one', { field: 'join_token' })
  )
}
