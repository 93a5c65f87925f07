import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import type { Certificate__Output } from '../../../proto/gen/switchyard/v1/Certificate.js'
import type { StateFolder } from './state-folder.js'

/** A certificate with its key: what a connection is made with. */
export interface Credential {
  readonly privateKey: KeyObject
  readonly chainDer: readonly Buffer[]
  readonly caDer: readonly Buffer[]
  readonly notBeforeMs: number
  readonly notAfterMs: number
}

/** Who the agent is, as it lies in the data folder. */
export interface StoredIdentity {
  readonly installationId: string
  readonly clusterId: string
  readonly agentId: string
  readonly credential: Credential
  /** X25519, 32 raw bytes: provider credentials are sealed to its public half. Apart from the TLS key, never renewed with it. */
  readonly sealingPrivateKey: Buffer
  /** Ed25519 keys that may sign snapshots now. */
  readonly signingKeys: readonly SigningKey[]
  /** Keys that could until lately: good for what already lies on the disk, for nothing that arrives. */
  readonly retiredKeys: readonly SigningKey[]
}

export interface SigningKey {
  readonly keyId: string
  /** 32 raw bytes. */
  readonly publicKey: Buffer
}

const formatVersion = 1

/**
 * Reads `name`. Null when there is none; `'unreadable'` when the state key does not open it or it is damaged, which only
 * happens to a folder that somebody touched (writes are whole or not at all).
 */
export async function readIdentity(folder: StateFolder, name: string): Promise<StoredIdentity | null | 'unreadable'> {
  const bytes = await folder.readSealed(name)
  if (bytes === null || bytes === 'unreadable') return bytes
  try {
    return fromJson(JSON.parse(bytes.toString('utf8')))
  } catch {
    return 'unreadable'
  }
}

export async function writeIdentity(folder: StateFolder, name: string, identity: StoredIdentity): Promise<void> {
  await folder.writeSealed(name, Buffer.from(JSON.stringify(toJson(identity))))
}

/** Null when the certificate is not for this key, or not parseable. */
export function credentialOf(certificate: Certificate__Output, privateKey: KeyObject): Credential | null {
  try {
    const leaf = certificate.chainDer[0]
    if (leaf === undefined || certificate.caDer.length === 0) return null
    const parsed = new X509Certificate(leaf)
    if (!parsed.checkPrivateKey(privateKey)) return null
    return Object.freeze({
      privateKey,
      chainDer: certificate.chainDer,
      caDer: certificate.caDer,
      notBeforeMs: Date.parse(parsed.validFrom),
      notAfterMs: Date.parse(parsed.validTo),
    })
  } catch {
    return null
  }
}

/** DER certificates as one PEM text. */
export function pemOf(certificates: readonly Buffer[]): Buffer {
  return Buffer.from(certificates.map((der) => new X509Certificate(der).toString()).join(''))
}

interface IdentityJson {
  version: number
  installationId: string
  clusterId: string
  agentId: string
  privateKey: string
  chain: string[]
  ca: string[]
  notBeforeMs: number
  notAfterMs: number
  sealingPrivateKey: string
  signingKeys: SigningKeyJson[]
  retiredKeys: SigningKeyJson[]
}

interface SigningKeyJson {
  keyId: string
  publicKey: string
}

function toJson(identity: StoredIdentity): IdentityJson {
  const { credential } = identity
  return {
    version: formatVersion,
    installationId: identity.installationId,
    clusterId: identity.clusterId,
    agentId: identity.agentId,
    privateKey: exported(credential.privateKey),
    chain: credential.chainDer.map((der) => der.toString('base64')),
    ca: credential.caDer.map((der) => der.toString('base64')),
    notBeforeMs: credential.notBeforeMs,
    notAfterMs: credential.notAfterMs,
    sealingPrivateKey: identity.sealingPrivateKey.toString('base64'),
    signingKeys: identity.signingKeys.map(keyToJson),
    retiredKeys: identity.retiredKeys.map(keyToJson),
  }
}

function fromJson(json: IdentityJson): StoredIdentity {
  if (json.version !== formatVersion) throw new Error(`identity format ${json.version}`)
  return Object.freeze({
    installationId: json.installationId,
    clusterId: json.clusterId,
    agentId: json.agentId,
    credential: Object.freeze({
      privateKey: imported(json.privateKey),
      chainDer: json.chain.map((text) => Buffer.from(text, 'base64')),
      caDer: json.ca.map((text) => Buffer.from(text, 'base64')),
      notBeforeMs: json.notBeforeMs,
      notAfterMs: json.notAfterMs,
    }),
    sealingPrivateKey: Buffer.from(json.sealingPrivateKey, 'base64'),
    signingKeys: json.signingKeys.map(keyFromJson),
    retiredKeys: json.retiredKeys.map(keyFromJson),
  })
}

function keyToJson(key: SigningKey): SigningKeyJson {
  return { keyId: key.keyId, publicKey: key.publicKey.toString('base64') }
}

function keyFromJson(json: SigningKeyJson): SigningKey {
  return Object.freeze({ keyId: json.keyId, publicKey: Buffer.from(json.publicKey, 'base64') })
}

function exported(key: KeyObject): string {
  return key.export({ format: 'der', type: 'pkcs8' }).toString('base64')
}

function imported(text: string): KeyObject {
  return createPrivateKey({ key: Buffer.from(text, 'base64'), format: 'der', type: 'pkcs8' })
}
