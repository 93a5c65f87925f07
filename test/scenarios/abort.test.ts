import { connect } from 'node:net'
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { awaitDelivery } from '../../deploy/local/seed-demo.js'
import type { AcceptedRequest } from '../../deploy/local/simulator-ledger.js'
import { randomFrom, tokensOf } from '../../deploy/local/simulator-text.js'
import { systemClock } from '../../proto/std/clock.js'
import { eventually } from '../harness/process.js'
import { Stack } from '../harness/stack.js'

/**
 * Clients that leave before the end, on the whole product. Three books must agree: what the client had decoded when it
 * left, what the record claims, what the simulator wrote until it saw the connection close; in this order, none above the
 * next. Routes: `chat` to a provider that tells usage with every chunk, `counted` to one that would tell only at the end.
 */
let stack: Stack
let apiKey: string

/** Also the key's cap of requests in flight, so that one slot that is not given back fails the next round. */
const clientsPerRound = 16
const rounds = [11, 12, 13]
const routes = ['chat', 'counted'] as const
const outputTokens = 4_000

beforeAll(async () => {
  stack = new Stack({ queue: 'postgres', seed: 5 })
  await stack.start()
  stack.simulator.behave({ outputTokens, tokensPerSecond: 150, ttftMs: 20 })
  await addCountedRoute()
  const { createApiKey } = await stack.graphql<{ createApiKey: { secret: string } }>(
    `mutation ($input: CreateApiKeyInput!) { createApiKey(input: $input) { secret } }`,
    { input: { environmentId: stack.seed.environmentId, name: 'leaver', inFlightMax: clientsPerRound } },
  )
  apiKey = createApiKey.secret
  await awaitDelivery(stack.graphql, stack.seed.environmentId, systemClock)
}, 180_000)
afterAll(() => stack?.stop())

describe('a client that leaves in the middle of a stream', () => {
  test.each(rounds)('is seen to leave upstream, and billed for what was generated (seed %i)', async (seed) => {
    const random = randomFrom(seed)
    const leavers = Array.from({ length: clientsPerRound }, (_, ordinal) => {
      const route = routes[ordinal % 2] ?? 'chat'
      const leave = ordinal % 4 < 2 ? leaveWithOpenAi : leaveWithSocket
      // At the first sign of an answer, at the first token, and anywhere after.
      const afterTokens = ordinal < 4 ? 0 : ordinal < 8 ? 1 : 2 + Math.floor(random() * 150)
      return { id: `left-${seed}-${ordinal}`, route, leave, afterTokens }
    })
    const decoded = await Promise.all(leavers.map(({ id, route, leave, afterTokens }) => leave(id, route, afterTokens)))
    for (const [index, { id, route, afterTokens }] of leavers.entries()) {
      const tokensReceived = tokensOf(decoded[index] ?? '').length
      const truth = await seenToLeave(id)
      const record = await storedRecord(id)
      expect(tokensReceived).toBeGreaterThanOrEqual(afterTokens)
      expect(truth).toMatchObject({ finished: false, status: 200 })
      expect(truth.completionTokens).toBeLessThan(outputTokens)
      expect({ id, ...record }).toMatchObject({
        ...{ id, status: 'ABORTED', code: 'client_closed', stream: true },
        ...{ usageSource: route === 'chat' ? 'provider' : 'counted' },
      })
      expect(record.tokensOut, `${id}: not less than what the client received`).toBeGreaterThanOrEqual(tokensReceived)
      expect(record.tokensOut, `${id}: not more than was written`).toBeLessThanOrEqual(truth.completionTokens)
      expect(record.tokensIn).toBeGreaterThan(0)
      expect(record.costNanoUsd).not.toBeNull()
      if (route === 'chat') expect(record.tokensIn).toBe(truth.promptTokens)
    }
  })
})

describe('a client that leaves before it was answered', () => {
  const knobs = { ttftMs: 60_000 }
  beforeAll(() => stack.simulator.behave(knobs, 'simulator-small'))
  afterAll(() => stack?.simulator.behave({ ttftMs: 20 }, 'simulator-small'))

  test.each([
    ['a stream', true],
    ['a whole answer', false],
  ] as const)('has caused nothing that could be billed (%s)', async (_, stream) => {
    const kinds = [...routes, ...routes].map((route, ordinal) => ({
      ...{ id: `early-${stream}-${ordinal}`, route, leave: ordinal < 2 ? giveUpWithOpenAi : giveUpWithSocket },
    }))
    await Promise.all(kinds.map(({ id, route, leave }) => leave(id, route, stream)))
    for (const { id } of kinds) {
      expect(await seenToLeave(id)).toMatchObject({ finished: false, completionTokens: 0 })
      expect({ id, ...(await storedRecord(id)) }).toMatchObject({
        ...{ id, status: 'ABORTED', code: 'client_closed', stream },
        ...{ usageSource: 'none', tokensIn: null, tokensOut: null, costNanoUsd: null },
      })
    }
  })
})

describe('a client that leaves while a whole answer is generated', () => {
  beforeAll(() => stack.simulator.behave({ ttftMs: 0, tokensPerSecond: 200 }, 'simulator-small'))

  test('ends the generation; what it was nobody tells, and the record does not guess', async () => {
    const kinds = [...routes, ...routes].map((route, ordinal) => ({
      ...{ id: `whole-${ordinal}`, route, leave: ordinal < 2 ? giveUpWithOpenAi : giveUpWithSocket },
    }))
    await Promise.all(kinds.map(({ id, route, leave }) => leave(id, route, false, 300)))
    for (const { id } of kinds) {
      const truth = await seenToLeave(id)
      expect(truth.finished).toBe(false)
      expect(truth.completionTokens).toBeGreaterThan(0)
      expect(truth.completionTokens).toBeLessThan(outputTokens)
      const record = await storedRecord(id)
      expect(record).toMatchObject({ status: 'ABORTED', usageSource: 'none', tokensOut: null })
    }
  })

  test('and takes nothing from those who stay', async () => {
    stack.simulator.behave({ ttftMs: 0, tokensPerSecond: 0, outputTokens: 20 }, 'simulator-small')
    const stayers = Array.from({ length: clientsPerRound }, (_, ordinal) => ({
      id: `stayed-${ordinal}`,
      route: routes[ordinal % 2] ?? 'chat',
    }))
    await Promise.all(
      stayers.map(async ({ id, route }) => {
        const body = { model: route, messages: messagesOf(id) }
        const completion = await client().chat.completions.create(body, { headers: { 'x-request-id': id } })
        expect(completion.usage?.completion_tokens).toBe(20)
      }),
    )
    for (const { id } of stayers) {
      expect(await storedRecord(id)).toMatchObject({ status: 'OK', usageSource: 'provider', tokensOut: 20 })
    }
  })
})

/** A provider of the kind that tells usage at the end of a stream only, and a route to it. */
async function addCountedRoute(): Promise<void> {
  const { tenantId, environmentId } = stack.seed
  const { createProvider } = await stack.graphql<{ createProvider: { provider: { id: string } } }>(
    `mutation ($input: CreateProviderInput!) { createProvider(input: $input) { provider { id } } }`,
    { input: { tenantId, name: 'counted', kind: 'OPENAI', baseUrl: `${stack.simulator.url}/v1`, region: 'local' } },
  )
  const { models } = await stack.graphql<{ models: { edges: { node: { id: string; name: string } }[] } }>(
    `query ($tenantId: ID) { models(tenantId: $tenantId, first: 100) { edges { node { id name } } } }`,
    { tenantId },
  )
  const modelId = models.edges.find(({ node }) => node.name === 'simulator-small')?.node.id
  await stack.graphql(`mutation ($input: CreateRouteInput!) { createRoute(input: $input) { intentRevision } }`, {
    input: { environmentId, name: 'counted', targets: [{ providerId: createProvider.provider.id, modelId }] },
  })
}

function client(): OpenAI {
  return new OpenAI({ baseURL: `${stack.agentUrl}/v1`, apiKey, maxRetries: 0 })
}

function messagesOf(id: string) {
  return [{ role: 'user' as const, content: `Say something about ${id}.` }]
}

/** Leaves once it decoded so many tokens; answers with everything that it decoded. */
async function leaveWithOpenAi(id: string, route: string, afterTokens: number): Promise<string> {
  const leaving = new AbortController()
  const stream = await client().chat.completions.create(
    { model: route, messages: messagesOf(id), stream: true },
    { signal: leaving.signal, headers: { 'x-request-id': id } },
  )
  let text = ''
  for await (const part of stream) {
    text += part.choices[0]?.delta.content ?? ''
    if (tokensOf(text).length >= afterTokens) leaving.abort()
  }
  return text
}

/** The same with nothing between it and the connection. */
async function leaveWithSocket(id: string, route: string, afterTokens: number): Promise<string> {
  const socket = openRequest(id, route, true)
  let received = ''
  let text = ''
  for await (const bytes of socket) {
    received += String(bytes)
    text = [...received.matchAll(/"content":"([^"]*)"/g)].map(([, content]) => content).join('')
    if (received.includes('\ndata: {') && tokensOf(text).length >= afterTokens) break
  }
  socket.destroy()
  return text
}

/** Leaves `afterMs` after the upstream accepted the request, without a byte of an answer. */
async function giveUpWithOpenAi(id: string, route: string, stream: boolean, afterMs = 0): Promise<void> {
  const leaving = new AbortController()
  const answer = client().chat.completions.create(
    { model: route, messages: messagesOf(id), stream },
    { signal: leaving.signal, headers: { 'x-request-id': id } },
  )
  const outcome = expect(answer).rejects.toBeInstanceOf(OpenAI.APIUserAbortError)
  await eventually(`${id} is accepted`, () => acceptedAs(id))
  await systemClock.sleep(afterMs)
  leaving.abort()
  await outcome
}

async function giveUpWithSocket(id: string, route: string, stream: boolean, afterMs = 0): Promise<void> {
  const socket = openRequest(id, route, stream)
  let received = ''
  socket.on('data', (bytes) => {
    received += String(bytes)
  })
  await eventually(`${id} is accepted`, () => acceptedAs(id))
  await systemClock.sleep(afterMs)
  socket.destroy()
  expect(received).toBe('')
}

function openRequest(id: string, route: string, stream: boolean) {
  const body = JSON.stringify({ model: route, messages: messagesOf(id), stream })
  const socket = connect(Number(new URL(stack.agentUrl).port), '127.0.0.1')
  socket.write(
    [
      'POST /v1/chat/completions HTTP/1.1',
      'host: agent',
      `authorization: Bearer ${apiKey}`,
      'content-type: application/json',
      `content-length: ${Buffer.byteLength(body)}`,
      `x-request-id: ${id}`,
      '',
      body,
    ].join('\r\n'),
  )
  return socket
}

function acceptedAs(id: string): AcceptedRequest | undefined {
  return stack.simulator.accepted().find((accepted) => accepted.id === id)
}

/** What the simulator knows of the request, once it has seen the connection close. */
function seenToLeave(id: string): Promise<AcceptedRequest> {
  return eventually(`the simulator sees ${id} leave`, () => {
    const accepted = acceptedAs(id)
    return accepted?.closedByClientAtMs == null ? null : accepted
  })
}

interface StoredRecord {
  readonly status: string
  readonly code: string | null
  readonly stream: boolean
  readonly usageSource: string
  readonly tokensIn: number | null
  readonly tokensOut: number | null
  readonly costNanoUsd: string | null
}

/** As the graph shows it, once it does. */
function storedRecord(id: string): Promise<StoredRecord> {
  return eventually(`the record of ${id} is stored`, async () => {
    const { usageRecord } = await stack.graphql<{ usageRecord: StoredRecord | null }>(
      `query ($tenantId: ID, $id: String!) { usageRecord(tenantId: $tenantId, requestId: $id) {
        status code stream usageSource tokensIn tokensOut costNanoUsd } }`,
      { tenantId: stack.seed.tenantId, id },
    )
    return usageRecord
  })
}
