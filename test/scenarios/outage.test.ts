import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { awaitDelivery } from '../../deploy/local/seed-demo.js'
import { systemClock } from '../../proto/std/clock.js'
import { eventually } from '../harness/process.js'
import { Stack } from '../harness/stack.js'

/**
 * The control plane is away for a while, on the whole product: nothing that agents decide changes, restarted or not, and
 * nothing that they served meanwhile is lost or told twice.
 */
let stack: Stack
let revoked: Key
/** What the agents were sent, by request id. */
const served = new Map<string, Served>()

interface Key {
  readonly id: string
  readonly secret: string
}

interface Served {
  readonly tokensIn: number
  readonly tokensOut: number
}

beforeAll(async () => {
  stack = new Stack({ queue: 'postgres', seed: 31, agent: { SWITCHYARD_AGENT_STATUS_INTERVAL_MS: '200' } })
  await stack.start()
  await awaitDelivery(stack.graphql, stack.seed.environmentId, systemClock)
  revoked = await makeKey('revoked')
  await eventually('the key works', async () => (await statusOf(revoked.secret)) === 200)
  await stack.graphql(`mutation ($input: RevokeApiKeyInput!) { revokeApiKey(input: $input) { intentRevision } }`, {
    input: { apiKeyId: revoked.id },
  })
  await eventually('the key is refused', async () => (await statusOf(revoked.secret)) === 401)
}, 180_000)
afterAll(() => stack?.stop())

describe('while the control plane is away', () => {
  test('the agent serves as before, also after kill -9', { timeout: 180_000 }, async () => {
    await stack.controlPlane.end('SIGTERM')
    await serveSomething('before')
    for (const life of ['second-life', 'third-life']) {
      await stack.agent.end('SIGKILL')
      stack.agent.start()
      await stack.agentReady()
      await serveSomething(life)
    }
    expect(served.size).toBe(18)
    const { rows } = await stack.database.query('SELECT FROM "UsageRecord" WHERE "requestId" LIKE \'outage-%\'')
    expect(rows).toEqual([])
  })

  test('when it is back everything arrives, once and exactly', { timeout: 180_000 }, async () => {
    expect(served.size).toBeGreaterThan(0)
    stack.controlPlane.start()
    await stack.controlPlaneReady()
    await eventually('everything served is stored', async () => (await records()).length >= served.size)
    const ids = (rows: readonly { requestId: string }[]) => rows.map(({ requestId }) => requestId).sort()
    const stored = await records()
    expect(ids(stored)).toEqual([...served.keys()].sort())
    for (const { requestId, status, usageSource, tokensIn, tokensOut } of stored) {
      expect({ requestId, status, usageSource, tokensIn, tokensOut }).toEqual({
        ...{ requestId, status: 'ok', usageSource: 'provider' },
        ...served.get(requestId),
      })
    }
    const accepted = stack.simulator.accepted().filter(({ id }) => id.startsWith('outage-'))
    expect(accepted.map(({ id }) => id).sort()).toEqual([...served.keys()].sort())
    for (const { id, promptTokens, completionTokens } of accepted) {
      expect({ id, promptTokens, completionTokens }).toEqual({
        ...{ id, promptTokens: served.get(id)?.tokensIn, completionTokens: served.get(id)?.tokensOut },
      })
    }
    await eventually('the agent has nothing left to tell', async () => (await spooledCount()) === '0')
    expect((await records()).length).toBe(served.size)
    expect((await stack.database.query('SELECT FROM "DeadLetter"')).rows).toEqual([])
  })

  test('and the agent follows again', { timeout: 180_000 }, async () => {
    const made = await makeKey('made-later')
    await eventually('the new key works', async () => (await statusOf(made.secret)) === 200)
    expect(await statusOf(revoked.secret)).toBe(401)
  })
})

/** Plain, streamed and embedding requests with ids of their own, and the refusals that must not have been forgotten. */
async function serveSomething(when: string): Promise<void> {
  for (const round of [1, 2]) {
    await serve(`outage-${when}-plain-${round}`, 'chat/completions', chat)
    await serve(`outage-${when}-stream-${round}`, 'chat/completions', { ...chat, ...asStream })
    await serve(`outage-${when}-embed-${round}`, 'embeddings', { model: stack.embeddingsRoute, input: 'A text.' })
  }
  expect([await statusOf(stack.seed.apiKey), await statusOf(revoked.secret)]).toEqual([200, 401])
  const unknown = await ask('unrecorded', 'chat/completions', { ...chat, model: 'no-such-route' })
  expect(unknown.status).toBe(404)
  await unknown.arrayBuffer()
}

const chat = { model: 'chat', messages: [{ role: 'user', content: 'Are you there?' }] }
const asStream = { stream: true, stream_options: { include_usage: true } }

interface Usage {
  readonly prompt_tokens: number
  readonly completion_tokens?: number
}

/** Sends, expects the whole answer, and notes what it says it used. */
async function serve(id: string, path: string, body: object): Promise<void> {
  const response = await ask(id, path, body)
  const text = await response.text()
  expect([id, response.status, response.headers.get('x-request-id')]).toEqual([id, 200, id])
  const isStream = 'stream' in body
  if (isStream) expect(text).toMatch(/data: \[DONE\]\s*$/)
  const parts = isStream ? [...text.matchAll(/^data: (\{.*\})$/gm)].map(([, part]) => part ?? '') : [text]
  const usage = parts.map((part) => (JSON.parse(part) as { usage?: Usage | null }).usage).findLast((found) => found)
  if (!usage) throw new Error(`no usage in the answer to ${id}: ${text.slice(-500)}`)
  served.set(id, { tokensIn: usage.prompt_tokens, tokensOut: usage.completion_tokens ?? 0 })
}

function ask(id: string, path: string, body: object): Promise<Response> {
  return fetch(`${stack.agentUrl}/v1/${path}`, {
    method: 'POST',
    headers: {
      ...{ authorization: `Bearer ${stack.seed.apiKey}`, 'content-type': 'application/json', 'x-request-id': id },
    },
    body: JSON.stringify(body),
  })
}

/** Of a request that needs nothing but a decision. */
async function statusOf(secret: string): Promise<number> {
  const response = await fetch(`${stack.agentUrl}/v1/models`, { headers: { authorization: `Bearer ${secret}` } })
  await response.arrayBuffer()
  return response.status
}

async function makeKey(name: string): Promise<Key> {
  const { createApiKey } = await stack.graphql<{ createApiKey: { secret: string; apiKey: { id: string } } }>(
    `mutation ($input: CreateApiKeyInput!) { createApiKey(input: $input) { secret apiKey { id } } }`,
    { input: { environmentId: stack.seed.environmentId, name } },
  )
  return { id: createApiKey.apiKey.id, secret: createApiKey.secret }
}

interface Row extends Served {
  readonly requestId: string
  readonly status: string
  readonly usageSource: string
}

async function records(): Promise<readonly Row[]> {
  const { rows } = await stack.database.query<Row>(
    `SELECT "requestId", status, "usageSource", "tokensIn"::int, "tokensOut"::int FROM "UsageRecord"
     WHERE "requestId" LIKE 'outage-%'`,
  )
  return rows
}

/** As the fleet shows it. */
async function spooledCount(): Promise<string | undefined> {
  const { agents } = await stack.graphql<{ agents: { edges: { node: { spool: { recordCount: string } } }[] } }>(
    `{ agents(first: 1) { edges { node { spool { recordCount } } } } }`,
  )
  return agents.edges[0]?.node.spool.recordCount
}
