import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ShardedMap } from './sharded-map.js'

describe('a sharded map', () => {
  it('is what a map would be, whatever is set and removed, and leaves its ancestors alone', () => {
    const key = fc.string({ maxLength: 3 })
    const step = fc.record({ set: fc.array(fc.tuple(key, fc.integer())), gone: fc.array(key) })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 8 }), (steps) => {
        let map = ShardedMap.empty<number>()
        let model = new Map<string, number>()
        const history: [ShardedMap<number>, Map<string, number>][] = [[map, model]]
        for (const { set, gone } of steps) {
          model = new Map(model)
          for (const name of gone) model.delete(name)
          for (const [name, value] of set) model.set(name, value)
          map = map.with(set, gone)
          history.push([map, model])
        }
        for (const [was, expected] of history) {
          expect(was.size).toBe(expected.size)
          expect(new Map(was.entries())).toEqual(expected)
          for (const [name, value] of expected) expect(was.get(name)).toBe(value)
        }
      }),
      { seed: 1, numRuns: 300 },
    )
  })

  it('is itself when nothing was asked of it', () => {
    const map = ShardedMap.empty<number>().with([['a', 1]])
    expect(map.with([], ['absent'])).toBe(map)
  })
})
