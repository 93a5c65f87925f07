import { describe, expect, it } from 'vitest'
import { SimulatedEngine, tokensOf } from './replicas-engine.js'
import { choosers, enginesDefault, type RunResult, runTrace } from './replicas-run.js'
import { makeTrace, type Segment, seeded, traceDefault } from './replicas-trace.js'

const segment = (id: number, characters: number): Segment => ({ id, role: 'user', text: 'x'.repeat(characters) })

describe('the trace', () => {
  it('is the same for the same seed, and another one for another', () => {
    const options = { ...traceDefault, requestCount: 200 }
    expect(makeTrace(options)).toEqual(makeTrace(options))
    expect(makeTrace({ ...options, seed: 2 })).not.toEqual(makeTrace(options))
  })

  it('uses shared beginnings by rank to the power of 1.1, and goes on with what was said', () => {
    const { requests, prefixes } = makeTrace({ ...traceDefault, requestCount: 20_000, turnsMean: 1.000001 })
    const counts = prefixes.map(({ id }) => requests.filter(({ segments }) => segments[0]?.id === id).length)
    const sum = prefixes.reduce((total, _, rank) => total + 1 / (rank + 1) ** 1.1, 0)
    for (const rank of [0, 1, 9]) {
      const expected = 20_000 / sum / (rank + 1) ** 1.1
      expect(Math.abs((counts[rank] ?? 0) - expected)).toBeLessThan(5 * Math.sqrt(expected))
    }
    const turns = makeTrace({ ...traceDefault, requestCount: 2_000 }).requests
    const second = turns.find(({ segments }) => segments.length === 4)
    const first = turns.find(({ segments }) => segments.length === 2 && segments[1] === second?.segments[1])
    expect(second?.segments.slice(0, 3)).toEqual([...(first?.segments ?? []), first?.answer])
    expect(turns.every(({ atUs }, i) => atUs >= (turns[i - 1]?.atUs ?? 0))).toBe(true)
  })
})

describe('the engine', () => {
  const options = { cacheTokens: 1_600, promptTokensPerSecond: 1_000, answerTokensPerSecond: 100 }
  /** Serves a prompt to its end; tells what was cached. */
  const serve = (engine: SimulatedEngine, segments: readonly Segment[], nowUs: number) => {
    let cached = -1
    const request = { atUs: nowUs, segments, answer: segment(900 + nowUs, 37), answerTokens: 10 }
    const job = { request, promptTokens: tokensOf(segments), onFirstToken: () => {} }
    engine.send({ ...job, onEnd: (cachedTokens) => (cached = cachedTokens) }, nowUs)
    while (Number.isFinite(engine.nextUs)) engine.advance(engine.nextUs)
    return cached
  }

  it('keeps the beginnings of prompts in blocks, forgets what was used longest ago, its end first', () => {
    const engine = new SimulatedEngine(options)
    const [a, b, c] = [segment(1, 2_000), segment(2, 2_000), segment(3, 3_000)]
    expect(serve(engine, [a], 0)).toBe(0)
    expect(serve(engine, [a, b], 1)).toBe(528)
    expect(serve(engine, [a, c], 2)).toBe(528)
    expect(serve(engine, [b], 3)).toBe(0)
    const left = engine.cachedTokensOf({ atUs: 0, segments: [a, c], answer: a, answerTokens: 1 })
    expect(left).toBeGreaterThan(0)
    expect(left).toBeLessThan(1_344)
  })

  it('computes one prompt after the other, and lets wait whom it has no memory for', () => {
    const engine = new SimulatedEngine(options)
    const begun: string[] = []
    const send = (name: string, id: number, characters: number) =>
      engine.send(
        {
          request: { atUs: 0, segments: [segment(id, characters)], answer: segment(id + 50, 37), answerTokens: 10 },
          promptTokens: tokensOf([segment(id, characters)]),
          onFirstToken: () => begun.push(name),
          onEnd: () => begun.push(`${name} over`),
        },
        0,
      )
    send('long', 1, 4_440)
    send('short', 2, 370)
    send('none', 3, 4_440)
    expect(engine.metrics).toMatchObject({ runningCount: 2, waitingCount: 1 })
    engine.advance(1_199_000)
    expect(begun).toEqual([])
    while (Number.isFinite(engine.nextUs)) engine.advance(engine.nextUs)
    expect(new Set(begun).size).toBe(6)
    expect(begun.indexOf('long')).toBeLessThan(begun.indexOf('short'))
    expect(begun.indexOf('none')).toBeGreaterThan(begun.indexOf('long over'))
    expect(engine.metrics.kvUsageRatio).toBe(0)
  })
})

describe('the numbers', () => {
  it('that seeds give are spread evenly', () => {
    const random = seeded(3)
    const counts = new Array<number>(10).fill(0)
    for (let i = 0; i < 10_000; i++) {
      const at = Math.floor(random() * 10)
      counts[at] = (counts[at] ?? 0) + 1
    }
    for (const count of counts) expect(Math.abs(count - 1_000)).toBeLessThan(150)
  })
})

const alone = (seed: number) => ({ engines: enginesDefault, seed, agents: 1, sharing: false })

describe('replicas picked by the agent', () => {
  it.each([1, 2, 3])(
    'find 95 % of what an oracle finds cached, and none has half as much again to do (seed %i)',
    (seed) => {
      const trace = makeTrace({ ...traceDefault, seed, requestCount: 4_000 })
      const [ours, oracle, roundRobin] = choosers.map((chooser) => runTrace(trace, chooser, alone(seed))) as [
        RunResult,
        RunResult,
        RunResult,
      ]
      expect(ours.hitRatio / oracle.hitRatio).toBeGreaterThanOrEqual(0.95)
      expect(roundRobin.hitRatio / oracle.hitRatio).toBeLessThan(0.6)
      expect(ours.loadRatio).toBeLessThanOrEqual(1.5)
      expect(ours.windowLoadRatio).toBeLessThanOrEqual(1.5)
      expect(ours.firstTokenMsP50).toBeLessThan(roundRobin.firstTokenMsP50)
      // Tokens are guessed from characters until usage tells: one in a thousand may be a guess too far.
      expect(ours.boundBroken).toBeLessThanOrEqual(4)
    },
  )

  it('are found by several request workers as by one, for they tell each other; by agents, which do not, less', () => {
    const trace = makeTrace({ ...traceDefault, requestCount: 4_000 })
    const run = (more: object) => runTrace(trace, 'ours', { ...alone(1), ...more })
    const one = run({})
    const workers = run({ agents: 4, sharing: true })
    expect(workers.hitRatio / one.hitRatio).toBeGreaterThan(0.95)
    expect(workers.windowLoadRatio).toBeLessThanOrEqual(1.5)
    // What went somewhere within the time of a telling is not known: one in a thousand.
    expect(workers.boundBroken).toBeLessThanOrEqual(8)
    expect(workers.firstTokenMsP50).toBeLessThan(one.firstTokenMsP50 * 1.15)
    expect(run({ agents: 4 }).hitRatio / one.hitRatio).toBeLessThan(0.75)
  })
})
