import { afterEach, describe, expect, test } from 'vitest'
import { randomFrom } from '../../deploy/local/simulator-text.js'
import { systemClock } from '../../proto/std/clock.js'
import {
  answerJson,
  chatAnswer,
  makeTables,
  makeTarget,
  openDoor,
  type Script,
  ScriptedUpstream,
  until,
} from '../harness/agent-door.js'
import { sseChunk } from '../harness/virtual-agent.js'

/**
 * Everything at once over real connections: clients that leave, upstreams that reset, stall, refuse, answer nonsense or are
 * not there, deadlines, breakers, hedges, full targets, a drain. Whatever happened: each request has one record, and at the end no slot is
 * held, nothing is waited for, nothing runs at any target and no connection to an upstream is busy.
 */
const seeds = [1, 2, 3]
const requestCount = 400
const atOnce = 40

const cleanUps: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

/** An upstream that does something else for every request, as its seed says. */
function chaotic(random: () => number): Script {
  return async (received, response, socket) => {
    const wantsStream = received.body.includes('"stream":true')
    // Quick as a rule, so that one that is not is asked elsewhere, too.
    await systemClock.sleep(random() < 0.97 ? Math.floor(random() * 10) : 60 + Math.floor(random() * 140))
    const mood = random()
    if (mood < 0.08) return void socket.resetAndDestroy()
    if (mood < 0.16) return
    if (mood < 0.22) return answerJson(response, 500, { error: { message: 'no' } })
    if (mood < 0.25) return answerJson(response, 429, { error: { message: 'slow' } }, { 'retry-after': '0' })
    if (mood < 0.28) return answerJson(response, 400, { error: { message: 'bad' } })
    if (mood < 0.32) return void response.writeHead(200, { 'content-type': 'application/json' }).end('{"choi')
    if (!wantsStream) return answerJson(response, 200, chatAnswer)
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    for (let piece = 0; piece < 6; piece++) {
      response.write(sseChunk({ content: `${piece} ` }))
      const turn = random()
      if (turn < 0.04) return void socket.resetAndDestroy()
      if (turn < 0.08) return
      if (turn < 0.1) return void response.end()
      if (turn < 0.5) await systemClock.sleep(Math.floor(random() * 15))
    }
    response.end(`${sseChunk({}, 'stop')}data: [DONE]\n\n`)
  }
}

async function openChaos(random: () => number) {
  const targets = []
  for (let number = 0; number < 3; number++) {
    const upstream = await new ScriptedUpstream(chaotic(random)).start()
    cleanUps.push(() => upstream.stop())
    targets.push(
      makeTarget({
        origin: upstream.origin,
        connectionsMax: 8,
        deadlines: { connectMs: 150, firstTokenMs: 120, idleMs: 120, totalMs: 400 },
        routing: {
          breaker: { failures: 4, openMs: 20, failureRatio: 0.6, windowMs: 500, requestsMin: 10 },
          // The first soon has a line, the second soon is full, the last takes what comes.
          ...[{ batchSize: 6, batchWaitMs: 30 }, { batchSize: 6 }][number],
        },
      }),
    )
  }
  // Nobody is there.
  targets.unshift(makeTarget({ origin: 'http://127.0.0.1:9', deadlines: { connectMs: 50 } }))
  const { tables, apiKey } = makeTables({
    routes: { chat: targets, pair: targets.slice(2) },
    totalTimeoutMs: 900,
    route: { hedging: { budgetRatio: 0.5, delayMinMs: 1 } },
    key: { inFlightMax: atOnce },
  })
  const door = await openDoor({ tables, clientStallMs: 200 })
  cleanUps.push(() => door.stop())
  return { door, apiKey }
}

const outcomes = new Set<string>()

describe.each(seeds)('after chaos (seed %i)', (seed) => {
  test('nothing is left, and every request has its record', async () => {
    const random = randomFrom(seed)
    const { door, apiKey } = await openChaos(random)
    let answered = 0
    const ask = async (number: number) => {
      const leaving = new AbortController()
      const cancel = random() < 0.25 ? systemClock.after(Math.floor(random() * 150), () => leaving.abort()) : () => {}
      const body = { model: number % 3 === 0 ? 'pair' : 'chat', stream: random() < 0.6, user: `u${number}` }
      try {
        const response = await fetch(`${door.url}/v1/chat/completions`, {
          method: 'POST',
          headers: { authorization: `Bearer ${apiKey}`, 'x-request-id': `r${number}` },
          body: JSON.stringify({ ...body, messages: [{ role: 'user', content: 'hi' }] }),
          signal: leaving.signal,
        })
        await response.text()
        answered += 1
      } catch {
        // It left, or its stream was ended with its connection.
      } finally {
        cancel()
      }
    }
    let next = 0
    const worker = async () => {
      while (next < requestCount) await ask(next++)
    }
    await Promise.all(Array.from({ length: atOnce }, worker))
    // Some are still running when the agent is told to stop.
    const late = Array.from({ length: 10 }, (_, index) => ask(requestCount + index))
    await until(() => door.handler.runningCount > 0, 'some run')
    door.handler.endAll()
    await Promise.all(late)

    await until(() => door.server.inFlightCount === 0, 'no request is in flight')
    await until(() => door.upstreams.busyCount === 0, 'no connection to an upstream is busy')
    await until(() => door.handler.deadlineCount === 0, 'nothing is waited for')
    expect(door.handler.runningCount).toBe(0)
    expect(door.handler.healths.inFlightCount).toBe(0)
    expect(answered).toBeGreaterThan(requestCount / 4)
    const ids = door.meter.closed.map(({ requestId }) => requestId)
    expect(new Set(ids).size).toBe(ids.length)
    // Some clients left before that.
    expect(door.meter.opened.length).toBeGreaterThan(requestCount / 2)
    // What was opened was closed.
    expect(ids.length).toBeGreaterThanOrEqual(door.meter.opened.length)
    for (const { hops } of door.meter.closed) for (const { outcome } of hops ?? []) outcomes.add(outcome ?? '')
    const text = await door.metrics.text()
    for (const name of ['target_in_flight', 'target_batch_running', 'target_queue_length']) {
      const gauges = text.split('\n').filter((line) => line.startsWith(`switchyard_agent_${name}{`))
      expect(gauges.length).toBeGreaterThan(0)
      for (const gauge of gauges) expect(gauge).toMatch(/ 0$/)
    }
  }, 60_000)
})

test('there was chaos', () => {
  const expected = [
    'ok',
    'connect_error',
    'aborted',
    'malformed',
    'upstream_5xx',
    'rate_limited',
    'timeout_first_token',
  ]
  for (const outcome of [...expected, 'hedge_lost', 'circuit_open', 'busy']) expect(outcomes).toContain(outcome)
})
