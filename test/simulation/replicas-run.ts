import { PrefixOutbox } from '../../agent/src/replicas/prefix-outbox.js'
import type { ReplicaPick } from '../../agent/src/replicas/replica-pick.js'
import { ReplicaPicker } from '../../agent/src/replicas/replica-picker.js'
import { ReplicaTeller } from '../../agent/src/replicas/replica-telling.js'
import { LoadBoard } from '../../agent/src/workers/load-board.js'
import { chooseReplica, idleLoadTokens, loadRatioMax, requestWeightTokens } from '../../proto/policy/choose-replica.js'
import { prefixKeyWords } from '../../proto/policy/prefix-hash.js'
import { must } from '../../proto/std/assert.js'
import type { Clock } from '../../proto/std/clock.js'
import { makeTarget } from '../harness/agent-door.js'
import { type EngineOptions, SimulatedEngine, tokensOf } from './replicas-engine.js'
import { seeded, type Trace, type TraceRequest } from './replicas-trace.js'

/**
 * One trace against engines of different sizes whose caches hold different things to begin with, by one way to choose.
 *
 *     ours          the agent's own picker, which sees prompts, its own requests and a reading a second
 *     oracle        knows what every cache holds and what runs; the most that is cached, under the same bound of loads
 *     round_robin   one after the other
 */
export const choosers = ['ours', 'oracle', 'round_robin'] as const
export type ChooserName = (typeof choosers)[number]

export const enginesDefault: readonly EngineOptions[] = [60_000, 90_000, 120_000, 150_000].map((cacheTokens) => ({
  ...{ cacheTokens, promptTokensPerSecond: 12_000, answerTokensPerSecond: 60 },
}))

export interface RunResult {
  readonly hitRatio: number
  /** Mean load of the replica that had most, as many times the mean of all. */
  readonly loadRatio: number
  /** The same within the worst window of `windowUs`. */
  readonly windowLoadRatio: number
  /** Requests that took a replica above the bound though there was an exempt or permitted one. */
  readonly boundBroken: number
  readonly firstTokenMsP50: number
  readonly firstTokenMsP99: number
  readonly requestsPerReplica: readonly number[]
}

const windowUs = 30_000_000
/** Tokens are guessed from characters; what is broken by less than this is a guess and no choice. */
const guessed = 1.05
const scrapeUs = 1_000_000

interface Chosen {
  readonly index: number
  answered(): void
  end(promptTokens: number, cachedTokens: number): void
}

interface Chooser {
  choose(request: TraceRequest, promptTokens: number): Chosen
  /** Once a second. */
  read(): void
}

/** Stands still until told; nothing here waits. */
class StandingClock implements Clock {
  us = 0
  nowMs(): number {
    return this.us / 1000
  }
  monotonicUs(): number {
    return this.us
  }
  sleep(): Promise<void> {
    throw new Error('nothing waits here')
  }
  after(): () => void {
    throw new Error('nothing waits here')
  }
}

export interface RunOptions {
  readonly engines: readonly EngineOptions[]
  readonly seed: number
  /** Pickers; each request goes through any of them. */
  readonly agents: number
  /** They tell each other what they sent where, as late as request workers of one agent do; agents know nothing of each other. */
  readonly sharing: boolean
}

/** From a worker to the primary, and from there to the others: `agent/src/workers`. */
const tellUs = 20_000
const relayUs = 20_000

export function runTrace(trace: Trace, name: ChooserName, runOptions: RunOptions): RunResult {
  const { engines: options, seed, agents, sharing } = runOptions
  const clock = new StandingClock()
  const engines = options.map((engine) => new SimulatedEngine(engine))
  warm(engines, trace, seed)
  const loads = engines.map(() => 0)
  const random = seeded(seed)
  const peers = sharing ? new Peers(agents, clock) : null
  const made = Array.from({ length: name === 'ours' ? agents : 1 }, () =>
    makeChooser(name, { engines, loads, clock, seed, peers }),
  )
  const meter = new LoadMeter(engines.length)
  const firstTokens: number[] = []
  const requestsPerReplica = engines.map(() => 0)
  let boundBroken = 0
  let nextReadUs = 0
  const advanceTo = (untilUs: number) => {
    for (;;) {
      const peersUs = peers?.nextUs ?? Number.POSITIVE_INFINITY
      const eventUs = Math.min(nextReadUs, peersUs, ...engines.map((engine) => engine.nextUs))
      if (eventUs > untilUs) break
      meter.pass(loads, eventUs)
      clock.us = eventUs
      for (const engine of engines) engine.advance(eventUs)
      if (eventUs === peersUs) peers?.advance()
      if (eventUs === nextReadUs) {
        for (const chooser of made) chooser.read()
        nextReadUs += scrapeUs
      }
    }
    meter.pass(loads, untilUs)
    clock.us = untilUs
  }
  for (const request of trace.requests) {
    advanceTo(request.atUs)
    const promptTokens = tokensOf(request.segments)
    const chosen = must(made[Math.floor(random() * made.length)], 'an agent').choose(request, promptTokens)
    const weightTokens = promptTokens + requestWeightTokens
    const mean = (loads.reduce((sum, load) => sum + load, 0) + weightTokens) / loads.length
    const before = loads[chosen.index] ?? 0
    const isExempt = before <= Math.max(Math.min(...loads), idleLoadTokens)
    if (!isExempt && before + weightTokens > loadRatioMax * mean * guessed) boundBroken += 1
    loads[chosen.index] = before + weightTokens
    requestsPerReplica[chosen.index] = (requestsPerReplica[chosen.index] ?? 0) + 1
    engines[chosen.index]?.send(
      {
        ...{ request, promptTokens },
        onFirstToken: () => {
          firstTokens.push((clock.us - request.atUs) / 1000)
          chosen.answered()
        },
        onEnd: (cachedTokens) => {
          loads[chosen.index] = (loads[chosen.index] ?? 0) - weightTokens
          chosen.end(promptTokens, cachedTokens)
        },
      },
      request.atUs,
    )
  }
  firstTokens.sort((a, b) => a - b)
  const sum = (of: (engine: SimulatedEngine) => number) => engines.reduce((total, engine) => total + of(engine), 0)
  return {
    hitRatio: sum((engine) => engine.cachedTokens) / sum((engine) => engine.promptTokens),
    loadRatio: meter.ratio,
    windowLoadRatio: meter.worstWindowRatio,
    boundBroken,
    firstTokenMsP50: firstTokens[Math.floor(firstTokens.length * 0.5)] ?? 0,
    firstTokenMsP99: firstTokens[Math.floor(firstTokens.length * 0.99)] ?? 0,
    requestsPerReplica,
  }
}

/** Fills each cache with shared beginnings of its own choice, as another agent's traffic would have left it. */
function warm(engines: readonly SimulatedEngine[], trace: Trace, seed: number): void {
  for (const [index, engine] of engines.entries()) {
    const random = seeded(seed * 1_000 + index)
    for (let i = 0; i < 60; i++) {
      const prefix = trace.prefixes[Math.floor(random() * trace.prefixes.length)]
      if (prefix !== undefined) engine.warm([prefix])
    }
  }
}

interface ChooserWorld {
  readonly engines: readonly SimulatedEngine[]
  readonly loads: readonly number[]
  readonly clock: Clock
  readonly seed: number
  /** Null: nobody tells anybody. */
  readonly peers: Peers | null
}

/** Request workers that tell each other over their primary what they sent where: the product's own parts and delays. */
class Peers {
  readonly #clock: Clock
  readonly #pickers: ReplicaPicker[] = []
  readonly #tellers: ReplicaTeller[] = []
  readonly #relayed: PrefixOutbox[] = []
  readonly #loads: LoadBoard
  readonly #tellUs: number[] = []
  #relayUs = Number.POSITIVE_INFINITY

  constructor(count: number, clock: Clock) {
    this.#clock = clock
    this.#loads = new LoadBoard(count)
  }

  /** When somebody is told next. */
  get nextUs(): number {
    return Math.min(this.#relayUs, ...this.#tellUs)
  }

  join(makePicker: (teller: ReplicaTeller) => ReplicaPicker): ReplicaPicker {
    const index = this.#pickers.length
    const teller = new ReplicaTeller(() => {
      this.#tellUs[index] = Math.min(
        this.#tellUs[index] ?? Number.POSITIVE_INFINITY,
        this.#clock.monotonicUs() + tellUs,
      )
    })
    this.#tellers.push(teller)
    this.#relayed.push(new PrefixOutbox())
    this.#tellUs.push(Number.POSITIVE_INFINITY)
    const picker = makePicker(teller)
    this.#pickers.push(picker)
    return picker
  }

  advance(): void {
    const nowUs = this.#clock.monotonicUs()
    for (const [index, teller] of this.#tellers.entries()) {
      if ((this.#tellUs[index] ?? 0) > nowUs) continue
      this.#tellUs[index] = Number.POSITIVE_INFINITY
      this.#relayUs = Math.min(this.#relayUs, nowUs + relayUs)
      const { prefixes, loads } = teller.take()
      this.#loads.tell(index, loads)
      for (const [other, relayed] of this.#relayed.entries()) {
        if (other !== index) for (const learned of prefixes) relayed.add(learned)
      }
    }
    if (this.#relayUs > nowUs) return
    this.#relayUs = Number.POSITIVE_INFINITY
    for (const [index, picker] of this.#pickers.entries()) {
      for (const learned of this.#relayed[index]?.take() ?? []) picker.learn(learned)
      for (const load of this.#loads.newsFor(index)) picker.hearPeers(load)
    }
  }
}

function makeChooser(name: ChooserName, world: ChooserWorld): Chooser {
  const { engines, loads } = world
  let turn = 0
  const plain = (choose: Chooser['choose']): Chooser => ({ choose, read: () => {} })
  const nothing = { answered: () => {}, end: () => {} }
  switch (name) {
    case 'ours':
      return oursOf(world)
    case 'round_robin':
      return plain(() => ({ index: turn++ % engines.length, ...nothing }))
    case 'oracle':
      return plain((request, promptTokens) => {
        const replicas = engines.map((engine, index) => ({
          ...{ healthy: true, cachedTokens: engine.cachedTokensOf(request), loadTokens: loads[index] ?? 0 },
          ...{ queuedTokens: 0, kvUsageRatio: null },
        }))
        return { index: chooseReplica({ promptTokens, replicas, turn: turn++ }).index, ...nothing }
      })
  }
}

function oursOf({ engines, clock, seed, peers }: ChooserWorld): Chooser {
  const random = seeded(seed)
  const key = Uint32Array.from({ length: prefixKeyWords }, () => random() * 4_294_967_296)
  const options = { clock, key, indexBytesMax: 16 * 1024 * 1024, cacheTokensAssumed: 100_000 }
  const picker =
    peers === null
      ? new ReplicaPicker(options)
      : peers.join(({ onLearned, onLoad }) => new ReplicaPicker({ ...options, onLearned, onLoad }))
  const urls = engines.map((_, index) => `http://replica-${index}:8000`)
  const made = makeTarget({ origin: 'http://replicas:8000', replicas: urls })
  const target = { ...made, provider: { ...made.provider, id: 'prv_pool' } }
  const servers = picker.retain([target.provider]).map(({ server }) => server)
  return {
    choose: ({ segments }) => {
      const messages = segments.map(({ role, text }) => ({ role, content: text }))
      const length = segments.reduce((sum, { text }) => sum + text.length, 0)
      const pick: ReplicaPick = picker.pick({
        ...{ target, environmentId: 'env_1', operation: 'chat_completions', failed: null },
        body: { bytes: { length }, fields: { messages }, stream: true },
      })
      return {
        index: urls.findIndex((url) => pick.url.startsWith(url)),
        answered: () => pick.answered(),
        end: (input, cachedInput) => pick.end('ok', { input, cachedInput }),
      }
    },
    read: () => {
      for (const [index, server] of servers.entries()) {
        const engine = engines[index]
        if (engine !== undefined) server.hear(engine.metrics, clock.monotonicUs())
      }
    },
  }
}

/** Load over time: tokens times how long they were there. */
class LoadMeter {
  readonly #sums: number[]
  readonly #window: number[]
  #windowEndUs = windowUs
  #nowUs = 0
  worstWindowRatio = 0

  constructor(count: number) {
    this.#sums = new Array<number>(count).fill(0)
    this.#window = new Array<number>(count).fill(0)
  }

  pass(loads: readonly number[], untilUs: number): void {
    while (this.#windowEndUs <= untilUs) {
      this.#add(loads, this.#windowEndUs)
      this.worstWindowRatio = Math.max(this.worstWindowRatio, ratioOf(this.#window))
      this.#window.fill(0)
      this.#windowEndUs += windowUs
    }
    this.#add(loads, untilUs)
  }

  get ratio(): number {
    return ratioOf(this.#sums)
  }

  #add(loads: readonly number[], untilUs: number): void {
    const elapsedUs = untilUs - this.#nowUs
    this.#nowUs = untilUs
    for (const [index, load] of loads.entries()) {
      this.#sums[index] = (this.#sums[index] ?? 0) + load * elapsedUs
      this.#window[index] = (this.#window[index] ?? 0) + load * elapsedUs
    }
  }
}

function ratioOf(sums: readonly number[]): number {
  const total = sums.reduce((sum, one) => sum + one, 0)
  return total === 0 ? 1 : (Math.max(...sums) * sums.length) / total
}
