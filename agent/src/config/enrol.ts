import { createHash, type KeyObject, sign, X509Certificate } from 'node:crypto'
import tls from 'node:tls'
import grpc from '@grpc/grpc-js'
import type { EnrolResponse__Output } from '../../../proto/gen/switchyard/v1/EnrolResponse.js'
import type { Clock } from '../../../proto/std/clock.js'
import { isRefusal, type Refusal, refuse } from '../../../proto/std/refusal.js'
import { CallFault, channelOptions, loadContract, unaryCall } from './grpc-client.js'
import type { JoinToken } from './join-token.js'

/** `unreachable` is worth another try with the same token; every other code is final for it. */
export type EnrolRefusalCode = 'unreachable' | 'authority_mismatch' | 'token_refused' | 'answer_incomplete'

export interface EnrolRequestFacts {
  /** `host:port` of the enrolment port. */
  address: string
  token: JoinToken
  csrDer: Uint8Array
  sealingPublicKey: Uint8Array
  agentName: string
  agentVersion: string
  /** Who this agent was: keeps its id when the control plane finds the proof good. */
  lapsed: { certificateDer: Uint8Array; privateKey: KeyObject } | null
  timeoutMs: number
  clock: Clock
}

/**
 * One enrolment. The join token holds the hash of the authority's certificate, so that the first contact needs no trust
 * of its own: the chain that the port presents must contain that very certificate, and the call that carries the token is
 * then made trusting it alone. The token is sent over no connection that was not checked this way.
 */
export async function enrol(facts: EnrolRequestFacts): Promise<EnrolResponse__Output | Refusal<EnrolRefusalCode>> {
  const authority = await presentedAuthority(facts)
  if (isRefusal(authority)) return authority
  const { EnrolmentService } = loadContract()
  const client = new EnrolmentService(
    facts.address,
    grpc.credentials.createSsl(Buffer.from(authority.toString())),
    channelOptions({ messageBytesMax: 1024 * 1024, keepaliveIntervalMs: 60_000, keepaliveTimeoutMs: 10_000 }),
  )
  try {
    const response = await unaryCall<EnrolResponse__Output>((callback) =>
      client.enrol(
        {
          joinToken: facts.token.text,
          csrDer: facts.csrDer,
          sealingPublicKey: facts.sealingPublicKey,
          agentVersion: facts.agentVersion,
          agentName: facts.agentName,
          ...(facts.lapsed === null
            ? {}
            : {
                lapsedCertificateDer: facts.lapsed.certificateDer,
                lapsedKeySignature: sign('sha256', facts.csrDer, facts.lapsed.privateKey),
              }),
        },
        { deadline: new Date(facts.clock.nowMs() + facts.timeoutMs) },
        callback,
      ),
    )
    const complete =
      response.certificate !== null &&
      response.certificate.chainDer.length > 0 &&
      response.certificate.caDer.length > 0 &&
      response.agentId !== '' &&
      response.signingKeys.length > 0
    return complete ? response : refuse('answer_incomplete', 'the control plane answered without a certificate or keys')
  } catch (fault) {
    return refusalOf(CallFault.of(fault), facts.address)
  } finally {
    client.close()
  }
}

const transient = new Set(['UNAVAILABLE', 'DEADLINE_EXCEEDED', 'RESOURCE_EXHAUSTED', 'INTERNAL', 'UNKNOWN', 'ABORTED'])

function refusalOf(fault: CallFault, address: string): Refusal<EnrolRefusalCode> {
  return transient.has(fault.code)
    ? refuse('unreachable', `enrolment at ${address} did not answer: ${fault.message}`)
    : refuse(
        'token_refused',
        `the control plane refused the join token (${fault.message}); make a new one with createJoinToken and set SWITCHYARD_JOIN_TOKEN`,
      )
}

/** The certificate with the pinned hash among those that the port presents. */
function presentedAuthority(facts: EnrolRequestFacts): Promise<X509Certificate | Refusal<EnrolRefusalCode>> {
  const { host, port } = splitAddress(facts.address)
  return new Promise((resolve) => {
    const settle = (result: X509Certificate | Refusal<EnrolRefusalCode>) => {
      cancelTimer()
      socket.destroy()
      resolve(result)
    }
    const cancelTimer = facts.clock.after(facts.timeoutMs, () =>
      settle(refuse('unreachable', `enrolment at ${facts.address} did not answer within ${facts.timeoutMs} ms`)),
    )
    // Nothing is sent on this connection; who answers is judged by the pin below, not by a list of public authorities.
    const socket = tls.connect({
      host,
      port,
      rejectUnauthorized: false,
      ALPNProtocols: ['h2'],
      ...(/^[\d.:[\]]+$/.test(host) ? {} : { servername: host }),
    })
    socket.once('error', (fault) =>
      settle(refuse('unreachable', `enrolment at ${facts.address} cannot be reached: ${fault.message}`)),
    )
    socket.once('secureConnect', () => {
      const found = chainOf(socket).find(
        (certificate) => certificate.ca && sha256(certificate.raw).equals(facts.token.authorityPin),
      )
      settle(
        found ??
          refuse(
            'authority_mismatch',
            `what answers at ${facts.address} is not the control plane that made the join token (its authority has another hash); check SWITCHYARD_ENROL and whether something intercepts TLS`,
          ),
      )
    })
  })
}

function chainOf(socket: tls.TLSSocket): X509Certificate[] {
  const chain: X509Certificate[] = []
  let next: tls.DetailedPeerCertificate | undefined = socket.getPeerCertificate(true)
  while (next?.raw && chain.length < 8) {
    chain.push(new X509Certificate(next.raw))
    next = next.issuerCertificate === next ? undefined : next.issuerCertificate
  }
  return chain
}

/** Host and port of `host:port` or `[v6]:port`. */
export function splitAddress(address: string): { host: string; port: number } {
  const colon = address.lastIndexOf(':')
  const host = address.slice(0, colon)
  return { host: host.startsWith('[') ? host.slice(1, -1) : host, port: Number(address.slice(colon + 1)) }
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest()
}
