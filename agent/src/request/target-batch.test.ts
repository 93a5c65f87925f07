import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { VirtualClock } from '../../../proto/std/clock.js'
import { Deadlines } from '../../../proto/std/deadlines.js'
import { type PlaceWait, TargetBatch, waitingMax } from './target-batch.js'

let clock: VirtualClock
let deadlines: Deadlines
/** Who has heard what, in order. */
let heard: string[]

beforeEach(() => {
  clock = new VirtualClock()
  deadlines = new Deadlines(clock)
  heard = []
})

const settle = () => clock.advance(0).then(() => new Promise<void>((resolve) => setImmediate(resolve)))

function full(size: number): TargetBatch {
  const batch = new TargetBatch(size, 1_000)
  for (let place = 0; place < size; place++) batch.take()
  return batch
}

function wait(batch: TargetBatch, name: string, waitMs = 1_000, sinceUs = clock.monotonicUs()): PlaceWait {
  const one = batch.wait(deadlines, sinceUs, clock.monotonicUs() + waitMs * 1000)
  if (one === null) throw new Error('the line is too long')
  void one.over.then((hasPlace) => heard.push(`${name} ${hasPlace ? 'in' : 'out'} at ${clock.monotonicUs() / 1000}`))
  return one
}

const countsOf = (batch: TargetBatch) => [batch.runningCount, batch.waitingCount, deadlines.size]

describe('places', () => {
  test('are as many as the batch is large', () => {
    const batch = full(2)
    expect(batch.hasPlace).toBe(false)
    expect(() => batch.take()).toThrow('was free')
    batch.giveBack()
    expect(batch.hasPlace).toBe(true)
    batch.giveBack()
    expect(() => batch.giveBack()).toThrow('was taken')
    expect(countsOf(batch)).toEqual([0, 0, 0])
  })

  test('are not waited for while there is one', () => {
    expect(() => new TargetBatch(1, 0).wait(deadlines, 0, 1)).toThrow('nobody waits')
  })
})

describe('who waits', () => {
  test('has the place that comes free in the same turn, in the order in which they came', async () => {
    const batch = full(2)
    for (const name of ['a', 'b', 'c']) wait(batch, name)
    batch.giveBack()
    expect(countsOf(batch)).toEqual([2, 2, 2])
    batch.giveBack()
    await settle()
    expect(heard).toEqual(['a in at 0', 'b in at 0'])
    batch.giveBack()
    await settle()
    expect(heard.at(-1)).toBe('c in at 0')
    expect(countsOf(batch)).toEqual([2, 0, 0])
    for (let place = 0; place < 2; place++) batch.giveBack()
    expect(countsOf(batch)).toEqual([0, 0, 0])
  })

  test('is told when its time is over, each at its own, and takes no place', async () => {
    const batch = full(1)
    wait(batch, 'patient', 500)
    wait(batch, 'hasty', 20)
    await clock.advance(1_000)
    expect(heard).toEqual(['hasty out at 20', 'patient out at 500'])
    expect(countsOf(batch)).toEqual([1, 0, 0])
  })

  test('may leave from the front, the middle and the end; a place goes to the first that is still there', async () => {
    const batch = full(1)
    const line = ['a', 'b', 'c', 'd', 'e'].map((name) => wait(batch, name))
    for (const at of [0, 2, 4]) line[at]?.end(false)
    expect(countsOf(batch)).toEqual([1, 2, 2])
    batch.giveBack()
    batch.giveBack()
    await settle()
    expect(heard).toEqual(['a out at 0', 'c out at 0', 'e out at 0', 'b in at 0', 'd in at 0'])
    expect(countsOf(batch)).toEqual([1, 0, 0])
  })

  test('changes nothing by leaving when it is over, with a place or without', async () => {
    const batch = full(1)
    const [first, second] = [wait(batch, 'a'), wait(batch, 'b', 10)] as const
    await clock.advance(10)
    second.end(false)
    second.onDue()
    batch.giveBack()
    first.end(false)
    await settle()
    expect(heard).toEqual(['b out at 10', 'a in at 10'])
    expect(countsOf(batch)).toEqual([1, 0, 0])
    batch.giveBack()
    expect(batch.runningCount).toBe(0)
  })

  test('stands before those that came later, whoever asked to wait first', async () => {
    const batch = full(1)
    await clock.advance(100)
    wait(batch, 'b', 1_000, 40_000)
    wait(batch, 'd')
    wait(batch, 'c', 1_000, 70_000)
    wait(batch, 'a', 1_000, 10_000)
    for (let place = 0; place < 4; place++) batch.giveBack()
    await settle()
    expect(heard.map((words) => words[0])).toEqual(['a', 'b', 'c', 'd'])
  })

  test('is one of so many at most', () => {
    const batch = full(1)
    for (let count = 0; count < waitingMax; count++) batch.wait(deadlines, 0, 1_000_000)
    expect(batch.wait(deadlines, 0, 1_000_000)).toBeNull()
    batch.giveBack()
    expect(batch.wait(deadlines, 0, 1_000_000)).not.toBeNull()
    expect(countsOf(batch)).toEqual([1, waitingMax, waitingMax])
  })
})

describe('another size', () => {
  test('that is larger is for those that wait, at once', async () => {
    const batch = full(1)
    for (const name of ['a', 'b', 'c']) wait(batch, name)
    batch.resize(3, 0)
    await settle()
    expect(heard).toEqual(['a in at 0', 'b in at 0'])
    expect(countsOf(batch)).toEqual([3, 1, 1])
    batch.resize(Number.POSITIVE_INFINITY, 0)
    await settle()
    expect([heard.length, batch.hasPlace]).toEqual([3, true])
  })

  test('that is smaller lets nobody in until fewer run than that', async () => {
    const batch = full(3)
    wait(batch, 'a')
    batch.resize(1, 1_000)
    batch.giveBack()
    batch.giveBack()
    await settle()
    expect([heard, batch.runningCount]).toEqual([[], 1])
    batch.giveBack()
    await settle()
    expect(heard).toEqual(['a in at 0'])
  })
})

type Step = readonly ['come' | 'end' | 'leave' | 'pass' | 'resize', number]

test('whatever happens in whatever order: never too many, nobody waits beside a free place, nothing is left', async () => {
  const steps = fc.array(
    fc.tuple(fc.constantFrom('come', 'come', 'end', 'leave', 'pass', 'resize'), fc.nat(7)) as fc.Arbitrary<Step>,
    { maxLength: 60 },
  )
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 4 }), steps, async (size, all) => {
      const batch = new TargetBatch(size, 0)
      const running: number[] = []
      const line: { id: number; wait: PlaceWait }[] = []
      const served: number[] = []
      let last = 0
      let lowered = false
      for (const [step, number] of all) {
        const before = batch.runningCount
        if (step === 'come' && batch.hasPlace) {
          batch.take()
          running.push(++last)
        } else if (step === 'come') {
          const id = ++last
          const one = batch.wait(deadlines, clock.monotonicUs(), clock.monotonicUs() + (number + 1) * 10_000)
          if (one === null) throw new Error('the line is short')
          line.push({ id, wait: one })
          void one.over.then((hasPlace) => {
            line.splice(
              line.findIndex((other) => other.id === id),
              1,
            )
            if (!hasPlace) return
            running.push(id)
            served.push(id)
          })
        } else if (step === 'end' && running.length > 0) {
          running.splice(number % running.length, 1)
          batch.giveBack()
        } else if (step === 'leave' && line.length > 0) {
          line[number % line.length]?.wait.end(false)
        } else if (step === 'pass') await clock.advance(number * 5)
        else if (step === 'resize') {
          lowered ||= number + 1 < batch.sizeMax
          batch.resize(number + 1, 0)
        }
        await settle()
        expect(batch.runningCount).toBe(running.length)
        expect(batch.waitingCount).toBe(line.length)
        if (!lowered) expect(batch.runningCount).toBeLessThanOrEqual(batch.sizeMax)
        else if (batch.runningCount > batch.sizeMax) expect(batch.runningCount).toBeLessThanOrEqual(before)
        if (line.length > 0) expect(batch.hasPlace).toBe(false)
      }
      expect(served).toEqual([...served].sort((a, b) => a - b))
      for (const one of [...line]) one.wait.end(false)
      while (running.pop() !== undefined) batch.giveBack()
      await settle()
      expect(countsOf(batch)).toEqual([0, 0, 0])
    }),
    { numRuns: 150 },
  )
})
