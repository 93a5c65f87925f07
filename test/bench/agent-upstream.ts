import { randomBytes, randomInt } from 'node:crypto'
import { createServer, type Socket } from 'node:net'
import { serveChild } from './agent-child.js'

/**
 * The upstream of the agent's bench: answers a fixed chat completion, or streams one of 100 chunks. It does as little as
 * it can, so that on two cores it takes little from what is measured: raw sockets, ready-made bytes. Streams advance in
 * steps like an inference engine's batch: at each step every open stream gets one chunk, in a write of its own.
 */
const chunkCount = 100
const stepMs = Number(process.argv[2] ?? '0')

const text = 'The quick brown fox jumps over the lazy dog and runs away from the angry bear. '.repeat(4)
const answerBody = JSON.stringify({
  id: 'chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT',
  object: 'chat.completion',
  created: 1741569952,
  model: 'bench-model-2026-01-01',
  choices: [
    { index: 0, message: { role: 'assistant', content: text, refusal: null }, logprobs: null, finish_reason: 'stop' },
  ],
  usage: {
    prompt_tokens: 219,
    completion_tokens: 72,
    total_tokens: 291,
    prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: 0, audio_tokens: 0 },
  },
  service_tier: 'default',
  system_fingerprint: 'fp_44709d6fcb',
})
const answer = Buffer.from(
  `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(answerBody)}\r\n\r\n${answerBody}`,
)

const frame = (data: string) => `${Buffer.byteLength(data).toString(16)}\r\n${data}\r\n`
const event = (value: unknown) => frame(`data: ${typeof value === 'string' ? value : JSON.stringify(value)}\n\n`)
const chunkOf = (delta: unknown, finish: string | null, usage?: unknown) => ({
  id: 'chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT',
  object: 'chat.completion.chunk',
  created: 1741569952,
  model: 'bench-model-2026-01-01',
  service_tier: 'default',
  system_fingerprint: 'fp_44709d6fcb',
  choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }],
  ...(usage === undefined ? {} : { usage }),
  // OpenAI pads every chunk, so that lengths on the wire tell nothing about words; servers with running totals do not.
  ...(usage ? {} : { obfuscation: randomBytes(12).toString('base64url').slice(0, randomInt(17)) }),
})
const tokens = (output: number) => ({ prompt_tokens: 219, completion_tokens: output, total_tokens: 219 + output })
const streamHead = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n'

type Depth = 'none' | 'final' | 'continuous'

/** Writes of one stream: the head with the first chunk, the chunks, the end. */
function streamOf(depth: Depth): Buffer[] {
  const usage = (index: number) => (depth === 'continuous' ? tokens(index) : depth === 'final' ? null : undefined)
  const writes = [streamHead + event(chunkOf({ role: 'assistant', content: '', refusal: null }, null, usage(0)))]
  for (let index = 1; index < chunkCount - 1; index++) {
    writes.push(event(chunkOf({ content: index % 3 === 0 ? ' jumps' : ' a fox' }, null, usage(index))))
  }
  const last = event(chunkOf({}, 'stop', usage(chunkCount - 2)))
  const told = depth === 'none' ? '' : event({ ...chunkOf({}, null), choices: [], usage: tokens(chunkCount - 2) })
  writes.push(`${last}${told}${event('[DONE]')}0\r\n\r\n`)
  return writes.map((write) => Buffer.from(write))
}
const streams = { none: streamOf('none'), final: streamOf('final'), continuous: streamOf('continuous') }

const open = new Map<Socket, { writes: Buffer[]; next: number }>()
let stepping = false

function step(): void {
  for (const [socket, stream] of open) {
    const write = stream.writes[stream.next++]
    if (write !== undefined && !socket.destroyed) socket.write(write)
    if (stream.next >= stream.writes.length || socket.destroyed) open.delete(socket)
  }
  stepping = open.size > 0
  if (stepping) schedule()
}

function schedule(): void {
  stepping = true
  if (stepMs === 0) setImmediate(step)
  else setTimeout(step, stepMs)
}

const headEnd = Buffer.from('\r\n\r\n')

let connectionCount = 0

const server = createServer({ noDelay: true }, (socket) => {
  connectionCount += 1
  let pending: Buffer = Buffer.alloc(0)
  socket.on('error', () => socket.destroy())
  socket.on('data', (data) => {
    pending = pending.length === 0 ? data : Buffer.concat([pending, data])
    for (;;) {
      const end = pending.indexOf(headEnd)
      if (end === -1) return
      const length = Number(/content-length: (\d+)/i.exec(pending.toString('latin1', 0, end))?.[1] ?? 0)
      if (pending.length < end + 4 + length) return
      const body = pending.toString('latin1', end + 4, end + 4 + length)
      pending = pending.subarray(end + 4 + length)
      if (!body.includes('"stream":true')) {
        socket.write(answer)
        continue
      }
      const depth = body.includes('"continuous_usage_stats":true')
        ? 'continuous'
        : body.includes('"include_usage":true')
          ? 'final'
          : 'none'
      open.set(socket, { writes: streams[depth], next: 0 })
      if (!stepping) schedule()
    }
  })
})

await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
const address = server.address()
serveChild({ url: `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}` }, () => ({
  connections: connectionCount,
}))
