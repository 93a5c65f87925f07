import { type KeyObject, randomBytes, X509Certificate } from 'node:crypto'
import grpc from '@grpc/grpc-js'
import type { Certificate__Output } from '../../../proto/gen/switchyard/v1/Certificate.js'
import { rawPublicKeyOf } from '../../../proto/snapshot/raw-keys.js'
import { must } from '../../../proto/std/assert.js'
import { Backoff } from '../../../proto/std/backoff.js'
import type { Clock } from '../../../proto/std/clock.js'
import { isRefusal, type Refusal, refuse, throwRefusal } from '../../../proto/std/refusal.js'
import type { Log } from '../../../proto/std/service.js'
import { makeCertificateRequest } from './certificate-request.js'
import { enrol } from './enrol.js'
import { type JoinToken, parseJoinToken } from './join-token.js'
import type { StateFolder } from './state-folder.js'
import {
  type Credential,
  credentialOf,
  pemOf,
  readIdentity,
  type SigningKey,
  type StoredIdentity,
  writeIdentity,
} from './stored-identity.js'

export interface IdentityOptions {
  folder: StateFolder
  /** `host:port` of the enrolment port; null when this agent may not enrol. */
  enrolAddress: string | null
  /** Used only while there is no valid certificate. */
  joinToken: string | null
  /** `host:port` of the fleet port. */
  fleetAddress: string
  agentName: string
  agentVersion: string
  reconnectMinMs: number
  reconnectMaxMs: number
  enrolTimeoutMs: number
  clock: Clock
  random: () => number
  log: Log
}

/**
 * Who this agent is, and how it stays so. A certificate moves through candidate → prove → commit: a renewed one is on disk
 * before it is used, is used for one connection, and replaces the old one only when the control plane answered that
 * connection; until then, and if it fails, the old one goes on. Nothing on an error path deletes a credential that works.
 *
 * A lapsed certificate ends neither the identity nor the service: signing keys and sealing key stay, so last-known-good
 * stays readable, and with a join token the agent enrols again as the same agent, by signing with the lapsed key.
 */
export class Identity {
  readonly fleetAddress: string
  readonly #options: IdentityOptions
  #stored: StoredIdentity
  #candidate: Credential | null
  #pendingKey: KeyObject | null = null
  #tokenSpent = false
  #renewing: Promise<void> | null = null
  #credentials: { of: Credential; made: grpc.ChannelCredentials } | null = null
  readonly #listeners = new Set<() => void>()

  private constructor(options: IdentityOptions, stored: StoredIdentity, candidate: Credential | null) {
    this.fleetAddress = options.fleetAddress
    this.#options = options
    this.#stored = stored
    this.#candidate = candidate
  }

  /**
   * The identity in the data folder, or a new one by enrolling, which is tried until it works, the signal aborts, or the
   * control plane says no. Refuses (RefusalError) with what to do when there is no identity and no way to one.
   */
  static async open(options: IdentityOptions, signal?: AbortSignal): Promise<Identity> {
    const stored = await readIdentity(options.folder, identityFile)
    const token = options.joinToken === null ? null : parseJoinToken(options.joinToken)
    if (stored === null || stored === 'unreadable') {
      if (token === null) throwRefusal(...refusalWithoutToken(stored, options.folder.path))
      if (stored === 'unreadable') await options.folder.rename(identityFile, `${identityFile}.unreadable`)
      const enrolled = await enrolUntilDone(options, token, null, signal)
      if (isRefusal(enrolled)) throwRefusal(enrolled.code, enrolled.message)
      const identity = new Identity(options, enrolled, null)
      identity.#tokenSpent = true
      return identity
    }
    const candidate = await readIdentity(options.folder, candidateFile)
    const usable = candidate !== null && candidate !== 'unreadable' && candidate.agentId === stored.agentId
    const identity = new Identity(options, stored, usable ? candidate.credential : null)
    await identity.#commitIfLapsed()
    return identity
  }

  get installationId(): string {
    return this.#stored.installationId
  }

  get clusterId(): string {
    return this.#stored.clusterId
  }

  /** Given by the control plane. Changes only if it gave a new one to an agent that enrolled again. */
  get agentId(): string {
    return this.#stored.agentId
  }

  /** Raw 32 bytes; what credential envelopes are sealed to the public half of. */
  get sealingPrivateKey(): Uint8Array {
    return this.#stored.sealingPrivateKey
  }

  /** Raw Ed25519 keys by id: what an arriving snapshot may be signed with. */
  get signingKeys(): ReadonlyMap<string, Uint8Array> {
    return keyMap(this.#stored.signingKeys)
  }

  /** The same and those retired lately: what a snapshot on our own disk may be signed with. */
  get storedSigningKeys(): ReadonlyMap<string, Uint8Array> {
    return keyMap([...this.#stored.retiredKeys, ...this.#stored.signingKeys])
  }

  /** Instant at which the certificate in use lapses, UTC. */
  get notAfterMs(): number {
    return this.#stored.credential.notAfterMs
  }

  get lapsed(): boolean {
    return this.#options.clock.nowMs() >= this.notAfterMs
  }

  /** For every connection to the fleet port but the one that proves a candidate. Call it per connection; it may change. */
  credentials(): grpc.ChannelCredentials {
    const credential = this.#stored.credential
    if (this.#credentials?.of !== credential)
      this.#credentials = { of: credential, made: channelCredentials(credential) }
    return this.#credentials.made
  }

  /** Credentials of a renewed certificate that is not proven yet, or null. */
  candidateCredentials(): grpc.ChannelCredentials | null {
    return this.#candidate === null ? null : channelCredentials(this.#candidate)
  }

  /** Called after a new certificate came into use: connections made with the old one should be made again. */
  onRenewed(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Milliseconds until renewal is due: half of the certificate's life ± 10 %; 0 when it is. Draws once per call. */
  renewalDelayMs(): number {
    const { notBeforeMs, notAfterMs } = this.#stored.credential
    const lifeMs = notAfterMs - notBeforeMs
    const dueMs = notBeforeMs + lifeMs * (0.5 + 0.05 * (2 * this.#options.random() - 1))
    return Math.max(0, dueMs - this.#options.clock.nowMs())
  }

  /** A request to certify a fresh key; the key waits here for `takeCertificate`. */
  async beginRenewal(): Promise<Buffer> {
    const { privateKey, csrDer } = await makeCertificateRequest()
    this.#pendingKey = privateKey
    return csrDer
  }

  /** Keeps an issued certificate as candidate, on disk before this resolves. Refuses one that is not for us. */
  async takeCertificate(certificate: Certificate__Output): Promise<Refusal | null> {
    const key = this.#pendingKey
    const credential = key === null ? null : credentialOf(certificate, key)
    if (credential === null) return refuse('certificate_foreign', 'a certificate for a key that was not asked for')
    if (!namesAgent(credential, this.#stored)) {
      return refuse('certificate_foreign', 'a certificate that names another agent')
    }
    this.#pendingKey = null
    await writeIdentity(this.#options.folder, candidateFile, { ...this.#stored, credential })
    this.#candidate = credential
    return null
  }

  /** The control plane answered a connection made with the candidate: from now on it is the certificate. */
  async commitCandidate(): Promise<void> {
    const credential = must(this.#candidate, 'a certificate is committed only while it is a candidate')
    await this.#store({ ...this.#stored, credential })
    this.#candidate = null
    await this.#options.folder.remove(candidateFile)
    this.#tellRenewed()
  }

  /** The candidate did not work. The certificate in use stays; renewal will be tried again. */
  async dropCandidate(): Promise<void> {
    this.#candidate = null
    await this.#options.folder.remove(candidateFile)
  }

  /** Keys that may sign from now on. Those that no longer may are kept for what already lies on the disk. */
  async replaceSigningKeys(keys: readonly SigningKey[]): Promise<void> {
    if (keys.length === 0 || keys.some((key) => key.publicKey.length !== 32)) return
    if (sameKeys(keys, this.#stored.signingKeys)) return
    const now = new Set(keys.map((key) => key.keyId))
    const retired = [...this.#stored.retiredKeys, ...this.#stored.signingKeys].filter((key) => !now.has(key.keyId))
    await this.#store({ ...this.#stored, signingKeys: [...keys], retiredKeys: retired.slice(-retiredKeysMax) })
  }

  /**
   * Resolves once the certificate is valid: at once, normally. A lapsed one is renewed with the join token, tried for as
   * long as the control plane is away; without a token this waits, and says in the log what to do.
   */
  async whenValid(signal: AbortSignal): Promise<void> {
    for (;;) {
      await this.#commitIfLapsed()
      if (!this.lapsed) return
      this.#renewing ??= this.#enrolAgain(signal).finally(() => {
        this.#renewing = null
      })
      await this.#renewing
    }
  }

  /** A lapsed certificate proves nothing any more: an unproven one that is valid can only be better. */
  async #commitIfLapsed(): Promise<void> {
    const valid = this.#candidate !== null && this.#candidate.notAfterMs > this.#options.clock.nowMs()
    if (this.lapsed && valid) await this.commitCandidate()
  }

  async #enrolAgain(signal: AbortSignal): Promise<void> {
    const { clock, log, joinToken } = this.#options
    const token = joinToken === null || this.#tokenSpent ? null : parseJoinToken(joinToken)
    if (token === null) {
      log.warn(
        { lapsedAt: new Date(this.notAfterMs).toISOString(), agentId: this.agentId },
        'the certificate lapsed: this agent serves what it last knew and gets no more changes. Make a join token (createJoinToken) for its cluster, set SWITCHYARD_JOIN_TOKEN and SWITCHYARD_ENROL, and restart it',
      )
      return clock.sleep(lapsedReminderMs, signal)
    }
    const enrolled = await enrolUntilDone(this.#options, token, this.#stored, signal)
    // Used, expired or refused: another try with it cannot end differently.
    this.#tokenSpent = true
    if (isRefusal(enrolled)) {
      log.warn({ code: enrolled.code }, `the lapsed certificate could not be renewed: ${enrolled.message}`)
      return
    }
    if (enrolled.agentId !== this.agentId) {
      log.warn(
        { before: this.agentId, now: enrolled.agentId },
        'the control plane gave this agent a new id: usage that it had not acknowledged is reported under the new one',
      )
    }
    this.#stored = enrolled
    this.#candidate = null
    await this.#options.folder.remove(candidateFile)
    this.#tellRenewed()
  }

  async #store(stored: StoredIdentity): Promise<void> {
    await writeIdentity(this.#options.folder, identityFile, stored)
    this.#stored = Object.freeze(stored)
  }

  #tellRenewed(): void {
    for (const listener of this.#listeners) listener()
  }
}

const identityFile = 'identity'
const candidateFile = 'identity.candidate'
const retiredKeysMax = 8
const lapsedReminderMs = 10 * 60_000

function refusalWithoutToken(stored: null | 'unreadable', folder: string): [code: string, message: string] {
  return stored === null
    ? [
        'identity_missing',
        `no identity in ${folder}: make a join token (createJoinToken) and set SWITCHYARD_JOIN_TOKEN and SWITCHYARD_ENROL`,
      ]
    : [
        'identity_unreadable',
        `the identity in ${folder} does not open with this state key: restore SWITCHYARD_AGENT_STATE_KEY (or state.key), or enrol anew by setting SWITCHYARD_JOIN_TOKEN and SWITCHYARD_ENROL`,
      ]
}

/** Enrols and stores the result. Transient faults are tried again with growing waits; anything else is returned. */
async function enrolUntilDone(
  options: IdentityOptions,
  token: JoinToken,
  lapsed: StoredIdentity | null,
  signal?: AbortSignal,
): Promise<StoredIdentity | Refusal> {
  const { clock, log } = options
  const address = options.enrolAddress
  if (address === null)
    return refuse('enrol_address_missing', 'set SWITCHYARD_ENROL to host:port of the enrolment port')
  const request = await makeCertificateRequest()
  const sealingPrivateKey = lapsed?.sealingPrivateKey ?? randomBytes(32)
  const backoff = new Backoff({ minMs: options.reconnectMinMs, maxMs: options.reconnectMaxMs }, options.random)
  for (;;) {
    signal?.throwIfAborted()
    const response = await enrol({
      address,
      token,
      csrDer: request.csrDer,
      sealingPublicKey: rawPublicKeyOf('x25519', sealingPrivateKey),
      agentName: options.agentName,
      agentVersion: options.agentVersion,
      lapsed:
        lapsed === null
          ? null
          : {
              certificateDer: must(lapsed.credential.chainDer[0], 'a stored chain has a leaf'),
              privateKey: lapsed.credential.privateKey,
            },
      timeoutMs: options.enrolTimeoutMs,
      clock,
    })
    if (!isRefusal(response)) {
      const credential = response.certificate && credentialOf(response.certificate, request.privateKey)
      if (!credential) return refuse('answer_incomplete', 'the control plane certified another key')
      const stored: StoredIdentity = Object.freeze({
        installationId: response.installationId,
        clusterId: response.clusterId,
        agentId: response.agentId,
        credential,
        sealingPrivateKey,
        signingKeys: response.signingKeys,
        retiredKeys: [],
      })
      if (!namesAgent(credential, stored)) return refuse('answer_incomplete', 'the certificate names another agent')
      await writeIdentity(options.folder, identityFile, stored)
      log.info({ agentId: stored.agentId, clusterId: stored.clusterId }, 'enrolled')
      return stored
    }
    if (response.code !== 'unreachable') return response
    const waitMs = backoff.nextMs()
    log[backoff.attempt <= 2 ? 'info' : 'warn']({ waitMs, attempt: backoff.attempt }, response.message)
    await clock.sleep(waitMs, signal)
  }
}

function namesAgent(
  credential: Credential,
  identity: Pick<StoredIdentity, 'installationId' | 'clusterId' | 'agentId'>,
) {
  const leaf = new X509Certificate(must(credential.chainDer[0], 'a credential has a leaf'))
  const uri = `spiffe://${identity.installationId}/cluster/${identity.clusterId}/agent/${identity.agentId}`
  return (leaf.subjectAltName ?? '').split(', ').includes(`URI:${uri}`)
}

function channelCredentials(credential: Credential): grpc.ChannelCredentials {
  return grpc.credentials.createSsl(
    pemOf(credential.caDer),
    Buffer.from(credential.privateKey.export({ format: 'pem', type: 'pkcs8' })),
    pemOf(credential.chainDer),
  )
}

function sameKeys(left: readonly SigningKey[], right: readonly SigningKey[]): boolean {
  const known = keyMap(right)
  return (
    left.length === right.length && left.every((key) => known.get(key.keyId)?.toString() === key.publicKey.toString())
  )
}

function keyMap(keys: readonly SigningKey[]): ReadonlyMap<string, Uint8Array> {
  return new Map(keys.map((key) => [key.keyId, key.publicKey]))
}
