import 'reflect-metadata'
import { createHash, createPrivateKey, X509Certificate as NodeCertificate, webcrypto } from 'node:crypto'
import net from 'node:net'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  Pkcs10CertificateRequest,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509'
import type { Clock } from '../../../proto/std/clock.js'
import { randomSecret } from '../../../proto/std/ids.js'
import { type Refusal, refuse } from '../../../proto/std/refusal.js'
import { agentUri, type Peer } from './peer.js'

/**
 * The installation's own CA, in process: one P-256 key, made once, kept sealed in the `Installation` row. It signs two kinds
 * of leaves and nothing else: an agent's (client, one URI that names it, a day) and the gRPC ports' own (server, the names
 * that agents connect to, ninety days). What a request says about its subject is ignored: the control plane names the agent.
 */
export interface AuthorityMaterial {
  readonly installationId: string
  readonly certificateDer: Buffer
  /** PKCS#8, DER. */
  readonly privateKeyDer: Uint8Array
}

export interface IssuedCertificate {
  /** Leaf first; DER each. */
  readonly chainDer: readonly Buffer[]
  /** Hexadecimal, lower case. */
  readonly serial: string
  readonly notBeforeMs: number
  readonly notAfterMs: number
}

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const dayMs = 86_400_000
/** Certificates begin a little before they are made: an agent's clock may be behind. */
const backdateMs = 300_000

export class CertificateAuthority {
  readonly installationId: string
  readonly certificateDer: Buffer
  readonly certificatePem: string
  /** What a join token carries, so that the agent knows the CA before it trusts anything. */
  readonly certificateSha256: Buffer
  readonly #certificate: X509Certificate
  readonly #key: webcrypto.CryptoKey
  readonly #clock: Clock

  private constructor(material: AuthorityMaterial, key: webcrypto.CryptoKey, clock: Clock) {
    this.installationId = material.installationId
    this.certificateDer = material.certificateDer
    this.#certificate = new X509Certificate(material.certificateDer)
    this.certificatePem = this.#certificate.toString('pem')
    this.certificateSha256 = createHash('sha256').update(material.certificateDer).digest()
    this.#key = key
    this.#clock = clock
  }

  /** A new key and its self-signed certificate, for ten years. */
  static async make(installationId: string, clock: Clock): Promise<AuthorityMaterial> {
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
    const nowMs = clock.nowMs()
    const certificate = await X509CertificateGenerator.createSelfSigned({
      ...{ serialNumber: newSerial(), name: `CN=Switchyard ${installationId}`, keys, signingAlgorithm: algorithm },
      ...{ notBefore: new Date(nowMs - backdateMs), notAfter: new Date(nowMs + 3650 * dayMs) },
      extensions: [
        new BasicConstraintsExtension(true, 0, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
        await SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    })
    return {
      installationId,
      certificateDer: Buffer.from(certificate.rawData),
      privateKeyDer: new Uint8Array(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)),
    }
  }

  static async open(material: AuthorityMaterial, clock: Clock): Promise<CertificateAuthority> {
    const key = await webcrypto.subtle.importKey('pkcs8', material.privateKeyDer, algorithm, false, ['sign'])
    return new CertificateAuthority(material, key, clock)
  }

  /**
   * A certificate for the agent, `lifetimeMs` long, over the key of its request. Refuses (`bad_input`) a request that is not
   * signed by its own key or whose key is not P-256.
   */
  async issueAgentCertificate(
    csrDer: Uint8Array,
    agent: Pick<Peer, 'clusterId' | 'agentId'>,
    lifetimeMs = dayMs,
  ): Promise<IssuedCertificate | Refusal<'bad_input'>> {
    const request = await verifiedRequest(csrDer)
    if (request === null)
      return refuse('bad_input', 'not a PKCS#10 over a P-256 key, signed by it', { field: 'csrDer' })
    const uri = agentUri({ installationId: this.installationId, ...agent })
    return this.#issue(request.publicKey, {
      subject: `CN=${agent.agentId}`,
      lifetimeMs,
      extensions: [
        new ExtendedKeyUsageExtension([ExtendedKeyUsage.clientAuth], true),
        new SubjectAlternativeNameExtension([{ type: 'url', value: uri }]),
      ],
    })
  }

  /** Key and certificate for the gRPC ports; the chain holds the CA too, so that an enrolling agent can compare its pin. */
  async issueServerCertificate(
    names: readonly string[],
  ): Promise<{ readonly chainPem: string; readonly privateKeyPem: string; readonly notAfterMs: number }> {
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
    const issued = await this.#issue(keys.publicKey, {
      subject: 'CN=switchyard control plane',
      lifetimeMs: 90 * dayMs,
      extensions: [
        new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth], true),
        new SubjectAlternativeNameExtension(
          names.map((name) => ({ type: net.isIP(name) ? ('ip' as const) : ('dns' as const), value: name })),
        ),
      ],
    })
    const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey))
    return {
      chainPem: issued.chainDer.map((der) => new X509Certificate(der).toString('pem')).join('\n'),
      privateKeyPem: String(
        createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' }).export({ format: 'pem', type: 'pkcs8' }),
      ),
      notAfterMs: issued.notAfterMs,
    }
  }

  /** True when this CA signed the certificate, whatever its dates. */
  isOurs(certificateDer: Uint8Array): boolean {
    try {
      return new NodeCertificate(certificateDer).verify(new NodeCertificate(this.certificateDer).publicKey)
    } catch {
      return false
    }
  }

  async #issue(
    publicKey: Pkcs10CertificateRequest['publicKey'] | webcrypto.CryptoKey,
    leaf: { subject: string; lifetimeMs: number; extensions: readonly Extension[] },
  ): Promise<IssuedCertificate> {
    const serial = newSerial()
    // Certificates count in seconds.
    const nowMs = Math.floor(this.#clock.nowMs() / 1000) * 1000
    const [notBeforeMs, notAfterMs] = [nowMs - backdateMs, nowMs + leaf.lifetimeMs]
    const certificate = await X509CertificateGenerator.create({
      ...{ serialNumber: serial, issuer: this.#certificate.subject, subject: leaf.subject },
      ...{ publicKey, signingKey: this.#key, signingAlgorithm: algorithm },
      ...{ notBefore: new Date(notBeforeMs), notAfter: new Date(notAfterMs) },
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        await AuthorityKeyIdentifierExtension.create(this.#certificate.publicKey),
        ...leaf.extensions,
      ],
    })
    return { chainDer: [Buffer.from(certificate.rawData), this.certificateDer], serial, notBeforeMs, notAfterMs }
  }
}

/** 128 random bits; the first is 0 (a positive integer), the second 1 (so that it has no leading zeros to lose). */
function newSerial(): string {
  const bytes = Buffer.from(randomSecret(16))
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40
  return bytes.toString('hex')
}

async function verifiedRequest(der: Uint8Array): Promise<Pkcs10CertificateRequest | null> {
  try {
    const request = new Pkcs10CertificateRequest(new Uint8Array(der))
    const { algorithm: key } = request.publicKey
    const isP256 = key.name === 'ECDSA' && 'namedCurve' in key && key.namedCurve === 'P-256'
    return isP256 && (await request.verify()) ? request : null
  } catch {
    return null
  }
}
