import type grpc from '@grpc/grpc-js'
import { reportMessageCodec, reportReplyCodec } from '../../../proto/gen/codec.js'
import type { ReportMessage__Output } from '../../../proto/gen/switchyard/v1/ReportMessage.js'
import type { ReportReply } from '../../../proto/gen/switchyard/v1/ReportReply.js'
import type { Clock } from '../../../proto/std/clock.js'
import type { Log, Service } from '../../../proto/std/service.js'
import type { GrpcRegistration } from '../fleet/grpc-server.js'
import type { PeerStream } from '../fleet/grpc-stream.js'
import type { JobQueue } from '../jobs/job-queues.js'
import type { BatchJob } from '../jobs/queue-table.js'
import type { Metrics } from '../observability/metrics.js'
import { CreditPool, CreditWindow } from './credit.js'
import { packBatch } from './packed-batch.js'
import { laneKey, type ReportClass } from './report-lane.js'
import { ReportSession, type UnderWay } from './report-session.js'
import type { WatermarkReader } from './watermark-reader.js'

export interface UsageIntakeOptions {
  queues: Readonly<Record<ReportClass, JobQueue<BatchJob>>>
  watermarks: WatermarkReader
  metrics: Metrics
  clock: Clock
  random: () => number
  log: Log
  /** Σ (sent − stored) of every stream of this replica, both classes. Default 64 MiB, a quarter of it for spans. */
  creditBytesMax?: number
  /** Between looks at what is stored, while something is under way. Default 200 ms; `wake` is sooner. */
  pollMs?: number
  /** A batch that is not stored so long after it was queued is looked for in the queue. Default 5 s. */
  missingAfterMs?: number
  /** Default `packBatch`. */
  pack?: (bytes: Uint8Array) => Promise<string>
}

const pollCountMax = 2_000
const missingCountMax = 100
const wakeMs = 10

/**
 * Takes reports from agents to the queue, and tells agents what Postgres has. *Queued is not stored*: credit comes back,
 * and a watermark moves, only by what is read from Postgres; a queue that forgets is found out and its credit freed, and
 * the agent, which keeps everything until it is stored, sends again.
 */
export class UsageIntake implements Service {
  readonly name = 'usage-intake'
  readonly #options: UsageIntakeOptions
  readonly #log: Log
  readonly #pools: Readonly<Record<ReportClass, CreditPool>>
  readonly #sessions = new Set<ReportSession>()
  readonly #underWay = new Set<UnderWay>()
  readonly #stopping = new AbortController()
  readonly #counts: ReturnType<typeof makeCounters>
  #wakeUp: (() => void) | null = null
  #ended: Promise<void> | null = null
  #lookedForMissingUs = 0

  constructor(options: UsageIntakeOptions) {
    this.#options = options
    this.#log = options.log.child({ service: this.name })
    const total = options.creditBytesMax ?? 64 << 20
    this.#pools = { usage: new CreditPool(total - (total >> 2)), spans: new CreditPool(total >> 2) }
    this.#counts = makeCounters(options.metrics, {
      streams: () => this.#sessions.size,
      underWayBytes: (of) => [...this.#underWay].reduce((sum, b) => sum + (b.lane.class === of ? b.bytes : 0), 0),
    })
  }

  /** The report service, for the fleet's port. Batches are decoded once, straight from the wire. */
  registration(): GrpcRegistration {
    const service: grpc.ServiceDefinition = {
      Report: {
        path: '/switchyard.v1.ReportService/Report',
        requestStream: true,
        responseStream: true,
        requestDeserialize: (bytes: Buffer) => reportMessageCodec.decode(bytes),
        requestSerialize: (message: Parameters<typeof reportMessageCodec.encode>[0]) =>
          Buffer.from(reportMessageCodec.encode(message)),
        responseSerialize: (reply: ReportReply | Buffer) =>
          Buffer.isBuffer(reply) ? reply : Buffer.from(reportReplyCodec.encode(reply)),
        responseDeserialize: (bytes: Buffer) => reportReplyCodec.decode(bytes),
      },
    }
    return { port: 'fleet', service, methods: { Report: (stream: ReportStream) => this.serve(stream) } }
  }

  async run(): Promise<void> {
    this.#ended ??= this.#loop()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    this.wake()
    await this.#ended
  }

  /** Something was stored on this replica. */
  wake(): void {
    this.#wakeUp?.()
    this.#wakeUp = null
  }

  /** One stream; resolves when it ends. */
  async serve(stream: ReportStream): Promise<void> {
    const { queues, watermarks, clock, random, pack = packBatch } = this.#options
    const windows = {
      usage: new CreditWindow(this.#pools.usage, 8 << 20),
      spans: new CreditWindow(this.#pools.spans, 2 << 20),
    }
    const session = new ReportSession({
      ...{ stream, windows, queues, watermarks, pack, clock, random, log: this.#log },
      onUnderWay: (batch) => {
        this.#underWay.add(batch)
        this.#counts.batches.inc({ class: batch.lane.class })
        this.#counts.records.inc(
          { class: batch.lane.class },
          batch.bytes === 0 ? 0 : batch.ranges.reduce((sum, range) => sum + range.end - range.start, 0),
        )
      },
      onAbandoned: (batch) => this.#release(batch),
      onEnqueueFault: () => this.#counts.faults.inc(),
    })
    this.#sessions.add(session)
    try {
      await session.run()
    } finally {
      this.#sessions.delete(session)
      windows.usage.close()
      windows.spans.close()
    }
  }

  #release(batch: UnderWay): void {
    if (!this.#underWay.delete(batch)) return
    batch.session.release(batch)
  }

  async #loop(): Promise<void> {
    const { clock } = this.#options
    const { signal } = this.#stopping
    let faultCount = 0
    while (!signal.aborted) {
      await this.#wait()
      if (signal.aborted) return
      try {
        await this.#look()
        await this.#lookForMissing()
        faultCount = 0
      } catch (fault) {
        faultCount += 1
        const level = faultCount > 10 ? 'warn' : 'debug'
        this.#log[level]({ fault: (fault as Error).message }, 'what is stored cannot be read')
        await clock.sleep(Math.min(5_000, 100 * faultCount), signal).catch(() => {})
      }
    }
  }

  /** For a poll's time, or until woken; then a moment more, so that commits that come together are read together. */
  async #wait(): Promise<void> {
    const { clock, pollMs } = this.#options
    await new Promise<void>((resolve) => {
      const cancel = clock.after(pollMs ?? 200, resolve)
      this.#wakeUp = () => {
        cancel()
        resolve()
      }
    })
    if (!this.#stopping.signal.aborted) await clock.sleep(wakeMs)
  }

  /** Reads from Postgres what is stored; frees credit, tells watermarks. */
  async #look(): Promise<void> {
    const queued = [...this.#underWay].filter((batch) => batch.queuedAtUs !== null).slice(0, pollCountMax)
    if (queued.length > 0) await this.#settle(queued)
    // Also those that wait for credit that others gave back.
    for (const session of this.#sessions) session.topUp()
  }

  async #settle(batches: readonly UnderWay[]): Promise<void> {
    const { stored, watermarks } = await this.#options.watermarks.loadStored(batches)
    for (const [index, batch] of batches.entries()) {
      if (stored[index]) this.#release(batch)
      // To the end of the line: there may be more than one look can ask about.
      else if (this.#underWay.delete(batch)) this.#underWay.add(batch)
      const nextSequence = watermarks.get(laneKey(batch.lane))
      if (nextSequence !== undefined) batch.session.tell(batch.lane, nextSequence)
    }
  }

  /** A queue may forget. What is neither in it nor in Postgres is lost, and holds no credit. */
  async #lookForMissing(): Promise<void> {
    const { clock, missingAfterMs, queues } = this.#options
    const nowUs = clock.monotonicUs()
    const ageUs = (missingAfterMs ?? 5_000) * 1000
    if (nowUs - this.#lookedForMissingUs < ageUs / 2) return
    this.#lookedForMissingUs = nowUs
    const old = [...this.#underWay].filter((batch) => batch.queuedAtUs !== null && nowUs - batch.queuedAtUs > ageUs)
    const missing: UnderWay[] = []
    for (const batch of old.slice(0, missingCountMax)) {
      if (!(await queues[batch.lane.class].has(batch.jobId))) missing.push(batch)
    }
    if (missing.length === 0) return
    await this.#settle(missing)
    for (const batch of missing) {
      if (!this.#underWay.has(batch)) continue
      this.#release(batch)
      this.#counts.lost.inc()
      this.#log.warn({ lane: laneKey(batch.lane) }, 'the queue lost a batch; the agent will send it again')
    }
  }
}

type ReportStream = PeerStream<ReportMessage__Output, ReportReply>

function makeCounters(metrics: Metrics, now: { streams: () => number; underWayBytes: (of: ReportClass) => number }) {
  metrics.gauge({ name: 'report_streams', help: 'Agents whose report stream is open.' }, (gauge) =>
    gauge.set(now.streams()),
  )
  metrics.gauge(
    { name: 'report_under_way_bytes', help: 'Sent by agents and not stored, by class.', labels: ['class'] },
    (gauge) => {
      for (const of of ['usage', 'spans'] as const) gauge.set({ class: of }, now.underWayBytes(of))
    },
  )
  return {
    batches: metrics.counter({ name: 'report_batches_total', help: 'Batches and drops received.', labels: ['class'] }),
    records: metrics.counter({ name: 'report_records_total', help: 'Records received.', labels: ['class'] }),
    faults: metrics.counter({
      name: 'report_enqueue_faults_total',
      help: 'Times the queue or Postgres did not answer.',
    }),
    lost: metrics.counter({ name: 'report_batches_lost_total', help: 'Batches that the queue forgot.' }),
  }
}
