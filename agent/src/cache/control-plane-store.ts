import grpc from '@grpc/grpc-js'
import type { CacheGetResponse__Output } from '../../../proto/gen/switchyard/v1/CacheGetResponse.js'
import type { CachePutResponse__Output } from '../../../proto/gen/switchyard/v1/CachePutResponse.js'
import { sharedSecondsMax, sharedValueBytesMax } from '../../../proto/policy/shared-answer.js'
import { Backoff } from '../../../proto/std/backoff.js'
import type { Clock } from '../../../proto/std/clock.js'
import type { Log, Service } from '../../../proto/std/service.js'
import { CallFault, channelOptions, loadContract, unaryCall } from '../config/grpc-client.js'
import type { SharedStore } from './shared-answers.js'

/** As much of the agent's identity as this needs. */
export interface StoreIdentity {
  readonly fleetAddress: string
  /** Asked for each connection. */
  credentials(): grpc.ChannelCredentials
  /** Resolves once the certificate is valid. */
  whenValid(signal: AbortSignal): Promise<void>
  onRenewed(listener: () => void): () => void
}

export interface ControlPlaneStoreOptions {
  readonly identity: StoreIdentity
  readonly clock: Clock
  readonly random: () => number
  readonly log: Log
  readonly reconnectMinMs: number
  readonly reconnectMaxMs: number
  readonly keepaliveIntervalMs: number
  readonly keepaliveTimeoutMs: number
  /** Default 100. */
  readonly getTimeoutMs?: number
}

/** The control plane has room for sixteen calls on a connection. What is beyond is refused here, or waits (puts). */
const getsAtOnceMax = 12
const putsAtOnceMax = 4
/**
 * Twenty times as long as anybody waits for a look-up: a control plane that is slow is asked less often then, for its
 * twelve places are taken.
 */
const getTimeoutMsDefault = 100
/**
 * Longer than the control plane takes, once a put has its turn there, to refuse it because its database is busy: a second
 * for a connection, two for a statement. So what is slow there is heard as its refusal, not as silence.
 */
const putTimeoutMs = 4_000
/** Calls but no answer for so long: the connection is given up and made anew. */
const silenceMs = 2_000
const connectTimeoutMs = 5_000
/** After a refusal that asking again does not change: of another region, or of a release without this service. */
const refusedMs = 60_000
const refusals = new Set(['FAILED_PRECONDITION', 'UNIMPLEMENTED', 'UNAUTHENTICATED', 'PERMISSION_DENIED'])

type Client = InstanceType<ReturnType<typeof loadContract>['CacheService']>

/**
 * What the agents of a cluster share, kept by a control plane of their region: a connection of its own beside configuration
 * and reports, so that neither waits for answers. Nothing waits for it: while it is away, or refuses, every call fails at
 * once, and it is tried again in the background.
 */
export class ControlPlaneStore implements SharedStore, Service {
  readonly name = 'cache-control-plane'
  readonly valueBytesMax = sharedValueBytesMax
  readonly #options: ControlPlaneStoreOptions
  readonly #log: Log
  readonly #backoff: Backoff
  readonly #stopping = new AbortController()
  /** Null while there is no connection. */
  #client: Client | null = null
  /** Ends the connection that stands. */
  #giveUp: (why: string) => void = () => {}
  #refusedUntilUs = Number.NEGATIVE_INFINITY
  #isRefused = false
  #isAway = false
  /** When the connection that stands was made, or last answered or refused a call, on the monotonic clock. */
  #lastHeardUs = Number.NEGATIVE_INFINITY
  /** Since when calls on it have had no answer; infinite while none has gone without. */
  #silentSinceUs = Number.POSITIVE_INFINITY
  #getCount = 0
  #putCount = 0
  readonly #waitingPuts: { readonly start: () => void; readonly fail: (fault: Error) => void }[] = []
  #ended: Promise<void> | null = null

  constructor(options: ControlPlaneStoreOptions) {
    this.#options = options
    this.#log = options.log.child({ service: this.name })
    this.#backoff = new Backoff({ minMs: options.reconnectMinMs, maxMs: options.reconnectMaxMs }, options.random)
  }

  /** Returns at once: an agent starts whether its control plane is there or not. */
  async run(): Promise<void> {
    this.#ended ??= this.#loop()
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new Error('stopped'))
    this.#giveUp('stopped')
    await this.#ended
  }

  async get(name: string, bytesMax: number): Promise<Buffer | null> {
    const client = this.#ready()
    if (this.#getCount >= getsAtOnceMax) throw new Error('too many look-ups under way')
    this.#getCount += 1
    try {
      const request = { name: digestOf(name), bytesMax }
      const { getTimeoutMs = getTimeoutMsDefault } = this.#options
      const { value } = await this.#call<CacheGetResponse__Output>(getTimeoutMs, (options, done) =>
        client.get(request, options, done),
      )
      return value === undefined || value.length > bytesMax ? null : value
    } finally {
      this.#getCount -= 1
    }
  }

  async put(name: string, bytes: Buffer, options: { seconds: number; bornAtMs: number }): Promise<void> {
    await this.#takeTurn()
    try {
      // Not the one of before the wait: it may be gone.
      const client = this.#ready()
      const request = {
        ...{ name: digestOf(name), value: bytes },
        ttlSeconds: Math.min(Math.max(1, Math.ceil(options.seconds)), sharedSecondsMax),
        bornAtUnixMs: Math.max(0, Math.floor(options.bornAtMs)),
      }
      await this.#call<CachePutResponse__Output>(putTimeoutMs, (callOptions, done) =>
        client.put(request, callOptions, done),
      )
    } finally {
      this.#passTurn()
    }
  }

  // — one call —

  #ready(): Client {
    if (this.#client === null) throw new Error('the control plane is away')
    if (this.#options.clock.monotonicUs() < this.#refusedUntilUs) throw new Error('the control plane keeps no answers')
    return this.#client
  }

  async #call<Answer>(
    timeoutMs: number,
    start: (options: grpc.CallOptions, done: grpc.requestCallback<Answer>) => grpc.ClientUnaryCall,
  ): Promise<Answer> {
    const { clock } = this.#options
    const [client, startedUs] = [this.#client, clock.monotonicUs()]
    // A call outlives its connection, and tells nothing of the one that came after.
    const isCurrent = () => client === this.#client
    try {
      const answer = await unaryCall<Answer>((done) => start({ deadline: clock.nowMs() + timeoutMs }, done))
      if (isCurrent()) this.#hear()
      this.#sayServed()
      return answer
    } catch (error) {
      const fault = CallFault.of(error)
      if (isCurrent()) {
        if (fault.code === 'DEADLINE_EXCEEDED') this.#hearNothing(startedUs)
        else this.#hear()
      }
      if (refusals.has(fault.code)) this.#sayRefused(fault)
      throw fault
    }
  }

  #hear(): void {
    this.#lastHeardUs = this.#options.clock.monotonicUs()
    this.#silentSinceUs = Number.POSITIVE_INFINITY
  }

  /** Of a call that went without an answer: others may have had theirs since it started. */
  #hearNothing(startedUs: number): void {
    const nowUs = this.#options.clock.monotonicUs()
    this.#silentSinceUs = Math.min(this.#silentSinceUs, Math.max(this.#lastHeardUs, startedUs))
    if (nowUs - this.#silentSinceUs >= silenceMs * 1_000) this.#giveUp('no answer')
  }

  /** Puts go a few at a time, in the order in which they came; who asks for more is bounded by who calls. */
  async #takeTurn(): Promise<void> {
    this.#ready()
    if (this.#putCount < putsAtOnceMax) this.#putCount += 1
    else await new Promise<void>((start, fail) => this.#waitingPuts.push({ start, fail }))
  }

  #passTurn(): void {
    const next = this.#waitingPuts.shift()
    if (next === undefined) this.#putCount -= 1
    else next.start()
  }

  // — the connection —

  async #loop(): Promise<void> {
    const { identity, clock } = this.#options
    const { signal } = this.#stopping
    const offRenewed = identity.onRenewed(() => this.#giveUp('renewed'))
    while (!signal.aborted) {
      try {
        await identity.whenValid(signal)
        // A renewed certificate is used at once, not after a wait.
        if ((await this.#hold()) === 'renewed') continue
      } catch (fault) {
        if (signal.aborted) break
        this.#sayAway(CallFault.of(fault).message)
      }
      await clock.sleep(this.#backoff.nextMs(), signal).catch(() => {})
    }
    offRenewed()
  }

  /** One connection, until its end; says why it ended. Rejects when there is none to be had. */
  async #hold(): Promise<string> {
    if (this.#stopping.signal.aborted) return 'stopped'
    const { identity, clock, keepaliveIntervalMs, keepaliveTimeoutMs } = this.#options
    const { CacheService } = loadContract()
    const options = channelOptions({
      messageBytesMax: sharedValueBytesMax + 1_024,
      ...{ keepaliveIntervalMs, keepaliveTimeoutMs },
    })
    const client = new CacheService(identity.fleetAddress, identity.credentials(), options)
    try {
      const over = new Promise<string>((resolve) => {
        this.#giveUp = resolve
      })
      const connected = new Promise<null>((resolve, reject) => {
        client.waitForReady(clock.nowMs() + connectTimeoutMs, (fault) => (fault ? reject(fault) : resolve(null)))
      })
      // Given up first, it ends with the client; its failure is nobody's then.
      connected.catch(() => {})
      const early = await Promise.race([connected, over])
      if (early !== null) return early
      this.#backoff.reset()
      this.#hear()
      // What was refused to an earlier certificate, or by an earlier release, may not be to this one.
      this.#refusedUntilUs = Number.NEGATIVE_INFINITY
      this.#client = client
      this.#sayBack()
      const { READY } = grpc.connectivityState
      const channel = client.getChannel()
      channel.watchConnectivityState(READY, Number.POSITIVE_INFINITY, () => this.#giveUp('disconnected'))
      // A watch tells of changes only.
      if (channel.getConnectivityState(false) !== READY) this.#giveUp('disconnected')
      const why = await over
      if (why !== 'renewed' && why !== 'stopped') this.#sayAway(why)
      return why
    } finally {
      this.#client = null
      this.#giveUp = () => {}
      for (const { fail } of this.#waitingPuts.splice(0)) fail(new Error('the control plane is away'))
      client.close()
    }
  }

  // — what is said, once each until it changes —

  #sayAway(fault: string): void {
    if (this.#isAway) return
    this.#isAway = true
    this.#log.warn({ fault }, 'the shared cache is away; answers are looked for here alone')
  }

  #sayBack(): void {
    if (this.#isAway) this.#log.info({}, 'the shared cache is back')
    this.#isAway = false
  }

  #sayRefused({ message }: CallFault): void {
    this.#refusedUntilUs = this.#options.clock.monotonicUs() + refusedMs * 1_000
    if (this.#isRefused) return
    this.#isRefused = true
    this.#log.warn(
      { fault: message },
      'the control plane keeps no answers for this agent; they are looked for here alone',
    )
  }

  #sayServed(): void {
    if (this.#isRefused) this.#log.info({}, 'the control plane keeps answers for this agent')
    this.#isRefused = false
  }
}

function digestOf(name: string): Buffer {
  return Buffer.from(name, 'base64url')
}
