import { describe, expect, test } from 'vitest'
import { runKillScenario } from './kill-scenario.js'

describe.each(['postgres', 'redis'] as const)('kill -9 under load, BullMQ on %s', (queue) => {
  test('leaves exactly one record per accepted request and the right tokens', { timeout: 400_000 }, async () => {
    const result = await runKillScenario({ queue, kills: 10, seed: 20_261, report: (line) => console.info(line) })
    console.info(
      `interrupted and aborted: ${result.unclaimedTokens} tokens served beyond their records`,
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
  })
})
