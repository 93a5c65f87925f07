import { mkdir, rename, symlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { CredentialEnvelope__Output } from '../../../proto/gen/switchyard/v1/CredentialEnvelope.js'
import type { ProviderTable } from '../../../proto/policy/tables.js'
import { rawPublicKeyOf } from '../../../proto/snapshot/raw-keys.js'
import { sealSecret } from '../../../proto/snapshot/seal.js'
import { systemClock, VirtualClock } from '../../../proto/std/clock.js'
import { KeptLog, temporaryFolder } from './config-fixture.js'
import { CredentialVault } from './credential-vault.js'
import { StateFolder } from './state-folder.js'

// Hundreds of rounds on a real disk, on whatever machine.
vi.setConfig({ testTimeout: 60_000 })

const recipient = { agentId: 'agt_1', sealingPrivateKey: Buffer.alloc(32, 5) }
let folder: Awaited<ReturnType<typeof temporaryFolder>>
let state: StateFolder
let clock: VirtualClock
let log: KeptLog
let vault: CredentialVault
let secrets: string

beforeEach(async () => {
  folder = await temporaryFolder()
  secrets = path.join(folder.path, 'secrets')
  await mkdir(secrets)
  state = await StateFolder.open(path.join(folder.path, 'state'), null)
  clock = new VirtualClock()
  log = new KeptLog()
  vault = await openVault()
})
afterEach(async () => {
  await vault.stop()
  await state.close()
  await folder.remove()
})

async function openVault() {
  const opened = new CredentialVault({
    ...{ folder: state, recipient, environment: new Map([['PERMITTED', 'env-secret']]), folders: [secrets] },
    ...{ ambient: ['aws'], filePollMs: 1_000, clock, log },
  })
  await opened.run()
  return opened
}

const sealed = (credentialId: string, secret: string, version = 1): CredentialEnvelope__Output => ({
  credentialId,
  version,
  secret: 'sealed',
  sealed: sealSecret({
    secret: Buffer.from(secret),
    recipientPublicKey: rawPublicKeyOf('x25519', recipient.sealingPrivateKey),
    ephemeralPrivateKey: Buffer.alloc(32, version + 8),
    context: { agentId: 'agt_1', credentialId, version },
  }),
})
const reference = (credentialId: string, text: string): CredentialEnvelope__Output => ({
  ...{ credentialId, version: 1, secret: 'reference', reference: text },
})
const provider = (id: string, credential: ProviderTable['credential']): ProviderTable => ({
  ...{ id, name: id, kind: 'openai', origin: 'https://h', basePath: '', region: 'eu', connectionsMax: 1, credential },
  ...{ apiVersion: '', vendorRegion: '', vendorProject: '', external: true },
  ...{ replicas: [{ origin: 'https://h', basePath: '' }], replicaScrapeMs: null },
})

describe('the credential vault', () => {
  it('opens what is sealed to this agent, and still has it in the next life', async () => {
    await vault.take([sealed('crd_1', 'sk-one')])
    expect([vault.get('crd_1', 1), vault.get('crd_1', 2), vault.get('crd_2', 1)]).toEqual(['sk-one', null, null])
    const kept = await state.readSealed('credentials')
    expect(String(kept)).not.toContain('sk-one')
    await vault.stop()
    vault = await openVault()
    expect(vault.get('crd_1', 1)).toBe('sk-one')
  })

  it.each([
    ['a variable that is listed', 'env:PERMITTED', 'env-secret'],
    ['a variable that is not', 'env:PATH', null],
    ['a file outside the folders', 'file:/etc/hostname', null],
    ['something else', 'https://example.com', null],
  ])('resolves %s as permitted', async (_, text, expected) => {
    await vault.take([reference('crd_1', text)])
    expect(vault.get('crd_1', 1)).toBe(expected)
  })

  it.each([
    ['permitted', 'ambient:aws', { ambient: 'aws' }],
    ['not permitted', 'ambient:azure', null],
    ['unknown', 'ambient:alibaba', null],
    ['without a name', 'ambient:', null],
    ['written in another way', 'ambient:AWS', null],
  ])('resolves the identity of a cloud that is %s', async (_, text, expected) => {
    await vault.take([reference('crd_1', text)])
    expect(vault.get('crd_1', 1)).toEqual(expected)
    const [status] = vault.status([provider('prv_1', { id: 'crd_1', version: 1 })])
    expect(status?.reason).toBe(expected === null ? 'credential_unreadable' : 'ok')
    expect(log.at('warn')).toHaveLength(expected === null ? 1 : 0)
    await vault.stop()
    vault = await openVault()
    expect(vault.get('crd_1', 1)).toEqual(expected)
  })

  it('takes a text for a text, whatever it says', async () => {
    const file = path.join(secrets, 'key')
    await writeFile(file, 'ambient:aws\n')
    await vault.take([
      sealed('crd_1', 'ambient:aws'),
      reference('crd_2', `file:${file}`),
      sealed('crd_3', 'env:PERMITTED'),
    ])
    expect([vault.get('crd_1', 1), vault.get('crd_2', 1)]).toEqual(['ambient:aws', 'ambient:aws'])
    expect(vault.get('crd_3', 1)).toBe('env:PERMITTED')
  })

  it('makes one line of JSON of many, and leaves alone what only begins like JSON', async () => {
    const account = { type: 'service_account', private_key: '-----BEGIN PRIVATE KEY-----\nMII\n-----END-----\n', n: 1 }
    const files = ['account', 'braced', 'broken', 'crlf'].map((name) => path.join(secrets, name))
    await writeFile(files[0] ?? '', `${JSON.stringify(account, null, 2)}\n`)
    await writeFile(files[1] ?? '', '{not-json}\n')
    await writeFile(files[2] ?? '', '{"a":\n')
    await writeFile(files[3] ?? '', `${JSON.stringify(account, null, '\t').replaceAll('\n', '\r\n')}\r\n`)
    await vault.take(files.map((file, index) => reference(`crd_${index}`, `file:${file}`)))
    const line = '{"type":"service_account","private_key":"-----BEGIN PRIVATE KEY-----\\nMII\\n-----END-----\\n","n":1}'
    expect(files.map((_, index) => vault.get(`crd_${index}`, 1))).toEqual([line, '{not-json}', '{"a":', line])
    await vault.take([sealed('crd_9', JSON.stringify(account, null, 2))])
    expect(vault.get('crd_9', 1)).toBe(line)
  })

  it('reads a file inside a listed folder, without its line break, and again when it changes', async () => {
    const file = path.join(secrets, 'key')
    await writeFile(file, 'first\n')
    await vault.take([reference('crd_1', `file:${file}`)])
    expect(vault.get('crd_1', 1)).toBe('first')
    await writeFile(`${file}.new`, 'second!\n')
    await rename(`${file}.new`, file)
    await until(() => vault.get('crd_1', 1) === 'second!')
  })

  it('follows no link out of the folder, and takes no file that is too large, empty or unprintable', async () => {
    const outside = path.join(folder.path, 'outside')
    await writeFile(outside, 'not yours')
    const files = ['link', 'large', 'empty', 'binary'].map((name) => path.join(secrets, name))
    await symlink(outside, files[0] ?? '')
    await writeFile(files[1] ?? '', 'x'.repeat(20_000))
    await writeFile(files[2] ?? '', '\n')
    await writeFile(files[3] ?? '', 'a\r\nx-admin: yes')
    await vault.take(files.map((file, index) => reference(`crd_${index}`, `file:${file}`)))
    expect(files.map((_, index) => vault.get(`crd_${index}`, 1))).toEqual([null, null, null, null])
  })

  it('tells for each provider whether it could be called', async () => {
    await vault.take([sealed('crd_1', 'sk'), reference('crd_2', 'env:ABSENT')])
    const named = (id: string) => provider(`prv_${id}`, { id, version: 1 })
    const providers = [provider('prv_open', null), named('crd_1'), named('crd_2'), named('crd_3')]
    expect(vault.status(providers).map(({ ready, reason }) => [ready, reason])).toEqual([
      [true, 'ok'],
      [true, 'ok'],
      [false, 'credential_unreadable'],
      [false, 'credential_missing'],
    ])
  })

  it('forgets what nobody names any more, an hour later', async () => {
    await vault.take([sealed('crd_1', 'old'), sealed('crd_1', 'new', 2)])
    const using = [provider('prv_1', { id: 'crd_1', version: 2 })]
    await vault.retain(using)
    expect(vault.get('crd_1', 1)).toBe('old')
    await clock.advance(3_700_000)
    await vault.retain(using)
    expect([vault.get('crd_1', 1), vault.get('crd_1', 2)]).toEqual([null, 'new'])
  })

  it('keeps what was in use until now, however long ago that came into effect', async () => {
    await vault.take([sealed('crd_1', 'in use')])
    await vault.retain([provider('prv_1', { id: 'crd_1', version: 1 })])
    await clock.advance(9_000_000)
    // Tables that name it no more: requests that began before still look for it.
    await vault.retain([])
    expect(vault.get('crd_1', 1)).toBe('in use')
    await clock.advance(1_800_000)
    await vault.retain([])
    expect(vault.get('crd_1', 1)).toBe('in use')
    await clock.advance(1_900_000)
    await vault.retain([])
    expect(vault.get('crd_1', 1)).toBeNull()
  })

  it('logs no secret', async () => {
    await vault.take([sealed('crd_1', 'sk-secret'), reference('crd_2', 'env:ABSENT')])
    expect(JSON.stringify(log.lines)).not.toContain('sk-secret')
    expect(log.at('warn')).toEqual(['a credential cannot be read'])
  })
})

/** Lets the vault's loop run on the virtual clock, and the disk in between. */
async function until(is: () => boolean): Promise<void> {
  for (let tries = 0; tries < 2_000 && !is(); tries++) {
    await clock.advance(1_000)
    await systemClock.sleep(5)
  }
  expect(is()).toBe(true)
}
