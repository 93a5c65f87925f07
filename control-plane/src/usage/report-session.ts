import { createHash } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import { batchCodec, reportReplyCodec } from '../../../proto/gen/codec.js'
import type { Batch__Output } from '../../../proto/gen/switchyard/v1/Batch.js'
import type { DeclaredDrop__Output } from '../../../proto/gen/switchyard/v1/DeclaredDrop.js'
import type { Lane__Output } from '../../../proto/gen/switchyard/v1/Lane.js'
import type { ReportHello__Output } from '../../../proto/gen/switchyard/v1/ReportHello.js'
import type { ReportMessage__Output } from '../../../proto/gen/switchyard/v1/ReportMessage.js'
import type { ReportReply } from '../../../proto/gen/switchyard/v1/ReportReply.js'
import { Backoff } from '../../../proto/std/backoff.js'
import type { Clock } from '../../../proto/std/clock.js'
import { protocolVersionOldest } from '../../../proto/std/protocol-version.js'
import { throwRefusal } from '../../../proto/std/refusal.js'
import type { Log } from '../../../proto/std/service.js'
import type { PeerStream } from '../fleet/grpc-stream.js'
import type { JobQueue } from '../jobs/job-queues.js'
import type { BatchJob } from '../jobs/queue-table.js'
import type { CreditWindow } from './credit.js'
import { laneKey, type Range, type ReportClass, type ReportLane, rangesOf } from './report-lane.js'
import type { WatermarkReader } from './watermark-reader.js'

/** A batch or drop on its way from a queue into Postgres. */
export interface UnderWay {
  readonly jobId: string
  readonly lane: ReportLane
  readonly ranges: readonly Range[]
  readonly bytes: number
  readonly session: ReportSession
  /** Monotonic; null until the queue has it. */
  queuedAtUs: number | null
}

export interface ReportSessionOptions {
  stream: PeerStream<ReportMessage__Output, ReportReply>
  windows: Readonly<Record<ReportClass, CreditWindow>>
  queues: Readonly<Record<ReportClass, JobQueue<BatchJob>>>
  watermarks: Pick<WatermarkReader, 'loadWatermarks'>
  /** A serialized batch as the text of a job. */
  pack: (bytes: Uint8Array) => Promise<string>
  /** Told of every batch before it is queued, and when it will not be queued after all. */
  onUnderWay: (batch: UnderWay) => void
  onAbandoned: (batch: UnderWay) => void
  onEnqueueFault: () => void
  clock: Clock
  random: () => number
  log: Log
}

const lanesMax = 20_000
const recordsMax = 5_000
const batchBytesMax = 1 << 20
/** What a record counts for at least: no honest one is as small, and one without a payload costs us all the same. */
const recordBytesMin = 32
/** Declared drops have no payload, hence no credit: beyond so many that are not stored nothing more is read. */
const dropsUnderWayMax = 256
/** As much as is kept of it in the end. */
const reasonLengthMax = 200
/** Batches being handed to the queue at the same time; the next message is not read before one is. */
const enqueuingMax = 16

/** One agent's report stream, from hello to its end. The certificate says whose it is; no message can. */
export class ReportSession {
  readonly #options: ReportSessionOptions
  /** Watermark last told, by lane. */
  readonly #told = new Map<string, number>()
  /** Watermarks to tell. */
  readonly #toTell = new Map<string, { lane: ReportLane; nextSequence: number }>()
  readonly #enqueuing = new Set<Promise<void>>()
  #dropsUnderWay = 0
  #wakeReader: () => void = () => {}
  #welcomed = false
  #flushing = false

  constructor(options: ReportSessionOptions) {
    this.#options = options
    // Each batch that waits for the queue listens for the end of the stream.
    setMaxListeners(2 * enqueuingMax, options.stream.signal)
  }

  async run(): Promise<void> {
    for await (const message of this.#options.stream.messages()) {
      if (message.hello) await this.#onHello(message.hello)
      else if (!this.#welcomed) throwRefusal('bad_input', 'a report stream begins with a hello')
      else if (message.batch) await this.#onBatch(message.batch)
      else if (message.drop) await this.#onDrop(message.drop)
    }
  }

  /** Tells the agent a watermark unless it knows; never waits. */
  tell(lane: ReportLane, nextSequence: number): void {
    if (this.#told.get(laneKey(lane)) === nextSequence) return
    this.#toTell.set(laneKey(lane), { lane, nextSequence })
    this.#flush()
  }

  /** Grants what the windows lack; never waits. */
  topUp(): void {
    if (this.#welcomed) this.#flush()
  }

  /** What came in is stored, or known to be lost. */
  release(batch: UnderWay): void {
    this.#options.windows[batch.lane.class].release(batch.bytes)
    if (batch.bytes > 0) return
    this.#dropsUnderWay -= 1
    this.#wakeReader()
  }

  async #onHello(hello: ReportHello__Output): Promise<void> {
    if (this.#welcomed) throwRefusal('bad_input', 'a report stream has one hello')
    if (hello.protocolVersion < protocolVersionOldest) {
      throwRefusal('bad_input', `protocol ${hello.protocolVersion} is too old: ${protocolVersionOldest} or newer`)
    }
    if (hello.lanes.length > lanesMax) throwRefusal('limit_exceeded', `more than ${lanesMax} lanes`)
    const lanes = hello.lanes.map((lane) => this.#laneOf(lane))
    const watermarks = await this.#retried(() => this.#options.watermarks.loadWatermarks(lanes), 'watermarks')
    for (const [index, lane] of lanes.entries()) {
      const nextSequence = watermarks[index] ?? 0
      this.#told.set(laneKey(lane), nextSequence)
      await this.#options.stream.send(storedReply(lane, nextSequence))
    }
    this.#welcomed = true
    this.#flush()
  }

  async #onBatch(batch: Batch__Output): Promise<void> {
    const lane = this.#laneOf(batch.lane)
    const sequences = batch.records.map((record) => record.sequence)
    const bytes = batch.records.reduce((sum, { payload }) => sum + Math.max(payload.length, recordBytesMin), 0)
    if (sequences.length === 0 || sequences.length > recordsMax || bytes > batchBytesMax) {
      throwRefusal('bad_input', `a batch holds 1 to ${recordsMax} records of at most ${batchBytesMax} bytes together`)
    }
    if (sequences.some((sequence, index) => !isSequence(sequence) || sequence <= (sequences[index - 1] ?? -1))) {
      throwRefusal('bad_input', 'the sequences of a batch ascend')
    }
    const window = this.#options.windows[lane.class]
    if (!window.use(bytes)) throwRefusal('limit_exceeded', 'a batch without credit for it')
    const wire = { bootEpoch: lane.bootEpoch, lane: lane.lane, class: lane.class === 'usage' ? 1 : 2 } as const
    const encoded = batchCodec.encode({ lane: wire, records: batch.records })
    const packed = await this.#options.pack(encoded).catch((fault: unknown) => {
      // It never gets under way, so nobody else gives back what it used.
      window.release(bytes)
      throw fault
    })
    await this.#enqueue(lane, rangesOf(sequences), bytes, encoded, { batch: packed, drop: null })
  }

  async #onDrop(drop: DeclaredDrop__Output): Promise<void> {
    const lane = this.#laneOf(drop.lane)
    const { firstSequence, lastSequence } = drop
    const reason = drop.reason.slice(0, reasonLengthMax)
    if (!isSequence(firstSequence) || !isSequence(lastSequence) || firstSequence > lastSequence) {
      throwRefusal('bad_input', 'a drop is a range')
    }
    const declared = { bootEpoch: lane.bootEpoch, lane: lane.lane, firstSequence, lastSequence, reason }
    const ranges = [{ start: firstSequence, end: lastSequence + 1 }]
    await this.#roomForDrop()
    this.#dropsUnderWay += 1
    await this.#enqueue(lane, ranges, 0, Buffer.from(JSON.stringify(declared)), { batch: null, drop: declared })
  }

  /** Until one of those under way is stored, or the stream is over; meanwhile the agent's messages wait at its end. */
  async #roomForDrop(): Promise<void> {
    const { signal } = this.#options.stream
    while (this.#dropsUnderWay >= dropsUnderWayMax) {
      signal.throwIfAborted()
      await new Promise<void>((resolve) => {
        this.#wakeReader = resolve
        signal.addEventListener('abort', () => resolve(), { once: true })
      })
    }
  }

  /** Resolves when there is room to read the next message, not when the queue has this one. */
  async #enqueue(
    lane: ReportLane,
    ranges: readonly Range[],
    bytes: number,
    content: Uint8Array,
    data: Pick<BatchJob, 'batch' | 'drop'>,
  ): Promise<void> {
    const { agentId, clusterId } = this.#options.stream.peer
    const hash = createHash('sha256').update(`${agentId}\n${lane.class}\n`).update(content).digest('hex')
    const batch: UnderWay = { jobId: `b${hash}`, lane, ranges, bytes, session: this, queuedAtUs: null }
    this.#options.onUnderWay(batch)
    const job: BatchJob = { agentId, clusterId, ...data }
    const queued = this.#retried(() => this.#options.queues[lane.class].add(batch.jobId, job), 'queue').then(
      () => {
        batch.queuedAtUs = this.#options.clock.monotonicUs()
      },
      // The stream is over; the agent sends it again on the next one.
      () => this.#options.onAbandoned(batch),
    )
    const tracked: Promise<void> = queued.finally(() => this.#enqueuing.delete(tracked))
    this.#enqueuing.add(tracked)
    if (this.#enqueuing.size >= enqueuingMax) await Promise.race(this.#enqueuing)
  }

  /** Until it works or the stream is over (then it throws). */
  async #retried<T>(attempt: () => Promise<T>, what: string): Promise<T> {
    const { clock, random, log, stream } = this.#options
    const backoff = new Backoff({ minMs: 50, maxMs: 5_000 }, random)
    for (;;) {
      try {
        return await attempt()
      } catch (fault) {
        if (stream.signal.aborted) throw fault
        this.#options.onEnqueueFault()
        log[backoff.logLevel](
          { agentId: stream.peer.agentId, fault: (fault as Error).message },
          `${what} not reachable`,
        )
        await clock.sleep(backoff.nextMs(), stream.signal)
      }
    }
  }

  #flush(): void {
    if (this.#flushing) return
    this.#flushing = true
    this.#flushAll()
      // The stream is over; whoever waits for it learns that from the stream.
      .catch(() => {})
      .finally(() => {
        this.#flushing = false
      })
  }

  async #flushAll(): Promise<void> {
    const { stream, windows } = this.#options
    for (let more = true; more; ) {
      more = false
      for (const [key, { lane, nextSequence }] of [...this.#toTell]) {
        this.#toTell.delete(key)
        this.#told.set(key, nextSequence)
        await stream.send(storedReply(lane, nextSequence))
        more = true
      }
      for (const of of ['usage', 'spans'] as const) {
        if (stream.signal.aborted) return
        const bytes = windows[of].topUp()
        if (bytes === 0) continue
        await stream.send(creditReply(of, bytes))
        more = true
      }
    }
  }

  #laneOf(wire: Lane__Output | null | undefined): ReportLane {
    if (!wire || (wire.class !== 'USAGE' && wire.class !== 'SPANS')) throwRefusal('bad_input', 'a lane has a class')
    if (!isSequence(wire.bootEpoch) || wire.lane > lanesMax) throwRefusal('bad_input', 'a lane has a boot epoch')
    return {
      agentId: this.#options.stream.peer.agentId,
      bootEpoch: wire.bootEpoch,
      lane: wire.lane,
      class: wire.class === 'USAGE' ? 'usage' : 'spans',
    }
  }
}

function isSequence(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0 && value < Number.MAX_SAFE_INTEGER
}

function storedReply(lane: ReportLane, nextSequence: number): Buffer {
  const wire = { bootEpoch: lane.bootEpoch, lane: lane.lane, class: lane.class === 'usage' ? 1 : 2 } as const
  return Buffer.from(reportReplyCodec.encode({ stored: { lane: wire, nextSequence } }))
}

function creditReply(of: ReportClass, bytes: number): Buffer {
  return Buffer.from(reportReplyCodec.encode({ credit: { class: of === 'usage' ? 1 : 2, bytes } }))
}
