import { createPublicKey, verify, X509Certificate } from 'node:crypto'
import grpc from '@grpc/grpc-js'
import { loadContract } from '../../agent/src/config/grpc-client.js'
import { clusterId, signingKeys } from '../../agent/src/config/snapshot-fixture.js'
import { CertificateAuthority } from '../../control-plane/src/fleet/certificate-authority.js'
import type { AgentMessage__Output } from '../../proto/gen/switchyard/v1/AgentMessage.js'
import type { Certificate } from '../../proto/gen/switchyard/v1/Certificate.js'
import type { ControlMessage } from '../../proto/gen/switchyard/v1/ControlMessage.js'
import type { EnrolRequest__Output } from '../../proto/gen/switchyard/v1/EnrolRequest.js'
import type { EnrolResponse } from '../../proto/gen/switchyard/v1/EnrolResponse.js'
import { systemClock } from '../../proto/std/clock.js'
import { isRefusal } from '../../proto/std/refusal.js'

type FleetCall = grpc.ServerDuplexStream<AgentMessage__Output, ControlMessage>

/** One stream of an agent, as the other end sees it. */
export interface FakeStream {
  readonly received: AgentMessage__Output[]
  readonly agentId: string
  readonly serial: string
  closed: boolean
  send(message: ControlMessage): void
  end(): void
}

/**
 * The agent's other end without Postgres: a real CA, real TLS, real gRPC, and answers that a test chooses. For what a real
 * control plane does only after hours, or never: certificates of seconds, refused renewals, hangs.
 */
export class FakeControlPlane {
  readonly streams: FakeStream[] = []
  readonly enrolments: EnrolRequest__Output[] = []
  certificateLifetimeMs = 86_400_000
  /** Tokens that answer once. */
  readonly tokens = new Set<string>()
  /** Whether a stream with a certificate of this serial is let in. */
  accepts: (serial: string) => boolean = () => true
  /** What a new stream gets for its hello. */
  onHello: (stream: FakeStream) => void = () => {}
  readonly #authority: CertificateAuthority
  #servers: grpc.Server[] = []
  #ports = { enrol: 0, fleet: 0 }
  #agentCount = 0

  private constructor(authority: CertificateAuthority) {
    this.#authority = authority
  }

  static async make(installationId = 'ins_1'): Promise<FakeControlPlane> {
    const material = await CertificateAuthority.make(installationId, systemClock)
    return new FakeControlPlane(await CertificateAuthority.open(material, systemClock))
  }

  get enrolAddress(): string {
    return `127.0.0.1:${this.#ports.enrol}`
  }

  get fleetAddress(): string {
    return `127.0.0.1:${this.#ports.fleet}`
  }

  get last(): FakeStream | undefined {
    return this.streams.at(-1)
  }

  token(name: string): string {
    const text = `sjt_${name}.${Buffer.alloc(32, name).toString('base64url')}.${this.#authority.certificateSha256.toString('base64url')}`
    this.tokens.add(text)
    return text
  }

  /** Listens, on the ports of the last time if there was one. */
  async start(): Promise<void> {
    const server = await this.#authority.issueServerCertificate(['127.0.0.1', 'localhost'])
    const pair = { cert_chain: Buffer.from(server.chainPem), private_key: Buffer.from(server.privateKeyPem) }
    const ca = Buffer.from(this.#authority.certificatePem)
    const { EnrolmentService, FleetService } = loadContract()
    this.#ports = {
      enrol: await this.#listen(this.#ports.enrol, grpc.ServerCredentials.createSsl(null, [pair]), (one) =>
        one.addService(EnrolmentService.service, {
          Enrol: (
            call: grpc.ServerUnaryCall<EnrolRequest__Output, EnrolResponse>,
            callback: grpc.sendUnaryData<EnrolResponse>,
          ) => {
            this.#enrol(call.request).then(
              (response) => callback(null, response),
              (fault) => callback({ code: grpc.status.UNAUTHENTICATED, details: String(fault.message) }),
            )
          },
        }),
      ),
      fleet: await this.#listen(this.#ports.fleet, grpc.ServerCredentials.createSsl(ca, [pair], true), (one) =>
        one.addService(FleetService.service, { Configure: (call: FleetCall) => this.#configure(call) }),
      ),
    }
  }

  async stop(): Promise<void> {
    for (const server of this.#servers.splice(0)) server.forceShutdown()
  }

  #listen(port: number, credentials: grpc.ServerCredentials, add: (server: grpc.Server) => void): Promise<number> {
    const server = new grpc.Server()
    add(server)
    this.#servers.push(server)
    return new Promise((resolve, reject) => {
      server.bindAsync(`127.0.0.1:${port}`, credentials, (fault, bound) => (fault ? reject(fault) : resolve(bound)))
    })
  }

  async #enrol(request: EnrolRequest__Output): Promise<EnrolResponse> {
    this.enrolments.push(request)
    if (!this.tokens.delete(request.joinToken)) throw new Error('the join token is not valid')
    const agentId = this.#lapsedAgentId(request) ?? `agt_${++this.#agentCount}`
    return {
      certificate: await this.#issue(request.csrDer, agentId),
      installationId: this.#authority.installationId,
      clusterId,
      agentId,
      signingKeys: [...signingKeys].map(([id, publicKey]) => ({ keyId: id, publicKey })),
    }
  }

  #lapsedAgentId(request: EnrolRequest__Output): string | null {
    if (request.lapsedCertificateDer.length === 0) return null
    const certificate = new X509Certificate(request.lapsedCertificateDer)
    const key = createPublicKey(certificate.publicKey.export({ format: 'pem', type: 'spki' }))
    const holds = verify('sha256', request.csrDer, key, request.lapsedKeySignature)
    return holds ? agentIdOf(certificate.subjectAltName ?? '') : null
  }

  async #issue(csrDer: Buffer, agentId: string): Promise<Certificate> {
    const issued = await this.#authority.issueAgentCertificate(
      csrDer,
      { clusterId, agentId },
      this.certificateLifetimeMs,
    )
    if (isRefusal(issued)) throw new Error(issued.message)
    return { chainDer: [...issued.chainDer], caDer: issued.chainDer.slice(-1) }
  }

  #configure(call: FleetCall): void {
    const peer = new X509Certificate(call.getAuthContext().sslPeerCertificate?.raw ?? Buffer.alloc(0))
    const agentId = agentIdOf(peer.subjectAltName ?? '')
    if (!this.accepts(peer.serialNumber)) {
      call.emit('error', { code: grpc.status.UNAUTHENTICATED, details: 'not this certificate' })
      return
    }
    const stream: FakeStream = {
      received: [],
      agentId,
      serial: peer.serialNumber,
      closed: false,
      send: (message) => call.write(message),
      end: () => call.end(),
    }
    this.streams.push(stream)
    call.sendMetadata(new grpc.Metadata())
    call.on('data', (message: AgentMessage__Output) => {
      stream.received.push(message)
      if (message.hello) this.onHello(stream)
      if (message.certificateRequest) {
        void this.#issue(message.certificateRequest.csrDer, agentId).then((certificate) =>
          call.write({ certificate, body: 'certificate' }),
        )
      }
    })
    for (const event of ['end', 'close', 'error', 'cancelled']) {
      call.on(event, () => {
        stream.closed = true
      })
    }
    call.on('end', () => call.end())
  }
}

function agentIdOf(subjectAltName: string): string {
  return /\/agent\/([^/,]+)/.exec(subjectAltName)?.[1] ?? ''
}
