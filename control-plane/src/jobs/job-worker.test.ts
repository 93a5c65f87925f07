import { expect, it } from 'vitest'
import { type Clock, systemClock } from '../../../proto/std/clock.js'
import type { Log } from '../../../proto/std/service.js'
import type { JobQueues } from './job-queues.js'
import { JobWorker } from './job-worker.js'

const quiet: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet }

it('watches one consumer at a time: the watch of one that broke ends with it', async () => {
  const consumerMax = 20
  let consumerCount = 0
  let sleepingCount = 0
  // Waits between two consumers are at most 10 s before jitter and here over at once; a watch sleeps until it is ended.
  let isWaiting = false
  const clock: Clock = {
    ...systemClock,
    sleep: async (_ms, signal) => {
      if (isWaiting) {
        isWaiting = false
        return
      }
      sleepingCount += 1
      await new Promise<void>((resolve) => signal?.addEventListener('abort', () => resolve(), { once: true }))
      sleepingCount -= 1
      throw new Error('ended')
    },
  }
  const queues = {
    consume: () => {
      consumerCount += 1
      const ended = consumerCount < consumerMax ? Promise.reject(new Error('away')) : new Promise<void>(() => {})
      return {
        ready: Promise.resolve(),
        ended,
        close: async () => {
          isWaiting = true
        },
      }
    },
  } as unknown as JobQueues
  const worker = new JobWorker({ queues, queue: 'usage', process: async () => {}, clock, random: () => 0, log: quiet })
  await worker.run()
  while (consumerCount < consumerMax) await systemClock.sleep(1)
  await systemClock.sleep(5)
  expect(sleepingCount).toBe(1)
  await worker.stop()
  await systemClock.sleep(5)
  expect(sleepingCount).toBe(0)
})
