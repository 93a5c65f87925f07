import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FirstTokenTimes } from './first-token-times.js'

const second = 1_000_000

function timesOf(durationsUs: readonly number[]): FirstTokenTimes {
  const times = new FirstTokenTimes()
  for (const durationUs of durationsUs) times.observe(durationUs, 0)
  return times
}

describe('percentiles', () => {
  test('are the sample’s own, at most a fifth too high, never too low', () => {
    const durations = fc.array(fc.integer({ min: 1_001, max: 90 * second }), { minLength: 1, maxLength: 400 })
    fc.assert(
      fc.property(durations, fc.constantFrom(0.5, 0.95, 1), (durationsUs, ratio) => {
        const sorted = [...durationsUs].sort((a, b) => a - b)
        const exactUs = sorted[Math.ceil(sorted.length * ratio) - 1] ?? 0
        const foundUs = timesOf(durationsUs).percentileUs(ratio)
        expect(foundUs).toBeGreaterThanOrEqual(exactUs - 1)
        expect(foundUs).toBeLessThanOrEqual(exactUs * 1.2 + 1)
      }),
    )
  })

  test('follow what is new: the newest hundreds decide', () => {
    const times = timesOf(Array(500).fill(10 * second))
    for (let count = 0; count < 2_000; count++) times.observe(second, 0)
    expect(times.percentileUs(0.95)).toBeLessThan(1.3 * second)
    expect(times.count).toBeLessThan(512)
  })

  test('know no end: what is longer than a hundred seconds is in the last bucket', () => {
    expect(timesOf([10 ** 12]).percentileUs(1)).toBeGreaterThan(90 * second)
  })
})

describe('the moving average', () => {
  test('goes up at once and down slowly', () => {
    const times = timesOf([100_000])
    times.observe(5 * second, second)
    expect(times.averageUs(second)).toBe(5 * second)
    times.observe(100_000, 2 * second)
    expect(times.averageUs(2 * second)).toBeGreaterThan(4 * second)
    for (let at = 3; at < 60; at++) times.observe(100_000, at * second)
    expect(times.averageUs(60 * second)).toBeLessThan(150_000)
  })

  test('sinks while nobody asks, so that a slow target is tried again', () => {
    const times = timesOf([8 * second])
    expect(times.averageUs(60 * second)).toBeLessThan(100_000)
  })

  test('takes a wait that nobody saw the end of for a peak, not for a sample', () => {
    const times = timesOf([second])
    times.exceeded(3 * second, 0)
    times.exceeded(2 * second, 0)
    expect(times.averageUs(0)).toBe(3 * second)
    expect(times.count).toBe(1)
  })

  test('is always between nothing and the highest that was seen', () => {
    const steps = fc.array(fc.tuple(fc.nat(10 * second), fc.nat(5 * second)), { minLength: 1, maxLength: 200 })
    fc.assert(
      fc.property(steps, (sequence) => {
        const times = new FirstTokenTimes()
        let nowUs = 0
        let highestUs = 1
        for (const [durationUs, waitUs] of sequence) {
          nowUs += waitUs
          highestUs = Math.max(highestUs, durationUs)
          times.observe(durationUs, nowUs)
          expect(times.averageUs(nowUs)).toBeGreaterThan(0)
          expect(times.averageUs(nowUs)).toBeLessThanOrEqual(highestUs)
          expect(times.averageUs(nowUs)).toBeGreaterThanOrEqual(Math.min(durationUs, highestUs) - 1)
        }
      }),
    )
  })
})
