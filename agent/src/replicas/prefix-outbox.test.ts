import { describe, expect, it } from 'vitest'
import { type LearnedPrefix, PrefixOutbox } from './prefix-outbox.js'

const prefixOf = (number: number, blockCount: number): LearnedPrefix => ({
  ...{ providerId: 'prv_1', url: `http://r${number}/v1`, salt: { high: 1, low: 2 } },
  names: new Uint32Array(blockCount * 2),
})
const numbers = (prefixes: readonly LearnedPrefix[]) => prefixes.map(({ url }) => Number(/\d+/.exec(url)?.[0]))

describe('beginnings of prompts on their way', () => {
  it('leave in the order in which they came, once', () => {
    const outbox = new PrefixOutbox()
    for (const number of [3, 1, 2]) outbox.add(prefixOf(number, 4))
    expect([outbox.isEmpty, numbers(outbox.take()), outbox.isEmpty]).toEqual([false, [3, 1, 2], true])
    expect(outbox.take()).toEqual([])
  })

  it.each([
    ['at most 256', 300, 2, 256],
    ['at most 64 KiB of names', 20, 1_024, 8],
  ])('are %s, and the oldest are dropped and counted', (_, count, blockCount, kept) => {
    const outbox = new PrefixOutbox()
    for (let number = 0; number < count; number++) outbox.add(prefixOf(number, blockCount))
    const taken = numbers(outbox.take())
    expect(taken).toEqual(Array.from({ length: kept }, (_, i) => count - kept + i))
    expect(outbox.droppedCount).toBe(count - kept)
    outbox.add(prefixOf(1, 1_024))
    expect(numbers(outbox.take())).toEqual([1])
  })
})
