import type { Dispatcher } from 'undici'
import { doorOf } from '../../agent/src/doors/door-table.js'
import { AccessTokens } from '../../agent/src/providers/access-tokens.js'
import { Dialects } from '../../agent/src/providers/dialects.js'
import type { Operation, ProviderSecret, RequestBody } from '../../agent/src/providers/provider-dialect.js'
import { TokenClient } from '../../agent/src/providers/token-client.js'
import { createRequestHandler, type RequestHandler } from '../../agent/src/request/handle-request.js'
import type { ClientCall, Door, FallbackAnswers, ResponseHead } from '../../agent/src/request/ports.js'
import { type RequestRefusal, statusOf } from '../../agent/src/request/request-refusal.js'
import type { Upstream, UpstreamSource } from '../../agent/src/request/upstreams.js'
import { WarmUp } from '../../agent/src/request/warm-up.js'
import { AgentMetrics } from '../../agent/src/telemetry/metrics.js'
import { RequestTelemetry } from '../../agent/src/telemetry/request-telemetry.js'
import type { ProviderTable } from '../../proto/policy/tables.js'
import { VirtualClock } from '../../proto/std/clock.js'
import {
  chatAnswer,
  FixtureTables,
  MemoryMeter,
  makeTables,
  makeTarget,
  quickCounter,
  silentLog,
  type TargetSpec,
  type WorldSpec,
} from './agent-door.js'

/**
 * For tests: the request path of an agent on virtual time, between a client and upstreams that are objects. Nothing here
 * waits for a real clock or a socket, so that deadlines of minutes pass in microseconds and to the microsecond.
 */
export class VirtualAgent {
  readonly clock = new VirtualClock()
  readonly meter = new MemoryMeter()
  readonly metrics = new AgentMetrics()
  readonly upstreams = new FakeUpstreams()
  readonly handler: RequestHandler
  readonly tables: FixtureTables
  readonly warmUp: WarmUp
  readonly apiKey: string

  constructor(
    targets: (Omit<TargetSpec, 'origin'> & { name: string })[],
    options: {
      world?: Partial<WorldSpec>
      answers?: FallbackAnswers
      secrets?: Record<string, ProviderSecret>
    } = {},
  ) {
    const { tables, apiKey } = makeTables({
      routes: { fast: targets.map((spec) => makeTarget({ origin: `http://${spec.name}`, kind: 'openai', ...spec })) },
      totalTimeoutMs: 600_000,
      ...options.world,
    })
    this.tables = new FixtureTables(tables)
    this.apiKey = apiKey
    const { clock, metrics, meter, upstreams } = this
    const vault = {
      get: (id: string, version: number) => options.secrets?.[`${id}/${version}`] ?? null,
      reportRejected: () => {},
      reportAccepted: () => {},
    }
    const ambient = { aws: null, azure: null, google: null }
    const dialects = new Dialects({ clock, tokens: new AccessTokens(clock), client: new TokenClient(), ambient })
    this.handler = createRequestHandler({
      ...{ tables: this.tables, vault, meter, upstreams, dialects, clock, log: silentLog, metrics },
      telemetry: new RequestTelemetry({ metrics, log: silentLog, clock, logRequests: false }),
      limits: { answerBytesMax: 1024 * 1024, clientStallMs: 5_000 },
      counter: quickCounter,
      ...(options.answers === undefined ? {} : { answers: options.answers }),
    })
    this.warmUp = new WarmUp({
      ...{ tables: this.tables, vault, upstreams, dialects, clock, log: silentLog, metrics },
      ...{ healths: this.handler.healths, random: () => 0.5 },
    })
  }

  /** The table of the target of that name. */
  target(name: string) {
    for (const { routes } of this.tables.current?.environments.values() ?? [])
      for (const { rules } of routes.values())
        for (const { targets } of rules) for (const target of targets) if (target.provider.name === name) return target
    throw new Error(`no target ${name}`)
  }

  /** Sends a request and lets it go as far as it can without time. */
  async ask(body: Record<string, unknown> = {}, options: AskOptions = {}): Promise<FakeClient> {
    const client = new FakeClient(
      this.clock,
      body,
      { authorization: `Bearer ${this.apiKey}`, ...options.headers },
      options,
    )
    client.done = this.handler.handle(client).then(() => {
      client.over = true
    })
    await turns()
    return client
  }

  async advance(ms: number): Promise<void> {
    await this.clock.advance(ms)
    await turns()
  }

  /** What the metrics say, without comments. */
  async numbers(containing: string): Promise<string[]> {
    const text = await this.metrics.text()
    return text.split('\n').filter((line) => !line.startsWith('#') && line.includes(containing))
  }

  /** What must be nothing once nothing runs. */
  get left() {
    const { runningCount, deadlineCount, healths } = this.handler
    return { runningCount, deadlineCount, inFlightCount: healths.inFlightCount, open: this.upstreams.openCount }
  }
}

export const nothingLeft = { runningCount: 0, deadlineCount: 0, inFlightCount: 0, open: 0 }

/** Lets everything happen that waits for nothing. */
export async function turns(count = 4): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise<void>((resolve) => setImmediate(resolve))
}

// ---------------------------------------------------------------------------------------------------------- the upstreams

export type Reaction = (call: FakeCall) => void

export class FakeUpstreams implements UpstreamSource {
  /** All calls, in order. */
  readonly calls: FakeCall[] = []
  /** By the provider's name; who has none says nothing, for ever. */
  readonly reactions = new Map<string, Reaction>()
  readonly #known = new Map<string, Upstream & { full: boolean }>()

  /** How the provider `name` reacts from now on. */
  on(name: string, reaction: Reaction): void {
    this.reactions.set(name, reaction)
  }

  of(provider: ProviderTable): Upstream & { full: boolean } {
    const { name } = provider
    let upstream = this.#known.get(name)
    if (upstream === undefined) {
      const dispatch = (options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler) => {
        const call = new FakeCall(name, options, handler)
        this.calls.push(call)
        this.reactions.get(name)?.(call)
        return true
      }
      upstream = { pool: { dispatch }, full: false, usageDepth: null, authorizationFault: null }
      this.#known.set(name, upstream)
    }
    return upstream
  }

  /** Calls to the provider `name`. */
  to(name: string): FakeCall[] {
    return this.calls.filter((call) => call.name === name)
  }

  /** Calls whose connection is in use. */
  get openCount(): number {
    return this.calls.filter((call) => call.state === 'open').length
  }
}

/** One call at an upstream, which does as the test says. */
export class FakeCall {
  /** `waiting` for a connection: nobody can take it back then, but it is not written to one any more. */
  state: 'waiting' | 'open' | 'ended' | 'aborted' = 'waiting'
  readonly body: Record<string, unknown>
  readonly headers: Record<string, string> = {}
  readonly path: string
  readonly #handler: Dispatcher.DispatchHandler
  readonly #controller: Dispatcher.DispatchController

  constructor(
    readonly name: string,
    options: Dispatcher.DispatchOptions,
    handler: Dispatcher.DispatchHandler,
  ) {
    this.path = options.path
    this.body = JSON.parse(String(options.body)) as Record<string, unknown>
    const flat = options.headers as string[]
    for (let at = 0; at < flat.length; at += 2) this.headers[flat[at] ?? ''] = flat[at + 1] ?? ''
    this.#handler = handler
    this.#controller = {
      aborted: false,
      paused: false,
      reason: null,
      pause: () => {},
      resume: () => {},
      abort: () => {
        if (this.state === 'open') this.state = 'aborted'
      },
    } as unknown as Dispatcher.DispatchController
  }

  /** It has a connection and was written to it; once. */
  connect(): this {
    if (this.state !== 'waiting') return this
    this.state = 'open'
    this.#handler.onRequestStart?.(this.#controller, null)
    return this
  }

  head(status: number, headers: Record<string, string> = {}): this {
    if (this.state === 'open') this.#handler.onResponseStart?.(this.#controller, status, headers)
    return this
  }

  data(text: string): this {
    if (this.state === 'open') this.#handler.onResponseData?.(this.#controller, Buffer.from(text))
    return this
  }

  end(): void {
    if (this.state !== 'open') return
    this.state = 'ended'
    this.#handler.onResponseEnd?.(this.#controller, {})
  }

  fail(error = new Error('socket hang up')): void {
    if (this.state !== 'open' && this.state !== 'waiting') return
    this.state = 'ended'
    this.#handler.onResponseError?.(this.#controller, error)
  }

  /** A whole answer, `text` said. */
  answer(text = 'hello', usage: unknown = chatAnswer.usage): void {
    const choice = { index: 0, message: { role: 'assistant', content: text }, finish_reason: 'stop' }
    this.head(200, { 'content-type': 'application/json' })
    this.data(JSON.stringify({ ...chatAnswer, choices: [choice], usage })).end()
  }

  refuse(status: number, headers: Record<string, string> = {}): void {
    this.head(status, { 'content-type': 'application/json', ...headers })
    this.data(JSON.stringify({ error: { message: `no: ${status}` } })).end()
  }

  /** The head of a stream. */
  stream(): this {
    return this.head(200, { 'content-type': 'text/event-stream' })
  }

  say(text: string): this {
    return this.data(sseChunk({ content: text }))
  }

  /** The end of a stream, with what it used. */
  finish(input = 9, output = 2): void {
    const usage = { prompt_tokens: input, completion_tokens: output, total_tokens: input + output }
    this.data(sseChunk({}, 'stop'))
    this.data(`data: ${JSON.stringify({ ...chunkHead, choices: [], usage })}\n\ndata: [DONE]\n\n`).end()
  }
}

const chunkHead = { id: 'c', object: 'chat.completion.chunk', created: 1, model: 'up-1' }

export function sseChunk(delta: unknown, finishReason: string | null = null): string {
  const choice = { index: 0, delta, finish_reason: finishReason }
  return `data: ${JSON.stringify({ ...chunkHead, choices: [choice] })}\n\n`
}

/** Connects, and answers at once. */
export const answers: Reaction = (call) => call.connect().answer(`from ${call.name}`)
/** Connects, and says nothing. */
export const stalls: Reaction = (call) => void call.connect()
export const refuses =
  (status: number, headers: Record<string, string> = {}): Reaction =>
  (call) =>
    call.connect().refuse(status, headers)
export const streams: Reaction = (call) => call.connect().stream().say(`from ${call.name}`).finish()
/** Connects at once, and does the rest after a while. */
export const later =
  (clock: VirtualClock, ms: number, then: Reaction = answers): Reaction =>
  (call) => {
    call.connect()
    clock.after(ms, () => then(call))
  }

// ------------------------------------------------------------------------------------------------------------- the client

export interface AskOptions {
  readonly headers?: Record<string, string>
  readonly operation?: Operation
}

export class FakeClient implements ClientCall {
  readonly door: Door
  readonly parameter = null
  readonly startedUs: number
  readonly startedAtMs: number
  gone = false
  over = false
  done: Promise<void> = Promise.resolve()
  /** 0 until there is a response. */
  status = 0
  head: ResponseHead | null = null
  code: string | null = null
  text = ''
  destroyed = false
  /** False: what it is sent next fills its buffer, until it `drains`. */
  takes = true
  #drained: () => void = () => {}
  /** When it got its first and its last byte, milliseconds of the virtual clock. */
  firstByteMs = -1
  lastByteMs = -1
  readonly #clock: VirtualClock
  readonly #body: Buffer
  readonly #headers: Record<string, string>
  readonly #gone: (() => void)[] = []

  constructor(
    clock: VirtualClock,
    body: Record<string, unknown>,
    headers: Record<string, string>,
    { operation = 'chat_completions' }: AskOptions,
  ) {
    this.door = doorOf(operation)
    this.#clock = clock
    this.startedUs = clock.monotonicUs()
    this.startedAtMs = clock.nowMs()
    this.#body = Buffer.from(JSON.stringify({ model: 'fast', messages: [{ role: 'user', content: 'hi' }], ...body }))
    this.#headers = headers
  }

  /** What it was answered, as JSON. */
  get json(): Record<string, unknown> {
    return JSON.parse(this.text) as Record<string, unknown>
  }

  /** What a model said to it: of a chat completion, whole or streamed. */
  get said(): string {
    const pieces = this.text.startsWith('{') ? [this.text] : this.text.split('\n\n').map((event) => event.slice(6))
    return pieces
      .filter((piece) => piece.startsWith('{'))
      .flatMap((piece) => (JSON.parse(piece) as { choices?: unknown[] }).choices ?? [])
      .map((choice) => {
        const { message, delta } = choice as { message?: { content?: string }; delta?: { content?: string } }
        return message?.content ?? delta?.content ?? ''
      })
      .join('')
  }

  /** It closes its connection. */
  leave(): void {
    if (this.gone || this.lastByteMs >= 0) return
    this.gone = true
    for (const listener of this.#gone) listener()
  }

  header(name: string): string | undefined {
    return this.#headers[name]
  }
  async readBody(): Promise<RequestBody | RequestRefusal> {
    return this.door.parse(this.#body)
  }
  onGone(listener: () => void): void {
    this.#gone.push(listener)
  }
  refuse(refusal: RequestRefusal, head: ResponseHead): void {
    this.code = refusal.code
    this.#respond(statusOf(refusal.code), head)
    this.#end(this.door.errorBody(refusal, this.status))
  }
  answer(status: number, _contentType: string, body: Buffer | string, head: ResponseHead): void {
    this.#respond(status, head)
    this.#end(String(body))
  }
  startStream(head: ResponseHead): void {
    this.#respond(200, head)
  }
  write(bytes: Buffer): boolean {
    this.text += bytes.toString()
    return this.takes
  }
  onDrain(listener: () => void): void {
    this.#drained = listener
  }
  /** It has taken everything it was sent. */
  drains(): void {
    this.#drained()
  }
  endStream(tail: Buffer | string | null): void {
    this.#end(tail === null ? '' : String(tail))
  }
  destroy(): void {
    this.destroyed = true
  }

  #respond(status: number, head: ResponseHead): void {
    if (this.status !== 0) throw new Error('answered twice')
    this.status = status
    this.head = structuredClone(head)
    this.firstByteMs = this.#clock.monotonicUs() / 1000
  }

  #end(text: string): void {
    if (this.lastByteMs >= 0) throw new Error('ended twice')
    this.text += text
    this.lastByteMs = this.#clock.monotonicUs() / 1000
  }
}
