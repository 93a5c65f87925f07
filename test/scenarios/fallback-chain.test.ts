import { afterEach, describe, expect, test } from 'vitest'
import type { FallbackAnswer } from '../../agent/src/request/ports.js'
import type { LastResortTable } from '../../proto/policy/tables.js'
import { VirtualClock } from '../../proto/std/clock.js'
import {
  answerJson,
  chatAnswer,
  type Door,
  makeTables,
  makeTarget,
  openDoor,
  ScriptedUpstream,
  until,
} from '../harness/agent-door.js'

/**
 * The chain of requirement RT-09: a primary with 10 s, two fallbacks with 8 s each, then a cached answer after an apology,
 * or fixed words. Real clients, doors, connections and upstreams that stall; only time is ours, so that the chain is held to
 * its seconds: it never moves before one is over, and then at once.
 */
const chainMs = [10_000, 8_000, 8_000] as const
const apology = 'We apologize: this answer is an earlier one.'
const safeAnswer = 'We apologize. The assistant is not available at the moment.'
const kept: FallbackAnswer = {
  answer: {
    ...{ id: 'chatcmpl-kept', model: 'kept-model', usage: null },
    parts: [{ type: 'text', text: 'Four.', logprobs: null }],
    finish: { reason: 'stop', stopSequence: null },
  },
  ageSeconds: 90,
}

const cleanUps: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

interface Chain extends Door {
  readonly clock: VirtualClock
  readonly stalled: readonly ScriptedUpstream[]
  ask(stream: boolean, signal?: AbortSignal): Promise<Response>
}

async function openChain(found: FallbackAnswer | null, lastResort: LastResortTable | null): Promise<Chain> {
  const clock = new VirtualClock()
  const stalled: ScriptedUpstream[] = []
  for (const _ of chainMs) {
    const upstream = await new ScriptedUpstream(() => {}).start()
    cleanUps.push(() => upstream.stop())
    stalled.push(upstream)
  }
  const targets = stalled.map(({ origin }, index) =>
    makeTarget({
      ...{ origin, name: ['primary', 'second', 'third'][index] ?? '', kind: 'openai' },
      // The first token may take all of the hop's time: what ends it is its total.
      deadlines: { connectMs: 2_000, firstTokenMs: 60_000, idleMs: 60_000, totalMs: chainMs[index] ?? 0 },
    }),
  )
  const { tables, apiKey } = makeTables({
    ...{ routes: { chat: targets }, totalTimeoutMs: 26_000, spanSamplePpm: 1_000_000, route: { lastResort } },
  })
  const door = await openDoor({ tables, clock, answers: { find: () => found } })
  cleanUps.push(() => door.stop())
  const ask = (stream: boolean, signal: AbortSignal | null = null) =>
    fetch(`${door.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'chat', stream, messages: [{ role: 'user', content: 'Two and two?' }] }),
      signal,
    })
  return Object.assign(door, { clock, stalled, ask })
}

/** Lets each upstream of the chain stall for its time. `answered` says whether the client has heard anything yet. */
async function stallThrough(chain: Chain, hops: number, answered: () => boolean): Promise<void> {
  for (let index = 0; index < hops; index++) {
    const upstream = chain.stalled[index]
    await until(() => upstream?.received.length === 1, `hop ${index + 1} reaches its upstream`)
    // A millisecond before its time nothing has moved.
    await chain.clock.advance((chainMs[index] ?? 0) - 1)
    const reached = chain.stalled.map(({ received }) => received.length)
    expect(reached).toEqual(chainMs.map((_, hop) => (hop <= index ? 1 : 0)))
    expect(upstream?.received[0]?.closedByAgent).toBe(false)
    expect(answered()).toBe(false)
    await chain.clock.advance(1)
    await until(() => upstream?.received[0]?.closedByAgent === true, `hop ${index + 1} is given up`)
  }
}

const table: LastResortTable = { cachedAgeMaxSeconds: 600, apology, safeAnswer }

describe('with every provider stalled', () => {
  const ends: [string, FallbackAnswer | null, string, string][] = [
    ['a cached answer after an apology', kept, `${apology}\n\nFour.`, 'cached'],
    ['the fixed answer, where none is kept', null, safeAnswer, 'safe-answer'],
  ]
  describe.each(ends)('the client gets %s', (_words, found, said, header) => {
    test.each([
      ['whole', false],
      ['as a stream', true],
    ])('%s, after 26 seconds', async (_how, stream) => {
      const chain = await openChain(found, table)
      let isAnswered = false
      const asked = chain.ask(stream).then((response) => {
        isAnswered = true
        return response
      })
      await stallThrough(chain, 3, () => isAnswered)
      const response = await asked
      const text = await response.text()

      expect(response.status).toBe(200)
      expect(response.headers.get('x-switchyard-last-resort')).toBe(header)
      expect(response.headers.get('x-switchyard-hop')).toBe('3')
      expect(saidIn(text, stream)).toBe(said)
      if (stream) expect(text.endsWith('data: [DONE]\n\n')).toBe(true)

      const record = chain.meter.last
      expect(record).toMatchObject({
        ...{ status: 'ok', code: 'last_resort', httpStatus: 200, stream, usageSource: 'none', latencyUs: 26_000_000 },
      })
      expect([record.tokensIn, record.tokensOut, record.costNanoUsd]).toEqual([undefined, undefined, undefined])
      expect(record.hops?.map(({ outcome, startedUs, durationUs }) => [outcome, startedUs, durationUs])).toEqual([
        ['timeout_total', 0, 10_000_000],
        ['timeout_total', 10_000_000, 8_000_000],
        ['timeout_total', 18_000_000, 8_000_000],
      ])
      expect(chain.meter.closed).toHaveLength(1)
      expectSpans(chain)
      await expectNothingLeft(chain)
    })
  })

  test('and no last resort, the client gets the error after 26 seconds', async () => {
    const chain = await openChain(kept, null)
    let isAnswered = false
    const asked = chain.ask(false).then((response) => {
      isAnswered = true
      return response
    })
    await stallThrough(chain, 3, () => isAnswered)
    const response = await asked
    expect(response.status).toBe(504)
    expect(await response.json()).toMatchObject({ error: { code: 'upstream_timeout' } })
    expect(chain.meter.last).toMatchObject({ status: 'failed', latencyUs: 26_000_000 })
    await expectNothingLeft(chain)
  })
})

test('with a third that answers in its last millisecond, the client gets that answer', async () => {
  const chain = await openChain(kept, table)
  const third = chain.stalled[2]
  if (third === undefined) throw new Error('there are three')
  let answer = () => {}
  third.script = (_received, response) => {
    answer = () => answerJson(response, 200, chatAnswer)
  }
  const asked = chain.ask(false)
  await stallThrough(chain, 2, () => false)
  await until(() => third.received.length === 1, 'the third is asked')
  await chain.clock.advance(7_999)
  answer()
  const response = await asked
  expect(response.headers.get('x-switchyard-last-resort')).toBeNull()
  expect(response.headers.get('x-switchyard-fallback-reason')).toBe('timeout_total')
  expect(await response.json()).toEqual(chatAnswer)
  expect(chain.meter.last).toMatchObject({ status: 'ok', code: '', fallbackUsed: true, latencyUs: 25_999_000 })
  await expectNothingLeft(chain)
})

test('a client that leaves while the second stalls ends the chain there', async () => {
  const chain = await openChain(kept, table)
  const leaving = new AbortController()
  const asked = chain.ask(false, leaving.signal).catch(() => null)
  await stallThrough(chain, 1, () => false)
  const second = chain.stalled[1]
  await until(() => second?.received.length === 1, 'the second is asked')
  leaving.abort()
  await asked
  await until(() => second?.received[0]?.closedByAgent === true, 'the second is given up')
  await until(() => chain.meter.closed.length === 1, 'the record')
  expect(chain.meter.last).toMatchObject({ status: 'aborted', code: 'client_closed' })
  expect(chain.stalled[2]?.received).toEqual([])
  await expectNothingLeft(chain)
})

/** What a model is taken to have said to the client. */
function saidIn(text: string, stream: boolean): string {
  const pieces = stream ? text.split('\n\n').map((event) => event.slice('data: '.length)) : [text]
  return pieces
    .filter((piece) => piece.startsWith('{'))
    .flatMap((piece) => (JSON.parse(piece) as { choices: Record<string, { content?: string }>[] }).choices)
    .map((choice) => choice['message']?.content ?? choice['delta']?.content ?? '')
    .join('')
}

/** The request, each of its hops, and what stood in for an answer: spans one behind the other, to the second. */
function expectSpans({ meter: { spans } }: Chain): void {
  const [request, ...children] = spans
  const startUnixUs = Number(request?.startUnixUs)
  const shown = children.map((span) => [
    span.name,
    span.status,
    (Number(span.startUnixUs) - startUnixUs) / 1_000_000,
    (Number(span.endUnixUs) - startUnixUs) / 1_000_000,
  ])
  expect(shown).toEqual([
    ['hop upstream-model', 'error', 0, 10],
    ['hop upstream-model', 'error', 10, 18],
    ['hop upstream-model', 'error', 18, 26],
    ['last resort', 'ok', 26, 26],
  ])
  for (const span of children) expect(span.parentSpanId).toBe(request?.spanId)
}

async function expectNothingLeft(chain: Chain): Promise<void> {
  await until(() => chain.server.inFlightCount === 0, 'no request is in flight')
  await until(() => chain.upstreams.busyCount === 0, 'no connection to an upstream is busy')
  const { runningCount, deadlineCount, healths } = chain.handler
  // A connection that may be used again is waited for a little; its answer was read.
  await chain.clock.advance(2_000)
  expect([runningCount, chain.handler.deadlineCount, healths.inFlightCount]).toEqual([0, 0, 0])
  expect(deadlineCount).toBeLessThanOrEqual(1)
}
