import { createPrivateKey, type KeyObject, webcrypto } from 'node:crypto'

/** A fresh key that never leaves this agent, and the request to certify it. */
export interface CertificateRequest {
  readonly privateKey: KeyObject
  readonly csrDer: Buffer
}

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }

/**
 * A P-256 key and its PKCS#10. The subject says nothing: the control plane names the agent. The library is loaded here and
 * not at start, because an agent that has its identity needs it once in twelve hours.
 */
export async function makeCertificateRequest(): Promise<CertificateRequest> {
  await import('reflect-metadata')
  const { Pkcs10CertificateRequestGenerator } = await import('@peculiar/x509')
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const request = await Pkcs10CertificateRequestGenerator.create({
    name: 'CN=switchyard-agent',
    keys,
    signingAlgorithm: algorithm,
  })
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)
  return {
    privateKey: createPrivateKey({ key: Buffer.from(pkcs8), format: 'der', type: 'pkcs8' }),
    csrDer: Buffer.from(request.rawData),
  }
}
