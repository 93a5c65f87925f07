import { afterEach, describe, expect, test } from 'vitest'
import {
  answerJson,
  chatAnswer,
  type Door,
  makeTables,
  makeTarget,
  openDoor,
  type Received,
  ScriptedUpstream,
  type TargetSpec,
  until,
} from '../harness/agent-door.js'

/** A provider of four replicas behind the agent's own door. */

const cleanUps: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

interface World {
  readonly door: Door
  readonly replicas: readonly ScriptedUpstream[]
  ask(body: Record<string, unknown>, path?: string): Promise<Response>
  /** How many requests each replica was sent. */
  counts(): number[]
}

async function world(spec: Partial<TargetSpec> = {}, script = answerAtOnce): Promise<World> {
  const replicas: ScriptedUpstream[] = []
  for (let i = 0; i < 4; i++) {
    const replica = await new ScriptedUpstream(script).start()
    cleanUps.push(() => replica.stop())
    replicas.push(replica)
  }
  const target = makeTarget({
    ...{ origin: 'http://pool.invalid', kind: 'vllm', credential: { id: 'crd', version: 1 } },
    ...{ replicas: replicas.map(({ origin }) => origin), ...spec },
  })
  const { tables, apiKey } = makeTables({ routes: { chat: [target] } })
  const door = await openDoor({ tables, secrets: { 'crd/1': 'sk-pool' } })
  cleanUps.push(() => door.stop())
  return {
    ...{ door, replicas },
    ask: (body, path = '/v1/chat/completions') =>
      fetch(`${door.url}${path}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
        body: JSON.stringify({ model: 'chat', ...body }),
      }),
    counts: () => replicas.map(({ received }) => received.length),
  }
}

function answerAtOnce(_: Received, response: Parameters<ScriptedUpstream['script']>[1]) {
  answerJson(response, 200, chatAnswer)
}

const user = (content: string) => ({ role: 'user', content })
const textOf = (name: string, length: number) => `${name} says `.repeat(Math.ceil(length / 8)).slice(0, length)
const hopsOf = ({ door }: World) => (door.meter.last.hops ?? []).map(({ outcome }) => outcome)

describe('a provider of four replicas', () => {
  test('serves each conversation where it began, untouched, and is shown the credential everywhere', async () => {
    const pool = await world({ basePath: '/inference/v1' })
    const homes: number[] = []
    for (let conversation = 0; conversation < 8; conversation++) {
      const messages = [user(textOf(`user ${conversation}`, 6_000))]
      const asked = new Set<number>()
      for (let turn = 0; turn < 4; turn++) {
        const before = pool.counts()
        const answer = await pool.ask({ messages, top_k: 5, unknown: { kept: [1.0, null] } })
        expect([answer.status, await answer.json()]).toEqual([200, chatAnswer])
        asked.add(pool.counts().findIndex((count, at) => count > (before[at] ?? 0)))
        messages.push({ role: 'assistant', content: 'hello' }, user(textOf(`turn ${turn}`, 1_500)))
      }
      expect(asked.size).toBe(1)
      homes.push(...asked)
    }
    expect(new Set(homes).size).toBe(4)
    for (const { received } of pool.replicas) {
      for (const { path, headers, body } of received) {
        expect([path, headers.authorization]).toEqual(['/inference/v1/chat/completions', 'Bearer sk-pool'])
        expect(JSON.parse(body.toString())).toMatchObject({ top_k: 5, unknown: { kept: [1, null] } })
      }
    }
    expect(hopsOf(pool)).toEqual(['ok'])
  })

  test('of which one is gone answers all the same, and asks it no more', async () => {
    const pool = await world()
    const [gone] = pool.replicas
    await gone?.stop()
    const outcomes: string[][] = []
    for (let i = 0; i < 12; i++) {
      expect((await pool.ask({ messages: [user(textOf(`user ${i}`, 3_000))] })).status).toBe(200)
      outcomes.push(hopsOf(pool).map(String))
    }
    const failed = outcomes.filter((hops) => hops.includes('connect_error'))
    expect(failed).toEqual([['connect_error', 'ok']])
    expect(
      pool
        .counts()
        .slice(1)
        .every((count) => count > 0),
    ).toBe(true)
  })

  test('that are all gone is refused after two tries', async () => {
    const pool = await world()
    for (const replica of pool.replicas) await replica.stop()
    const answer = await pool.ask({ messages: [user('hello')] })
    expect(answer.status).toBeGreaterThanOrEqual(500)
    expect(await answer.json()).toMatchObject({ error: { code: 'upstream_unavailable' } })
    expect(hopsOf(pool)).toEqual(['connect_error', 'connect_error'])
  })

  test('takes many requests with one beginning without heaping them on one replica', async () => {
    const waiting: (() => void)[] = []
    const pool = await world({}, (_, response) => {
      waiting.push(() => answerJson(response, 200, chatAnswer))
    })
    const shared = textOf('the same', 8_000)
    const answers = Array.from({ length: 40 }, (_, i) => pool.ask({ messages: [user(`${shared} ${i}`)] }))
    await until(() => waiting.length === 40, 'all are at a replica')
    // One request cannot be divided, and one that finds next to nothing running may stay.
    for (const count of pool.counts()) expect(count).toBeLessThanOrEqual(16)
    for (const answer of waiting) answer()
    for (const answer of answers) expect((await answer).status).toBe(200)
  })

  test('serves streams, embeddings and other doors', async () => {
    const pool = await world({}, ({ path, body }, response) => {
      const { stream } = JSON.parse(body.toString()) as { stream?: boolean }
      if (path.endsWith('/embeddings')) {
        return answerJson(response, 200, { object: 'list', data: [], model: 'm', usage: { prompt_tokens: 3 } })
      }
      if (!stream) return answerJson(response, 200, chatAnswer)
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      const chunk = { id: 'c', object: 'chat.completion.chunk', created: 1, model: 'm' }
      const delta = (more: object) =>
        `data: ${JSON.stringify({ ...chunk, choices: [{ index: 0, delta: {}, ...more }] })}\n\n`
      response.end(
        `${delta({ delta: { content: 'hello' } })}${delta({ finish_reason: 'stop' })}` +
          `data: ${JSON.stringify({ ...chunk, choices: [], usage: chatAnswer.usage })}\n\ndata: [DONE]\n\n`,
      )
    })
    const streamed = await pool.ask({ messages: [user('hello')], stream: true })
    expect(await streamed.text()).toContain('[DONE]')
    expect((await pool.ask({ input: 'hello' }, '/v1/embeddings')).status).toBe(200)
    const answer = await pool.ask({ max_tokens: 9, messages: [user('hello')] }, '/v1/messages')
    expect(await answer.json()).toMatchObject({ type: 'message', content: [{ type: 'text', text: 'hello' }] })
    expect(pool.counts().reduce((sum, count) => sum + count, 0)).toBe(3)
  })
})
