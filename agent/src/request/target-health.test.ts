import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import type { DecisionTables, TargetTable } from '../../../proto/policy/tables.js'
import { VirtualClock } from '../../../proto/std/clock.js'
import { makeTables, makeTarget, silentLog } from '../../../test/harness/agent-door.js'
import { combinationsMax, TargetMetrics } from '../telemetry/target-metrics.js'
import { type KnownTarget, TargetHealths, type TargetPlace, type TargetTry } from './target-health.js'

let clock: VirtualClock
let metrics: TargetMetrics
let healths: TargetHealths

beforeEach(() => {
  clock = new VirtualClock()
  metrics = new TargetMetrics('x_')
  healths = new TargetHealths({ clock, metrics, log: silentLog })
})

function worldOf(targets: TargetTable[]): { tables: DecisionTables; place: TargetPlace } {
  const { tables } = makeTables({ routes: { fast: targets } })
  const [environment] = tables.environments.values()
  const route = environment?.routes.get('fast')
  if (environment === undefined || route === undefined) throw new Error('there is one')
  return { tables, place: { environment, route, ruleId: 'rule' } }
}

const hopsShown = async () =>
  (await metrics.text()).split('\n').filter((line) => line.startsWith('x_target_hops_total{'))
const newTargets = (count: number) => Array.from({ length: count }, () => makeTarget({ origin: 'http://localhost:1' }))
const failed = (more: Partial<TargetTry> = {}): TargetTry => ({
  ...{ outcome: 'upstream_5xx', stream: false, verdict: 'failure', leaseUs: 0, cooldownMs: 0 },
  startedUs: clock.monotonicUs(),
  ...more,
})
const fail = (known: KnownTarget, times = 5) => {
  for (let time = 0; time < times; time++) healths.take(known, failed(), [])
}

describe('what is known of a target', () => {
  test('is kept when its tables change, with its settings as they are now', () => {
    const [target] = newTargets(1) as [TargetTable]
    const { place } = worldOf([target])
    const known = healths.of(target, place)
    fail(known)
    const changed = { ...target, breaker: { failures: 9, openMs: 7, failureRatio: 0, windowMs: 1, requestsMin: 1 } }
    expect(healths.of(changed, worldOf([changed]).place)).toBe(known)
    expect(known.table.openMs).toBe(7)
    expect(healths.facts(clock.monotonicUs(), false).of(changed).state).toBe('open')
  })

  test('is forgotten with the target, its route or its environment, and its numbers with it', async () => {
    const [one, two] = newTargets(2) as [TargetTable, TargetTable]
    const both = worldOf([one, two])
    for (const target of [one, two]) healths.seriesOf(healths.of(target, both.place), both.place).count('ok')
    healths.keepOnly(both.tables)
    expect(healths.size).toBe(2)
    healths.keepOnly(worldOf([two]).tables)
    expect([healths.find(one), healths.size]).toEqual([null, 1])
    expect(await hopsShown()).toEqual([expect.stringContaining(`target="${two.id}"`)])
    healths.keepOnly({ ...both.tables, environments: new Map() })
    expect(healths.size).toBe(0)
  })

  test('is not looked through while only keys and denials change', () => {
    const [target] = newTargets(1) as [TargetTable]
    const { tables, place } = worldOf([target])
    healths.keepOnly(tables)
    // Something that these tables do not have: it would be forgotten by a look.
    healths.of(makeTarget({ origin: 'http://localhost:1' }), place)
    healths.keepOnly({ ...tables, generation: 8 })
    expect(healths.size).toBe(1)
  })

  test('is forgotten once, with its last place: what ends there later leaves alone who came under the same id', () => {
    const target = makeTarget({ origin: 'http://localhost:1', routing: { batchSize: 1 } })
    const { tables, place } = worldOf([target])
    const known = healths.of(target, place)
    known.batch?.take()
    healths.keepOnly({ ...tables, environments: new Map() })
    expect(healths.find(target)).toBe(known)
    known.batch?.giveBack()
    healths.take(known, failed(), [])
    expect(healths.find(target)).toBeNull()
    const fresh = healths.of(target, place)
    healths.take(known, failed(), [])
    expect(healths.find(target)).toBe(fresh)
  })

  test('ends as it would where the target is forgotten while something runs there', () => {
    const [target] = newTargets(1) as [TargetTable]
    const { tables, place } = worldOf([target])
    const known = healths.of(target, place)
    known.enter(0)
    healths.keepOnly({ ...tables, environments: new Map() })
    healths.take(known, failed(), [])
    known.leave()
    expect([known.inFlightCount, healths.inFlightCount]).toEqual([0, 0])
    expect(() => known.leave()).toThrow('what leaves a target has entered it')
  })

  test('has as many places as the newest tables say, whoever asks by those of before', () => {
    const [target] = newTargets(1) as [TargetTable]
    const small = { ...target, batchSize: 2, batchWaitMs: 50 }
    const large = { ...target, batchSize: 5, batchWaitMs: 70 }
    const [before, after] = [worldOf([small]), worldOf([large])]
    const known = healths.of(small, before.place)
    const limits = () => [known.batch?.sizeMax, known.batch?.waitMs]
    expect(limits()).toEqual([2, 50])
    known.batch?.take()
    healths.keepOnly(after.tables)
    expect(limits()).toEqual([5, 70])
    // A request that took its tables before.
    expect(healths.of(small, before.place)).toBe(known)
    expect(limits()).toEqual([5, 70])
    healths.of({ ...large, batchSize: null, batchWaitMs: 0 }, after.place)
    expect(limits()).toEqual([Number.POSITIVE_INFINITY, 0])
    healths.of(large, after.place)
    expect([...limits(), known.batch?.runningCount]).toEqual([5, 70, 1])
    // Of a target that never had a limit nobody counts anything.
    expect(healths.of(newTargets(1)[0] as TargetTable, after.place).batch).toBeNull()
  })

  test('is bounded: of twenty thousand and one, the first with nothing running is forgotten', () => {
    const [target] = newTargets(1) as [TargetTable]
    const { place } = worldOf([target])
    const known = Array.from({ length: 20_000 }, (_, index) => healths.of({ ...target, id: `t${index}` }, place))
    known[0]?.enter(0)
    healths.of({ ...target, id: 'one more' }, place)
    expect(healths.size).toBe(20_000)
    expect(healths.find({ ...target, id: 't0' })).not.toBeNull()
    expect(healths.find({ ...target, id: 't1' })).toBeNull()
  })
})

describe('the facts of a decision', () => {
  test('of a target that nobody asked are those of a healthy one, and it stays unknown', () => {
    const [target] = newTargets(1) as [TargetTable]
    const facts = healths.facts(0, false)
    expect(facts.of(target)).toEqual({ state: 'closed', retryInMs: 0, latencyUs: null, inFlightCount: 0 })
    expect(healths.size).toBe(0)
  })

  test('stay as they were, whatever happens later', () => {
    const [target] = newTargets(1) as [TargetTable]
    const known = healths.of(target, worldOf([target]).place)
    known.enter(0)
    known.observe(300_000, true)
    const seen = healths.facts(clock.monotonicUs(), true).of(target)
    fail(known)
    expect(seen).toEqual({ state: 'closed', retryInMs: 0, latencyUs: 300_000, inFlightCount: 1 })
    expect(healths.facts(clock.monotonicUs(), true).of(target)).toMatchObject({ state: 'open', retryInMs: 5_000 })
  })

  test('know first tokens of streams for streams, and of whole answers for those, else the other', () => {
    const [target] = newTargets(1) as [TargetTable]
    const known = healths.of(target, worldOf([target]).place)
    known.observe(9_000_000, false)
    expect(healths.facts(0, true).of(target).latencyUs).toBe(9_000_000)
    known.observe(300_000, true)
    expect(healths.facts(0, true).of(target).latencyUs).toBe(300_000)
    expect(healths.facts(0, false).of(target).latencyUs).toBe(9_000_000)
  })

  test('are calm while nobody is left alone, and never while somebody is', async () => {
    const steps = fc.array(
      fc.record({
        at: fc.nat(2),
        kind: fc.constantFrom('fail', 'ok', 'cool', 'eject', 'probe'),
        waitMs: fc.nat(4_000),
      }),
      { maxLength: 60 },
    )
    await fc.assert(
      fc.asyncProperty(steps, async (sequence) => {
        clock = new VirtualClock()
        healths = new TargetHealths({ clock, metrics, log: silentLog })
        const targets = newTargets(3)
        const { place } = worldOf(targets)
        expect(healths.facts(clock.monotonicUs(), false).calm).toBe(true)
        for (const { at, kind, waitMs } of sequence) {
          await clock.advance(waitMs)
          const nowUs = clock.monotonicUs()
          const known = healths.of(targets[at] as TargetTable, place)
          if (kind === 'fail') fail(known)
          else if (kind === 'ok') healths.take(known, failed({ verdict: 'success' }), [])
          else if (kind === 'cool') healths.take(known, failed({ verdict: 'none', cooldownMs: 700 }), [])
          else if (kind === 'probe') healths.claimProbe(known, nowUs, nowUs + 3_000_000)
          const facts = healths.facts(clock.monotonicUs(), false)
          const isSomebodyAway = targets.some((target) => facts.of(target).state === 'open')
          if (isSomebodyAway) expect(facts.calm).toBe(false)
        }
        await clock.advance(1_000_000)
        expect(healths.facts(clock.monotonicUs(), false).calm).toBe(true)
      }),
      { numRuns: 50 },
    )
  })
})

describe('the numbers of targets', () => {
  test('are those of each route that shows the target as its own', async () => {
    const [target] = newTargets(1) as [TargetTable]
    const { place } = worldOf([target])
    const known = healths.of(target, place)
    const other = { ...place, route: { ...place.route, id: 'rte_other' }, ruleId: 'rule' }
    healths.seriesOf(known, place).count('ok')
    healths.seriesOf(known, other).count('ok')
    healths.seriesOf(known, other).count('ok')
    expect(await hopsShown()).toEqual([
      expect.stringMatching(/route="rte_fast".* 1$/),
      expect.stringMatching(/route="rte_other".* 2$/),
    ])
  })

  test('are bounded: what is beyond is counted as other, and who is forgotten makes room', async () => {
    const targets = newTargets(combinationsMax + 2)
    const { place, tables } = worldOf(targets)
    for (const target of targets) healths.seriesOf(healths.of(target, place), place).count('ok')
    expect(await hopsShown()).toHaveLength(combinationsMax + 1)
    expect((await hopsShown()).at(-1)).toMatch(/target="other".* 2$/)
    healths.keepOnly({ ...tables, environments: new Map() })
    const [target] = newTargets(1) as [TargetTable]
    healths.seriesOf(healths.of(target, place), place).count('ok')
    expect(await hopsShown()).toEqual([
      expect.stringContaining(`target="${target.id}"`),
      expect.stringMatching(/target="other".* 2$/),
    ])
  })
})
