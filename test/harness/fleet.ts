import 'reflect-metadata'
import { webcrypto } from 'node:crypto'
import tls from 'node:tls'
import { gunzipSync } from 'node:zlib'
import grpc from '@grpc/grpc-js'
import protoLoader from '@grpc/proto-loader'
import { Pkcs10CertificateRequestGenerator } from '@peculiar/x509'
import { KeyRing } from '../../control-plane/src/access/encryption.js'
import type { Actor } from '../../control-plane/src/access/principal.js'
import { systemPrincipal } from '../../control-plane/src/access/principal.js'
import { AuditStore } from '../../control-plane/src/audit/audit-store.js'
import type { Database } from '../../control-plane/src/database/database.js'
import { AgentStatusStore } from '../../control-plane/src/fleet/agent-status-store.js'
import type { CertificateAuthority } from '../../control-plane/src/fleet/certificate-authority.js'
import { ConfigDelivery } from '../../control-plane/src/fleet/config-delivery.js'
import { Enrolment } from '../../control-plane/src/fleet/enrolment.js'
import { Envelopes } from '../../control-plane/src/fleet/envelopes.js'
import { FleetFactsWatcher } from '../../control-plane/src/fleet/fleet-facts.js'
import { FleetReader } from '../../control-plane/src/fleet/fleet-reader.js'
import { FleetService } from '../../control-plane/src/fleet/fleet-service.js'
import { type GrpcContract, loadGrpcContract } from '../../control-plane/src/fleet/grpc-contract.js'
import { type GrpcRegistration, GrpcServer } from '../../control-plane/src/fleet/grpc-server.js'
import { openInstallation } from '../../control-plane/src/fleet/installation.js'
import { PeerGate } from '../../control-plane/src/fleet/peer-gate.js'
import { QuarantineStore } from '../../control-plane/src/fleet/quarantine-store.js'
import { SigningKeys } from '../../control-plane/src/fleet/signing-keys.js'
import { IntentReader } from '../../control-plane/src/snapshots/load-intent.js'
import { Reconciler } from '../../control-plane/src/snapshots/reconciler.js'
import { SectionFailureStore } from '../../control-plane/src/snapshots/section-failure-store.js'
import { SnapshotStore } from '../../control-plane/src/snapshots/snapshot-store.js'
import { snapshotUpdateCodec } from '../../proto/gen/codec.js'
import { descriptor } from '../../proto/gen/descriptor.js'
import type { ProtoGrpcType as EnrolmentPackage } from '../../proto/gen/enrolment.js'
import type { ProtoGrpcType as FleetPackage } from '../../proto/gen/fleet.js'
import type { AgentHello } from '../../proto/gen/switchyard/v1/AgentHello.js'
import type { AgentMessage } from '../../proto/gen/switchyard/v1/AgentMessage.js'
import type { ControlMessage__Output } from '../../proto/gen/switchyard/v1/ControlMessage.js'
import type { CredentialEnvelope__Output } from '../../proto/gen/switchyard/v1/CredentialEnvelope.js'
import type { EnrolRequest } from '../../proto/gen/switchyard/v1/EnrolRequest.js'
import type { EnrolResponse__Output } from '../../proto/gen/switchyard/v1/EnrolResponse.js'
import type { SnapshotUpdate__Output } from '../../proto/gen/switchyard/v1/SnapshotUpdate.js'
import { keepSections, type Manifest, rebuild } from '../../proto/snapshot/manifest.js'
import { rawPublicKeyOf } from '../../proto/snapshot/raw-keys.js'
import { openSealed } from '../../proto/snapshot/seal.js'
import { type SnapshotRefusal, snapshotRefusal } from '../../proto/snapshot/snapshot-refusal.js'
import { systemClock } from '../../proto/std/clock.js'
import type { Log } from '../../proto/std/service.js'
import { Watch } from '../../proto/std/watch.js'

/** Both halves of delivery in one process: what a control-plane replica runs, without its other rooms. */
export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => silentLog }
export const testKeyRing = KeyRing.parse([`test:${Buffer.alloc(32, 1).toString('base64')}`])
export const testOperator: Actor = { principal: systemPrincipal, requestId: 'req_test' }

export class TestReplica {
  private constructor(
    readonly reconciler: Reconciler,
    readonly store: SnapshotStore,
    readonly service: FleetService,
    readonly reader: FleetReader,
    readonly authority: CertificateAuthority,
    readonly delivery: ConfigDelivery,
    readonly server: GrpcServer,
    readonly gate: PeerGate,
    readonly facts: FleetFactsWatcher,
  ) {}

  /** `services`: of other rooms, beside those of the fleet. `fleetPort` 0: any. */
  static async start(
    database: Database,
    options: {
      log?: Log
      pollMs?: number
      fleetPort?: number
      services?: (contract: GrpcContract) => readonly GrpcRegistration[]
    } = {},
  ): Promise<TestReplica> {
    const { log = silentLog, pollMs = 50, fleetPort = 0, services = () => [] } = options
    const clock = systemClock
    const authority = await openInstallation({ database, keyRing: testKeyRing, clock })
    const signingKeys = new SigningKeys({ database, keyRing: testKeyRing })
    const store = new SnapshotStore(database)
    const reconciler = new Reconciler({
      ...{ intent: new IntentReader(database), store, failures: new SectionFailureStore(database) },
      ...{ signer: signingKeys, clock, log, pollMs: 250 },
    })
    const gate = new PeerGate({ database, installationId: authority.installationId, clock, log, pollMs })
    const statuses = new AgentStatusStore(database)
    const quarantines = new QuarantineStore(database)
    const facts = new FleetFactsWatcher({ signingKeys, quarantines, statuses, clock, log, pollMs })
    const contract = loadGrpcContract()
    const delivery = new ConfigDelivery({
      ...{ contract, reconciler, store, facts, statuses, quarantines, authority, database, clock, log },
      envelopes: new Envelopes({ database, keyRing: testKeyRing, log }),
    })
    const audit = new AuditStore()
    const enrolment = new Enrolment({ database, authority, signingKeys, audit, clock, log })
    const server = new GrpcServer({
      ...{ host: '127.0.0.1', fleetPort, enrolPort: 0, names: ['localhost', '127.0.0.1'] },
      ...{ authority, gate, clock, log },
      services: [enrolment.registration(contract), delivery.registration(), ...services(contract)],
    })
    const reader = new FleetReader({ database, clock })
    const service = new FleetService({
      ...{ database, reader, authority, signingKeys, audit, clock, bell: reconciler },
      fleetBell: {
        ring: () => {
          gate.ring()
          facts.ring()
        },
      },
    })
    for (const part of [reconciler, gate, facts, server]) await part.run()
    return new TestReplica(reconciler, store, service, reader, authority, delivery, server, gate, facts)
  }

  async stop(): Promise<void> {
    for (const part of [this.server, this.gate, this.facts, this.reconciler]) await part.stop()
  }
}

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const loaderOptions = { longs: Number, enums: String, defaults: true, arrays: true, oneofs: true } as const

function loadClients() {
  const loaded = grpc.loadPackageDefinition(protoLoader.fromJSON(descriptor, loaderOptions)) as unknown as {
    switchyard: { v1: EnrolmentPackage['switchyard']['v1'] & FleetPackage['switchyard']['v1'] }
  }
  return loaded.switchyard.v1
}

/** A P-256 key and its PKCS#10. */
export async function makeRequest(): Promise<{ csrDer: Buffer; privateKey: Buffer; keys: CryptoKeyPair }> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const csr = await Pkcs10CertificateRequestGenerator.create({ name: 'CN=x', keys, signingAlgorithm: algorithm })
  const privateKey = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey))
  return { csrDer: Buffer.from(csr.rawData), privateKey, keys }
}

type CryptoKeyPair = webcrypto.CryptoKeyPair

export interface Enrolled {
  readonly response: EnrolResponse__Output
  readonly privateKey: Buffer
  readonly keys: CryptoKeyPair
  readonly sealingKey: Buffer
}

/** Calls `Enrol`; rejects with the gRPC error. `over` replaces fields of the request. */
export async function enrolAt(port: number, joinToken: string, over: Partial<EnrolRequest> = {}): Promise<Enrolled> {
  const { csrDer, privateKey, keys } = await makeRequest()
  const sealingKey = Buffer.alloc(32, 9)
  const { EnrolmentService } = loadClients()
  const client = new EnrolmentService(`localhost:${port}`, grpc.credentials.createSsl(await authorityOf(port)))
  try {
    const response = await new Promise<EnrolResponse__Output>((resolve, reject) =>
      client.enrol(
        {
          ...{ joinToken, csrDer, sealingPublicKey: rawPublicKeyOf('x25519', sealingKey) },
          ...{ agentVersion: '0.1.0', agentName: 'test', ...over },
        },
        (error, value) => (error || !value ? reject(error) : resolve(value)),
      ),
    )
    return { response, privateKey, keys, sealingKey }
  } finally {
    client.close()
  }
}

/** The CA as presented by the port, as PEM. (A real agent compares it with the pin in its token.) */
export function authorityOf(port: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['h2'] }, () => {
      const { issuerCertificate } = socket.getPeerCertificate(true)
      socket.destroy()
      resolve(Buffer.from(pem('CERTIFICATE', issuerCertificate.raw)))
    })
    socket.on('error', reject)
  })
}

function pem(label: string, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? []
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n')
}

/** What a test agent answers to an update instead of taking it. */
export type Verdict = (rebuilt: Manifest, update: SnapshotUpdate__Output) => readonly SnapshotRefusal[]

/** An agent as far as the wire can tell: it verifies for real, keeps the manifest in memory, serves nobody. */
export class TestAgent {
  readonly manifest = new Watch<Manifest | null>(null)
  readonly updates: SnapshotUpdate__Output[] = []
  readonly envelopes: CredentialEnvelope__Output[] = []
  readonly messages = new Watch<readonly ControlMessage__Output[]>([])
  /** Status with which the last stream ended. */
  readonly ended = new Watch<grpc.StatusObject | null>(null)
  readonly enrolled: Enrolled
  version = '0.1.0'
  verdict: Verdict = () => []
  /** While set, updates are received and not answered. */
  hold = false
  #keys: Map<string, Uint8Array>
  #call: grpc.ClientDuplexStream<AgentMessage, ControlMessage__Output> | null = null
  #client: grpc.Client | null = null
  #certificate: Buffer
  #privateKey: Buffer

  constructor(enrolled: Enrolled) {
    this.enrolled = enrolled
    this.#keys = new Map(enrolled.response.signingKeys.map((key) => [key.keyId, key.publicKey]))
    this.#certificate = enrolled.response.certificate?.chainDer[0] ?? Buffer.alloc(0)
    this.#privateKey = enrolled.privateKey
  }

  get id(): string {
    return this.enrolled.response.agentId
  }

  use(certificate: Buffer, privateKey: Buffer): void {
    this.#certificate = certificate
    this.#privateKey = privateKey
  }

  get channelCredentials(): grpc.ChannelCredentials {
    const ca = this.enrolled.response.certificate?.caDer[0] ?? Buffer.alloc(0)
    return grpc.credentials.createSsl(
      Buffer.from(pem('CERTIFICATE', ca)),
      Buffer.from(pem('PRIVATE KEY', this.#privateKey)),
      Buffer.from(pem('CERTIFICATE', this.#certificate)),
    )
  }

  connect(port: number, over: Partial<AgentHello> = {}): void {
    const { FleetService } = loadClients()
    const client = new FleetService(`localhost:${port}`, this.channelCredentials, {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.max_receive_message_length': 64 * 1024 * 1024,
      'grpc.enable_retries': 0,
    })
    this.ended.set(null)
    const call = client.configure()
    this.#client = client
    this.#call = call
    call.on('error', () => {})
    call.on('status', (status: grpc.StatusObject) => this.ended.set(status))
    call.on('data', (message: ControlMessage__Output) => this.#take(message))
    const held = this.manifest.value
    this.send({
      hello: {
        ...{ protocolVersion: 1, agentVersion: this.version, bootEpoch: 1, snapshotBytesMax: 1e8, resourcesMax: 1e6 },
        encodings: ['gzip'],
        ...{ epoch: held?.header.epoch ?? 0, generation: held?.header.generation ?? 0 },
        rootHash: held?.rootHash ?? Buffer.alloc(0),
        sections: held?.sections.map(({ name, hash }) => ({ name, hash })) ?? [],
        ...over,
      },
    })
  }

  send(message: AgentMessage): void {
    this.#call?.write(message)
  }

  disconnect(): void {
    this.#call?.cancel()
    this.#client?.close()
  }

  /** Answers an update that was held back. */
  answer(update: SnapshotUpdate__Output): void {
    const held = this.manifest.value
    const result = rebuild({
      ...{ held, update, keys: this.#keys, clusterId: this.enrolled.response.clusterId },
      limits: { contentBytesMax: 1e9, resourcesMax: 1e7 },
    })
    if (result.outcome === 'resync') this.send({ resync: { reason: result.refusal.code } })
    else if (result.outcome === 'same') this.#ack(result.header, 'APPLIED', [])
    else if (result.outcome === 'refused') {
      const nameless = { epoch: 0, generation: 0, rootHash: Buffer.alloc(0) }
      this.#ack(result.header ?? nameless, 'REFUSED', [result.refusal])
    } else {
      const refusals = [...result.refusals, ...this.verdict(result.manifest, update)]
      const isWhole = refusals.some((refusal) => refusal.section === '')
      if (!isWhole) {
        const kept = new Set(refusals.map((refusal) => refusal.section))
        this.manifest.set(keepSections(result.manifest, held, kept))
      }
      const outcome = refusals.length === 0 ? 'APPLIED' : isWhole ? 'REFUSED' : 'PARTIAL'
      this.#ack(result.manifest.header, outcome, refusals)
    }
  }

  /** The secret of an envelope, as this agent opens it. */
  open(envelope: CredentialEnvelope__Output): string | null {
    const opened = openSealed({
      sealed: envelope.sealed ?? Buffer.alloc(0),
      recipientPrivateKey: this.enrolled.sealingKey,
      context: { agentId: this.id, credentialId: envelope.credentialId, version: envelope.version },
    })
    return opened?.toString() ?? null
  }

  #take(message: ControlMessage__Output): void {
    if (message.signingKeys) this.#keys = new Map(message.signingKeys.keys.map((key) => [key.keyId, key.publicKey]))
    if (message.envelopes) this.envelopes.push(...message.envelopes.envelopes)
    const update = message.updateGzip ? snapshotUpdateCodec.decode(gunzipSync(message.updateGzip)) : message.update
    if (update) {
      this.updates.push(update)
      if (!this.hold) this.answer(update)
    }
    this.messages.set([...this.messages.value, message])
  }

  #ack(
    header: { epoch: number; generation: number; rootHash: Buffer },
    outcome: 'APPLIED' | 'PARTIAL' | 'REFUSED',
    refusals: readonly SnapshotRefusal[],
  ): void {
    const held = this.manifest.value
    this.send({
      ack: {
        ...{ epoch: header.epoch, generation: header.generation, rootHash: header.rootHash, outcome },
        refusals: refusals.map((refusal) => ({ ...refusal })),
        appliedGeneration: held?.header.generation ?? 0,
        appliedRootHash: held?.rootHash ?? Buffer.alloc(0),
      },
    })
  }
}

/** A refusal for good, of one section. */
export function refusalForGood(section: string): SnapshotRefusal {
  return snapshotRefusal('resource_malformed', 'a test does not like it', { section })
}
