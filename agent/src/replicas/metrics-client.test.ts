import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../../proto/std/clock.js'
import { MetricsClient } from './metrics-client.js'

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

async function serve(listener: Parameters<typeof createServer>[1]): Promise<string> {
  const server: Server = createServer(listener as never)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closing.push(() => {
    server.closeAllConnections()
    return new Promise((resolve) => server.close(resolve))
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

function makeClient(): MetricsClient {
  const client = new MetricsClient(systemClock)
  closing.push(() => client.stop())
  return client
}

describe('a page of metrics', () => {
  it('comes though others behind the same origin are silent, and their number does not make it so', async () => {
    let atOnce = 0
    let atOnceMax = 0
    const origin = await serve((request, response) => {
      atOnce += 1
      atOnceMax = Math.max(atOnceMax, atOnce)
      response.on('close', () => {
        atOnce -= 1
      })
      // Twenty of them never answer; more than there are connections.
      if (!request.url?.startsWith('/dead')) response.end('numbers 1\n')
    })
    const client = makeClient()
    const dead = Array.from({ length: 20 }, (_, i) => client.read(`${origin}/dead-${i}/metrics`, 400))
    const live = Array.from({ length: 20 }, (_, i) => client.read(`${origin}/live-${i}/metrics`, 400))
    expect(await Promise.all(live)).toEqual(Array.from({ length: 20 }, () => ({ text: 'numbers 1\n' })))
    expect(new Set(await Promise.all(dead))).toEqual(new Set(['silent']))
    expect(atOnceMax).toBeLessThanOrEqual(16)
  })

  it.each([
    ['of 200 KiB is read', 200, 'text'],
    ['of 300 KiB is too large', 300, 'too_large'],
  ])('%s', async (_, kibibytes, expected) => {
    const origin = await serve((_request, response) => response.end('x'.repeat(kibibytes * 1024)))
    const page = await makeClient().read(`${origin}/metrics`, 2_000)
    expect(typeof page === 'string' ? page : 'text').toBe(expected)
  })

  it.each([
    ['that is not there is no text', 404, 'no_text'],
    ['of a server that is not well is silence', 503, 'silent'],
  ])('%s', async (_, status, expected) => {
    const origin = await serve((_request, response) => response.writeHead(status).end())
    expect(await makeClient().read(`${origin}/metrics`, 2_000)).toBe(expected)
  })
})
