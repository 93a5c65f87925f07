import type { AgentHello__Output } from '../../../proto/gen/switchyard/v1/AgentHello.js'
import type { AgentMessage__Output } from '../../../proto/gen/switchyard/v1/AgentMessage.js'
import type { ControlMessage } from '../../../proto/gen/switchyard/v1/ControlMessage.js'
import type { Clock } from '../../../proto/std/clock.js'
import { newTraceId } from '../../../proto/std/ids.js'
import { protocolVersion, protocolVersionOldest } from '../../../proto/std/protocol-version.js'
import { isRefusal, RefusalError, refuse, throwRefusal } from '../../../proto/std/refusal.js'
import type { Log } from '../../../proto/std/service.js'
import type { Database } from '../database/database.js'
import type { Reconciler } from '../snapshots/reconciler.js'
import type { SnapshotStore } from '../snapshots/snapshot-store.js'
import type { AgentStatusStore } from './agent-status-store.js'
import type { CertificateAuthority } from './certificate-authority.js'
import { ConfigStream } from './config-stream.js'
import { certificateMessage, storeCertificate } from './enrolment.js'
import type { Envelopes } from './envelopes.js'
import type { FleetFactsWatcher } from './fleet-facts.js'
import type { GrpcContract } from './grpc-contract.js'
import type { GrpcRegistration } from './grpc-server.js'
import type { PeerStream } from './grpc-stream.js'
import type { Peer } from './peer.js'
import type { QuarantineStore } from './quarantine-store.js'
import { UpdateEncoder } from './update-encoder.js'

export interface ConfigDeliveryOptions {
  readonly contract: GrpcContract
  readonly reconciler: Pick<Reconciler, 'desired'>
  readonly store: SnapshotStore
  readonly facts: FleetFactsWatcher
  readonly statuses: AgentStatusStore
  readonly quarantines: QuarantineStore
  readonly envelopes: Envelopes
  readonly authority: CertificateAuthority
  readonly database: Database
  readonly clock: Clock
  readonly log: Log
}

/** Serves `FleetService.Configure`: meets an agent, then leaves it to a `ConfigStream`. One stream per agent. */
export class ConfigDelivery {
  readonly #options: ConfigDeliveryOptions
  readonly #encoder: UpdateEncoder
  readonly #log: Log
  /** By agent id: how its stream is told that a newer one took its place. */
  readonly #streams = new Map<string, AbortController>()

  constructor(options: ConfigDeliveryOptions) {
    this.#options = options
    this.#log = options.log.child({ service: 'config-delivery' })
    const { Configure } = options.contract.fleet
    this.#encoder = new UpdateEncoder({
      store: options.store,
      encode: (message) => Configure.responseSerialize(message),
    })
  }

  /** Streams of this replica. */
  get streamCount(): number {
    return this.#streams.size
  }

  registration(): GrpcRegistration {
    return {
      port: 'fleet',
      service: this.#options.contract.fleet,
      methods: { Configure: (stream) => this.#configure(stream) },
    }
  }

  async #configure(stream: PeerStream<AgentMessage__Output, ControlMessage>): Promise<void> {
    const { statuses, facts } = this.#options
    const { agentId } = stream.peer
    const messages = stream.messages()
    const hello = await this.#meet(messages)
    const streamId = newTraceId()
    const replaced = this.#replace(agentId)
    const leave = facts.enter(streamId)
    try {
      const agent = await statuses.begin(agentId, streamId, hello)
      this.#log.info({ agentId, version: hello.agentVersion, generation: hello.generation }, 'an agent connected')
      const { reconciler, store, quarantines, envelopes, clock } = this.#options
      const config = new ConfigStream({
        ...{ stream, messages, streamId, agent, hello, statuses, quarantines, envelopes, clock, log: this.#log },
        desired: reconciler.desired(agent.desiredView),
        facts: facts.facts,
        refreshFacts: () => facts.ring(),
        encoder: this.#encoder,
        reachesBack: (epoch, generation) => store.reachesBack(agent.desiredView, epoch, generation),
        renew: this.#renewalFor(stream.peer),
      })
      await Promise.race([config.run(), abortion(replaced.signal)])
    } finally {
      leave()
      if (this.#streams.get(agentId) === replaced) this.#streams.delete(agentId)
      this.#log.info({ agentId }, 'an agent disconnected')
      // The row may be out of reach just now; then the agent shows as silent instead of gone.
      await statuses.end(agentId, streamId).catch(() => {})
    }
  }

  /** The hello, checked. */
  async #meet(messages: AsyncGenerator<AgentMessage__Output, void>): Promise<AgentHello__Output> {
    const late = new AbortController()
    const cancel = this.#options.clock.after(helloMsMax, () =>
      late.abort(new RefusalError(refuse('deadline', 'no hello in time'))),
    )
    const first = await Promise.race([messages.next(), abortion(late.signal)]).finally(cancel)
    const hello = first.value?.hello
    if (!hello) return throwRefusal('bad_input', 'the first message is a hello')
    if (hello.protocolVersion < protocolVersionOldest || hello.protocolVersion > protocolVersion) {
      const spoken = `${protocolVersionOldest} to ${protocolVersion}`
      throwRefusal('bad_input', `this replica speaks protocol ${spoken}, the agent ${hello.protocolVersion}`)
    }
    const sound =
      /^[\x21-\x7e]{1,64}$/.test(hello.agentVersion) &&
      hello.sections.length <= sectionsMax &&
      hello.sections.every(({ hash }) => hash.length === 32) &&
      [0, 32].includes(hello.rootHash.length)
    if (!sound) throwRefusal('bad_input', 'the hello is not well-formed')
    return hello
  }

  #replace(agentId: string): AbortController {
    const own = new AbortController()
    const older = this.#streams.get(agentId)
    this.#streams.set(agentId, own)
    older?.abort(new RefusalError(refuse('conflict', 'a newer stream of the same agent took its place')))
    return own
  }

  /** Certificates for whoever holds this stream: its own certificate is the proof. */
  #renewalFor(peer: Peer): (csrDer: Uint8Array) => Promise<ControlMessage> {
    const { authority, database, clock } = this.#options
    let lastAtMs = Number.NEGATIVE_INFINITY
    return async (csrDer) => {
      if (lastAtMs + renewalMsMin > clock.nowMs()) throwRefusal('limit_exceeded', 'a certificate was just issued')
      lastAtMs = clock.nowMs()
      const issued = await authority.issueAgentCertificate(csrDer, peer)
      if (isRefusal(issued)) throw new RefusalError(issued)
      await database.transaction(new Date(clock.nowMs()), (transaction) =>
        storeCertificate(transaction, peer.agentId, issued),
      )
      this.#log.info({ agentId: peer.agentId, serial: issued.serial }, 'a certificate was renewed')
      return { certificate: certificateMessage(issued) }
    }
  }
}

const helloMsMax = 15_000
const sectionsMax = 20_000
/** A key and a signature per request: not as often as one likes. */
const renewalMsMin = 5_000

function abortion(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason)
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
}
