import {
  advance,
  type BreakerState,
  claimProbe,
  defaultBreaker,
  newBreakerState,
  phaseOf,
  type Verdict,
} from '../../../proto/policy/breaker.js'
import { type Classified, type ClassifierOutcome, measuresWanted } from '../../../proto/policy/classifier.js'
import { promptClasses, promptClassHeader, promptClassSaid } from '../../../proto/policy/classify-prompt.js'
import { estimateTokens } from '../../../proto/policy/estimate-tokens.js'
import { MeasuredPrompt, type PromptFacts, type PromptShape } from '../../../proto/policy/measured-prompt.js'
import { reasonAgainstPlace } from '../../../proto/policy/provider-place.js'
import type { ApiKeyTable, ClassifierTable, ProviderTable, RouteTable } from '../../../proto/policy/tables.js'
import type { Clock } from '../../../proto/std/clock.js'
import { parseJsonObject } from '../conversation/json-object.js'
import type { RequestBody } from '../providers/provider-dialect.js'
import { type CallEnd, WholeCall } from '../providers/whole-call.js'
import type { AgentMetrics } from '../telemetry/metrics.js'
import type { CredentialSource } from './ports.js'
import { boundText } from './record.js'
import { promptShape } from './routing-facts.js'
import type { RunningRequest } from './running-request.js'
import type { UpstreamSource } from './upstreams.js'

/**
 * A classifier of the tenant's measures a prompt instead of the built-in estimates: how hard it is, what it asks for. It is
 * asked once per request, before the rules are looked at, and only where a rule wants what it measures and nobody has said
 * it already.
 *
 *     POST {base}/classify   {"text", "turns", "tools", "images", "tokens", "model"}
 *     200                    {"complexity": 0..1, "class": one of ours, "label": what it calls itself}, all optional
 *
 * Nothing depends on it: whatever is not such an answer, in time, leaves the built-in estimates, and is counted. A breaker
 * of its own keeps one that is dead from costing each request its wait. It gets what the user says, so it is bound by the
 * rules that hold for targets: regions, external providers, guarded addresses. What it is told and says is never logged.
 */
export interface ClassifiersOptions {
  readonly vault: CredentialSource
  readonly upstreams: UpstreamSource
  readonly clock: Clock
  readonly metrics: Pick<AgentMetrics, 'classifierCalls' | 'classifierSeconds'>
}

/** Questions at one classifier at once: beyond it, and beyond the provider's connections, requests go without. */
export const classifierInFlightMax = 128
/** Of an answer that says a number and two words. */
export const classifierAnswerBytesMax = 16 * 1024
/** Classifiers that something is known of; beyond it the one that was known first is forgotten. */
const classifiersMax = 1_000
/** Of one that says "too often" and names no time. */
const cooldownSecondsDefault = 1

export class Classifiers {
  readonly #options: ClassifiersOptions
  readonly #known = new Map<string, Known>()

  constructor(options: ClassifiersOptions) {
    this.#options = options
  }

  /**
   * What is known of the prompt of `request`, whose route has `classifier`; of no use to a request that ends meanwhile. Never
   * rejects, and takes no longer than the classifier may. `opens` is called, and waited for, before anything is sent.
   */
  async ask(
    request: RunningRequest,
    route: RouteTable,
    classifier: ClassifierTable,
    body: RequestBody,
    opens: () => Promise<void> | null,
  ): Promise<PromptFacts> {
    const said = promptClassSaid(request.call.header(promptClassHeader))
    const wanted = measuresWanted(route, (measure) => measure === 'prompt_class' && said !== null)
    if (wanted.length === 0) return new MeasuredPrompt(() => promptShape(body), said)
    const { clock, metrics } = this.#options
    const { provider } = classifier
    const nowUs = clock.monotonicUs()
    const known = this.#knownOf(provider)
    const secret = this.#secretOf(provider)
    const against = reasonAgainst(provider, request.authenticated.key, known, secret, nowUs)
    if (against !== null) {
      metrics.classifierCalls.of(against).add(1)
      return new MeasuredPrompt(() => promptShape(body), said, nothingMeasured(against))
    }
    await opens()
    if (request.ending !== null) return new MeasuredPrompt(() => promptShape(body), said)
    const shape = new ShapeOnce(promptShape(body))
    const question = questionOf(shape, route)
    const measured = await this.#send({ request, classifier, known, secret: secret ?? null, question, nowUs })
    const isUseful = wanted.some((one) => (one === 'complexity' ? measured.complexity : measured.promptClass) !== null)
    const classified = measured.outcome === 'ok' && !isUseful ? { ...measured, outcome: abstained } : measured
    const endedUs = clock.monotonicUs()
    metrics.classifierCalls.of(classified.outcome).add(1)
    metrics.classifierSeconds.of().observeUs(endedUs - nowUs)
    request.record.setClassified({ provider, classified, startedUs: nowUs, endedUs })
    return new MeasuredPrompt(() => shape, said, classified)
  }

  /** Asks, and tells breaker and vault what came of it. */
  async #send({ request, classifier, known, secret, question, nowUs }: Sending): Promise<Classified> {
    const { clock, upstreams } = this.#options
    const { provider, timeoutMs } = classifier
    const { breaker } = known
    const isProbe = phaseOf(breaker, nowUs) === 'half_open'
    const leaseUs = isProbe ? claimProbe(breaker, nowUs, nowUs + timeoutMs * 1_000) : 0
    const call = new WholeCall(clock, classifierAnswerBytesMax)
    const cancel = clock.after(timeoutMs, () => call.giveUp('timeout'))
    let measured = nothingMeasured('connect_error')
    known.inFlightCount += 1
    request.upstream = call
    try {
      const { pool } = upstreams.of(provider)
      const path = `${provider.basePath}/classify`
      pool.dispatch({ method: 'POST', path, headers: headersOf(request, secret), body: question }, call)
      measured = measuredBy(call, await call.end)
    } catch {
      // A connection that throws is none.
      call.giveUp('aborted')
    } finally {
      cancel()
      request.upstream = null
      known.inFlightCount -= 1
      const { outcome } = measured
      const cooldownMs = outcome === 'rate_limited' ? (call.retryAfterSeconds ?? cooldownSecondsDefault) * 1_000 : 0
      const event = { verdict: verdictOf(outcome), startedUs: nowUs, leaseUs, cooldownMs }
      advance(breaker, event, clock.monotonicUs(), defaultBreaker)
      this.#tellVault(provider, call.httpStatus)
    }
    return measured
  }

  #tellVault({ credential }: ProviderTable, httpStatus: number): void {
    if (credential === null) return
    const { vault } = this.#options
    if (httpStatus === 401 || httpStatus === 403) vault.reportRejected(credential.id, credential.version)
    else if (httpStatus === 200) vault.reportAccepted(credential.id, credential.version)
  }

  /** Undefined: it is not here. Null: it wants none. */
  #secretOf({ credential }: ProviderTable): string | null | undefined {
    if (credential === null) return null
    const secret = this.#options.vault.get(credential.id, credential.version)
    return typeof secret === 'string' ? secret : undefined
  }

  /** Of another server under the same name nothing is known yet. */
  #knownOf({ id, origin }: ProviderTable): Known {
    const known = this.#known.get(id)
    if (known !== undefined && known.origin === origin) return known
    const [first] = known !== undefined || this.#known.size < classifiersMax ? [] : this.#known.keys()
    if (first !== undefined) this.#known.delete(first)
    const fresh = { origin, breaker: newBreakerState(), inFlightCount: 0 }
    this.#known.set(id, fresh)
    return fresh
  }
}

interface Known {
  readonly origin: string
  readonly breaker: BreakerState
  inFlightCount: number
}

interface Sending {
  readonly request: RunningRequest
  readonly classifier: ClassifierTable
  readonly known: Known
  readonly secret: string | null
  readonly question: string
  readonly nowUs: number
}

const abstained: ClassifierOutcome = 'abstained'

function nothingMeasured(outcome: ClassifierOutcome): Classified {
  return { outcome, complexity: null, promptClass: null, label: '' }
}

/** Why it is not asked; null: it is. */
function reasonAgainst(
  provider: ProviderTable,
  key: ApiKeyTable,
  { breaker, inFlightCount }: Known,
  secret: string | null | undefined,
  nowUs: number,
): ClassifierOutcome | null {
  if (reasonAgainstPlace(provider, key) !== null) return 'not_permitted'
  if (secret === undefined) return 'not_ready'
  if (phaseOf(breaker, nowUs) === 'open') return 'circuit_open'
  const { connectionsMax } = provider
  const inFlightMax = connectionsMax > 0 ? Math.min(connectionsMax, classifierInFlightMax) : classifierInFlightMax
  return inFlightCount >= inFlightMax ? 'busy' : null
}

/** What the built-in estimates look at. */
function questionOf(shape: PromptShape, { name }: RouteTable): string {
  return JSON.stringify({
    text: shape.newestText(),
    turns: shape.turnCount,
    tools: shape.toolCount,
    images: shape.imageCount,
    tokens: estimateTokens(shape),
    model: name,
  })
}

/** Reads the text once, for the question and for the estimates of what the answer leaves out. */
class ShapeOnce implements PromptShape {
  readonly textBytes: number
  readonly imageCount: number
  readonly turnCount: number
  readonly toolCount: number
  readonly #text: string

  constructor(shape: PromptShape) {
    this.textBytes = shape.textBytes
    this.imageCount = shape.imageCount
    this.turnCount = shape.turnCount
    this.toolCount = shape.toolCount
    this.#text = shape.newestText()
  }

  newestText(): string {
    return this.#text
  }
}

function headersOf({ head }: RunningRequest, secret: string | null): string[] {
  const headers = ['content-type', 'application/json', 'accept', 'application/json']
  headers.push('x-request-id', head.requestId, 'traceparent', head.traceparent)
  if (secret !== null) headers.push('authorization', `Bearer ${secret}`)
  return headers
}

function measuredBy(call: WholeCall, end: CallEnd): Classified {
  if (end !== 'answered') return nothingMeasured(end)
  if (call.httpStatus === 429) return nothingMeasured('rate_limited')
  if (call.httpStatus !== 200) return nothingMeasured('http_error')
  return readMeasures(call.body) ?? nothingMeasured('malformed')
}

/** Null: not an answer. What it leaves out, or says is null, it does not measure; members that are not ours are its own. */
export function readMeasures(bytes: Buffer): Classified | null {
  const answer = parseJsonObject(bytes.toString('utf8'))
  if (answer === null) return null
  const { complexity = null, class: named = null, label = null } = answer
  if (complexity !== null && !(typeof complexity === 'number' && complexity >= 0 && complexity <= 1)) return null
  const promptClass = named === null ? null : (promptClasses.find((one) => one === named) ?? undefined)
  if (promptClass === undefined || (label !== null && typeof label !== 'string')) return null
  return { outcome: 'ok', complexity, promptClass, label: boundText(label ?? '') }
}

/** Whether it lives: whoever left says nothing of that, and one that says "too often" names when to come again. */
function verdictOf(outcome: ClassifierOutcome): Verdict {
  switch (outcome) {
    case 'ok':
      return 'success'
    case 'aborted':
    case 'rate_limited':
      return 'none'
    default:
      return 'failure'
  }
}
