import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createClient, everyNode, SwitchyardError } from './client.js'

interface Received {
  headers: IncomingMessage['headers']
  body: { query: string; operationName: string; variables: Record<string, unknown> }
}

let server: Server
let url: string
let received: Received[]
/** What to answer, in order; the last one again and again. */
let answers: { status?: number; body: unknown; hang?: boolean }[]

beforeEach(async () => {
  received = []
  answers = []
  server = createServer(async (request, response) => {
    const parts: Buffer[] = []
    for await (const part of request as AsyncIterable<Buffer>) parts.push(part)
    received.push({ headers: request.headers, body: JSON.parse(Buffer.concat(parts).toString()) })
    const answer = answers.length > 1 ? answers.shift() : answers[0]
    if (answer?.hang) return
    response.writeHead(answer?.status ?? 200, { 'content-type': 'application/json' })
    response.end(typeof answer?.body === 'string' ? answer.body : JSON.stringify(answer?.body))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/graphql`
})

afterEach(() => {
  server.closeAllConnections()
  server.close()
})

const viewer = { data: { viewer: { subject: 'bootstrap', tenantId: null, roles: [], permissions: [] } } }

function refusal(code: string, extra: object = {}) {
  return { data: null, errors: [{ message: 'no', extensions: { code, ...extra } }] }
}

test('a call sends the operation with the token and returns its data', async () => {
  answers = [{ body: viewer }]
  const client = createClient({ url, token: async () => 'secret' })
  expect(await client.viewer()).toEqual(viewer.data)
  expect(received[0]?.headers.authorization).toBe('Bearer secret')
  expect(received[0]?.body).toMatchObject({ operationName: 'viewer', variables: {} })
})

test('a refusal is an error with code, field and reference', async () => {
  answers = [{ body: refusal('BAD_USER_INPUT', { field: 'input.name', requestId: 'req_1', reason: 'too_long' }) }]
  const client = createClient({ url, token: 't' })
  const fault = await client.createTenant({ input: { slug: 'x', name: 'X' } }).catch((error: unknown) => error)
  expect(fault).toBeInstanceOf(SwitchyardError)
  expect(fault).toMatchObject({
    message: 'no',
    code: 'BAD_USER_INPUT',
    field: 'input.name',
    requestId: 'req_1',
    detail: { reason: 'too_long' },
  })
  expect(received).toHaveLength(1)
})

test('a query is asked again while the control plane is away, a mutation never', async () => {
  answers = [{ status: 503, body: '<html>' }, { body: refusal('UNAVAILABLE') }, { body: viewer }]
  const client = createClient({ url, token: 't' })
  expect(await client.viewer()).toEqual(viewer.data)
  expect(received).toHaveLength(3)
  answers = [{ status: 503, body: '<html>' }, { body: viewer }]
  await expect(client.createTenant({ input: { slug: 'x', name: 'X' } })).rejects.toMatchObject({
    code: 'UNAVAILABLE',
    httpStatus: 503,
  })
  expect(received).toHaveLength(4)
})

test('tries are bounded', async () => {
  answers = [{ status: 503, body: '' }]
  await expect(createClient({ url, token: 't', retriesMax: 1 }).viewer()).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  expect(received).toHaveLength(2)
})

test.each(['FORBIDDEN', 'NOT_FOUND', 'INTERNAL'])('%s is not asked again', async (code) => {
  answers = [{ body: refusal(code) }]
  await expect(createClient({ url, token: 't' }).viewer()).rejects.toMatchObject({ code })
  expect(received).toHaveLength(1)
})

test('silence ends after the timeout, and an abort at once', async () => {
  answers = [{ hang: true, body: null }]
  const client = createClient({ url, token: 't', retriesMax: 0 })
  await expect(client.viewer({}, { timeoutMs: 50 })).rejects.toMatchObject({ code: 'TIMEOUT' })
  await expect(client.viewer({}, { signal: AbortSignal.timeout(50) })).rejects.toMatchObject({ code: 'ABORTED' })
})

test('a control plane that is not there is named', async () => {
  await new Promise((resolve) => server.close(resolve))
  const client = createClient({ url, token: 't', retriesMax: 0 })
  await expect(client.viewer()).rejects.toMatchObject({
    code: 'UNREACHABLE',
    message: `${url} cannot be reached: ECONNREFUSED`,
  })
})

test('an answer that is not GraphQL is told as such', async () => {
  answers = [{ status: 200, body: '<html>hello</html>' }]
  await expect(createClient({ url, token: 't' }).viewer()).rejects.toMatchObject({ code: 'BAD_ANSWER' })
})

test('everyNode walks all pages', async () => {
  const pages = new Map([
    [null, { nodes: [1, 2], next: 'a' }],
    ['a', { nodes: [3], next: 'b' }],
    ['b', { nodes: [], next: null }],
  ])
  const seen: number[] = []
  const walk = everyNode(async (after) => {
    const page = pages.get(after)
    return {
      edges: (page?.nodes ?? []).map((node) => ({ node })),
      pageInfo: { hasNextPage: page?.next !== null, endCursor: page?.next ?? null },
    }
  })
  for await (const node of walk) seen.push(node)
  expect(seen).toEqual([1, 2, 3])
})

/** Types are part of the promise: these lines compile or the build is red. */
export async function typesHold(): Promise<void> {
  const client = createClient({ url, token: 't' })
  const { createApiKey } = await client.createApiKey({ input: { environmentId: 'env_1', name: 'ci' } })
  const secret: string = createApiKey.secret
  const { usage } = await client.usage({ tenantId: 'ten_1', filter: { requestId: secret } })
  const tokens: number | null | undefined = usage.edges[0]?.node.tokensIn
  // @ts-expect-error a required variable is missing
  await client.apiKey({ wrong: tokens })
}
