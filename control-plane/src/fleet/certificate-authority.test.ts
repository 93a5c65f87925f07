import 'reflect-metadata'
import { createHash, createPrivateKey, webcrypto, X509Certificate } from 'node:crypto'
import { Pkcs10CertificateRequestGenerator } from '@peculiar/x509'
import { beforeAll, describe, expect, it } from 'vitest'
import { systemClock, VirtualClock } from '../../../proto/std/clock.js'
import { CertificateAuthority, type IssuedCertificate } from './certificate-authority.js'
import { agentUri, peerOfCertificate } from './peer.js'

const p256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const agent = { clusterId: 'clu_1', agentId: 'agt_1' }
let authority: CertificateAuthority

beforeAll(async () => {
  authority = await CertificateAuthority.open(await CertificateAuthority.make('ins_1', systemClock), systemClock)
})

async function request(
  algorithm: webcrypto.EcKeyGenParams & { hash: string } = p256,
  name = 'CN=somebody else',
): Promise<Buffer> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const csr = await Pkcs10CertificateRequestGenerator.create({ name, keys, signingAlgorithm: algorithm })
  return Buffer.from(csr.rawData)
}

function issued(result: Awaited<ReturnType<CertificateAuthority['issueAgentCertificate']>>): IssuedCertificate {
  if ('refused' in result) throw new Error(result.message)
  return result
}

describe('the authority', () => {
  it('names the agent itself, whatever the request says', async () => {
    const { chainDer, serial } = issued(await authority.issueAgentCertificate(await request(), agent))
    const leaf = new X509Certificate(chainDer[0] ?? Buffer.alloc(0))
    expect(leaf.subject).toBe('CN=agt_1')
    expect(leaf.subjectAltName).toBe('URI:spiffe://ins_1/cluster/clu_1/agent/agt_1')
    expect(leaf.ca).toBe(false)
    expect(leaf.keyUsage).toEqual(['1.3.6.1.5.5.7.3.2'])
    expect(leaf.verify(new X509Certificate(authority.certificateDer).publicKey)).toBe(true)
    expect(leaf.serialNumber.toLowerCase()).toBe(serial)
    expect(peerOfCertificate(chainDer[0] ?? Buffer.alloc(0))).toMatchObject({
      installationId: 'ins_1',
      ...agent,
      serial,
    })
  })

  it('gives a day, from a little before now', async () => {
    const clock = new VirtualClock(Date.UTC(2026, 0, 1, 12, 0, 0, 500))
    const own = await CertificateAuthority.open(await CertificateAuthority.make('ins_1', clock), clock)
    const { chainDer, notBeforeMs, notAfterMs } = issued(await own.issueAgentCertificate(await request(), agent))
    const leaf = new X509Certificate(chainDer[0] ?? Buffer.alloc(0))
    expect([Date.parse(leaf.validFrom), Date.parse(leaf.validTo)]).toEqual([notBeforeMs, notAfterMs])
    expect([notBeforeMs, notAfterMs]).toEqual([Date.UTC(2026, 0, 1, 11, 55), Date.UTC(2026, 0, 2, 12)])
  })

  it.each([
    ['nonsense', async () => Buffer.from('nonsense')],
    ['an empty request', async () => Buffer.alloc(0)],
    ['another curve', () => request({ ...p256, namedCurve: 'P-384' })],
    [
      'a request whose signature is of another key',
      async () => {
        const der = await request()
        der[der.length - 5] = (der[der.length - 5] ?? 0) ^ 1
        return der
      },
    ],
  ])('refuses %s', async (_, make) => {
    expect(await authority.issueAgentCertificate(await make(), agent)).toMatchObject({
      refused: true,
      code: 'bad_input',
    })
  })

  it('knows its own from those of another authority of the same name', async () => {
    const other = await CertificateAuthority.open(await CertificateAuthority.make('ins_1', systemClock), systemClock)
    const csr = await request()
    const [own, foreign] = await Promise.all(
      [authority, other].map(async (ca) => issued(await ca.issueAgentCertificate(csr, agent))),
    )
    expect(authority.isOurs(own?.chainDer[0] ?? Buffer.alloc(0))).toBe(true)
    expect(authority.isOurs(foreign?.chainDer[0] ?? Buffer.alloc(0))).toBe(false)
    expect(authority.isOurs(Buffer.from('nonsense'))).toBe(false)
  })

  it('makes a server certificate for names and addresses, with the authority in its chain', async () => {
    const { chainPem, privateKeyPem } = await authority.issueServerCertificate(['localhost', '127.0.0.1'])
    const [leaf, ca] = chainPem
      .split(/(?<=-----END CERTIFICATE-----)\s*/)
      .map((text) => text && new X509Certificate(text))
    if (!leaf || !ca) throw new Error('no chain')
    expect(leaf.checkHost('localhost')).toBe('localhost')
    expect(leaf.checkIP('127.0.0.1')).toBe('127.0.0.1')
    expect(leaf.checkPrivateKey(createPrivateKey(privateKeyPem))).toBe(true)
    expect(createHash('sha256').update(ca.raw).digest()).toEqual(authority.certificateSha256)
    expect(peerOfCertificate(leaf.raw)).toMatchObject({ refused: true })
  })

  it('never gives a serial twice, and never one that ASN.1 would shorten', async () => {
    const csr = await request()
    const all = await Promise.all(
      Array.from({ length: 20 }, async () => issued(await authority.issueAgentCertificate(csr, agent)).serial),
    )
    expect(new Set(all).size).toBe(20)
    for (const serial of all) expect(serial).toMatch(/^[4-7][0-9a-f]{31}$/)
  })
})

describe('a peer', () => {
  it.each([
    ['a second name', { clusterId: 'clu_1/agent/agt_2,URI:spiffe://ins_1/cluster/clu_1', agentId: 'agt_1' }],
    ['an empty id', { clusterId: '', agentId: 'agt_1' }],
    ['a path in an id', { clusterId: 'clu_1', agentId: 'agt_1/x' }],
  ])('is nobody when the certificate has %s', async (_, odd) => {
    const { chainDer } = issued(await authority.issueAgentCertificate(await request(), odd))
    expect(peerOfCertificate(chainDer[0] ?? Buffer.alloc(0))).toMatchObject({ refused: true, code: 'unauthenticated' })
  })

  it('has the one URI that the authority writes', () => {
    expect(agentUri({ installationId: 'ins_1', ...agent })).toBe('spiffe://ins_1/cluster/clu_1/agent/agt_1')
  })
})
