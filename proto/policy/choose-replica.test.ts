import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  chooseReplica,
  explainReplica,
  idleLoadTokens,
  loadRatioMax,
  type ReplicaFacts,
  type ReplicaQuestion,
  requestWeightTokens,
} from './choose-replica.js'

const idle: ReplicaFacts = { healthy: true, cachedTokens: 0, loadTokens: 0, queuedTokens: 0, kvUsageRatio: null }
const ask = (promptTokens: number, ...replicas: Partial<ReplicaFacts>[]): ReplicaQuestion => ({
  ...{ promptTokens, turn: 0 },
  replicas: replicas.map((replica) => ({ ...idle, ...replica })),
})
const verdicts = (question: ReplicaQuestion) => chooseReplica(question).views.map(({ verdict }) => verdict)

describe('a replica is chosen', () => {
  it.each<[string, ReplicaQuestion, string[]]>([
    [
      'where most is cached',
      ask(8_000, {}, { cachedTokens: 6_000 }, { cachedTokens: 4_000 }),
      ['costlier', 'chosen', 'costlier'],
    ],
    [
      'elsewhere when the queue there costs more than the cache saves',
      ask(2_000, { cachedTokens: 300, queuedTokens: 8_000 }, {}),
      ['costlier', 'chosen'],
    ],
    [
      'where it is cached though a short queue is there',
      ask(8_000, { cachedTokens: 6_000, queuedTokens: 8_000 }, {}),
      ['chosen', 'costlier'],
    ],
    [
      'elsewhere when the cache stands in memory that is full',
      ask(8_000, { cachedTokens: 6_000, kvUsageRatio: 1 }, { kvUsageRatio: 0.5 }),
      ['costlier', 'chosen'],
    ],
    [
      'with memory that is only used well as with any',
      ask(8_000, { cachedTokens: 100, kvUsageRatio: 0.79 }, { kvUsageRatio: 0 }),
      ['chosen', 'costlier'],
    ],
    [
      'never above the bound, whatever is saved',
      ask(1_000, { cachedTokens: 1_000, loadTokens: 60_000 }, { loadTokens: 20_000 }, { loadTokens: 20_000 }),
      ['overloaded', 'chosen', 'costlier'],
    ],
    [
      'though above the bound, where next to nothing runs: a short request must not move a long conversation',
      ask(90_000, { cachedTokens: 89_000, loadTokens: 900 }, {}, {}, {}),
      ['chosen', 'costlier', 'costlier', 'costlier'],
    ],
    [
      'where least runs when nothing is cached',
      ask(500, { loadTokens: 900 }, { loadTokens: 300 }, { loadTokens: 800 }),
      ['costlier', 'chosen', 'costlier'],
    ],
    [
      'among the healthy ones',
      ask(8_000, { healthy: false, cachedTokens: 8_000 }, { loadTokens: 50_000 }),
      ['unhealthy', 'chosen'],
    ],
    [
      'as if all were healthy when none is',
      ask(8_000, { healthy: false }, { healthy: false, cachedTokens: 8_000 }),
      ['costlier', 'chosen'],
    ],
    [
      'where there is only one, whatever is wrong with it',
      ask(8_000, { healthy: false, kvUsageRatio: 1, loadTokens: 1e9 }),
      ['chosen'],
    ],
  ])('%s', (_, question, expected) => {
    expect(verdicts(question)).toEqual(expected)
  })

  it('in turn among equals', () => {
    const equal = ask(500, {}, {}, {})
    expect([0, 1, 2, 3, 4].map((turn) => chooseReplica({ ...equal, turn }).index)).toEqual([0, 1, 2, 0, 1])
  })

  it('with the numbers that were seen', () => {
    const question = ask(8_000, { cachedTokens: 6_000, kvUsageRatio: 0.5 }, { loadTokens: 12, healthy: false })
    expect(explainReplica(question, chooseReplica(question), ['http://a', 'http://b'])).toBe(
      'prompt of 8000 tokens, load at most 12384: ' +
        'http://a chosen (cached 6000, queued 0, load 0, memory 50 %, cost 2000); ' +
        'http://b unhealthy (cached 0, queued 0, load 12, memory unknown, cost 8000)',
    )
  })
})

const tokens = fc.integer({ min: 0, max: 200_000 })
const replicas = fc.array(
  fc.record<ReplicaFacts>({
    healthy: fc.boolean(),
    cachedTokens: tokens,
    loadTokens: tokens,
    queuedTokens: tokens,
    kvUsageRatio: fc.option(fc.double({ min: 0, max: 1, noNaN: true })),
  }),
  { minLength: 1, maxLength: 64 },
)
const questions = fc.record<ReplicaQuestion>({ promptTokens: tokens, replicas, turn: fc.nat() })

describe('whatever is asked', () => {
  it('one is chosen, healthy if any is, and within the bound or exempt from it', () => {
    fc.assert(
      fc.property(questions, (question) => {
        const { index, views, loadTokensMax } = chooseReplica(question)
        const chosen = question.replicas[index]
        expect(chosen).toBeDefined()
        expect(views.filter(({ verdict }) => verdict === 'chosen')).toHaveLength(1)
        const healthy = question.replicas.filter((replica) => replica.healthy)
        const candidates = healthy.length > 0 ? healthy : question.replicas
        expect(candidates).toContain(chosen)
        const weight = question.promptTokens + requestWeightTokens
        const loads = candidates.map(({ loadTokens }) => loadTokens)
        const mean = (loads.reduce((sum, load) => sum + load, 0) + weight) / candidates.length
        expect(loadTokensMax).toBeCloseTo(loadRatioMax * mean, 3)
        const load = chosen?.loadTokens ?? Number.NaN
        expect(
          load + weight <= loadRatioMax * mean + 1e-6 || load <= Math.max(Math.min(...loads), idleLoadTokens),
        ).toBe(true)
      }),
    )
  })

  it('no permitted one would have been cheaper, and more in its cache never loses it the request', () => {
    fc.assert(
      fc.property(questions, fc.integer({ min: 2, max: 5_000 }), (question, more) => {
        const { index, views } = chooseReplica(question)
        const cost = views[index]?.costTokens ?? Number.NaN
        for (const { verdict, costTokens } of views)
          if (verdict === 'costlier') expect(costTokens).toBeGreaterThan(cost - 1)
        const better = question.replicas.map((replica, at) =>
          at === index ? { ...replica, cachedTokens: replica.cachedTokens + more } : replica,
        )
        expect(chooseReplica({ ...question, replicas: better }).index).toBe(index)
      }),
    )
  })

  it('is answered the same again', () => {
    fc.assert(
      fc.property(questions, (question) => {
        expect(chooseReplica(question)).toEqual(chooseReplica(structuredClone(question)))
      }),
    )
  })
})

describe('an adversary who sends one prompt again and again', () => {
  it.each([1, 2, 3])('cannot heap it on the replica that has it (seed %i)', (seed) => {
    let state = seed
    const random = () => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff
      return state / 0x7fff_ffff
    }
    const loads = [0, 0, 0, 0]
    const running: { index: number; weight: number }[] = []
    for (let step = 0; step < 5_000; step++) {
      const promptTokens = 500 + Math.floor(random() * 4_000)
      const question = ask(
        promptTokens,
        ...loads.map((loadTokens, at) => ({ loadTokens, cachedTokens: at === 0 ? promptTokens : 0 })),
      )
      const { index } = chooseReplica({ ...question, turn: step })
      const least = Math.min(...loads)
      const weight = promptTokens + requestWeightTokens
      loads[index] = (loads[index] ?? 0) + weight
      running.push({ index, weight })
      const mean = loads.reduce((sum, load) => sum + load, 0) / loads.length
      // One request cannot be divided: where least or next to nothing runs it may stand out by itself.
      expect(loads[index]).toBeLessThanOrEqual(
        Math.max(loadRatioMax * mean, Math.max(least, idleLoadTokens) + weight) + 1e-6,
      )
      while (running.length > 0 && random() < 0.5) {
        const [ended] = running.splice(Math.floor(random() * running.length), 1)
        if (ended !== undefined) loads[ended.index] = (loads[ended.index] ?? 0) - ended.weight
      }
    }
  })
})
