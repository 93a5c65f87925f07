import { describe, expect, it } from 'vitest'
import type { UseTelling } from './messages.js'
import { UseBoard } from './use-board.js'

const secondUs = 1_000_000
const use = (keys: UseTelling['keys'], over: Partial<UseTelling> = {}): UseTelling => ({
  ...{ connections: 0, inFlight: 0, keys },
  ...over,
})

describe('the board of what workers use', () => {
  it('tells each worker the sum of the others, and only what it does not know', () => {
    const board = new UseBoard(3)
    board.tell(0, use([['k', 2, 5]], { connections: 4, inFlight: 2 }), 0)
    board.tell(1, use([['k', 1, 1]], { connections: 1, inFlight: 1 }), 0)
    expect(board.newsFor(0)).toEqual({ connections: 1, inFlight: 1, keys: [['k', 1, 1]] })
    expect(board.newsFor(1)).toEqual({ connections: 4, inFlight: 2, keys: [['k', 2, 5]] })
    expect(board.newsFor(2)).toEqual({ connections: 5, inFlight: 3, keys: [['k', 3, 6]] })
    expect([0, 1, 2].map((worker) => board.newsFor(worker))).toEqual([null, null, null])
    expect(board.inFlightCount).toBe(3)
    board.tell(1, use([['k', 0, 0]], { connections: 1, inFlight: 0 }), 0)
    expect(board.newsFor(1)).toBeNull()
    expect(board.newsFor(0)).toEqual({ connections: 1, inFlight: 0, keys: [['k', 0, 1]] })
  })

  it('forgets takes after a minute, neither earlier nor much later, and says so', () => {
    const board = new UseBoard(2)
    board.tell(0, use([['k', 0, 7]]), 3 * secondUs)
    board.newsFor(1)
    board.advance(63 * secondUs)
    expect(board.newsFor(1)).toBeNull()
    board.advance(68 * secondUs)
    expect(board.newsFor(1)).toEqual({ connections: 0, inFlight: 0, keys: [['k', 0, 0]] })
    expect(board.keyCount).toBe(0)
  })

  it('keeps a key that runs however long nothing is told of it', () => {
    const board = new UseBoard(2)
    board.tell(0, use([['k', 1, 1]]), 0)
    board.advance(3_600 * secondUs)
    expect(board.newsFor(1)?.keys).toEqual([['k', 1, 0]])
  })

  it('takes back what ran in a worker that ended, and tells the next one of its number everything', () => {
    const board = new UseBoard(2)
    board.tell(0, use([['k', 2, 3]], { connections: 2, inFlight: 2 }), 0)
    board.tell(1, use([['k', 1, 1]], { connections: 1, inFlight: 1 }), 0)
    board.newsFor(0)
    board.newsFor(1)
    board.forget(0)
    expect(board.newsFor(1)).toEqual({ connections: 0, inFlight: 0, keys: [['k', 0, 3]] })
    expect(board.newsFor(0)).toEqual({ connections: 1, inFlight: 1, keys: [['k', 1, 1]] })
  })

  it('has room for so many keys, says how many it refused, and has room again', () => {
    const board = new UseBoard(2, { keysMax: 2 })
    expect(
      board.tell(
        0,
        use([
          ['a', 0, 1],
          ['b', 1, 1],
          ['c', 0, 1],
        ]),
        0,
      ),
    ).toBe(1)
    expect(board.tell(1, use([['b', 1, 1]]), 0)).toBe(0)
    board.advance(70 * secondUs)
    expect(board.keyCount).toBe(1)
    expect(board.tell(0, use([['c', 0, 1]]), 70 * secondUs)).toBe(0)
  })
  it('tells of so many keys at a time, the longest known first, and of the rest in the next', () => {
    const board = new UseBoard(2)
    const names = Array.from({ length: 4_500 }, (_, i) => `k${i}`)
    board.tell(0, use(names.map((name) => [name, 1, 1] as const)), 0)
    const told: string[] = []
    for (const count of [2_000, 2_000, 500]) {
      expect(board.hasNewsFor(1)).toBe(true)
      const keys = board.newsFor(1)?.keys ?? []
      expect(keys).toHaveLength(count)
      told.push(...keys.map(([id]) => id))
    }
    expect(told).toEqual(names)
    expect([board.hasNewsFor(1), board.newsFor(1)]).toEqual([false, null])
  })
})
