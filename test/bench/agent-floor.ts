import { createServer } from 'node:http'
import { Pool } from 'undici'
import { serveChild } from './agent-child.js'

/**
 * The floor: the least a proxy in this runtime can do. `node:http` in, `undici` `Pool.dispatch` out, the request and a
 * whole answer parsed once each, a stream passed on chunk by chunk, nothing else: no key, no limit, no deadline, no record.
 */
const upstream = process.argv[2] ?? ''
const pool = new Pool(upstream, { connections: 256, headersTimeout: 0, bodyTimeout: 0 })

const server = createServer((request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    const body = Buffer.concat(chunks)
    const { stream } = JSON.parse(body.toString()) as { stream?: boolean }
    const headers = ['content-type', 'application/json', 'accept', stream ? 'text/event-stream' : 'application/json']
    const answer: Buffer[] = []
    pool.dispatch(
      { method: 'POST', path: '/v1/chat/completions', headers, body },
      {
        onRequestStart: () => {},
        onResponseStart: (_controller, status, upstreamHeaders) => {
          if (stream) response.writeHead(status, ['content-type', String(upstreamHeaders['content-type'])])
        },
        onResponseData: (controller, chunk) => {
          if (!stream) return void answer.push(chunk)
          if (response.write(chunk)) return
          controller.pause()
          response.once('drain', () => controller.resume())
        },
        onResponseEnd: () => {
          if (stream) return void response.end()
          const whole = Buffer.concat(answer)
          JSON.parse(whole.toString())
          response.writeHead(200, ['content-type', 'application/json', 'content-length', String(whole.length)])
          response.end(whole)
        },
        onResponseError: () => response.destroy(),
      },
    )
  })
})

await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
const address = server.address()
serveChild({ url: `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}` })
