import { readFileSync } from 'node:fs'
import net, { type AddressInfo } from 'node:net'
import { createSecureContext } from 'node:tls'
import { expect, test } from 'vitest'
import { RefusalError, refuse } from '../../proto/std/refusal.js'
import { KeyRing } from './access/encryption.js'
import { loadSettings } from './settings.js'
import { describeStartRefusal } from './start-refusal.js'

const wrapKey = (id: string, byte: number) => `${id}:${Buffer.alloc(32, byte).toString('base64')}`

function settingsOf(more: Record<string, string> = {}) {
  return loadSettings({ DATABASE_URL: 'postgresql://x@localhost/x', SWITCHYARD_WRAP_KEYS: wrapKey('a', 1), ...more })
}

/** What Node itself says when it cannot listen. */
async function faultOfListen(port: number, host: string): Promise<Error> {
  const server = net.createServer()
  try {
    return await new Promise<Error>((resolve, reject) => {
      server.once('error', resolve)
      server.listen(port, host, () => reject(new Error('listens')))
    })
  } finally {
    server.close()
  }
}

function faultOf(work: () => unknown): unknown {
  try {
    work()
  } catch (fault) {
    return fault
  }
  throw new Error('no fault')
}

test('a taken port is told with its variable, also inside the fault of gRPC', async () => {
  const squatter = net.createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => squatter.once('listening', resolve))
  const { port } = squatter.address() as AddressInfo
  const fault = await faultOfListen(port, '127.0.0.1')
  squatter.close()
  const sentence = (variable: string) => `port ${port} is taken: end what listens there, or set ${variable} to another`
  const http = settingsOf({ SWITCHYARD_HTTP_PORT: String(port) })
  expect(describeStartRefusal(fault, http)).toBe(sentence('SWITCHYARD_HTTP_PORT'))
  const wrapped = new Error(`cannot listen on 127.0.0.1:${port} (enrol)`, { cause: fault })
  const enrol = settingsOf({ SWITCHYARD_ENROL_PORT: String(port) })
  expect(describeStartRefusal(wrapped, enrol)).toBe(sentence('SWITCHYARD_ENROL_PORT'))
  // Somebody else's port: not ours to explain.
  expect(describeStartRefusal(fault, settingsOf())).toBeNull()
})

test('an address that this machine does not have is told with its variable', async () => {
  const settings = settingsOf({ SWITCHYARD_METRICS_HOST: '192.0.2.1' })
  expect(describeStartRefusal(await faultOfListen(0, '192.0.2.1'), settings)).toMatch(
    /^SWITCHYARD_METRICS_HOST is "192\.0\.2\.1": this machine has no such address/,
  )
})

test('certificates that are not there, or are none', () => {
  const files = { SWITCHYARD_TLS_CERT_FILE: '/nowhere/c.pem', SWITCHYARD_TLS_KEY_FILE: '/nowhere/k.pem' }
  const settings = settingsOf(files)
  expect(
    describeStartRefusal(
      faultOf(() => readFileSync('/nowhere/k.pem')),
      settings,
    ),
  ).toBe('SWITCHYARD_TLS_KEY_FILE is "/nowhere/k.pem", which cannot be read (ENOENT)')
  const fault = faultOf(() => createSecureContext({ cert: 'no certificate', key: 'no key' }))
  expect(describeStartRefusal(fault, settings)).toMatch(/are not a PEM certificate and its key/)
  expect(describeStartRefusal(fault, settingsOf())).toBeNull()
})

test('other wrap keys than the ones the database was sealed under', () => {
  const { ciphertext, wrapKeyId } = KeyRing.parse([wrapKey('a', 1)]).seal(new Uint8Array([1]), 'ca')
  const open = (key: string) => faultOf(() => KeyRing.parse([key]).open(ciphertext, wrapKeyId, 'ca'))
  expect(describeStartRefusal(open(wrapKey('b', 1)), settingsOf())).toMatch(/wrap key a, .* put it back into the list$/)
  expect(describeStartRefusal(open(wrapKey('a', 2)), settingsOf())).toMatch(/another key under this name/)
})

test('a refusal says itself what to do; a fault of ours wants its stack', () => {
  expect(describeStartRefusal(new RefusalError(refuse('x', 'do this')), settingsOf())).toBe('do this')
  expect(describeStartRefusal(new Error('oops'), settingsOf())).toBeNull()
  expect(describeStartRefusal('oops', settingsOf())).toBeNull()
})
