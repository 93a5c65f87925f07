import { expect, test } from 'vitest'
import { KeptLog } from '../../../agent/src/config/config-fixture.js'
import { systemClock } from '../../../proto/std/clock.js'
import { SharedAnswerSweeper } from './shared-answer-sweeper.js'

/** Clusters with so many steps of work each; that of `failing` throws as Postgres does after a statement's time. */
function start(work: Record<string, number>, failing?: string) {
  const left = new Map(Object.entries(work))
  const steps: string[] = []
  let turnCount = 0
  let isInTurn = false
  let beforeTurn = () => {}
  const step = (name: string) => steps.push(isInTurn ? name : `${name} out of turn`)
  const store = {
    listClusters: async () => {
      step('list')
      return [...left.keys()]
    },
    sweep: async (clusterId: string) => {
      step(clusterId)
      if (clusterId === failing) throw Object.assign(new Error('canceling statement'), { code: '57014' })
      left.set(clusterId, (left.get(clusterId) ?? 0) - 1)
      return (left.get(clusterId) ?? 0) > 0
    },
  }
  const inTurn = async <T>(work: () => Promise<T>) => {
    turnCount += 1
    beforeTurn()
    isInTurn = true
    try {
      return await work()
    } finally {
      isInTurn = false
    }
  }
  const log = new KeptLog()
  const sweeper = new SharedAnswerSweeper({ store, inTurn, clusterBytesMax: 1 << 20, clock: systemClock, log })
  return {
    ...{ sweeper, steps, log, turnCount: () => turnCount },
    onTurn: (listener: () => void) => {
      beforeTurn = listener
    },
  }
}

test('every step of a sweep has a turn of its own', async () => {
  const { sweeper, steps, turnCount } = start({ a: 2, b: 1, c: 100 })
  await sweeper.sweep()
  expect(steps).toEqual(['list', 'a', 'a', 'b', ...Array.from({ length: 16 }, () => 'c')])
  expect(turnCount()).toBe(steps.length)
})

test('a cluster that cannot be swept is logged, and the others are swept', async () => {
  const { sweeper, steps, log } = start({ a: 1, b: 1, c: 1 }, 'b')
  await sweeper.sweep()
  expect(steps).toEqual(['list', 'a', 'b', 'c'])
  expect(log.lines).toMatchObject([{ level: 'warn', fields: { clusterId: 'b', err: { code: '57014' } } }])
})

test('a sweep that is stopped while it waits for its turn does no more', async () => {
  const { sweeper, steps, onTurn, turnCount } = start({ a: 1, b: 1 })
  onTurn(() => {
    if (turnCount() === 2) void sweeper.stop()
  })
  await sweeper.sweep()
  expect([steps, turnCount()]).toEqual([['list'], 2])
})
