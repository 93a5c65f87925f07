import { randomFrom } from '../../../deploy/local/simulator-text.js'
import { systemClock } from '../../../proto/std/clock.js'
import { eventually } from '../../harness/process.js'
import { Stack } from '../../harness/stack.js'
import { Load } from './load.js'
import { type Reconciliation, reconcile } from './reconcile.js'

export const killable = ['agent', 'control-plane', 'queue', 'postgres'] as const
export type Killable = (typeof killable)[number]

export interface KillScenarioOptions {
  queue: 'postgres' | 'redis'
  kills: number
  seed: number
  /** A line per kill, for people. */
  report?: (line: string) => void
}

export interface KillScenarioResult extends Reconciliation {
  readonly kills: Readonly<Record<Killable, number>>
}

/**
 * Kills parts of the product with SIGKILL at random moments under load, each restarted, and reconciles when it settled.
 * Who is killed and when comes from the seed; every part has its turn before any has its second.
 */
export async function runKillScenario(options: KillScenarioOptions): Promise<KillScenarioResult> {
  const random = randomFrom(options.seed)
  const stack = new Stack({ queue: options.queue, seed: options.seed })
  const kills: Record<Killable, number> = { agent: 0, 'control-plane': 0, queue: 0, postgres: 0 }
  const parts = killable.filter((part) => part !== 'queue' || options.queue === 'redis')
  try {
    await stack.start()
    // Slow enough that every kill meets requests in the middle of their streams.
    stack.simulator.behave({ tokensPerSecond: 200, ttftMs: 20 })
    const load = new Load({
      agentUrl: stack.agentUrl,
      apiKey: stack.seed.apiKey,
      model: stack.chatRoute,
      embeddingsModel: stack.embeddingsRoute,
      clients: 8,
      random,
    })
    load.start()
    let turn: Killable[] = []
    for (let kill = 0; kill < options.kills; kill++) {
      if (turn.length === 0) turn = shuffled(parts, random)
      const part = turn.pop() as Killable
      await systemClock.sleep(200 + 600 * random())
      const downMs = Math.round(100 + 900 * random())
      options.report?.(`kill ${kill + 1} of ${options.kills}: ${part}, back after ${downMs} ms`)
      await killAndRestart(stack, part, downMs)
      kills[part] += 1
    }
    await systemClock.sleep(500)
    await load.stop()
    options.report?.(`${load.views.length} requests sent; waiting until everything is stored`)
    const result = await settled(stack, load)
    return { ...result, kills }
  } finally {
    await stack.stop()
  }
}

async function killAndRestart(stack: Stack, part: Killable, downMs: number): Promise<void> {
  const pause = () => systemClock.sleep(downMs)
  if (part === 'postgres' || part === 'queue') {
    const server = part === 'postgres' ? stack.postgres : stack.redis
    await server.kill()
    await pause()
    await server.restart()
    return
  }
  const process = part === 'agent' ? stack.agent : stack.controlPlane
  await process.end('SIGKILL')
  await pause()
  process.start()
  await (part === 'agent' ? stack.agentReady() : stack.controlPlaneReady())
}

/** Reconciles again and again until nothing is missing and the rollups caught up, or the deadline shows what is wrong. */
async function settled(stack: Stack, load: Load): Promise<Reconciliation> {
  let last: Reconciliation | null = null
  try {
    return await eventually(
      'every accepted request is stored and rolled up',
      async () => {
        last = await reconcile(stack.database, stack.simulator.accepted(), load.views)
        return last.missing.length === 0 && last.wrongTokens.length === 0 && last.rollupsAgree ? last : null
      },
      120_000,
    )
  } catch (error) {
    if (last === null) throw error
    return last
  }
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const copy = [...items]
  for (let i = copy.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1))
    ;[copy[i], copy[j]] = [copy[j] as T, copy[i] as T]
  }
  return copy
}
