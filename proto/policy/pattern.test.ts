import { createRequire } from 'node:module'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { compileCondition, isCondition } from './condition.js'
import { compilePattern, type Pattern } from './pattern.js'

test('the library of patterns is loaded with the first pattern, not before', () => {
  const require = createRequire(import.meta.url)
  const isLoaded = () => require.cache[require.resolve('re2js')] !== undefined
  expect(isCondition(compileCondition('user.startsWith("a") && model == "chat"'))).toBe(true)
  // Nor for what is refused by its text.
  expect(isCondition(compileCondition('user.matches("(a{1000}){1000}")'))).toBe(false)
  expect(isLoaded()).toBe(false)
  expect(isCondition(compileCondition('user.matches("^a")'))).toBe(true)
  expect(isLoaded()).toBe(true)
})

test('a pattern holds little memory, whatever it has searched', () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const heapBytes = () => {
    collect()
    return process.memoryUsage().heapUsed
  }
  // An automaton of a million states, and texts that reach as many of them as they can.
  const made = () => must(compilePattern('[ab]*a[ab]{20}c'))
  let state = 1
  const noise = () =>
    `c${Array.from({ length: 8_000 }, () => {
      state = (state * 48_271) % 2_147_483_647
      return state > 1_073_741_823 ? 'a' : 'b'
    }).join('')}`
  made().isIn(noise())
  const beforeBytes = heapBytes()
  const patterns = Array.from({ length: 20 }, made)
  for (const pattern of patterns) for (let count = 0; count < 4; count++) expect(pattern.isIn(noise())).toBe(false)
  // The library's own automata would have 8 MiB each.
  expect((heapBytes() - beforeBytes) / patterns.length).toBeLessThan(512 * 1024)
})

function must(pattern: Pattern | string): Pattern {
  if (typeof pattern === 'string') throw new Error(pattern)
  return pattern
}
