import { createHash } from 'node:crypto'
import grpc from '@grpc/grpc-js'
import { loadContract } from '../../agent/src/config/grpc-client.js'
import { clusterId, signingKeys, updateTo } from '../../agent/src/config/snapshot-fixture.js'
import { CertificateAuthority } from '../../control-plane/src/fleet/certificate-authority.js'
import { reportMessageCodec, reportReplyCodec, usageRecordCodec } from '../../proto/gen/codec.js'
import type { Ack__Output } from '../../proto/gen/switchyard/v1/Ack.js'
import type { AgentMessage__Output } from '../../proto/gen/switchyard/v1/AgentMessage.js'
import type { ControlMessage } from '../../proto/gen/switchyard/v1/ControlMessage.js'
import type { EnrolRequest__Output } from '../../proto/gen/switchyard/v1/EnrolRequest.js'
import type { EnrolResponse } from '../../proto/gen/switchyard/v1/EnrolResponse.js'
import type { Lane__Output } from '../../proto/gen/switchyard/v1/Lane.js'
import type { ReportMessage__Output } from '../../proto/gen/switchyard/v1/ReportMessage.js'
import type { ReportReply } from '../../proto/gen/switchyard/v1/ReportReply.js'
import type { UsageRecord__Output } from '../../proto/gen/switchyard/v1/UsageRecord.js'
import type { DesiredSnapshot } from '../../proto/snapshot/manifest.js'
import { sealSecret } from '../../proto/snapshot/seal.js'
import { systemClock } from '../../proto/std/clock.js'
import { isRefusal } from '../../proto/std/refusal.js'

type FleetCall = grpc.ServerDuplexStream<AgentMessage__Output, ControlMessage>
type ReportCall = grpc.ServerDuplexStream<ReportMessage__Output, ReportReply>

export interface StoredRecord {
  /** `epoch/lane/sequence`. */
  readonly key: string
  readonly record: UsageRecord__Output
}

/**
 * Everything that an agent's process needs of a control plane, in this process and without Postgres: a real CA, real TLS,
 * enrolment, configuration and reports, each doing what it should. For tests and benches of the agent as a process; what a
 * control plane does when it misbehaves is `paths/fake-control-plane`.
 *
 * Records are kept by key. One that comes again with other content, or a declared drop, is a `contradiction`.
 */
export class MemoryPlane {
  readonly acks: Ack__Output[] = []
  readonly contradictions: string[] = []
  /** Declared lost or dropped. */
  readonly drops: string[] = []
  readonly #authority: CertificateAuthority
  readonly #keepsRecords: boolean
  readonly #lanes = new Map<string, Map<number, Buffer>>()
  readonly #watermarks = new Map<string, number>()
  readonly #secrets: [credentialId: string, version: number, secret: string][] = []
  #servers: grpc.Server[] = []
  #ports = { enrol: 0, fleet: 0 }
  #sealingPublicKey: Buffer = Buffer.alloc(0)
  #desired: DesiredSnapshot | null = null
  #streams = new Set<FleetCall>()
  #recordCount = 0

  private constructor(authority: CertificateAuthority, keepsRecords: boolean) {
    this.#authority = authority
    this.#keepsRecords = keepsRecords
  }

  /** Without `keepsRecords` they are counted, for benches that make millions. */
  static async start({ keepsRecords = true } = {}): Promise<MemoryPlane> {
    const material = await CertificateAuthority.make('ins_1', systemClock)
    const plane = new MemoryPlane(await CertificateAuthority.open(material, systemClock), keepsRecords)
    await plane.#listen()
    return plane
  }

  /** What an agent's process is told to find this plane, with a token for its first start. */
  get environment(): Readonly<Record<string, string>> {
    const pin = this.#authority.certificateSha256.toString('base64url')
    return {
      SWITCHYARD_CONTROL_PLANE: `127.0.0.1:${this.#ports.fleet}`,
      SWITCHYARD_ENROL: `127.0.0.1:${this.#ports.enrol}`,
      SWITCHYARD_JOIN_TOKEN: `sjt_test.${Buffer.alloc(32, 1).toString('base64url')}.${pin}`,
      SWITCHYARD_AGENT_RECONNECT_MAX_MS: '1000',
    }
  }

  /** Usage records that were stored, in no order. */
  get records(): readonly StoredRecord[] {
    return [...this.#lanes].flatMap(([lane, records]) =>
      lane.startsWith('USAGE/')
        ? [...records]
            .filter(([, payload]) => payload.length > 0)
            .map(([sequence, payload]) => ({
              key: `${lane.slice('USAGE/'.length)}/${sequence}`,
              record: usageRecordCodec.decode(payload),
            }))
        : [],
    )
  }

  get recordCount(): number {
    return this.#recordCount
  }

  /** Sends it to every agent that is or comes. */
  publish(desired: DesiredSnapshot): void {
    this.#desired = desired
    for (const call of this.#streams) call.write({ update: updateTo(desired, null), body: 'update' })
  }

  /** A provider's credential, sealed to the agent when it connects; before `publish`. */
  addSecret(credentialId: string, version: number, secret: string): void {
    this.#secrets.push([credentialId, version, secret])
    for (const call of this.#streams) this.#sendSecrets(call)
  }

  /** The newest word of the agent on a generation. */
  ackOf(generation: number): Ack__Output | null {
    return this.acks.findLast((ack) => ack.generation === generation) ?? null
  }

  async stop(): Promise<void> {
    for (const server of this.#servers.splice(0)) server.forceShutdown()
  }

  async #listen(): Promise<void> {
    const certificate = await this.#authority.issueServerCertificate(['127.0.0.1', 'localhost'])
    const pair = { cert_chain: Buffer.from(certificate.chainPem), private_key: Buffer.from(certificate.privateKeyPem) }
    const ca = Buffer.from(this.#authority.certificatePem)
    const { EnrolmentService, FleetService } = loadContract()
    const enrol = new grpc.Server()
    enrol.addService(EnrolmentService.service, {
      Enrol: (
        call: grpc.ServerUnaryCall<EnrolRequest__Output, EnrolResponse>,
        callback: grpc.sendUnaryData<EnrolResponse>,
      ) => {
        this.#enrol(call.request).then((response) => callback(null, response), callback)
      },
    })
    const fleet = new grpc.Server({ 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1 })
    fleet.addService(FleetService.service, { Configure: (call: FleetCall) => this.#configure(call) })
    fleet.addService(reportService, { Report: (call: ReportCall) => this.#report(call) })
    this.#servers = [enrol, fleet]
    this.#ports = {
      enrol: await bind(enrol, grpc.ServerCredentials.createSsl(null, [pair])),
      fleet: await bind(fleet, grpc.ServerCredentials.createSsl(ca, [pair], true)),
    }
  }

  async #enrol(request: EnrolRequest__Output): Promise<EnrolResponse> {
    this.#sealingPublicKey = request.sealingPublicKey
    const issued = await this.#authority.issueAgentCertificate(request.csrDer, { clusterId, agentId })
    if (isRefusal(issued)) throw new Error(issued.message)
    return {
      certificate: { chainDer: [...issued.chainDer], caDer: issued.chainDer.slice(-1) },
      installationId: this.#authority.installationId,
      clusterId,
      agentId,
      signingKeys: [...signingKeys].map(([keyId, publicKey]) => ({ keyId, publicKey })),
    }
  }

  #configure(call: FleetCall): void {
    this.#streams.add(call)
    call.sendMetadata(new grpc.Metadata())
    call.on('data', (message: AgentMessage__Output) => {
      if (message.ack) this.acks.push(message.ack)
      if (!message.hello) return
      this.#sendSecrets(call)
      if (this.#desired !== null) call.write({ update: updateTo(this.#desired, null), body: 'update' })
    })
    for (const event of ['end', 'close', 'error', 'cancelled']) call.on(event, () => this.#streams.delete(call))
    call.on('end', () => call.end())
  }

  #sendSecrets(call: FleetCall): void {
    const envelopes = this.#secrets.map(([credentialId, version, secret]) => ({
      credentialId,
      version,
      sealed: sealSecret({
        secret: Buffer.from(secret),
        recipientPublicKey: this.#sealingPublicKey,
        ephemeralPrivateKey: createHash('sha256').update(`${credentialId}@${version}`).digest(),
        context: { agentId, credentialId, version },
      }),
      secret: 'sealed' as const,
    }))
    if (envelopes.length > 0) call.write({ envelopes: { envelopes }, body: 'envelopes' })
  }

  #report(call: ReportCall): void {
    call.on('error', () => {})
    call.on('end', () => call.end())
    call.on('data', ({ hello, batch, drop }: ReportMessage__Output) => {
      for (const lane of hello?.lanes ?? []) this.#tellStored(call, lane)
      if (hello) for (const of of [1, 2] as const) call.write({ credit: { class: of, bytes: 64 << 20 } })
      if (drop?.lane) {
        this.drops.push(`${nameOf(drop.lane)} ${drop.firstSequence}-${drop.lastSequence} ${drop.reason}`)
        const records = this.#lane(drop.lane)
        for (let at = drop.firstSequence; at <= drop.lastSequence; at++) {
          if (!records.has(at)) records.set(at, Buffer.alloc(0))
        }
        this.#tellStored(call, drop.lane)
      }
      if (!batch?.lane) return
      const records = this.#lane(batch.lane)
      let bytes = 0
      for (const { sequence, payload } of batch.records) {
        bytes += payload.length
        if (!this.#keepsRecords && sequence < (this.#watermarks.get(nameOf(batch.lane)) ?? 0)) continue
        const before = records.get(sequence)
        if (before === undefined) {
          records.set(sequence, Buffer.from(payload))
          if (batch.lane.class === 'USAGE') this.#recordCount += 1
        } else if (!before.equals(payload)) this.contradictions.push(`${nameOf(batch.lane)}/${sequence}`)
      }
      this.#tellStored(call, batch.lane)
      call.write({ credit: { class: classOf(batch.lane), bytes } })
    })
  }

  #tellStored(call: ReportCall, lane: Lane__Output): void {
    const records = this.#lane(lane)
    let nextSequence = this.#watermarks.get(nameOf(lane)) ?? 0
    while (records.has(nextSequence)) nextSequence += 1
    for (let at = this.#watermarks.get(nameOf(lane)) ?? 0; !this.#keepsRecords && at < nextSequence; at++) {
      records.delete(at)
    }
    this.#watermarks.set(nameOf(lane), nextSequence)
    call.write({ stored: { lane: { ...lane, class: classOf(lane) }, nextSequence } })
  }

  #lane(lane: Lane__Output): Map<number, Buffer> {
    const name = nameOf(lane)
    const known = this.#lanes.get(name) ?? new Map<number, Buffer>()
    this.#lanes.set(name, known)
    return known
  }
}

export const agentId = 'agt_1'

/** As the intake's: a batch is decoded straight from the wire. */
const reportService: grpc.ServiceDefinition = {
  Report: {
    path: '/switchyard.v1.ReportService/Report',
    requestStream: true,
    responseStream: true,
    requestSerialize: () => Buffer.alloc(0),
    requestDeserialize: (bytes: Buffer) => reportMessageCodec.decode(bytes),
    responseSerialize: (reply: ReportReply) => Buffer.from(reportReplyCodec.encode(reply)),
    responseDeserialize: () => ({}),
  },
}

function bind(server: grpc.Server, credentials: grpc.ServerCredentials): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', credentials, (fault, bound) => (fault ? reject(fault) : resolve(bound)))
  })
}

const nameOf = (lane: Lane__Output) => `${lane.class}/${lane.bootEpoch}/${lane.lane}`
const classOf = (lane: Lane__Output): 1 | 2 => (lane.class === 'SPANS' ? 2 : 1)
