import { createServer, type RequestListener, type Server } from 'node:http'
import { type AddressInfo, createServer as createSocketServer } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../../proto/std/clock.js'
import type { ProviderKind } from './provider-kind.js'
import { ProviderTester } from './provider-tester.js'
import { explainFault } from './test-outcome.js'

const running: Server[] = []
afterEach(() => {
  for (const server of running.splice(0)) {
    server.closeAllConnections()
    server.close()
  }
})

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener)
  running.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`
}

const of = (baseUrl: string, kind: ProviderKind = 'openai-compatible') => ({ kind, baseUrl, apiVersion: null })
const tester = new ProviderTester({ clock: systemClock, connectTimeoutMs: 500, totalTimeoutMs: 700 })
const models = JSON.stringify({ object: 'list', data: [{ id: 'gpt-4o' }, { id: 'text-embedding-3-small' }] })

describe('testing a provider', () => {
  test('lists the models of one that answers, and shows it the credential', async () => {
    let asked = ''
    const url = await serve((request, response) => {
      asked = `${request.method} ${request.url} ${request.headers.authorization}`
      response.end(models)
    })
    expect(await tester.test(of(url), { secret: 'sk-right' })).toMatchObject({
      ...{ ok: true, step: 'done', httpStatus: 200 },
      models: ['gpt-4o', 'text-embedding-3-small'],
      sentence: 'The provider answered and lists 2 models.',
    })
    expect(asked).toBe('GET /v1/models Bearer sk-right')
  })

  test.each([
    [401, 'sk-wrong', 'credential', 'rotate the credential'],
    [403, null, 'credential', 'set a credential'],
    [404, null, 'answer', 'ends in /v1'],
    [429, 'sk', 'answer', 'rate limiting'],
    [302, 'sk', 'answer', 'redirects'],
    [500, 'sk', 'answer', 'on its side'],
    [418, 'sk', 'answer', 'HTTP 418'],
  ])('explains HTTP %i', async (status, secret, step, words) => {
    const url = await serve((_, response) => {
      response.writeHead(status, { location: 'http://127.0.0.1:1/' }).end('a body that must not be repeated')
    })
    const result = await tester.test(of(url), secret === null ? null : { secret })
    expect(result).toMatchObject({ ok: false, step, httpStatus: status, models: [] })
    expect(result.sentence).toContain(words)
    expect(JSON.stringify(result)).not.toMatch(/sk-wrong|must not be repeated/)
  })

  test('explains an answer that is no model list', async () => {
    const url = await serve((_, response) => response.end('<html>welcome</html>'))
    expect(await tester.test(of(url), null)).toMatchObject({ ok: false, step: 'answer', httpStatus: 200 })
  })

  test('explains a port where nothing listens', async () => {
    const url = await serve(() => {})
    const server = running.splice(0)[0]
    await new Promise((resolve) => server?.close(resolve))
    const result = await tester.test(of(url), null)
    expect(result).toMatchObject({ ok: false, step: 'connect' })
    expect(result.sentence).toContain('nothing listens')
  })

  test('explains a server that never answers, within the total', async () => {
    const url = await serve(() => {})
    const result = await tester.test(of(url), null)
    expect(result).toMatchObject({ ok: false, step: 'request' })
    expect(result.sentence).toContain('700 ms')
  })

  test('explains an answer without end', async () => {
    const url = await serve((_, response) => {
      const chunk = 'x'.repeat(256 * 1024)
      const pour = () => {
        while (response.write(chunk));
        response.once('drain', pour)
      }
      pour()
    })
    expect(await tester.test(of(url), null)).toMatchObject({ ok: false, step: 'answer' })
  })

  test('explains http:// on a TLS port and https:// on a plain one', async () => {
    const plain = await serve((_, response) => response.end(models))
    expect(await tester.test(of(plain.replace('http:', 'https:')), null)).toMatchObject({ ok: false, step: 'tls' })
    const odd = createSocketServer((socket) => {
      socket.on('error', () => {})
      socket.end('\x15\x03\x01 not HTTP')
    })
    await new Promise<void>((resolve) => odd.listen(0, '127.0.0.1', resolve))
    const result = await tester.test(of(`http://127.0.0.1:${(odd.address() as AddressInfo).port}`), null)
    odd.close()
    expect(result).toMatchObject({ ok: false, step: 'request' })
    expect(result.sentence).toContain('https://')
  })

  test.each([200, 302, 403, 404, 503])('reaches one that wants a signature: HTTP %i is an answer', async (status) => {
    const asked: string[] = []
    const url = await serve((request, response) => {
      asked.push(`${request.method} ${request.url}`, JSON.stringify(request.headers))
      // A body without end: the head is enough.
      response.writeHead(status, { location: 'http://127.0.0.1:1/' }).write('a body that must not be repeated')
    })
    const result = await tester.test(of(url, 'bedrock'), {
      secret: '{"accessKeyId":"AKIA","secretAccessKey":"sk-aws"}',
    })
    expect(result).toMatchObject({ ok: true, step: 'done', httpStatus: status, models: [] })
    expect(result.sentence).toContain(`can be reached (HTTP ${status}). Its credential is first used by an agent`)
    expect(asked[0]).toBe('GET /v1/')
    expect(asked.join() + JSON.stringify(result)).not.toMatch(/AKIA|sk-aws|authorization|must not be repeated/)
    expect(asked).toHaveLength(2)
  })

  test('says of one that wants a signature why it is not reached', async () => {
    const url = await serve(() => {})
    running.splice(0)[0]?.close()
    expect(await tester.test(of(url, 'vertex'), null)).toMatchObject({ ok: false, step: 'connect' })
    expect(await tester.test(of('https://169.254.169.254', 'vertex'), null)).toMatchObject({
      ok: false,
      step: 'resolve',
    })
  })

  test('calls nobody with a reference that only agents can read', async () => {
    let count = 0
    const url = await serve(() => count++)
    expect(await tester.test(of(url), { reference: 'env:KEY' })).toMatchObject({ ok: false, step: 'credential' })
    expect(count).toBe(0)
  })

  test('shows each vendor the credential in its own header, and explains its 404', async () => {
    let asked: unknown
    const url = await serve(({ url, headers }, response) => {
      const { authorization, 'api-key': apiKey, 'x-api-key': xApiKey, 'anthropic-version': version } = headers
      asked = { url, authorization, apiKey, xApiKey, version }
      response.writeHead(404).end()
    })
    const anthropic = await tester.test(of(url, 'anthropic'), { secret: 'sk' })
    expect(asked).toEqual({ url: '/v1/models', xApiKey: 'sk', version: '2023-06-01' })
    expect(anthropic.sentence).toContain('ends in /v1')
    const azure = await tester.test({ ...of(url, 'azure-openai'), apiVersion: '2024-10-21' }, { secret: 'sk' })
    expect(asked).toEqual({ url: '/v1/openai/models?api-version=2024-10-21', apiKey: 'sk' })
    expect(azure.sentence).toContain('without /openai')
  })

  test('calls no forbidden address, and no private one where strangers are tenants', async () => {
    expect(await tester.test(of('http://169.254.169.254/latest'), null)).toMatchObject({ ok: false, step: 'resolve' })
    const url = await serve((_, response) => response.end(models))
    const guarded = new ProviderTester({ clock: systemClock, privateAddresses: false })
    expect(await guarded.test(of(url), null)).toMatchObject({ ok: false, step: 'resolve' })
    expect(await guarded.test(of(url.replace('127.0.0.1', 'localhost')), null)).toMatchObject({
      ok: false,
      step: 'resolve',
    })
  })

  test.each([
    ['ENOTFOUND', 'resolve'],
    ['EAI_AGAIN', 'resolve'],
    ['UND_ERR_CONNECT_TIMEOUT', 'connect'],
    ['CERT_HAS_EXPIRED', 'tls'],
    ['DEPTH_ZERO_SELF_SIGNED_CERT', 'tls'],
    ['ERR_TLS_CERT_ALTNAME_INVALID', 'tls'],
    ['ECONNRESET', 'request'],
    ['SOMETHING_NEW', 'connect'],
  ])('explains %s', (code, step) => {
    const fault = new Error('outer', { cause: Object.assign(new Error('inner'), { code }) })
    expect(explainFault(fault, 'https://api.example.com/v1')).toMatchObject({ ok: false, step })
  })
})
