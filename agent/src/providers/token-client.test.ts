import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type TokenCall, TokenClient } from './token-client.js'

interface Received {
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, unknown>>
  readonly body: string
}

let received: Received[]
let answer: (response: ServerResponse, path: string) => void
let server: Server
let port: number
let client: TokenClient

beforeEach(async () => {
  received = []
  answer = (response) => response.end('{"access_token":"t"}')
  server = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk) => {
      body += chunk
    })
    request.on('end', () => {
      const { method = '', url = '', headers } = request
      received.push({ method, path: url, headers, body })
      answer(response, url)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  port = (server.address() as AddressInfo).port
  client = new TokenClient()
})
afterEach(async () => {
  await client.stop()
  await new Promise((resolve) => {
    server.close(resolve)
    server.closeAllConnections()
  })
})

const secret = 'client_secret=s3cr~t'
const callOf = (given: Partial<TokenCall> = {}): TokenCall => ({
  ...{ method: 'POST', url: `http://127.0.0.1:${port}/token?a=1`, headers: { 'content-type': 'text/plain' } },
  ...{ body: secret, timeoutMs: 10_000, ambient: false },
  ...given,
})

async function faultOf(promise: Promise<unknown>): Promise<Error> {
  const fault = await promise.then(
    () => null,
    (thrown: unknown) => thrown,
  )
  if (!(fault instanceof Error)) throw new Error(`not refused: ${String(fault)}`)
  expect(`${fault.message} ${fault.stack}`).not.toContain('s3cr~t')
  return fault
}

describe('a token call', () => {
  test('sends what it is given, and gives what comes', async () => {
    expect(await client.call(callOf())).toEqual({ status: 200, body: '{"access_token":"t"}' })
    expect(received).toMatchObject([
      { method: 'POST', path: '/token?a=1', headers: { 'content-type': 'text/plain' }, body: secret },
    ])
    await client.call(callOf({ method: 'GET', body: null, headers: { metadata: 'true' } }))
    expect(received[1]).toMatchObject({ method: 'GET', headers: { metadata: 'true' }, body: '' })
  })

  test.each([400, 401, 429, 500, 503])('gives a refusal too (HTTP %d)', async (status) => {
    answer = (response) => response.writeHead(status).end('{"error":"no"}')
    expect(await client.call(callOf())).toEqual({ status, body: '{"error":"no"}' })
  })

  test.each([301, 302, 307, 308])(
    'follows nobody elsewhere (HTTP %d): a secret goes where it was meant to go',
    async (status) => {
      answer = (response) => response.writeHead(status, { location: '/elsewhere' }).end()
      expect(await client.call(callOf())).toEqual({ status, body: '' })
      expect(received.map((request) => request.path)).toEqual(['/token?a=1'])
    },
  )
})

describe('addresses that no credential may name', () => {
  // The unspecified address is one of them, and leads to this machine where nobody objects.
  const unspecified = () => `http://0.0.0.0:${port}/`

  test('are refused unless the machine itself is asked', async () => {
    expect(await faultOf(client.call(callOf({ url: unspecified() })))).toMatchObject({ code: 'FORBIDDEN_ADDRESS' })
    expect(received).toHaveLength(0)
    expect(await client.call(callOf({ url: unspecified(), ambient: true }))).toMatchObject({ status: 200 })
    // Nor does a connection that is open already serve the others.
    expect(await faultOf(client.call(callOf({ url: unspecified() })))).toMatchObject({ code: 'FORBIDDEN_ADDRESS' })
    expect(received).toHaveLength(1)
  })

  test.each([
    'http://169.254.169.254/latest/meta-data/',
    'http://[fd00:ec2::254]/',
    'http://[::ffff:169.254.169.254]/',
    'http://2852039166/',
    'http://168.63.129.16/',
  ])('%s', async (url) => {
    expect(await faultOf(client.call(callOf({ url })))).toMatchObject({ code: 'FORBIDDEN_ADDRESS' })
  })

  test('a name is looked up by the one who connects', async () => {
    expect(await client.call(callOf({ url: `http://localhost:${port}/` }))).toMatchObject({ status: 200 })
  })
})

describe('what an endpoint may take', () => {
  test('time until it answers', async () => {
    answer = () => {}
    expect((await faultOf(client.call(callOf({ timeoutMs: 30 })))).name).toMatch(/Timeout/)
  })

  test('time until its answer ends', async () => {
    answer = (response) => response.writeHead(200).write('{"access_')
    expect((await faultOf(client.call(callOf({ timeoutMs: 30 })))).name).toMatch(/Timeout/)
  })

  test.each(['announced', 'not announced'])('room for its answer, %s', async (how) => {
    const text = 'x'.repeat(256 * 1024)
    answer = (response, url) => {
      const body = url === '/large' ? `${text}x` : text
      response.writeHead(200, how === 'announced' ? { 'content-length': body.length } : {})
      response.write(body.slice(0, 1))
      response.end(body.slice(1))
    }
    expect((await client.call(callOf())).body).toHaveLength(256 * 1024)
    const large = await faultOf(client.call(callOf({ url: `http://127.0.0.1:${port}/large` })))
    expect((large as NodeJS.ErrnoException).code).toBe('UND_ERR_RES_EXCEEDED_MAX_SIZE')
  })
})

describe('an endpoint that cannot be asked', () => {
  test.each([
    ['nobody listens', () => ({ url: 'http://127.0.0.1:1/' })],
    ['no URL', () => ({ url: 'not a url' })],
    ['a header that cannot be sent', () => ({ headers: { authorization: 's3cr~t\n' } })],
  ])('is told without what was to be sent: %s', async (_name, given) => {
    await faultOf(client.call(callOf(given())))
  })

  test('is told so where it breaks off', async () => {
    answer = (response) => {
      response.writeHead(200, { 'content-length': 100 }).write('x')
      setImmediate(() => response.destroy())
    }
    await faultOf(client.call(callOf()))
  })
})

describe('a token file', () => {
  let folder: string
  let file: string
  beforeEach(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), 'switchyard-agent-'))
    file = path.join(folder, 'token')
  })
  afterEach(() => rm(folder, { recursive: true }))

  test('is what it holds now, without the white space around', async () => {
    await writeFile(file, 'first.token\n')
    expect(await client.readTokenFile(file)).toBe('first.token')
    await writeFile(file, '  second.token  \r\n')
    expect(await client.readTokenFile(file)).toBe('second.token')
  })

  test('is bounded in bytes, and no more than that is read', async () => {
    await writeFile(file, 'é'.repeat(32 * 1024))
    expect(await client.readTokenFile(file)).toHaveLength(32 * 1024)
    await writeFile(file, `${'é'.repeat(32 * 1024)}x`)
    expect((await faultOf(client.readTokenFile(file))).message).toContain(`${file} is larger than 65536 bytes`)
    // Three gigabytes, of which the disk has none: more than a text or a read of the whole could hold.
    await truncate(file, 3 * 1024 ** 3)
    expect((await faultOf(client.readTokenFile(file))).message).toContain(`${file} is larger than 65536 bytes`)
  })

  test.each(['absent', 'empty'])('is told by name where it is %s', async (how) => {
    if (how === 'empty') await writeFile(file, ' \n')
    expect((await faultOf(client.readTokenFile(file))).message).toContain(file)
  })
})
