import grpc from '@grpc/grpc-js'
import { reportReplyCodec } from '../../../proto/gen/codec.js'
import type { ReportReply__Output } from '../../../proto/gen/switchyard/v1/ReportReply.js'
import { Backoff } from '../../../proto/std/backoff.js'
import type { Clock } from '../../../proto/std/clock.js'
import type { Log, Service } from '../../../proto/std/service.js'
import { type BidiStream, bidiStream, CallFault, type ChannelLimits, channelOptions } from '../config/grpc-client.js'
import { encodeReport, type OutgoingReport, Sender, type SenderStats } from './sender.js'
import type { Spool } from './spool.js'

/** As much of the agent's identity as reporting needs. */
export interface ReporterIdentity {
  /** Changes only when the control plane gave a new one to an agent that enrolled again. */
  readonly agentId: string
  readonly fleetAddress: string
  /** Asked for each connection. */
  credentials(): grpc.ChannelCredentials
  /** Resolves once the certificate is valid. */
  whenValid(signal: AbortSignal): Promise<void>
  onRenewed(listener: () => void): () => void
}

export interface UsageReporterOptions {
  identity: ReporterIdentity
  spool: Spool
  agentVersion: string
  clock: Clock
  random: () => number
  log: Log
  limits?: ChannelLimits
  reconnectMinMs?: number
  reconnectMaxMs?: number
  /** How long records gather before a batch leaves. Default 100 ms. */
  lingerMs?: number
  /** See `SenderOptions.stallMs`. */
  stallMs?: number
}

export interface UsageReporterStats extends SenderStats {
  readonly connected: boolean
  readonly connectCount: number
}

const tickMs = 1_000
const defaultLimits: ChannelLimits = {
  messageBytesMax: 4 << 20,
  keepaliveIntervalMs: 15_000,
  keepaliveTimeoutMs: 5_000,
}

/**
 * Carries the spool to the control plane over a stream of its own, for as long as the agent lives. Losing the stream
 * loses nothing: the next one begins at what Postgres has.
 */
export class UsageReporter implements Service {
  readonly name = 'usage-reporter'
  readonly #options: UsageReporterOptions
  readonly #clock: Clock
  readonly #log: Log
  readonly #sender: Sender
  readonly #backoff: Backoff
  readonly #stopping = new AbortController()
  #stream: BidiStream<OutgoingReport, ReportReply__Output> | null = null
  #connected = false
  #connectCount = 0
  /** Something waited for a reply or a tick that came: do not wait for more records. */
  #urgent = false
  #ended: Promise<void> | null = null

  constructor(options: UsageReporterOptions) {
    this.#options = options
    this.#clock = options.clock
    this.#log = options.log.child({ service: this.name })
    this.#sender = new Sender({
      spool: options.spool,
      agentVersion: options.agentVersion,
      clock: options.clock,
      log: this.#log,
      ...(options.stallMs === undefined ? {} : { stallMs: options.stallMs }),
    })
    this.#backoff = new Backoff(
      { minMs: options.reconnectMinMs ?? 200, maxMs: options.reconnectMaxMs ?? 30_000 },
      options.random,
    )
  }

  stats(): UsageReporterStats {
    return { ...this.#sender.stats(), connected: this.#connected, connectCount: this.#connectCount }
  }

  async run(): Promise<void> {
    this.#ended ??= this.#loop()
  }

  /** Waits until everything written is stored, as long as there is a control plane to store it. */
  async drain(deadlineMs: number): Promise<void> {
    const endUs = this.#clock.monotonicUs() + deadlineMs * 1000
    const waiting = () => {
      const stats = this.#options.spool.stats()
      return stats.usageWaitingCount + stats.spanWaitingCount > 0
    }
    while (this.#connected && waiting() && this.#clock.monotonicUs() < endUs) {
      this.#wake()
      await this.#clock.sleep(20)
    }
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    this.#stream?.cancel()
    this.#wake()
    await this.#ended
  }

  async #loop(): Promise<void> {
    const { signal } = this.#stopping
    const offRenewed = this.#options.identity.onRenewed(() => this.#stream?.cancel())
    // A stream is for the lanes that its hello named.
    this.#options.spool.onLanes(() => this.#stream?.cancel())
    while (!signal.aborted) {
      try {
        await this.#options.identity.whenValid(signal)
        await this.#report()
      } catch (fault) {
        if (signal.aborted) break
        const { code, message } = CallFault.of(fault)
        this.#log[this.#backoff.logLevel]({ code }, `usage is not being reported: ${message}`)
      } finally {
        this.#connected = false
        this.#stream = null
        await this.#sender.end()
      }
      await this.#clock.sleep(this.#backoff.nextMs(), signal).catch(() => {})
    }
    offRenewed()
  }

  /** One stream, from hello to its end. */
  async #report(): Promise<void> {
    const { identity, limits } = this.#options
    this.#options.spool.adopt(identity.agentId)
    const client = new grpc.Client(
      identity.fleetAddress,
      identity.credentials(),
      channelOptions(limits ?? defaultLimits),
    )
    let cancelTick = () => {}
    try {
      const stream = bidiStream<OutgoingReport, ReportReply__Output>(
        client.makeBidiStreamRequest(
          '/switchyard.v1.ReportService/Report',
          encodeReport,
          (bytes) => reportReplyCodec.decode(bytes),
          new grpc.Metadata(),
        ),
      )
      this.#stream = stream
      await stream.send(await this.#sender.begin())
      const over = { value: false }
      const receiving = this.#receive(stream).finally(() => {
        over.value = true
        this.#wake()
      })
      // Awaited below; until then its failure is nobody's yet.
      receiving.catch(() => {})
      cancelTick = this.#tick()
      try {
        await this.#pump(stream, over)
      } finally {
        stream.cancel()
        await receiving
      }
    } finally {
      cancelTick()
      client.close()
    }
  }

  async #receive(stream: BidiStream<OutgoingReport, ReportReply__Output>): Promise<void> {
    for await (const reply of stream.messages()) {
      if (!this.#connected) {
        this.#connected = true
        this.#connectCount += 1
        this.#backoff.reset()
      }
      const told = this.#sender.receive(reply)
      if (told === 'rekeyed') return
      if (told === 'sendable') this.#wake()
    }
  }

  async #pump(stream: BidiStream<OutgoingReport, ReportReply__Output>, over: { value: boolean }): Promise<void> {
    let isIdle = true
    while (!over.value) {
      // Registered before looking, so that what is written meanwhile is not missed.
      const written = this.#options.spool.written()
      this.#urgent = false
      const message = await this.#sender.next()
      if (message) {
        await stream.send(message)
        isIdle = false
        continue
      }
      if (over.value) return
      // After a round that sent something there may be more already.
      if (isIdle && !this.#urgent) await written
      if (!this.#urgent && !over.value) await this.#clock.sleep(this.#options.lingerMs ?? 100)
      isIdle = true
    }
  }

  #tick(): () => void {
    let cancel = () => {}
    const again = () => {
      cancel = this.#clock.after(tickMs, () => {
        if (this.#sender.tick()) this.#wake()
        again()
      })
    }
    again()
    return () => cancel()
  }

  #wake(): void {
    this.#urgent = true
    this.#options.spool.wake()
  }
}
