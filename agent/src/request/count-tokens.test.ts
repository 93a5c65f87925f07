import { afterEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../../proto/std/clock.js'
import type { Log } from '../../../proto/std/service.js'
import { estimateTokens, promptText, ThreadTokenCounter } from './count-tokens.js'

const log: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {}, child: () => log }
const counters: ThreadTokenCounter[] = []
afterEach(async () => {
  for (const counter of counters.splice(0)) await counter.stop()
})
function open(): ThreadTokenCounter {
  const counter = new ThreadTokenCounter({ clock: systemClock, log })
  counters.push(counter)
  return counter
}

describe('counting tokens', () => {
  test('as the vocabulary says', async () => {
    const counter = open()
    expect(await counter.count('')).toBe(0)
    expect(await counter.count('hello world')).toBe(2)
    expect(await counter.count('The quick brown fox jumps over the lazy dog.')).toBe(10)
    // Special tokens in a text are just text.
    expect(await counter.count('<|endoftext|>')).toBeGreaterThan(1)
  })

  test('of a long unbroken run is quick, and of a long text close to that of its parts', async () => {
    const counter = open()
    expect(await counter.count('a'.repeat(100_000))).toBeGreaterThan(1_000)
    const sentence = 'The quick brown fox jumps over the lazy dog. '
    const count = await counter.count(sentence.repeat(2_000))
    expect(Math.abs(count - 20_000)).toBeLessThan(1_000)
  })

  test('is estimated when the thread is gone', async () => {
    const counter = open()
    const counting = counter.count('x'.repeat(400))
    await counter.stop()
    expect(await counting).toBe(estimateTokens('x'.repeat(400)))
    expect(await counter.count('hello world')).toBe(2)
  })

  test('of every text in a prompt', () => {
    expect(
      promptText([
        { role: 'user', content: 'a' },
        {
          role: 'user',
          content: [
            { type: 'text', text: 'b' },
            { type: 'image_url', image_url: { url: 'c' } },
          ],
        },
      ]),
    ).toBe('a\nb')
    expect(promptText(['a', 'b'])).toBe('a\nb')
    expect(promptText('a')).toBe('a')
    expect(promptText([[1, 2], null])).toBe('')
  })
})
