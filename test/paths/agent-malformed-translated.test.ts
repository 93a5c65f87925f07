import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { Pool } from 'undici'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ProviderSecret } from '../../agent/src/providers/provider-dialect.js'
import { type Door, makeTables, makeTarget, openDoor, type TargetSpec, until } from '../harness/agent-door.js'
import { answerDamaged, eachSeed, tableOf } from '../harness/damaged-bytes.js'
import { RecordingProxy } from '../harness/recording-proxy.js'
import type { VendorAnswer, VendorFake } from '../harness/vendors/vendor-fake.js'
import { vendors } from '../harness/vendors/vendors.js'

/**
 * Damaged answers of every vendor, by the thousand and from a seed, read through both conversational doors: what a vendor's
 * fake sends is recorded, wounded and sent again. Whatever comes, each client gets one whole HTTP response in time, an
 * error carries a code in the words of its door, every request is one record, and in the end nothing runs.
 */
const replyCount = 1_000
const clientCount = 32
const deadlines = { connectMs: 2_000, firstTokenMs: 300, idleMs: 300, totalMs: 5_000 }
const answer: VendorAnswer = {
  text: 'The quick é fox',
  toolCalls: [{ id: 'call_1', name: 'f', input: { a: 'b' } }],
  usage: { input: 9, output: 5 },
}

for (const vendor of vendors) {
  describe(`damaged bytes from ${vendor.name}`, () => {
    let fake: VendorFake
    let upstream: Server
    let door: Door
    let apiKey: string
    let clients: Pool

    beforeAll(async () => {
      const opened = await vendor.open()
      fake = opened.fake
      const whole = await recordOne(opened, false)
      const stream = await recordOne(opened, true)
      upstream = createServer((socket) => serve(socket, (isStream) => (isStream ? stream : whole)))
      await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve))
      const origin = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`
      const made = await doorTo({ ...opened.target, origin }, opened.secret)
      door = made.door
      apiKey = made.apiKey
      clients = new Pool(door.url, {
        ...{ connections: clientCount, pipelining: 1, bodyTimeout: 20_000, headersTimeout: 20_000 },
      })
    })
    afterAll(async () => {
      await clients?.destroy()
      await door?.stop()
      upstream?.close()
      await fake?.stop()
    })

    test('an answer, an error with a code, or a stream that says how it ended', async () => {
      const ends = new Map<string, number>()
      await eachSeed(replyCount, clientCount, async (seed) => {
        const end = await endOf(seed)
        ends.set(end, (ends.get(end) ?? 0) + 1)
      })
      console.log(`damaged answers of ${vendor.name}: ${tableOf(ends)}`)
      // The seeds must reach all of it. Little damage gets past a vendor that sends checksums.
      for (const end of ['200', 'stream', 'upstream_malformed']) expect(ends.get(end), end).toBeGreaterThan(2)
      await until(() => door.handler.runningCount === 0 && door.server.inFlightCount === 0, 'nothing runs')
      await until(() => door.handler.deadlineCount === 0, 'nothing is waited for')
      expect(door.meter.closed).toHaveLength(replyCount)
      expect(new Set(door.meter.closed.map(({ requestId }) => requestId)).size).toBe(replyCount)
    })

    async function endOf(seed: number): Promise<string> {
      const requestId = `reply-${seed}`
      const { statusCode, headers, body } = await clients.request({
        method: 'POST',
        path: seed % 3 === 0 ? '/v1/messages' : '/v1/chat/completions',
        headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json', 'x-request-id': requestId },
        body: bodyText(seed % 2 === 0),
      })
      const text = await body.text()
      if (String(headers['content-type']).startsWith('text/event-stream')) {
        const last = text.trimEnd().split('\n\n').at(-1) ?? ''
        const data = last.slice(last.indexOf('data: ') + 'data: '.length)
        return data.includes('"error":{') ? codeOf(requestId, data) : 'stream'
      }
      if (statusCode === 200) {
        expect(() => JSON.parse(text), `${requestId}: ${text}`).not.toThrow()
        return '200'
      }
      // An upstream's own refusal passes, on its own wire as it came.
      const record = door.meter.closed.find((one) => one.requestId === requestId)
      return record?.code === 'upstream_rejected' ? 'passed' : codeOf(requestId, text)
    }
  })
}

/** The bytes with which a vendor answers one request through the agent. */
async function recordOne(
  { fake, target, secret }: { fake: VendorFake; target: TargetSpec; secret: ProviderSecret },
  stream: boolean,
): Promise<Buffer> {
  const proxy = await new RecordingProxy(fake.origin).start()
  const { door, apiKey } = await doorTo({ ...target, origin: proxy.origin }, secret)
  fake.willAnswer(answer)
  const response = await fetch(`${door.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
    body: bodyText(stream),
  })
  expect(await response.text(), 'what is recorded is whole').toContain('tool_calls')
  await door.stop()
  proxy.stop()
  const recorded = proxy.answers[0]
  if (recorded === undefined || recorded.length === 0) throw new Error('nothing was recorded')
  return recorded
}

async function doorTo(target: TargetSpec, secret: ProviderSecret): Promise<{ door: Door; apiKey: string }> {
  const { tables, apiKey } = makeTables({
    routes: { chat: [makeTarget({ ...target, deadlines, credential: { id: 'crd', version: 1 } })] },
  })
  return { door: await openDoor({ tables, secrets: { 'crd/1': secret } }), apiKey }
}

function bodyText(stream: boolean): string {
  return JSON.stringify({ model: 'chat', max_tokens: 64, messages: [{ role: 'user', content: 'hi' }], stream })
}

/** Answers each request with the recorded bytes, wounded by the seed in its id. */
function serve(socket: Socket, recordedOf: (isStream: boolean) => Buffer): void {
  socket.on('error', () => socket.destroy())
  let held = ''
  socket.on('data', (data) => {
    held += data.toString('latin1')
    const headEnd = held.indexOf('\r\n\r\n')
    if (headEnd === -1) return
    const length = Number(/content-length: (\d+)/i.exec(held)?.[1] ?? 0)
    if (held.length < headEnd + 4 + length) return
    const seed = Number(/x-request-id: reply-(\d+)/i.exec(held)?.[1])
    held = ''
    answerDamaged(socket, seed, recordedOf(seed % 2 === 0))
  })
}

function codeOf(requestId: string, text: string): string {
  const { error } = JSON.parse(text) as { error: { code: unknown; message: unknown; type: unknown } }
  expect([typeof error.code, typeof error.message, typeof error.type], `${requestId}: ${text}`).toEqual(
    new Array(3).fill('string'),
  )
  expect(error.code, requestId).not.toBe('internal_error')
  return String(error.code)
}
