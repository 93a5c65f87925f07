import type { Verdict } from '../../../proto/policy/breaker.js'
import { priceUsage } from '../../../proto/policy/price-usage.js'
import type { DecisionTables, TargetTable } from '../../../proto/policy/tables.js'
import { Backoff, type BackoffOptions } from '../../../proto/std/backoff.js'
import type { Clock } from '../../../proto/std/clock.js'
import { Deadlines } from '../../../proto/std/deadlines.js'
import { newId } from '../../../proto/std/ids.js'
import type { Log, Service } from '../../../proto/std/service.js'
import type { ChatAnswer } from '../conversation/chat-answer.js'
import type { Conversation, FieldNames } from '../conversation/conversation.js'
import { Losses } from '../conversation/losses.js'
import type { Dialects } from '../providers/dialects.js'
import type { ChatWire, ProviderDialect, ProviderSecret } from '../providers/provider-dialect.js'
import type { ReplicaPick } from '../replicas/replica-pick.js'
import type { PromptBody, ReplicaPicker } from '../replicas/replica-picker.js'
import type { AgentMetrics } from '../telemetry/metrics.js'
import { type StreamSink, TargetCall } from './call-target.js'
import { cooldownOf, verdictOf } from './hop-verdict.js'
import type { CredentialSource, TablesSource } from './ports.js'
import type { HopOutcome } from './record.js'
import type { KnownTarget, TargetHealths, TargetPlace } from './target-health.js'
import type { UpstreamSource } from './upstreams.js'

/**
 * Keeps targets warm that ask for it: one that nobody has asked for its interval is sent a tiny request, and one that is new
 * is sent one at once, so that the first to wait for a cold model is not a client. How long it took is on the metrics as the
 * target's cold start.
 *
 * It goes the way of any request (pool, credential, deadlines), and its end counts for the breaker: a target that comes back
 * may be found by it. It is nobody's request, though, so there is no usage record; what it used and cost is counted in
 * numbers of its own and said in a log line. How long it took is not taken for a time to a first token.
 *
 * A loop: looks once a second, `atOnceMax` run at a time, each look from where the last one began something, so that none
 * waits for ever behind others. One that could not even be sent (nobody says who we are, say) is tried again after a while,
 * each time a longer one. Only targets that serve conversations are asked.
 */
export interface WarmUpOptions {
  readonly tables: TablesSource
  readonly vault: CredentialSource
  readonly upstreams: UpstreamSource
  readonly dialects: Dialects
  readonly healths: TargetHealths
  /** Left out: a provider with replicas is warmed at its own address. */
  readonly replicas?: ReplicaPicker
  readonly metrics: AgentMetrics
  readonly clock: Clock
  /** 0 ≤ random < 1. */
  readonly random: () => number
  readonly log: Log
}

const lookMs = 1_000
const atOnceMax = 4
/** A new target is warmed within this: many new ones do not all begin in one moment. */
const firstWithinUs = 5_000_000
/** Share of its interval by which a warm-up may come late, drawn each time, so that agents do not come together. */
const jitterRatio = 0.1
const answerBytesMax = 1024 * 1024
/** What could not be sent waits so long, doubled each time: an outage of who gives tokens is not asked about every second. */
const retry: BackoffOptions = { minMs: 10_000, maxMs: 600_000 }

/** What is known of a target from one set of tables to the next. */
interface WarmState {
  readonly sinceUs: number
  /** 0 ≤ jitter < 1, drawn anew after each. */
  jitter: number
  /** When it was last begun with; whether it was sent is another question. */
  lastTriedUs: number
  /** After `lastTriedUs` it is left alone for so long: 0 unless it could not be sent. */
  waitUs: number
  readonly backoff: Backoff
}

interface WarmTarget {
  readonly target: TargetTable
  readonly place: TargetPlace
  readonly state: WarmState
}

/** How a target is asked. */
interface WarmMeans {
  readonly dialect: ProviderDialect
  readonly wire: ChatWire
  readonly secret: ProviderSecret | null
}

interface WarmPlan {
  readonly known: KnownTarget
  readonly means: WarmMeans
  readonly startedUs: number
  readonly dueUs: number
  /** Of what is said when it cannot be sent: rises with the wait. */
  readonly level: Backoff['logLevel']
}

export class WarmUp implements Service {
  readonly name = 'warm-up'
  readonly #options: WarmUpOptions
  readonly #deadlines: Deadlines
  #environments: DecisionTables['environments'] | null = null
  #targets: readonly WarmTarget[] = []
  /** Where the next look begins. */
  #from = 0
  readonly #running = new Map<string, TargetCall | null>()
  #cancelTimer: () => void = () => {}
  #stopped = false

  constructor(options: WarmUpOptions) {
    this.#options = options
    this.#deadlines = new Deadlines(options.clock)
  }

  /** Synthetic requests running now. */
  get runningCount(): number {
    return this.#running.size
  }

  async run(): Promise<void> {
    this.#schedule()
  }

  /** A synthetic request is never worth waiting for. */
  drain(): Promise<void> {
    return this.stop()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#cancelTimer()
    for (const call of this.#running.values()) call?.cancel()
  }

  #schedule(): void {
    this.#cancelTimer = this.#options.clock.after(lookMs, () => {
      this.#look()
      this.#schedule()
    })
  }

  #look(): void {
    const { tables, clock, healths } = this.#options
    if (tables.current === null) return
    const nowUs = clock.monotonicUs()
    if (tables.current.environments !== this.#environments) this.#gather(tables.current, nowUs)
    const targets = this.#targets
    const { length } = targets
    for (let step = 0, at = this.#from; step < length && this.#running.size < atOnceMax; step++) {
      const warm = targets[at]
      at = at + 1 < length ? at + 1 : 0
      if (warm === undefined) continue
      const { target, place } = warm
      const known = healths.of(target, place)
      if (nowUs < dueUsOf(warm, known) || this.#running.has(target.id)) continue
      if (this.#begin(warm, known, nowUs)) this.#from = at
    }
  }

  /** The targets that ask to be kept warm; what is known of those that were there before stays. */
  #gather(tables: DecisionTables, nowUs: number): void {
    this.#environments = tables.environments
    const before = new Map(this.#targets.map(({ target, state }) => [target.id, state]))
    const targets = new Map<string, WarmTarget>()
    for (const environment of tables.environments.values()) {
      const { permittedRegions } = environment
      for (const route of environment.routes.values()) {
        for (const { id: ruleId, targets: ofRule } of route.rules) {
          for (const target of ofRule) {
            if (target.warmUpIntervalMs === null || targets.has(target.id)) continue
            if (!target.model.capabilities.has('chat')) continue
            if (permittedRegions.size > 0 && !permittedRegions.has(target.provider.region)) continue
            const state = before.get(target.id) ?? this.#newState(nowUs)
            targets.set(target.id, { target, place: { environment, route, ruleId }, state })
          }
        }
      }
    }
    this.#targets = [...targets.values()]
    if (this.#from >= this.#targets.length) this.#from = 0
  }

  #newState(nowUs: number): WarmState {
    const { random } = this.#options
    return {
      ...{ sinceUs: nowUs, jitter: random(), lastTriedUs: Number.NEGATIVE_INFINITY, waitUs: 0 },
      backoff: new Backoff(retry, random),
    }
  }

  /** False where it cannot be asked now: the next look finds it due again. */
  #begin(warm: WarmTarget, known: KnownTarget, nowUs: number): boolean {
    const { target, state } = warm
    const { dialects, vault, random, log } = this.#options
    const dialect = dialects.find(target.provider.kind)
    const { credential } = target.provider
    const secret = credential === null ? null : (vault.get(credential.id, credential.version) ?? undefined)
    if (dialect === null || dialect.chat === null || secret === undefined || known.phase(nowUs) === 'open') return false
    state.jitter = random()
    state.lastTriedUs = nowUs
    this.#running.set(target.id, null)
    this.#send(warm, known, { dialect, wire: dialect.chat, secret })
      .catch((fault) => log.error({ targetId: target.id, fault: String(fault) }, 'a warm-up failed by a fault of ours'))
      .finally(() => {
        this.#running.delete(target.id)
        // Who could not be sent has not been used, and would be due again at once.
        if (known.usedUs >= state.lastTriedUs) {
          state.backoff.reset()
          state.waitUs = 0
        } else state.waitUs = state.backoff.nextMs() * 1000
      })
    return true
  }

  async #send({ target: original, place, state }: WarmTarget, known: KnownTarget, means: WarmMeans): Promise<void> {
    const { clock, upstreams, healths, replicas } = this.#options
    const startedUs = clock.monotonicUs()
    const dueUs = startedUs + original.deadlines.totalMs * 1000
    const leaseUs = healths.claimProbe(known, startedUs, dueUs)
    let target = original
    let pick: ReplicaPick | null = null
    let outcome: HopOutcome = 'not_ready'
    let verdict: Verdict = 'none'
    let call: TargetCall | null = null
    let answer: ChatAnswer | null = null
    try {
      // Also a target that only this asks is shown in the numbers.
      healths.seriesOf(known, place)
      const { environmentId } = place.environment
      const request = { target, environmentId, operation: 'warm_up', body: noBody, failed: null }
      pick = replicas?.pick(request) ?? null
      target = pick?.target ?? original
      const upstream = upstreams.of(target.provider)
      call = await this.#makeCall(target, { known, means, startedUs, dueUs, level: state.backoff.logLevel })
      if (call !== null) {
        this.#running.set(target.id, call)
        await call.run()
        answer =
          call.outcome === 'ok' && call.answer !== null ? this.#readAnswer(means.wire, call.answer, target) : null
        outcome = call.outcome === 'ok' && answer === null ? 'malformed' : call.outcome
        verdict = verdictOf(outcome, upstream, true)
      }
    } finally {
      // Whatever went wrong: the replica's place, the target's and the probe's lease are given back.
      call?.cancel()
      pick?.end(outcome, answer?.usage ?? null)
      const event = { verdict, startedUs, leaseUs, outcome, stream: false, cooldownMs: cooldownOf(call) }
      healths.take(known, event, noSiblings)
    }
    this.#tell(target, known, outcome, answer, (call?.endedUs ?? startedUs) - startedUs)
  }

  /** Null: it cannot be sent, for nobody says who we are there, or the agent stops. */
  async #makeCall(target: TargetTable, plan: WarmPlan): Promise<TargetCall | null> {
    const { known, means, startedUs, dueUs, level } = plan
    const { dialect, wire, secret } = means
    const { clock, upstreams, log } = this.#options
    const { provider } = target
    const body = wire.write(tinyConversation, target, dialect.usageDepth(provider), new Losses())
    const path = wire.path(target, false)
    const headers = [...wire.headers(false), 'x-request-id', newId('request', clock.nowMs())]
    const timeoutMs = target.deadlines.connectMs
    const authorization = await dialect.authorize({ provider, path, headers, body, timeoutMs }, secret)
    if (this.#stopped) return null
    if ('fault' in authorization) {
      const { fault, message } = authorization
      const fields = { targetId: target.id, providerId: provider.id, fault, message }
      log[level](fields, 'a warm-up could not be authorised')
      return null
    }
    return new TargetCall({
      ...{ dispatcher: upstreams.of(provider).pool, target, path, headers: [...headers, ...authorization], body },
      ...{ reader: null, sink: noStream, occupancy: known, clock, deadlines: this.#deadlines },
      ...{ startedUs, dueUs, answerBytesMax, clientStallMs: 0 },
    })
  }

  /** Null: no answer. What can be parsed may still be nothing that can be read. */
  #readAnswer(wire: ChatWire, bytes: Buffer, { id, provider }: TargetTable): ChatAnswer | null {
    try {
      return wire.readAnswer(bytes, tinyConversation)
    } catch (thrown) {
      const fields = { targetId: id, providerId: provider.id, fault: String(thrown) }
      this.#options.log.debug(fields, 'an answer could not be read')
      return null
    }
  }

  #tell(target: TargetTable, known: KnownTarget, outcome: HopOutcome, answer: ChatAnswer | null, durationUs: number) {
    const { metrics, log } = this.#options
    metrics.warmUps.of(outcome).add(1)
    const usage = answer?.usage ?? null
    const cost = usage && priceUsage(target.model.price, usage)
    if (outcome === 'ok') {
      known.coldStartUs = durationUs
      metrics.warmUpSeconds.of().observeUs(durationUs)
    }
    if (usage !== null) {
      metrics.warmUpTokens.of('in').add(usage.input)
      metrics.warmUpTokens.of('out').add(usage.output)
    }
    if (cost !== null) metrics.warmUpNanoUsd.of().add(Number(cost))
    // Why it was not sent has been said.
    if (outcome === 'not_ready') return
    log.info(
      {
        ...{ targetId: target.id, providerId: target.provider.id, outcome, durationMs: durationUs / 1000 },
        ...{ inputTokens: usage?.input ?? null, outputTokens: usage?.output ?? null },
        costNanoUsd: cost === null ? null : Number(cost),
      },
      outcome === 'ok' ? 'a target was warmed up' : 'a target could not be warmed up',
    )
  }
}

function dueUsOf({ target, state }: WarmTarget, { usedUs }: KnownTarget): number {
  const { sinceUs, jitter, lastTriedUs, waitUs } = state
  const intervalUs = (target.warmUpIntervalMs ?? Number.POSITIVE_INFINITY) * 1000
  const dueUs =
    usedUs === Number.NEGATIVE_INFINITY
      ? sinceUs + jitter * Math.min(firstWithinUs, intervalUs)
      : usedUs + intervalUs * (1 + jitter * jitterRatio)
  return waitUs === 0 ? dueUs : Math.max(dueUs, lastTriedUs + waitUs)
}

const noSiblings: readonly TargetTable[] = []
/** Nothing to be found in a cache. */
const noBody: PromptBody = Object.freeze({ bytes: { length: 0 }, fields: {}, stream: false })
const noStream: StreamSink = { begin: () => {}, write: () => true, onDrain: () => {} }

/** Nobody is told what could not be said. */
const names: FieldNames = {
  ...{ system: '', tools: '', toolChoice: '', parallelToolCalls: '', answerFormat: '', outputTokensMax: '' },
  ...{ temperature: '', topP: '', topK: '', stop: '', seed: '', frequencyPenalty: '', presencePenalty: '' },
  ...{ logprobs: '', reasoning: '', user: '' },
}

/** One token of an answer is enough to have the model where it answers from. */
const tinyConversation: Conversation = Object.freeze({
  system: [],
  turns: [{ role: 'user', at: 'messages[0]', parts: [{ type: 'text', at: 'messages[0].content', text: 'Hi' }] }],
  tools: [],
  toolChoice: null,
  parallelToolCalls: null,
  answerFormat: null,
  settings: {
    ...{ outputTokensMax: 1, temperature: null, topP: null, topK: null, stop: [], seed: null },
    ...{ frequencyPenalty: null, presencePenalty: null, logprobs: null },
  },
  reasoning: null,
  user: null,
  stream: false,
  names,
  losses: [],
} satisfies Conversation)
