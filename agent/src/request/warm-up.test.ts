import { describe, expect, test } from 'vitest'
import type { Log } from '../../../proto/std/service.js'
import { silentLog } from '../../../test/harness/agent-door.js'
import { answers, nothingLeft, refuses, VirtualAgent } from '../../../test/harness/virtual-agent.js'
import type { Dialects } from '../providers/dialects.js'
import { openaiOwnDialect } from '../providers/openai/dialect.js'
import type { Authorization, ProviderDialect } from '../providers/provider-dialect.js'
import type { ReplicaPick } from '../replicas/replica-pick.js'
import type { ReplicaPicker } from '../replicas/replica-picker.js'
import { WarmUp } from './warm-up.js'

/** A loop of its own beside the agent's: what asks and what picks replicas is as the test says. */
function warming(agent: VirtualAgent, parts: { dialect?: Partial<ProviderDialect>; random?: () => number } = {}) {
  const dialect = { ...openaiOwnDialect, ...parts.dialect } as ProviderDialect
  const lines: string[] = []
  const tell = (level: string) => (_: unknown, message: string) => void lines.push(`${level}: ${message}`)
  const log: Log = {
    ...{ debug: tell('debug'), info: tell('info'), warn: tell('warn'), error: tell('error') },
    child: () => silentLog,
  }
  const picks = { open: 0, ends: [] as string[] }
  const pick = ({ target }: { target: unknown }) => {
    picks.open += 1
    const end = (outcome: string) => {
      picks.open -= 1
      picks.ends.push(outcome)
    }
    return { target, end } as unknown as ReplicaPick
  }
  const warmUp = new WarmUp({
    ...{ tables: agent.tables, upstreams: agent.upstreams, clock: agent.clock, metrics: agent.metrics, log },
    vault: { get: () => 'secret', reportRejected: () => {}, reportAccepted: () => {} },
    dialects: { find: () => dialect } as unknown as Dialects,
    replicas: { pick } as unknown as ReplicaPicker,
    ...{ healths: agent.handler.healths, random: parts.random ?? (() => 0.5) },
  })
  return { warmUp, lines, picks }
}

const names = ['a', 'b', 'c', 'd', 'e', 'f']
const agentOf = (routing: object = {}) => {
  const agent = new VirtualAgent(names.map((name) => ({ name, routing: { warmUpIntervalMs: 3_600_000, ...routing } })))
  for (const name of names) agent.upstreams.on(name, answers)
  return agent
}
const unavailable: Authorization = { fault: 'unavailable', message: 'nobody gives tokens' }

describe('a target that nobody can say who we are at', () => {
  test('is tried again later and later, and says so in few lines', async () => {
    const agent = agentOf()
    let askedCount = 0
    const authorize = () => {
      askedCount += 1
      return unavailable
    }
    const { warmUp, lines, picks } = warming(agent, { dialect: { authorize } })
    await warmUp.run()
    await agent.advance(60_000)
    // At 3 or 4 s, 8 s after it, 15 s after that, …
    expect(askedCount).toBeLessThanOrEqual(4 * names.length)
    await agent.advance(3_540_000)
    expect(askedCount).toBeLessThanOrEqual(16 * names.length)
    expect(lines).toHaveLength(askedCount)
    expect(lines.filter((line) => line.startsWith('warn')).length).toBeGreaterThan(0)
    expect(agent.upstreams.calls).toEqual([])
    expect(picks.open).toBe(0)
    await warmUp.stop()
  })

  test('does not keep others from being asked', async () => {
    const agent = agentOf()
    // The first four wait for an answer that takes as long as a look.
    const authorize: ProviderDialect['authorize'] = ({ provider }) =>
      'abcd'.includes(provider.name)
        ? new Promise((resolve) => void agent.clock.after(1_500, () => resolve(unavailable)))
        : []
    const { warmUp } = warming(agent, { dialect: { authorize }, random: () => 0 })
    await warmUp.run()
    for (let second = 0; second < 10; second++) await agent.advance(1_000)
    expect(agent.upstreams.calls.map(({ name }) => name).sort()).toEqual(['e', 'f'])
    await warmUp.stop()
  })

  test('is asked as usual once somebody can', async () => {
    const agent = agentOf({ warmUpIntervalMs: 60_000 })
    let authorization: Authorization = unavailable
    const { warmUp } = warming(agent, { dialect: { authorize: () => authorization } })
    await warmUp.run()
    await agent.advance(30_000)
    authorization = []
    await agent.advance(60_000)
    expect(agent.upstreams.to('a')).toHaveLength(1)
    // A minute and a twentieth, by the second.
    await agent.advance(64_000)
    expect(agent.upstreams.to('a')).toHaveLength(2)
    await warmUp.stop()
  })
})

describe('whatever goes wrong in between', () => {
  const broken = () => {
    throw new Error('broken')
  }
  const breaker = { failures: 1, openMs: 1_000, failureRatio: 0, windowMs: 1_000, requestsMin: 1 }

  test.each<[string, Partial<ProviderDialect>, string]>([
    ['a body that cannot be written', { chat: { ...openaiOwnDialect.chat, write: broken } as never }, 'not_ready'],
    ['a credential whose reading throws', { authorize: broken }, 'not_ready'],
    [
      'an answer whose reading throws',
      { chat: { ...openaiOwnDialect.chat, readAnswer: broken } as never },
      'malformed',
    ],
  ])('%s: replica and probe are given back, and the loop goes on', async (_, dialect, outcome) => {
    const agent = agentOf({ warmUpIntervalMs: 1_000, breaker })
    for (const name of names) agent.upstreams.on(name, refuses(500))
    // Opens every breaker, so that what comes next is a probe.
    const { warmUp: first } = warming(agent)
    await first.run()
    await agent.advance(5_000)
    await first.stop()
    for (const name of names) agent.upstreams.on(name, answers)
    const { warmUp, picks } = warming(agent, { dialect })
    await warmUp.run()
    await agent.advance(30_000)
    expect(picks.ends.length).toBeGreaterThan(names.length)
    expect([picks.open, new Set(picks.ends)]).toEqual([0, new Set([outcome])])
    expect(warmUp.runningCount).toBe(0)
    expect(agent.left).toEqual(nothingLeft)
    await agent.advance(60_000)
    for (const name of names) {
      const breakerState = agent.handler.healths.find(agent.target(name))?.breaker
      expect(breakerState?.probeDueUs ?? 0).toBe(0)
    }
    await warmUp.stop()
  })
})
