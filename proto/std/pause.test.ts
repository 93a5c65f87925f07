import { describe, expect, it } from 'vitest'
import { VirtualClock } from './clock.js'
import { pauseEvery } from './pause.js'

describe('a pause', () => {
  it('costs nothing until its slice is used, then gives the event loop back once', async () => {
    const clock = new VirtualClock()
    const pause = pauseEvery(5, clock)
    expect(pause()).toBeUndefined()
    await clock.advance(4)
    expect(pause()).toBeUndefined()
    await clock.advance(1)
    let others = 0
    setImmediate(() => {
      others += 1
    })
    const paused = pause()
    expect(paused).toBeInstanceOf(Promise)
    await paused
    expect(others).toBe(1)
    expect(pause()).toBeUndefined()
  })
})
