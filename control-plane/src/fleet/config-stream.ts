import { snapshotHeaderCodec } from '../../../proto/gen/codec.js'
import type { Ack__Output } from '../../../proto/gen/switchyard/v1/Ack.js'
import type { AgentHello__Output } from '../../../proto/gen/switchyard/v1/AgentHello.js'
import type { AgentMessage__Output } from '../../../proto/gen/switchyard/v1/AgentMessage.js'
import type { AgentStatus__Output } from '../../../proto/gen/switchyard/v1/AgentStatus.js'
import type { ControlMessage } from '../../../proto/gen/switchyard/v1/ControlMessage.js'
import type { SnapshotRefusal__Output } from '../../../proto/gen/switchyard/v1/SnapshotRefusal.js'
import { equalHashes, hashRoot, type NamedHash } from '../../../proto/snapshot/hash.js'
import { keptHashes } from '../../../proto/snapshot/manifest.js'
import { isSnapshotRefusalCode, snapshotRefusalCodes } from '../../../proto/snapshot/snapshot-refusal.js'
import { Backoff } from '../../../proto/std/backoff.js'
import type { Clock } from '../../../proto/std/clock.js'
import { randomUnit } from '../../../proto/std/ids.js'
import { RefusalError, refuse, throwRefusal } from '../../../proto/std/refusal.js'
import type { Log } from '../../../proto/std/service.js'
import type { Watch } from '../../../proto/std/watch.js'
import type { StoredSnapshot } from '../snapshots/snapshot.js'
import type { AgentRefusal, AttemptOutcome } from './agent-status.js'
import type { AgentFacts, AgentStatusStore } from './agent-status-store.js'
import type { Envelopes } from './envelopes.js'
import type { FleetFacts } from './fleet-facts.js'
import type { PeerStream } from './grpc-stream.js'
import { type QuarantineStore, quarantineName } from './quarantine-store.js'
import type { HeldHashes, UpdateEncoder } from './update-encoder.js'

export interface ConfigStreamOptions {
  readonly stream: PeerStream<AgentMessage__Output, ControlMessage>
  /** What follows the hello. */
  readonly messages: AsyncIterable<AgentMessage__Output>
  readonly streamId: string
  readonly agent: AgentFacts
  readonly hello: AgentHello__Output
  readonly desired: Watch<StoredSnapshot | null>
  readonly facts: Watch<FleetFacts | null>
  /** Asks for a look at the facts now. */
  readonly refreshFacts: () => void
  readonly encoder: UpdateEncoder
  readonly envelopes: Envelopes
  readonly statuses: AgentStatusStore
  readonly quarantines: QuarantineStore
  /** Whether all that went since that generation is still declared; see `SnapshotStore.reachesBack`. */
  readonly reachesBack: (epoch: number, generation: number) => Promise<boolean>
  /** A renewed certificate, recorded; refuses a bad request. */
  readonly renew: (csrDer: Uint8Array) => Promise<ControlMessage>
  readonly clock: Clock
  readonly log: Log
}

/**
 * One agent's configuration, from its hello to the end of its stream. One writer decides what to send, in this order:
 * trusted keys, lifted quarantines, envelopes, update. At most one update is in flight; while it is, newer generations
 * replace each other in the watch, so a slow agent skips to the newest. An ack answers what was sent, also when that has
 * been superseded since. What the agent refused for good is not offered again; what it refused for now is, with backoff.
 */
export class ConfigStream {
  readonly #options: ConfigStreamOptions
  readonly #log: Log
  readonly #backoff = new Backoff({ minMs: 1000, maxMs: 300_000 }, randomUnit)
  /** What the agent holds as far as is known here; null: send everything. */
  #held: HeldHashes | null
  /** The header that it accepted last. */
  #accepted: { epoch: number; generation: number; rootHash: Buffer } | null
  #inFlight: Offer | null = null
  #refused: { rootHash: Buffer; generation: number; retry: 'never' | 'waiting' | 'due' } | null = null
  #resyncs = 0
  #sentKeys = ''
  readonly #sentEnvelopes = new Set<string>()
  readonly #liftsSent = new Set<string>()
  #envelopesAskedAtMs = Number.NEGATIVE_INFINITY
  #cancelRetry: () => void = () => {}
  /** Aborted when there may be something to send; a new one hangs before each look. */
  #wake = new AbortController()
  /** Aborted with the reason when this side gives the stream up. */
  readonly #givenUp = new AbortController()

  constructor(options: ConfigStreamOptions) {
    const { hello } = options
    const { lastAttempt } = options.agent
    this.#options = options
    this.#log = options.log.child({ agentId: options.agent.agentId, view: options.agent.desiredView })
    const holds = hello.rootHash.length === 32
    this.#held = holds
      ? { rootHash: hello.rootHash, sections: new Map(hello.sections.map(({ name, hash }) => [name, hash])) }
      : null
    if (lastAttempt !== null && lastAttempt.refusals.length > 0 && !lastAttempt.refusals.some((r) => r.retryable)) {
      // Refused for good before this stream: nothing to gain from the same bytes.
      this.#refused = { ...lastAttempt, retry: 'never' }
    }
    this.#accepted =
      hello.generation > 0 ? { epoch: hello.epoch, generation: hello.generation, rootHash: hello.rootHash } : null
  }

  /** Resolves when the agent ends the stream; rejects when something else does. */
  async run(): Promise<void> {
    const { stream, desired, facts } = this.#options
    const over = new AbortController()
    const end = () => over.abort(stream.signal.reason)
    stream.signal.addEventListener('abort', end, { once: true })
    const wake = () => this.#wake.abort()
    const follow = async (watch: Watch<unknown>) => {
      for await (const _ of watch.changes(over.signal)) wake()
      // The source is gone: this replica stops.
      if (!over.signal.aborted) throwRefusal('unavailable', 'this replica is going away')
    }
    try {
      await Promise.race([
        this.#receive(),
        this.#sendUntil(over.signal),
        follow(desired),
        follow(facts),
        aborted(this.#givenUp.signal).then(() => Promise.reject(this.#givenUp.signal.reason)),
      ])
    } finally {
      over.abort(new Error('the stream is over'))
      wake()
      this.#cancelRetry()
      this.#inFlight?.cancelDeadline()
      stream.signal.removeEventListener('abort', end)
    }
  }

  // ------------------------------------------------------------------------------------------------------ receiving

  async #receive(): Promise<void> {
    for await (const message of this.#options.messages) {
      if (message.ack) await this.#onAck(message.ack)
      else if (message.resync) await this.#onResync(message.resync.reason)
      else if (message.status) await this.#onStatus(message.status)
      else if (message.certificateRequest) await this.#onCertificateRequest(message.certificateRequest.csrDer)
      else if (message.hello) throwRefusal('bad_input', 'hello is said once')
    }
  }

  async #onAck(ack: Ack__Output): Promise<void> {
    const { agent, streamId, statuses, quarantines, hello } = this.#options
    const outcome = outcomes[ack.outcome]
    if (outcome === undefined) throwRefusal('bad_input', 'an ack without an outcome')
    const refusals = ack.refusals.slice(0, refusalsMax).map(refusalOf)
    const sent = this.#inFlight !== null && answers(ack, this.#inFlight.snapshot) ? this.#inFlight : null
    // Without an offer in flight an agent may still say how it stands by what it took: after a start, or once its disk works.
    if (sent === null && !this.#isOfAccepted(ack)) {
      this.#log.warn({ generation: ack.generation, outcome }, 'an ack that answers nothing; ignored')
      return
    }
    const { epoch, generation, rootHash } = sent?.snapshot ?? ack
    if (refusals.some((refusal) => !refusal.retryable)) {
      const key = { agentVersion: hello.agentVersion, view: agent.desiredView, rootHash: rootHash.toString('hex') }
      await quarantines.put(key, refusals)
    }
    await statuses.recordAttempt(agent.agentId, streamId, {
      ...{ epoch, generation, rootHash, outcome, refusals },
      ...{ appliedGeneration: ack.appliedGeneration, appliedRootHash: ack.appliedRootHash },
    })
    if (sent === null) return
    sent.cancelDeadline()
    this.#inFlight = null
    this.#settle(sent, ack, outcome, refusals)
    this.#wake.abort()
  }

  #isOfAccepted(ack: Ack__Output): boolean {
    return (
      this.#accepted?.epoch === ack.epoch && this.#accepted.generation === ack.generation && ack.rootHash.length === 32
    )
  }

  /** What the agent holds now, and whether the same content may be offered again. */
  #settle(sent: Offer, ack: Ack__Output, outcome: AttemptOutcome, refusals: readonly AgentRefusal[]): void {
    const { snapshot } = sent
    const fields = {
      generation: snapshot.generation,
      answerMs: (this.#options.clock.monotonicUs() - sent.offeredUs) / 1000,
      refusals: refusals.map(({ code, section }) => `${section}:${code}`),
    }
    if (outcome === 'applied') {
      this.#held = heldOf(snapshot.rootHash, snapshot.sections)
      this.#accepted = snapshot
      this.#refused = null
      this.#resyncs = 0
      this.#backoff.reset()
      this.#log.debug(fields, 'applied')
      return
    }
    if (outcome === 'partial') {
      const kept = new Set(refusals.map((refusal) => refusal.section))
      const sections = keptHashes(snapshot.sections, this.#held?.sections ?? new Map(), kept)
      const rootHash = hashRoot({ sections, removedSections: snapshot.removedSections })
      // If it computes otherwise, it holds something that is not known here: next time it gets everything.
      this.#held = equalHashes(rootHash, ack.appliedRootHash) ? heldOf(rootHash, sections) : null
      this.#accepted = snapshot
    }
    const retryable = refusals.some((refusal) => refusal.retryable) || refusals.length === 0
    this.#refused = {
      rootHash: snapshot.rootHash,
      generation: snapshot.generation,
      retry: retryable ? 'waiting' : 'never',
    }
    this.#log[retryable ? this.#backoff.logLevel : 'warn'](fields, `${outcome} by the agent`)
    if (retryable) this.#retryLater()
  }

  #retryLater(): void {
    const refused = this.#refused
    this.#cancelRetry()
    this.#cancelRetry = this.#options.clock.after(this.#backoff.nextMs(), () => {
      if (refused === null || this.#refused !== refused) return
      this.#refused = { ...refused, retry: 'due' }
      this.#wake.abort()
    })
  }

  /** The difference did not lead where it should: everything, but not for ever. */
  async #onResync(reason: string): Promise<void> {
    const sent = this.#inFlight
    this.#log.warn(
      { reason: reason.slice(0, 300), generation: sent?.snapshot.generation },
      'the agent asks for everything',
    )
    sent?.cancelDeadline()
    this.#inFlight = null
    this.#held = null
    this.#resyncs += 1
    if (sent !== null && this.#resyncs > resyncsMax) {
      this.#refused = { rootHash: sent.snapshot.rootHash, generation: sent.snapshot.generation, retry: 'waiting' }
      this.#retryLater()
    }
    this.#wake.abort()
  }

  async #onStatus(status: AgentStatus__Output): Promise<void> {
    const { agent, streamId, statuses, clock } = this.#options
    // The next one comes in seconds; a database that is away for a moment is no reason to end a fleet of streams.
    await statuses.recordStatus(agent.agentId, streamId, status).catch((error: unknown) => {
      this.#log.debug({ err: error }, 'a status could not be recorded')
    })
    const lacks = status.targets.some(
      ({ reason }) => reason === 'credential_missing' || reason === 'credential_unreadable',
    )
    if (lacks && this.#envelopesAskedAtMs + envelopesAgainMs <= clock.nowMs()) {
      this.#envelopesAskedAtMs = clock.nowMs()
      this.#sentEnvelopes.clear()
      this.#wake.abort()
    }
  }

  async #onCertificateRequest(csrDer: Uint8Array): Promise<void> {
    const { stream, renew } = this.#options
    await stream.send(await renew(csrDer))
  }

  // -------------------------------------------------------------------------------------------------------- sending

  async #sendUntil(over: AbortSignal): Promise<void> {
    while (!over.aborted) {
      this.#wake = new AbortController()
      await this.#sendWhatIsDue()
      await aborted(this.#wake.signal)
    }
    throw over.reason
  }

  async #sendWhatIsDue(): Promise<void> {
    const { stream, desired, facts, agent, hello, envelopes } = this.#options
    const known = facts.value
    if (known === null) return
    const keyIds = known.signingKeys.map(({ keyId }) => keyId).join(' ')
    if (keyIds !== this.#sentKeys) {
      await stream.send({ signingKeys: { keys: known.signingKeys.map((key) => ({ ...key })) } })
      this.#sentKeys = keyIds
    }
    const snapshot = desired.value
    if (snapshot === null) return
    await this.#sendEnvelopes(snapshot, envelopes)

    const rootHash = snapshot.rootHash.toString('hex')
    const name = quarantineName({ agentVersion: hello.agentVersion, view: agent.desiredView, rootHash })
    const quarantine = known.quarantines.get(name)
    if (quarantine === 'lifted' && !this.#liftsSent.has(name)) {
      await stream.send({ lift: { rootHash: snapshot.rootHash } })
      this.#liftsSent.add(name)
      this.#refused = null
    }
    // Who took the rest already keeps it; who did not is offered it, for what else is in it (revocations!).
    if (quarantine === 'in force' && this.#hasTaken(snapshot)) return
    if (quarantine !== 'lifted') this.#liftsSent.delete(name)
    if (this.#inFlight !== null || !this.#isWanted(snapshot)) return
    // Of another replica, and ahead of what is known of its keys here: the agent would refuse it. It is offered when the
    // facts have caught up; signed with a key that was retired since, it is not offered at all and a new one will come.
    const { keyId } = snapshotHeaderCodec.decode(snapshot.header)
    if (!known.signingKeys.some((key) => key.keyId === keyId)) return this.#options.refreshFacts()
    await this.#sendUpdate(snapshot)
  }

  /** Its header was accepted, whether or not all of it is in effect. */
  #hasTaken(snapshot: StoredSnapshot): boolean {
    return this.#accepted?.generation === snapshot.generation && this.#accepted.epoch === snapshot.epoch
  }

  #isWanted(snapshot: StoredSnapshot): boolean {
    const held = this.#held
    if (this.#hasTaken(snapshot) && held !== null && equalHashes(held.rootHash, snapshot.rootHash)) return false
    const refused = this.#refused
    if (refused === null || refused.generation !== snapshot.generation) return true
    return refused.retry === 'due'
  }

  async #sendUpdate(snapshot: StoredSnapshot): Promise<void> {
    const { stream, encoder, hello, reachesBack, clock } = this.#options
    const base = this.#held
    const accepted = this.#accepted
    const resync = base === null && accepted !== null && !(await reachesBack(accepted.epoch, accepted.generation))
    const bytes = await encoder.update(snapshot, base, { resync, gzip: hello.encodings.includes('gzip') })
    const cancelDeadline = clock.after(ackMsMax, () => {
      this.#givenUp.abort(new RefusalError(refuse('deadline', `no answer to generation ${snapshot.generation}`)))
    })
    this.#inFlight = { snapshot, offeredUs: clock.monotonicUs(), cancelDeadline }
    await stream.send(bytes)
    this.#log.debug({ generation: snapshot.generation, bytes: bytes.length, full: base === null, resync }, 'offered')
  }

  async #sendEnvelopes(snapshot: StoredSnapshot, envelopes: Envelopes): Promise<void> {
    const nameOf = (name: { credentialId: string; version: number }) => `${name.credentialId}/${name.version}`
    const missing = envelopes.namesIn(snapshot).filter((name) => !this.#sentEnvelopes.has(nameOf(name)))
    if (missing.length === 0) return
    const sealed = await envelopes.seal(this.#options.agent, missing)
    if (sealed.length > 0) await this.#options.stream.send({ envelopes: { envelopes: [...sealed] } })
    // Those that could not be sealed too: they are tried again when the agent says that it lacks them.
    for (const name of missing) this.#sentEnvelopes.add(nameOf(name))
  }
}

/** An update on its way. */
interface Offer {
  readonly snapshot: StoredSnapshot
  readonly offeredUs: number
  readonly cancelDeadline: () => void
}

/** Applying is milliseconds; an agent that says nothing for this long is stuck and does better to start over. */
const ackMsMax = 120_000
/** After that many requests for everything in a row, the same content waits like a refused one. */
const resyncsMax = 2
const refusalsMax = 100
const envelopesAgainMs = 30_000

const outcomes: Readonly<Record<string, AttemptOutcome | undefined>> = {
  APPLIED: 'applied',
  PARTIAL: 'partial',
  REFUSED: 'refused',
}

function answers(ack: Ack__Output, snapshot: StoredSnapshot): boolean {
  // A header that does not even decode has no name to answer by.
  if (ack.outcome === 'REFUSED' && ack.rootHash.length === 0) return true
  return (
    ack.epoch === snapshot.epoch &&
    ack.generation === snapshot.generation &&
    equalHashes(ack.rootHash, snapshot.rootHash)
  )
}

/**
 * What an agent says is shown to people: bounded, and nothing but what is expected. Whether it is for good is not its to
 * say, since that binds its siblings: it follows from the code, and never holds for the whole snapshot, which brings the
 * revocations. A code that is not known here (of a newer agent, or made up) is for now.
 */
function refusalOf(refusal: SnapshotRefusal__Output): AgentRefusal {
  return {
    code: refusal.code.slice(0, 64),
    section: refusal.section.slice(0, 300),
    resource: refusal.resource.slice(0, 300),
    path: refusal.path.slice(0, 300),
    message: refusal.message.slice(0, 500),
    retryable:
      refusal.section === '' || !isSnapshotRefusalCode(refusal.code) || snapshotRefusalCodes[refusal.code].retryable,
  }
}

function heldOf(rootHash: Buffer, sections: readonly NamedHash[]): HeldHashes {
  return { rootHash, sections: new Map(sections.map(({ name, hash }) => [name, Buffer.from(hash)])) }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve()
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
