import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { ConfigClient } from '../../agent/src/config/config-client.js'
import { KeptLog, startApplier, temporaryFolder } from '../../agent/src/config/config-fixture.js'
import { CredentialVault } from '../../agent/src/config/credential-vault.js'
import { Identity } from '../../agent/src/config/identity.js'
import { draft, lookup, sign, updateTo } from '../../agent/src/config/snapshot-fixture.js'
import { StateFolder } from '../../agent/src/config/state-folder.js'
import { snapshotUpdateCodec } from '../../proto/gen/codec.js'
import { rawPublicKeyOf } from '../../proto/snapshot/raw-keys.js'
import { sealSecret } from '../../proto/snapshot/seal.js'
import { systemClock } from '../../proto/std/clock.js'
import { RefusalError } from '../../proto/std/refusal.js'
import { FakeControlPlane } from './fake-control-plane.js'

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let controlPlane: FakeControlPlane
let log: KeptLog
const stops: (() => Promise<unknown>)[] = []

beforeEach(async () => {
  folder = await temporaryFolder()
  controlPlane = await FakeControlPlane.make()
  await controlPlane.start()
  log = new KeptLog()
})
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop()
  await controlPlane.stop()
  await folder.remove()
})

async function openIdentity(joinToken: string | null, over: { enrolAddress?: string } = {}) {
  const state = await StateFolder.open(folder.path, null)
  stops.push(() => state.close())
  return Identity.open({
    folder: state,
    enrolAddress: over.enrolAddress ?? controlPlane.enrolAddress,
    joinToken,
    fleetAddress: controlPlane.fleetAddress,
    agentName: 'under-test',
    agentVersion: 'test',
    reconnectMinMs: 10,
    reconnectMaxMs: 50,
    enrolTimeoutMs: 5_000,
    clock: systemClock,
    random: () => 0.5,
    log,
  })
}

/** Identity, applier, vault and stream on one folder. */
async function startClient(joinToken: string | null) {
  const { applier, tables, quarantine, folder: state, close } = await startApplier(folder.path)
  stops.push(close)
  const identity = await Identity.open({
    folder: state,
    enrolAddress: controlPlane.enrolAddress,
    joinToken,
    fleetAddress: controlPlane.fleetAddress,
    agentName: 'under-test',
    agentVersion: 'test',
    reconnectMinMs: 10,
    reconnectMaxMs: 50,
    enrolTimeoutMs: 5_000,
    clock: systemClock,
    random: () => 0.5,
    log,
  })
  const vault = new CredentialVault({
    folder: state,
    recipient: identity,
    environment: new Map([['UPSTREAM_KEY', 'from-environment']]),
    folders: [],
    ambient: [],
    filePollMs: 20,
    clock: systemClock,
    log,
  })
  await vault.run()
  stops.push(() => vault.stop())
  const client = new ConfigClient({
    ...{ identity, applier, vault, quarantine, agentVersion: 'test', bootEpoch: 7 },
    limits: { contentBytesMax: 1 << 20, resourcesMax: 1_000 },
    channel: { messageBytesMax: 1 << 22, keepaliveIntervalMs: 1_000, keepaliveTimeoutMs: 500 },
    ...{ statusIntervalMs: 50, reconnectMinMs: 10, reconnectMaxMs: 50, connectTimeoutMs: 2_000 },
    statusFacts: () => ({ spoolBytes: 1, spoolBytesMax: 2, spoolRecordCount: 3, inFlightCount: 4 }),
    ...{ clock: systemClock, random: () => 0.5, log },
  })
  await client.run()
  stops.push(() => client.stop())
  return { identity, applier, tables, vault, client }
}

async function eventually<T>(probe: () => T | undefined | null | false): Promise<T> {
  for (let tries = 0; tries < 1_500; tries++) {
    const found = probe()
    if (found) return found
    await systemClock.sleep(10)
  }
  throw new Error(`did not happen; the log says ${JSON.stringify(log.lines.slice(-10))}`)
}

const refusalOf = async (promise: Promise<unknown>) => {
  const fault = await promise.then(
    () => null,
    (caught) => caught,
  )
  return fault instanceof RefusalError ? fault.refusal.code : fault
}

describe('enrolment', () => {
  it('makes keys here, sends only public ones, and keeps the identity sealed and private', async () => {
    const identity = await openIdentity(controlPlane.token('one'))
    expect(identity).toMatchObject({ installationId: 'ins_1', clusterId: 'clu_1', agentId: 'agt_1', lapsed: false })
    expect(controlPlane.enrolments).toHaveLength(1)
    expect(controlPlane.enrolments[0]?.sealingPublicKey).toEqual(rawPublicKeyOf('x25519', identity.sealingPrivateKey))
    for (const name of await readdir(folder.path)) {
      const file = path.join(folder.path, name)
      expect((await stat(file)).mode & 0o077).toBe(0)
      expect((await readFile(file)).includes('agt_1')).toBe(false)
    }
    const again = await reopen(null)
    expect(again.agentId).toBe('agt_1')
    expect(controlPlane.enrolments).toHaveLength(1)
  })

  it('ignores a token while the certificate is valid', async () => {
    await openIdentity(controlPlane.token('one'))
    await reopen(controlPlane.token('two'))
    expect(controlPlane.tokens.size).toBe(1)
  })

  it('sends no token to a stranger', async () => {
    const stranger = await FakeControlPlane.make('ins_2')
    await stranger.start()
    stops.push(() => stranger.stop())
    const refused = openIdentity(controlPlane.token('one'), { enrolAddress: stranger.enrolAddress })
    expect(await refusalOf(refused)).toBe('authority_mismatch')
    expect(stranger.enrolments).toEqual([])
  })

  it('is refused for a token that was used, with what to do', async () => {
    const token = controlPlane.token('one')
    controlPlane.tokens.clear()
    expect(await refusalOf(openIdentity(token))).toBe('token_refused')
  })

  it('without identity and token says what to do', async () => {
    expect(await refusalOf(openIdentity(null))).toBe('identity_missing')
  })

  it('waits for a control plane that comes later', async () => {
    const token = controlPlane.token('one')
    await controlPlane.stop()
    const opening = openIdentity(token)
    await eventually(() => log.at('info').some((line) => line.includes('cannot be reached')))
    await controlPlane.start()
    expect((await opening).agentId).toBe('agt_1')
  })

  it('does not start on a key that does not open it, unless it may enrol anew', async () => {
    await openIdentity(controlPlane.token('one'))
    await closeAll()
    await writeFile(path.join(folder.path, 'state.key'), Buffer.alloc(32, 1).toString('base64'))
    expect(await refusalOf(openIdentity(null))).toBe('identity_unreadable')
    expect((await reopen(controlPlane.token('two'))).agentId).toBe('agt_2')
  })
})

describe('a lapsed certificate', () => {
  const lapse = async () => {
    controlPlane.certificateLifetimeMs = 1_000
    const identity = await openIdentity(controlPlane.token('one'))
    await eventually(() => identity.lapsed)
    controlPlane.certificateLifetimeMs = 86_400_000
    await closeAll()
  }

  it('is replaced with a join token, and the agent stays who it was', async () => {
    await lapse()
    const identity = await reopen(controlPlane.token('two'))
    expect(identity.lapsed).toBe(true)
    const sealingKey = Buffer.from(identity.sealingPrivateKey)
    await identity.whenValid(new AbortController().signal)
    expect([identity.lapsed, identity.agentId]).toEqual([false, 'agt_1'])
    expect(sealingKey.equals(identity.sealingPrivateKey)).toBe(true)
    expect((await reopen(null)).lapsed).toBe(false)
  })

  it('without a token says what to do and goes on serving', async () => {
    await lapse()
    const identity = await reopen(null)
    const waiting = new AbortController()
    const valid = identity.whenValid(waiting.signal).catch(() => 'aborted')
    await eventually(() => log.at('warn').some((line) => line.includes('createJoinToken')))
    waiting.abort()
    expect(await valid).toBe('aborted')
    expect(identity.signingKeys.size).toBe(1)
  })
})

describe('the configuration stream', () => {
  it('says hello, applies, acknowledges, and tells how it is', async () => {
    controlPlane.onHello = (stream) =>
      stream.send({ update: updateTo(sign(draft({ denied: ['key_2'] })), null), body: 'update' })
    const { tables } = await startClient(controlPlane.token('one'))
    const ack = await eventually(() => controlPlane.last?.received.find((message) => message.ack)?.ack)
    expect(ack).toMatchObject({ outcome: 'APPLIED', generation: 1, appliedGeneration: 1 })
    expect(controlPlane.last?.received[0]?.hello).toMatchObject({ bootEpoch: 7, agentVersion: 'test', generation: 0 })
    expect(tables.current?.denied.get(lookup('key_2'))).toBeDefined()
    const status = await eventually(
      () => controlPlane.last?.received.findLast((message) => message.status?.appliedGeneration === 1)?.status,
    )
    expect(status).toMatchObject({
      spoolRecordCount: 3,
      inFlightCount: 4,
      targets: [{ providerId: 'prv_1', ready: false, reason: 'credential_missing' }],
    })
  })

  it('takes updates compressed, and asks for everything when one does not unpack', async () => {
    const { tables } = await startClient(controlPlane.token('one'))
    const stream = await eventually(() => controlPlane.last)
    await eventually(() => stream.received[0]?.hello?.encodings.includes('gzip'))
    const updateGzip = gzipSync(snapshotUpdateCodec.encode(updateTo(sign(draft()), null)))
    stream.send({ updateGzip: updateGzip.subarray(0, 40), body: 'updateGzip' })
    await eventually(() => stream.received.find((message) => message.resync))
    stream.send({ updateGzip: gzipSync(Buffer.alloc(8 << 20)), body: 'updateGzip' })
    await eventually(() => stream.received.filter((message) => message.resync).length === 2)
    stream.send({ updateGzip, body: 'updateGzip' })
    await eventually(() => stream.received.find((message) => message.ack?.outcome === 'APPLIED'))
    expect(tables.current?.keys.get(lookup('key_1'))).toBeDefined()
  })

  it('opens credentials sealed to this agent and no other', async () => {
    const { vault, identity } = await startClient(controlPlane.token('one'))
    const stream = await eventually(() => controlPlane.last)
    const recipientPublicKey = rawPublicKeyOf('x25519', identity.sealingPrivateKey)
    const sealed = (agentId: string, version: number) =>
      sealSecret({
        ...{ secret: Buffer.from(`sk-${version}`), recipientPublicKey, ephemeralPrivateKey: Buffer.alloc(32, version) },
        context: { agentId, credentialId: 'crd_1', version },
      })
    stream.send({
      envelopes: {
        envelopes: [
          { credentialId: 'crd_1', version: 1, sealed: sealed('agt_1', 1), secret: 'sealed' },
          { credentialId: 'crd_1', version: 2, sealed: sealed('agt_9', 2), secret: 'sealed' },
          { credentialId: 'crd_2', version: 1, reference: 'env:UPSTREAM_KEY', secret: 'reference' },
          { credentialId: 'crd_3', version: 1, reference: 'env:PATH', secret: 'reference' },
          { credentialId: 'crd_4', version: 1, reference: 'file:/etc/passwd', secret: 'reference' },
        ],
      },
      body: 'envelopes',
    })
    await eventually(() => vault.get('crd_1', 1))
    await eventually(() => vault.get('crd_2', 1))
    const values = [
      ['crd_1', 1],
      ['crd_1', 2],
      ['crd_2', 1],
      ['crd_3', 1],
      ['crd_4', 1],
    ] as const
    expect(values.map(([id, version]) => vault.get(id, version))).toEqual([
      'sk-1',
      null,
      'from-environment',
      null,
      null,
    ])
    expect(JSON.stringify(log.lines)).not.toContain('sk-1')
  })

  it('comes back after the control plane was away, and names what it holds', async () => {
    controlPlane.onHello = (stream) => {
      if (stream.received[0]?.hello?.generation === 0)
        stream.send({ update: updateTo(sign(draft()), null), body: 'update' })
    }
    const { applier } = await startClient(controlPlane.token('one'))
    await eventually(() => applier.held)
    await controlPlane.stop()
    await systemClock.sleep(100)
    const before = controlPlane.streams.length
    await controlPlane.start()
    const stream = await eventually(() => (controlPlane.streams.length > before ? controlPlane.last : undefined))
    const hello = await eventually(() => stream.received[0]?.hello)
    expect(hello).toMatchObject({ generation: 1, epoch: 1 })
    expect(hello.sections.map((section) => section.name)).toEqual(applier.held?.sections.map((section) => section.name))
  })

  it('renews its certificate at half life: candidate, proof, commit', async () => {
    controlPlane.certificateLifetimeMs = 2_000
    // Certificates begin five minutes before they are made: half of their life is long over, so renewal is due at once.
    const { identity } = await startClient(controlPlane.token('one'))
    const first = await eventually(() => controlPlane.last)
    controlPlane.certificateLifetimeMs = 86_400_000
    const renewed = await eventually(() => controlPlane.streams.find((stream) => stream.serial !== first.serial))
    expect(renewed.agentId).toBe(first.agentId)
    await eventually(() => log.at('info').includes('certificate renewed'))
    await eventually(() => first.closed)
    await eventually(() => identity.notAfterMs > systemClock.nowMs() + 3_600_000)
    const second = controlPlane.streams.length
    await closeAll()
    // The next life begins with the renewed certificate.
    await startClient(null)
    const next = await eventually(() => (controlPlane.streams.length > second ? controlPlane.last : undefined))
    expect(next.serial).toBe(renewed.serial)
    expect(await readdir(folder.path)).not.toContain('identity.candidate')
  })

  it('tries again when the disk refuses the renewed certificate', async () => {
    controlPlane.certificateLifetimeMs = 60_000
    const { identity } = await startClient(controlPlane.token('one'))
    const commit = vi.spyOn(identity, 'commitCandidate').mockRejectedValueOnce(new Error('ENOSPC'))
    const first = await eventually(() => controlPlane.last)
    controlPlane.certificateLifetimeMs = 86_400_000
    await eventually(() => log.at('info').includes('certificate renewed'))
    expect(commit.mock.results.map(({ type }) => type)).toHaveLength(2)
    expect(controlPlane.last?.serial).not.toBe(first.serial)
  })

  it('keeps the certificate in use when the renewed one is refused', async () => {
    controlPlane.certificateLifetimeMs = 60_000
    const { identity } = await startClient(controlPlane.token('one'))
    const { notAfterMs } = identity
    const first = await eventually(() => controlPlane.last)
    controlPlane.accepts = (serial) => serial === first.serial
    await eventually(() => log.at('warn').some((line) => line.includes('was not accepted')))
    const again = await eventually(() => controlPlane.streams.find((stream) => stream !== first && !stream.closed))
    expect([again.serial, identity.notAfterMs]).toEqual([first.serial, notAfterMs])
    expect(await readdir(folder.path)).not.toContain('identity.candidate')
  })

  it('is proven with a candidate that a killed life left behind', async () => {
    controlPlane.certificateLifetimeMs = 60_000
    const { identity } = await startClient(controlPlane.token('one'))
    const first = await eventually(() => controlPlane.last)
    controlPlane.accepts = () => false
    await eventually(() => identity.candidateCredentials())
    await closeAll()
    controlPlane.accepts = () => true
    await startClient(null)
    await eventually(() => log.at('info').includes('certificate renewed'))
    expect(controlPlane.last?.serial).not.toBe(first.serial)
  })
})

async function closeAll() {
  for (const stop of stops.splice(0).reverse()) await stop()
}

async function reopen(joinToken: string | null) {
  await closeAll()
  return openIdentity(joinToken)
}
