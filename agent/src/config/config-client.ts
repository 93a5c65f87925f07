import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import { snapshotUpdateCodec } from '../../../proto/gen/codec.js'
import type { AgentMessage } from '../../../proto/gen/switchyard/v1/AgentMessage.js'
import type { AgentStatus } from '../../../proto/gen/switchyard/v1/AgentStatus.js'
import type { ControlMessage__Output } from '../../../proto/gen/switchyard/v1/ControlMessage.js'
import type { SnapshotUpdate__Output } from '../../../proto/gen/switchyard/v1/SnapshotUpdate.js'
import { Backoff } from '../../../proto/std/backoff.js'
import type { Clock } from '../../../proto/std/clock.js'
import { protocolVersion } from '../../../proto/std/protocol-version.js'
import type { Log, Service } from '../../../proto/std/service.js'
import type { ApplyLimits, SnapshotApplier } from './apply-snapshot.js'
import type { CredentialVault } from './credential-vault.js'
import {
  type BidiStream,
  bidiStream,
  CallFault,
  type ChannelLimits,
  channelOptions,
  loadContract,
} from './grpc-client.js'
import type { Identity } from './identity.js'
import type { Quarantine } from './quarantine.js'

/** Numbers that other rooms give for the status message. */
export interface StatusFacts {
  readonly spoolBytes: number
  readonly spoolBytesMax: number
  /** Usage records, all lanes and epochs, that are not stored yet. */
  readonly spoolRecordCount: number
  readonly inFlightCount: number
}

export interface ConfigClientOptions {
  identity: Identity
  applier: SnapshotApplier
  vault: CredentialVault
  quarantine: Quarantine
  agentVersion: string
  bootEpoch: number
  limits: ApplyLimits
  channel: ChannelLimits
  statusIntervalMs: number
  reconnectMinMs: number
  reconnectMaxMs: number
  connectTimeoutMs: number
  statusFacts(): StatusFacts
  clock: Clock
  random: () => number
  log: Log
}

type Stream = BidiStream<AgentMessage, ControlMessage__Output>

/**
 * The configuration stream: opened again with growing, jittered waits for as long as the agent lives. Messages are answered
 * one at a time and in order; while one is being applied the next stays with the control plane, which keeps only the newest.
 *
 * A certificate is renewed here too, at half of its life: asked for over the stream, kept as candidate, and proven by
 * opening the next stream with it. If the control plane does not answer that stream, the old certificate goes on.
 */
export class ConfigClient implements Service {
  readonly name = 'config-client'
  readonly #options: ConfigClientOptions
  readonly #log: Log
  readonly #backoff: Backoff
  readonly #stopping = new AbortController()
  #ended: Promise<void> | null = null
  #session: Session | null = null
  #connected = false
  /** A stream with the candidate failed: try the certificate in use once before judging. */
  #doubtCandidate = false
  /** After a refused renewal the next one waits, on the monotonic clock. */
  #renewAfterUs = Number.NEGATIVE_INFINITY
  #lastMessageAtMs: number | null = null

  constructor(options: ConfigClientOptions) {
    this.#options = options
    this.#log = options.log.child({ service: this.name })
    this.#backoff = new Backoff({ minMs: options.reconnectMinMs, maxMs: options.reconnectMaxMs }, options.random)
  }

  /** True while a stream stands. */
  get connected(): boolean {
    return this.#connected
  }

  /** Instant of the last message from the control plane in this life, or null. */
  get lastMessageAtMs(): number | null {
    return this.#lastMessageAtMs
  }

  async run(): Promise<void> {
    this.#ended ??= this.#loop()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    this.#session?.stream.cancel()
    await this.#ended
  }

  async #loop(): Promise<void> {
    const { identity, clock } = this.#options
    const { signal } = this.#stopping
    while (!signal.aborted) {
      try {
        await identity.whenValid(signal)
        const again = await this.#openSession()
        // A renewed certificate is proven at once, not after a wait.
        if (again) continue
        if (!signal.aborted) this.#log.info({}, 'the control plane ended the configuration stream')
      } catch (fault) {
        if (signal.aborted) break
        this.#afterFault(CallFault.of(fault))
      }
      await clock.sleep(this.#backoff.nextMs(), signal).catch(() => {})
    }
  }

  #afterFault(fault: CallFault): void {
    this.#log[this.#backoff.logLevel](
      { code: fault.code, attempt: this.#backoff.attempt },
      `no configuration stream: ${fault.message}`,
    )
    // Is it the candidate or the control plane? The certificate in use will tell.
    this.#doubtCandidate = !this.#doubtCandidate && this.#options.identity.candidateCredentials() !== null
  }

  /** One stream, from hello to its end. True: open the next one right away. */
  async #openSession(): Promise<boolean> {
    const { identity, clock, channel, connectTimeoutMs } = this.#options
    const candidate = this.#doubtCandidate ? null : identity.candidateCredentials()
    const { FleetService } = loadContract()
    const client = new FleetService(identity.fleetAddress, candidate ?? identity.credentials(), channelOptions(channel))
    const openedUs = clock.monotonicUs()
    const session: Session = { stream: bidiStream(client.configure()), closing: new AbortController(), again: false }
    this.#session = session
    try {
      // Refused connections end the call by themselves; this is for those that nobody answers.
      client.waitForReady(new Date(clock.nowMs() + connectTimeoutMs), (fault) => {
        if (fault) session.stream.fail(`no connection within ${connectTimeoutMs} ms`)
        else this.#afterConnect(session, candidate !== null)
      })
      await session.stream.send(this.#hello())
      const standing = this.#options.applier.standing()
      if (standing !== null) await session.stream.send(standing)
      this.#keep(session, this.#sendStatus(session))
      for await (const message of session.stream.messages()) {
        this.#lastMessageAtMs = clock.nowMs()
        await this.#take(message, session)
        if (session.again) break
      }
      return session.again
    } finally {
      session.closing.abort()
      this.#session = null
      this.#connected = false
      client.close()
      // Only a stream that stood for a while shows that all is well: one that is accepted and dropped must not loop.
      if (clock.monotonicUs() - openedUs > steadyAfterMs * 1000) this.#backoff.reset()
    }
  }

  /** The connection stands, so the certificate was let in; whether the agent is, shows by an answer or by a stream that stays. */
  #afterConnect(session: Session, withCandidate: boolean): void {
    const { identity } = this.#options
    if (session.closing.signal.aborted) return
    this.#connected = true
    this.#log.info({ fleetAddress: identity.fleetAddress }, 'connected to the control plane')
    // What fails here (the disk refuses the new certificate) ends the session, and the next one tries again.
    this.#keep(session, this.#prove(session, withCandidate))
  }

  /** Settles which certificate is in use once the control plane has shown that it accepts it. */
  async #prove(session: Session, withCandidate: boolean): Promise<void> {
    const { clock, identity } = this.#options
    await Promise.any([session.stream.answered, clock.sleep(provenAfterMs, session.closing.signal)])
    if (withCandidate) {
      await identity.commitCandidate().catch((fault: Error) => {
        this.#log.warn({ fault: fault.message }, 'the disk did not take the renewed certificate; it is tried again')
        throw fault
      })
      this.#log.info({ notAfter: new Date(identity.notAfterMs).toISOString() }, 'certificate renewed')
    } else if (this.#doubtCandidate && identity.candidateCredentials() !== null) {
      await identity.dropCandidate()
      this.#renewAfterUs = clock.monotonicUs() + retryMs(identity.notAfterMs - clock.nowMs()) * 1000
      this.#log.warn({}, 'the renewed certificate was not accepted; the one in use stays, renewal is tried again')
    }
    this.#doubtCandidate = false
    // Only now: which certificate is in use, and so when the next one is due, was open until here.
    this.#keep(session, this.#renewInTime(session))
  }

  async #take(message: ControlMessage__Output, session: Session): Promise<void> {
    const { applier, vault, quarantine, identity } = this.#options
    if (message.update) {
      await session.stream.send(await applier.apply(message.update))
    } else if (message.updateGzip) {
      const update = await inflated(message.updateGzip, this.#options.channel.messageBytesMax)
      if (typeof update !== 'string') await session.stream.send(await applier.apply(update))
      else await session.stream.send({ resync: { reason: update }, body: 'resync' })
    } else if (message.envelopes) {
      await vault.take(message.envelopes.envelopes)
      await session.stream.send(this.#status())
    } else if (message.certificate) {
      const refusal = await identity.takeCertificate(message.certificate)
      if (refusal === null) session.again = true
      else this.#log.warn({ code: refusal.code }, `renewal: ${refusal.message}`)
    } else if (message.lift) {
      await quarantine.lift(message.lift.rootHash)
    } else if (message.signingKeys) {
      await identity.replaceSigningKeys(message.signingKeys.keys)
    }
  }

  async #sendStatus(session: Session): Promise<void> {
    const { clock, statusIntervalMs, applier } = this.#options
    const { signal } = session.closing
    while (!signal.aborted) {
      await session.stream.send(this.#status())
      await clock.sleep(statusIntervalMs, signal)
      const saved = await applier.retrySave()
      if (saved !== null) await session.stream.send(saved)
    }
  }

  async #renewInTime(session: Session): Promise<void> {
    const { clock, identity } = this.#options
    const { signal } = session.closing
    const heldBackMs = (this.#renewAfterUs - clock.monotonicUs()) / 1000
    for (
      let waitMs = Math.max(identity.renewalDelayMs(), heldBackMs);
      ;
      waitMs = retryMs(identity.notAfterMs - clock.nowMs())
    ) {
      // A timer holds 24 days at most.
      await clock.sleep(Math.min(waitMs, timerMaxMs), signal)
      if (waitMs > timerMaxMs) continue
      if (identity.lapsed) {
        session.stream.cancel()
        return
      }
      const csrDer = await identity.beginRenewal()
      await session.stream.send({ certificateRequest: { csrDer }, body: 'certificateRequest' })
      await clock.sleep(renewalAnswerMs, signal)
      this.#log.warn(
        { notAfter: new Date(identity.notAfterMs).toISOString() },
        'the certificate was not renewed yet; it is asked for again',
      )
    }
  }

  /** A side task of a session: ends with it, and what goes wrong in it ends the session. */
  #keep(session: Session, task: Promise<void>): void {
    task.catch((fault) => {
      if (session.closing.signal.aborted) return
      this.#log.debug({ fault: String(fault) }, 'the configuration stream is ended')
      session.stream.cancel()
    })
  }

  #hello(): AgentMessage {
    const { applier, agentVersion, bootEpoch, limits } = this.#options
    const held = applier.held
    return {
      hello: {
        protocolVersion,
        agentVersion,
        bootEpoch,
        epoch: held?.header.epoch ?? 0,
        generation: held?.header.generation ?? 0,
        rootHash: held?.rootHash ?? Buffer.alloc(0),
        sections: held?.sections.map(({ name, hash }) => ({ name, hash })) ?? [],
        snapshotBytesMax: limits.contentBytesMax,
        resourcesMax: limits.resourcesMax,
        encodings: ['gzip'],
      },
      body: 'hello',
    }
  }

  #status(): AgentMessage {
    const { applier, vault, identity, statusFacts } = this.#options
    const held = applier.held
    const providers = [...(applier.effect?.compiled.sections.values() ?? [])].flatMap((section) => [
      ...section.providers.values(),
    ])
    const status: AgentStatus = {
      ...statusFacts(),
      certificateNotAfterUnixMs: identity.notAfterMs,
      appliedEpoch: held?.header.epoch ?? 0,
      appliedGeneration: held?.header.generation ?? 0,
      appliedRootHash: held?.rootHash ?? Buffer.alloc(0),
      targets: vault.status(providers),
    }
    return { status, body: 'status' }
  }
}

interface Session {
  readonly stream: Stream
  readonly closing: AbortController
  /** The next stream is to be opened at once. */
  again: boolean
}

const steadyAfterMs = 5_000
const provenAfterMs = 5_000
const renewalAnswerMs = 30_000
const timerMaxMs = 24 * 3_600_000

/** The update in compressed bytes, unpacked off this thread and up to `bytesMax`; or why there is none. */
async function inflated(compressed: Buffer, bytesMax: number): Promise<SnapshotUpdate__Output | string> {
  try {
    return snapshotUpdateCodec.decode(await promisify(gunzip)(compressed, { maxOutputLength: bytesMax }))
  } catch (fault) {
    return `malformed: the compressed update cannot be read (${(fault as Error).message})`
  }
}

/** A tenth of what is left, within a second and ten minutes. */
function retryMs(leftMs: number): number {
  return Math.min(600_000, Math.max(1_000, leftMs / 10))
}
