import { describe, expect, it } from 'vitest'
import { LoadBoard } from './load-board.js'

describe('what runs at each replica', () => {
  it('is told to every worker as the sum of the others, once', () => {
    const board = new LoadBoard(3)
    board.tell(0, [['a', 2, 2_000, 1, 900]])
    board.tell(1, [['a', 1, 500, 1, 500]])
    expect(board.newsFor(0)).toEqual([['a', 1, 500, 1, 500]])
    expect(board.newsFor(1)).toEqual([['a', 2, 2_000, 1, 900]])
    expect(board.newsFor(2)).toEqual([['a', 3, 2_500, 2, 1_400]])
    expect([0, 1, 2].map((worker) => [board.hasNewsFor(worker), board.newsFor(worker)])).toEqual(
      Array.from({ length: 3 }, () => [false, []]),
    )
  })

  it('of a worker that ended is nothing, and the next one of its number is told all', () => {
    const board = new LoadBoard(2)
    board.tell(0, [['a', 2, 2_000, 1, 900]])
    board.tell(1, [['a', 1, 500, 0, 0]])
    for (const worker of [0, 1]) board.newsFor(worker)
    board.forget(0)
    expect(board.newsFor(1)).toEqual([['a', 0, 0, 0, 0]])
    expect(board.newsFor(0)).toEqual([['a', 1, 500, 0, 0]])
  })

  it('is bounded in one telling and in all', () => {
    const board = new LoadBoard(2)
    const urls = Array.from({ length: 5_000 }, (_, i) => `r${i}`)
    board.tell(
      0,
      urls.map((url) => [url, 1, 1, 1, 1] as const),
    )
    expect(board.newsFor(1)).toHaveLength(256)
    expect(board.hasNewsFor(1)).toBe(true)
    let told = 256
    while (board.hasNewsFor(1)) told += board.newsFor(1).filter(([, count]) => count > 0).length
    expect(told).toBe(4_096)
    // Room comes again with what ends.
    board.tell(0, [['r0', 0, 0, 0, 0]])
    board.newsFor(1)
    board.tell(0, [['new', 1, 1, 0, 0]])
    expect(board.newsFor(1)).toEqual([['new', 1, 1, 0, 0]])
  })
})
