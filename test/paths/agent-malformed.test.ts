import { createServer, type Server, type Socket } from 'node:net'
import { Pool } from 'undici'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { randomFrom } from '../../deploy/local/simulator-text.js'
import { type Door, makeTables, makeTarget, openDoor, until } from '../harness/agent-door.js'
import { answerDamaged, damaged, eachSeed, tableOf } from '../harness/damaged-bytes.js'

/**
 * Bytes that nobody should send, by the thousand and from a seed: damaged answers of upstreams and damaged bodies of
 * clients. Whatever comes, each client gets one whole HTTP response in time, an error carries a code, every request is one
 * record, and in the end nothing runs and no connection is left.
 */
const replyCount = 10_000
const bodyCount = 10_000
const clientCount = 64

let upstream: Server
const upstreamSockets = new Set<Socket>()
let door: Door
let apiKey: string
let clients: Pool

beforeAll(async () => {
  upstream = createServer(serveDamaged)
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve))
  const address = upstream.address()
  const origin = `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`
  const deadlines = { connectMs: 2_000, firstTokenMs: 400, idleMs: 400, totalMs: 5_000 }
  const made = makeTables({
    routes: {
      chat: [makeTarget({ origin, deadlines })],
      running: [makeTarget({ origin, deadlines, kind: 'openai' })],
    },
  })
  apiKey = made.apiKey
  door = await openDoor({ tables: made.tables })
  clients = new Pool(door.url, { connections: clientCount, pipelining: 1, bodyTimeout: 20_000, headersTimeout: 20_000 })
})
afterAll(async () => {
  await clients?.destroy()
  await door?.stop()
  for (const socket of upstreamSockets) socket.destroy()
  upstream?.close()
})

describe('damaged bytes', () => {
  test('from upstreams: an answer, an error with a code, or a stream that says how it ended', async () => {
    const ends = new Map<string, number>()
    await eachSeed(replyCount, clientCount, async (seed) => {
      const stream = seed % 2 === 0
      const body = { model: seed % 4 < 2 ? 'chat' : 'running', messages: [{ role: 'user', content: 'hi' }], stream }
      const end = await endOf(`reply-${seed}`, Buffer.from(JSON.stringify(body)))
      ends.set(end, (ends.get(end) ?? 0) + 1)
    })
    console.log(`damaged answers: ${tableOf(ends)}`)
    // The seeds must reach all of it: most damage is found, and some does not matter.
    for (const end of ['200', 'stream', 'upstream_malformed', 'upstream_truncated', 'upstream_timeout']) {
      expect(ends.get(end), end).toBeGreaterThan(10)
    }
    await nothingIsLeft(replyCount)
  })

  test('from clients: an error with a code, before anything is sent upstream', async () => {
    const ends = new Map<string, number>()
    const before = door.meter.closed.length
    await eachSeed(bodyCount, clientCount, async (seed) => {
      const end = await endOf(`body-${seed}`, damagedBody(seed))
      ends.set(end, (ends.get(end) ?? 0) + 1)
    })
    console.log(`damaged bodies: ${tableOf(ends)}`)
    for (const end of ['200', 'stream', 'invalid_json', 'missing_field', 'invalid_type', 'model_not_found']) {
      expect(ends.get(end), end).toBeGreaterThan(10)
    }
    await nothingIsLeft(before + bodyCount)
  })
})

/** How a request ended for its client; throws where it ended in a way that none may end. */
async function endOf(id: string, body: Buffer): Promise<string> {
  const response = await clients.request({
    method: 'POST',
    path: '/v1/chat/completions',
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json', 'x-request-id': id },
    body,
  })
  const text = await response.body.text()
  const { statusCode, headers } = response
  if (String(headers['content-type']).startsWith('text/event-stream')) {
    const last = text.trimEnd().split('\n\n').at(-1) ?? ''
    if (!last.startsWith('data: {"error"')) return 'stream'
    return codeOf(id, last.slice('data: '.length))
  }
  if (statusCode === 200) {
    expect(() => JSON.parse(text), `${id}: ${text}`).not.toThrow()
    return '200'
  }
  // An upstream's own refusal passes as it came, and its bytes are its own.
  if (statusCode < 500 && door.meter.closed.some((record) => record.requestId === id && isPassed(record.code))) {
    return 'passed'
  }
  return codeOf(id, text)
}

function isPassed(code: string | undefined): boolean {
  return code === 'upstream_rejected'
}

function codeOf(id: string, text: string): string {
  const { error } = JSON.parse(text) as { error: { code: unknown; message: unknown; type: unknown } }
  expect([typeof error.code, typeof error.message, typeof error.type], `${id}: ${text}`).toEqual(
    new Array(3).fill('string'),
  )
  expect(error.code, id).not.toBe('internal_error')
  return String(error.code)
}

async function nothingIsLeft(recordCount: number): Promise<void> {
  await until(() => door.handler.runningCount === 0 && door.server.inFlightCount === 0, 'nothing runs')
  await until(() => door.handler.deadlineCount === 0, 'nothing is waited for')
  expect(door.meter.closed.length).toBe(recordCount)
  expect(new Set(door.meter.closed.map(({ requestId }) => requestId)).size).toBe(recordCount)
  expect(door.server.connectionCount).toBeLessThanOrEqual(clientCount)
  // Connections that may be used again stay until they have been idle for a while; none may be beyond those.
  await until(() => upstreamSockets.size === 0, 'no connection is left', 60_000)
}

function serveDamaged(socket: Socket): void {
  upstreamSockets.add(socket)
  socket.on('close', () => upstreamSockets.delete(socket))
  socket.on('error', () => socket.destroy())
  let held = ''
  socket.on('data', (data) => {
    held += data.toString('latin1')
    const headEnd = held.indexOf('\r\n\r\n')
    if (headEnd === -1) return
    const length = Number(/content-length: (\d+)/i.exec(held)?.[1] ?? 0)
    if (held.length < headEnd + 4 + length) return
    const seed = /x-request-id: reply-(\d+)/i.exec(held)?.[1]
    const stream = held.includes('"stream":true')
    held = ''
    if (seed === undefined) socket.write(stream ? wholeStream : wholeAnswer)
    else answerDamaged(socket, Number(seed), stream ? wholeStream : wholeAnswer)
  })
}

const tokens = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 }
const chunk = (content: string, finish: string | null, usage?: unknown) =>
  `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', model: 'm', choices: [{ index: 0, delta: { content }, finish_reason: finish }], usage })}\n\n`
const wholeStream = withFrames(
  'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n',
  [chunk('The', null, tokens), chunk(' quick é', null, tokens), chunk(' fox', null, tokens), chunk('', 'stop', tokens)],
)
const answerText = JSON.stringify({
  ...{ id: 'c', object: 'chat.completion', model: 'm', usage: tokens },
  choices: [{ index: 0, message: { role: 'assistant', content: 'The quick é fox' }, finish_reason: 'stop' }],
})
const wholeAnswer = Buffer.from(
  `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(answerText)}\r\n\r\n${answerText}`,
)

function withFrames(head: string, events: readonly string[]): Buffer {
  const frames = [...events, 'data: [DONE]\n\n'].map(
    (event) => `${Buffer.byteLength(event).toString(16)}\r\n${event}\r\n`,
  )
  return Buffer.from(`${head}${frames.join('')}0\r\n\r\n`)
}

const strange = [
  null,
  true,
  -1,
  1e308,
  '',
  'x'.repeat(300),
  [],
  {},
  [[]],
  [null],
  { model: 'chat' },
  '\ud800',
  'é\u0000',
]

/** A body whose members are of the wrong kind, or whose bytes are wounded, or both. */
function damagedBody(seed: number): Buffer {
  const random = randomFrom(seed * 7 + 1)
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T
  const fields: Record<string, unknown> = {
    model: 'chat',
    messages: [{ role: 'user', content: 'hi é' }],
    stream: random() < 0.5,
    temperature: 0.5,
    user: 'u',
    stream_options: { include_usage: true },
  }
  if (random() < 0.7) {
    const name = pick(Object.keys(fields))
    if (random() < 0.3) delete fields[name]
    else fields[name] = pick(strange)
  }
  const bytes = Buffer.from(JSON.stringify(fields))
  return random() < 0.5 ? damaged(bytes, random) : bytes
}
