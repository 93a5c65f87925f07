import { X509Certificate } from 'node:crypto'
import type { AuthContext } from '@grpc/grpc-js/build/src/auth-context.js'
import { type Refusal, refuse } from '../../../proto/std/refusal.js'

/** Who is at the other end, as its verified certificate says; never as a message says. */
export interface Peer {
  readonly installationId: string
  readonly clusterId: string
  readonly agentId: string
  /** Of the certificate: hexadecimal, lower case. */
  readonly serial: string
  readonly certificateNotAfterMs: number
}

/** What a call offers about its connection; every call of grpc-js has it. */
export interface ConnectedCall {
  getAuthContext(): AuthContext | null
}

/**
 * The agent behind a call, from the certificate that TLS verified against our CA. Whether it was revoked since is asked by
 * `PeerGate`, which every call passes before its handler runs.
 */
export function peerOf(call: ConnectedCall): Peer | Refusal<'unauthenticated'> {
  const certificate = call.getAuthContext()?.sslPeerCertificate
  if (certificate === undefined) return refuse('unauthenticated', 'no verified client certificate')
  return peerOfCertificate(certificate.raw)
}

/** The same for a certificate's DER, which the caller has verified. */
export function peerOfCertificate(der: Uint8Array): Peer | Refusal<'unauthenticated'> {
  const certificate = new X509Certificate(der)
  // The whole of the extension, not a part of it: a second name in it would be somebody else's idea of an agent.
  const match = agentName.exec(certificate.subjectAltName ?? '')
  if (match === null) return refuse('unauthenticated', 'the certificate does not name an agent')
  const [, installationId = '', clusterId = '', agentId = ''] = match
  return Object.freeze({
    ...{ installationId, clusterId, agentId },
    serial: certificate.serialNumber.toLowerCase(),
    certificateNotAfterMs: Date.parse(certificate.validTo),
  })
}

/** The URI that an agent's certificate carries. */
export function agentUri(peer: Pick<Peer, 'installationId' | 'clusterId' | 'agentId'>): string {
  return `spiffe://${peer.installationId}/cluster/${peer.clusterId}/agent/${peer.agentId}`
}

const agentName = /^URI:spiffe:\/\/([a-z0-9_]{1,64})\/cluster\/([a-z0-9_]{1,64})\/agent\/([a-z0-9_]{1,64})$/
