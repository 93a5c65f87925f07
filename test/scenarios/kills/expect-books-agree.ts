import { expect } from 'vitest'
import { runKillScenario } from './kill-scenario.js'

/** Ten seeded kills under load on one queue backend, and what must hold afterwards. */
export async function expectBooksAgree(queue: 'postgres' | 'redis'): Promise<void> {
  const result = await runKillScenario({ queue, kills: 10, seed: 20_261 })
  console.info(
    `BullMQ on ${queue}: ${result.acceptedCount} accepted, ${result.recordCount} records; interrupted and aborted: ` +
      `${result.unclaimedTokens} tokens served beyond their records`,
    result.statuses,
  )
  expect(result.wholeCount).toBeGreaterThan(50)
  expect(result).toMatchObject({
    missing: [],
    duplicated: [],
    wrongTokens: [],
    overcounted: [],
    invented: [],
    deadLetterCount: 0,
    rollupsAgree: true,
  })
}
