import grpc from '@grpc/grpc-js'
import { assert } from '../../../proto/std/assert.js'
import type { Clock } from '../../../proto/std/clock.js'
import type { Log, Service } from '../../../proto/std/service.js'
import type { CertificateAuthority } from './certificate-authority.js'
import {
  type BidiHandler,
  type PeerUnaryHandler,
  serveBidi,
  servePeerUnary,
  serveUnary,
  type UnaryHandler,
  WritePacer,
} from './grpc-stream.js'
import type { PeerGate } from './peer-gate.js'
import { StandingAdmissions } from './standing-admissions.js'

/**
 * One service of the wire and who serves it. `fleet`: mutual TLS, every call passed the gate and knows its peer. `enrol`:
 * server TLS only, for those who have no certificate yet.
 */
export type GrpcRegistration =
  | {
      readonly port: 'fleet'
      readonly service: grpc.ServiceDefinition
      /** By method name as in the .proto file. */
      // biome-ignore lint/suspicious/noExplicitAny: each handler has the types of its own method; the table holds them all
      readonly methods: Readonly<Record<string, BidiHandler<any, any>>>
      /** Those with one answer. */
      // biome-ignore lint/suspicious/noExplicitAny: as above
      readonly unaryMethods?: Readonly<Record<string, PeerUnaryHandler<any, any>>>
    }
  | {
      readonly port: 'enrol'
      readonly service: grpc.ServiceDefinition
      // biome-ignore lint/suspicious/noExplicitAny: as above
      readonly methods: Readonly<Record<string, UnaryHandler<any, any>>>
    }

export interface GrpcServerOptions {
  readonly host: string
  /** 0: any free port. */
  readonly fleetPort: number
  readonly enrolPort: number
  readonly authority: CertificateAuthority
  readonly gate: PeerGate
  readonly services: readonly GrpcRegistration[]
  /** Names (DNS or IP) that agents connect to; they go into the server's certificate. */
  readonly names: readonly string[]
  readonly clock: Clock
  readonly log: Log
}

/**
 * The two gRPC doors. Their certificate comes from the installation's own CA, for ninety days; a new one is put in place at
 * two thirds of that, without closing anything.
 */
export class GrpcServer implements Service {
  readonly name = 'grpc-server'
  readonly #options: GrpcServerOptions
  readonly #pacer = new WritePacer()
  readonly #admissions: StandingAdmissions
  #servers: grpc.Server[] = []
  #addresses: { fleet: number; enrol: number } | null = null
  #cancelRenewal: () => void = () => {}

  constructor(options: GrpcServerOptions) {
    this.#options = options
    this.#admissions = new StandingAdmissions(options.gate, options.clock)
  }

  /** Ports it listens on, after `run`. */
  get addresses(): { readonly fleet: number; readonly enrol: number } {
    assert(this.#addresses !== null, 'the gRPC server runs')
    return this.#addresses
  }

  async run(): Promise<void> {
    const { authority, fleetPort, enrolPort } = this.#options
    const identity = new ServerIdentity()
    await this.#renewCertificate(identity)
    const root = { caCertificate: Buffer.from(authority.certificatePem) }
    const trust: CertificateProvider = {
      addCaCertificateListener: (listener) => queueMicrotask(() => listener(root)),
      removeCaCertificateListener: () => {},
      addIdentityCertificateListener: () => {},
      removeIdentityCertificateListener: () => {},
    }
    const { createCertificateProviderServerCredentials } = grpc.experimental
    // Its declaration names the arguments in the other order than its code takes them: identity, trust, require.
    const fleet = createCertificateProviderServerCredentials(identity, trust, true)
    const enrol = createCertificateProviderServerCredentials(identity, null, false)
    this.#addresses = {
      fleet: await this.#listen('fleet', fleetPort, fleet),
      enrol: await this.#listen('enrol', enrolPort, enrol),
    }
  }

  /** Takes no new connections, ends the calls, and waits until their last words are sent. */
  async drain(deadlineMs: number): Promise<void> {
    const { gate, clock } = this.#options
    const closed = Promise.all(
      this.#servers.map((server) => new Promise<void>((resolve) => server.tryShutdown(() => resolve()))),
    )
    await gate.drain()
    const done = new AbortController()
    await Promise.race([closed, clock.sleep(deadlineMs, done.signal).catch(() => {})])
    done.abort()
  }

  async stop(): Promise<void> {
    this.#cancelRenewal()
    this.#admissions.end()
    for (const server of this.#servers.splice(0)) server.forceShutdown()
  }

  async #listen(port: 'fleet' | 'enrol', number: number, credentials: grpc.ServerCredentials): Promise<number> {
    const server = new grpc.Server(serverOptions(port))
    for (const registration of this.#options.services) {
      if (registration.port === port) server.addService(registration.service, this.#handlersOf(registration))
    }
    this.#servers.push(server)
    return new Promise((resolve, reject) => {
      server.bindAsync(`${this.#options.host}:${number}`, credentials, (error, bound) => {
        if (error) reject(new Error(`cannot listen on ${this.#options.host}:${number} (${port})`, { cause: error }))
        else resolve(bound)
      })
    })
  }

  #handlersOf(registration: GrpcRegistration): grpc.UntypedServiceImplementation {
    const { gate, clock, log } = this.#options
    const admissions = this.#admissions
    const dependencies = { gate, admissions, clock, log: log.child({ service: this.name }), pacer: this.#pacer }
    if (registration.port === 'fleet') {
      const { methods, unaryMethods = {} } = registration
      return {
        ...mapValues(methods, (handle, method) => serveBidi(method, handle, dependencies)),
        ...mapValues(unaryMethods, (handle, method) => servePeerUnary(method, handle, dependencies)),
      }
    }
    return mapValues(registration.methods, (handle, method) => serveUnary(method, handle, dependencies))
  }

  async #renewCertificate(identity: ServerIdentity): Promise<void> {
    const { authority, names, clock, log } = this.#options
    const issued = await authority.issueServerCertificate(names)
    identity.set({ certificate: Buffer.from(issued.chainPem), privateKey: Buffer.from(issued.privateKeyPem) })
    const renewInMs = Math.min(((issued.notAfterMs - clock.nowMs()) * 2) / 3, 2 ** 31 - 1)
    this.#cancelRenewal = clock.after(renewInMs, () => {
      this.#renewCertificate(identity).catch((error: unknown) => {
        log.error({ service: this.name, err: error }, 'the certificate of the gRPC ports could not be renewed')
        this.#cancelRenewal = clock.after(3_600_000, () => void this.#renewCertificate(identity).catch(() => {}))
      })
    })
  }
}

type CertificateProvider = Parameters<typeof grpc.experimental.createCertificateProviderServerCredentials>[0]
type IdentityListener = Parameters<CertificateProvider['addIdentityCertificateListener']>[0]

/** Hands the newest certificate to whoever listens: new connections get it, old ones keep theirs. */
class ServerIdentity implements CertificateProvider {
  readonly #listeners = new Set<IdentityListener>()
  #current: Parameters<IdentityListener>[0] = null

  set(update: NonNullable<Parameters<IdentityListener>[0]>): void {
    this.#current = update
    for (const listener of this.#listeners) listener(update)
  }

  addIdentityCertificateListener(listener: IdentityListener): void {
    this.#listeners.add(listener)
    // Not at once: grpc-js begins to listen to its own credentials only after this call, and would miss the answer.
    queueMicrotask(() => listener(this.#current))
  }

  removeIdentityCertificateListener(listener: IdentityListener): void {
    this.#listeners.delete(listener)
  }

  addCaCertificateListener(): void {}
  removeCaCertificateListener(): void {}
}

/** A hello names every section held; a batch of usage is at most 1 MiB. Nothing an agent says is larger. */
const receivedBytesMax = { fleet: 8 * 1024 * 1024, enrol: 64 * 1024 }
/** Per connection: configuration, reports, leases, and room for a reconnect; or, on one of its own, calls for answers. */
const streamsMax = { fleet: 16, enrol: 4 }

function serverOptions(port: 'fleet' | 'enrol'): grpc.ServerOptions {
  return {
    'grpc.max_receive_message_length': receivedBytesMax[port],
    'grpc.max_concurrent_streams': streamsMax[port],
    // A peer that vanished without a word is noticed within half a minute.
    'grpc.keepalive_time_ms': 20_000,
    'grpc.keepalive_timeout_ms': 10_000,
    'grpc.keepalive_permit_without_calls': 1,
  }
}

function mapValues<In, Out>(
  table: Readonly<Record<string, In>>,
  to: (value: In, key: string) => Out,
): Record<string, Out> {
  return Object.fromEntries(Object.entries(table).map(([key, value]) => [key, to(value, key)]))
}
