import { describe, expect, it } from 'vitest'
import { batchCodec, reportMessageCodec, reportReplyCodec } from '../../../proto/gen/codec.js'
import type { ReportMessage, ReportMessage__Output } from '../../../proto/gen/switchyard/v1/ReportMessage.js'
import type { ReportReply, ReportReply__Output } from '../../../proto/gen/switchyard/v1/ReportReply.js'
import { VirtualClock } from '../../../proto/std/clock.js'
import type { Log } from '../../../proto/std/service.js'
import type { PeerStream } from '../fleet/grpc-stream.js'
import type { BatchJob } from '../jobs/queue-table.js'
import { Metrics } from '../observability/metrics.js'
import { unpackBatch } from './packed-batch.js'
import { covers, laneKey, type Range, type ReportLane, rangesOf } from './report-lane.js'
import { UsageIntake } from './usage-intake.js'
import type { Awaited, WatermarkReader } from './watermark-reader.js'

const quiet: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet }
const usageLane = { bootEpoch: 5, lane: 0, class: 1 } as const

/** A queue and a Postgres that do what they are told to. */
class FakeServers {
  readonly jobs = new Map<string, BatchJob>()
  readonly stored = new Map<string, number[]>()
  away = false
  addCount = 0

  readonly queue = {
    add: async (id: string, job: BatchJob) => {
      this.addCount += 1
      if (this.away) throw new Error('away')
      this.jobs.set(id, job)
    },
    has: async (id: string) => this.jobs.has(id),
    count: async () => this.jobs.size,
  }

  readonly watermarks: Pick<WatermarkReader, 'loadWatermarks' | 'loadStored'> = {
    loadWatermarks: async (lanes) => {
      if (this.away) throw new Error('away')
      return lanes.map((lane) => this.#watermark(lane))
    },
    loadStored: async (awaited: readonly Awaited[]) => ({
      stored: awaited.map((batch) => batch.ranges.every((range) => this.#holds(batch.lane, range))),
      watermarks: new Map(awaited.map((batch) => [laneKey(batch.lane), this.#watermark(batch.lane)])),
    }),
  }

  /** What the workers do. */
  async work(): Promise<void> {
    for (const [id, job] of this.jobs) {
      const batch = batchCodec.decode(await unpackBatch(job.batch ?? ''))
      const lane = { agentId: job.agentId, bootEpoch: batch.lane?.bootEpoch ?? 0, lane: 0, class: 'usage' } as const
      const key = laneKey(lane)
      const held = [...(this.stored.get(key) ?? []), ...batch.records.map((record) => record.sequence)]
      this.stored.set(
        key,
        [...new Set(held)].sort((a, b) => a - b),
      )
      this.jobs.delete(id)
    }
  }

  #ranges(lane: ReportLane): Range[] {
    return rangesOf(this.stored.get(laneKey(lane)) ?? [])
  }

  #watermark(lane: ReportLane): number {
    const first = this.#ranges(lane)[0]
    return first?.start === 0 ? first.end : 0
  }

  #holds(lane: ReportLane, range: Range): boolean {
    return covers(this.#ranges(lane), range.start) && covers(this.#ranges(lane), range.end - 1)
  }
}

/** An agent's stream, played by the test. */
class FakeStream implements PeerStream<ReportMessage__Output, ReportReply> {
  readonly peer = {
    ...{
      installationId: 'ins',
      clusterId: 'clu',
      agentId: 'agt',
      serial: '1',
      certificateNotAfterMs: Number.MAX_SAFE_INTEGER,
    },
  }
  readonly #over = new AbortController()
  readonly signal = this.#over.signal
  readonly replies: ReportReply__Output[] = []
  #inbox: ReportMessage__Output[] = []
  #wake: () => void = () => {}

  say(message: ReportMessage): void {
    this.#inbox.push(reportMessageCodec.decode(Buffer.from(reportMessageCodec.encode(message))))
    this.#wake()
  }

  hangUp(): void {
    this.#over.abort(new Error('gone'))
    this.#wake()
  }

  async *messages() {
    while (!this.signal.aborted) {
      const message = this.#inbox.shift()
      if (message) yield message
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
    }
  }

  async send(reply: ReportReply | Buffer) {
    this.signal.throwIfAborted()
    this.replies.push(reportReplyCodec.decode(reply as Buffer))
  }

  get credit(): number {
    return this.replies.reduce((sum, { credit }) => sum + (credit?.class === 'USAGE' ? credit.bytes : 0), 0)
  }

  get watermark(): number | undefined {
    return this.replies.filter((reply) => reply.stored).at(-1)?.stored?.nextSequence
  }
}

function batchOf(sequences: readonly number[], bytes = 100): ReportMessage {
  return {
    batch: { lane: usageLane, records: sequences.map((sequence) => ({ sequence, payload: Buffer.alloc(bytes, 7) })) },
  }
}

const hello: ReportMessage = { hello: { protocolVersion: 1, agentVersion: 'test', lanes: [usageLane] } }
const settle = async () => {
  // Packing happens on the thread pool: a while in real time, which no virtual clock knows of.
  for (let i = 0; i < 10; i++) await new Promise((resolve) => setTimeout(resolve, 2))
}

async function started(creditBytesMax = 8 << 20, pack?: (bytes: Uint8Array) => Promise<string>) {
  const servers = new FakeServers()
  const clock = new VirtualClock()
  const intake = new UsageIntake({
    queues: { usage: servers.queue, spans: servers.queue },
    watermarks: servers.watermarks as WatermarkReader,
    ...{ metrics: new Metrics(), clock, random: () => 0.5, log: quiet, creditBytesMax },
    ...(pack ? { pack } : {}),
  })
  await intake.run()
  const connect = () => {
    const stream = new FakeStream()
    const ended = intake.serve(stream).then(
      () => 'ended',
      (fault: Error) => fault.message,
    )
    return { stream, ended }
  }
  return { servers, clock, intake, connect }
}

describe('the intake', () => {
  it('answers a hello with each lane’s watermark before the first credit', async () => {
    const { connect, servers } = await started()
    servers.stored.set('agt/usage/5/0', [0, 1, 2, 9])
    const { stream } = connect()
    stream.say(hello)
    await settle()
    expect(stream.replies[0]?.stored).toMatchObject({ nextSequence: 3, lane: { bootEpoch: 5, class: 'USAGE' } })
    expect(stream.replies.slice(1).every((reply) => reply.credit)).toBe(true)
    expect(stream.credit).toBeGreaterThan(0)
  })

  it('gives credit back and moves the watermark when Postgres has it, not when the queue has', async () => {
    const { connect, servers, clock } = await started()
    const { stream } = connect()
    stream.say(hello)
    await settle()
    let used = 0
    let sequence = 0
    while (stream.credit > used) {
      const bytes = Math.min(stream.credit - used, 400_000)
      stream.say(batchOf([sequence++], bytes))
      used += bytes
      await settle()
      await clock.advance(300)
    }
    const whileQueued = stream.credit
    expect(servers.jobs.size).toBe(sequence)
    await clock.advance(2_000)
    expect(stream.credit).toBe(whileQueued)
    expect(stream.watermark).toBe(0)
    await servers.work()
    await clock.advance(1_000)
    expect(stream.watermark).toBe(sequence)
    expect(stream.credit).toBeGreaterThan(whileQueued)
  })

  it('tries to queue again for as long as the queue is away, and grants nothing for it', async () => {
    const { connect, servers, clock } = await started()
    const { stream } = connect()
    stream.say(hello)
    await settle()
    servers.away = true
    const granted = stream.credit
    stream.say(batchOf([0]))
    await settle()
    for (let i = 0; i < 30; i++) await clock.advance(1_000)
    expect(servers.addCount).toBeGreaterThan(5)
    expect(stream.credit).toBe(granted)
    servers.away = false
    for (let i = 0; i < 6; i++) await clock.advance(1_000)
    await servers.work()
    await clock.advance(1_000)
    expect(stream.watermark).toBe(1)
  })

  it('frees the credit of what the queue lost', async () => {
    const { connect, servers, clock } = await started(1 << 20)
    const { stream } = connect()
    stream.say(hello)
    await settle()
    let sequence = 0
    for (let round = 0; round < 40; round++) {
      expect(stream.credit - sequence * 40_000).toBeGreaterThan(0)
      stream.say(batchOf([sequence++], 40_000))
      await settle()
      servers.jobs.clear()
      for (let i = 0; i < 3; i++) await clock.advance(3_000)
    }
    // Far more was sent than may be under way; the stream lives on what was freed.
    expect(sequence * 40_000).toBeGreaterThan(1 << 20)
  })

  it('bounds what all agents together have under way, and lets each have some', async () => {
    const { connect, clock } = await started(2 << 20)
    const streams = Array.from({ length: 12 }, () => connect().stream)
    for (const stream of streams) stream.say(hello)
    await settle()
    const used = new Map(streams.map((stream) => [stream, 0]))
    for (let round = 0; round < 30; round++) {
      for (const stream of streams) {
        const left = stream.credit - (used.get(stream) ?? 0)
        if (left <= 0) continue
        const bytes = Math.min(left, 200_000)
        stream.say(batchOf([round], bytes))
        used.set(stream, (used.get(stream) ?? 0) + bytes)
      }
      await settle()
      await clock.advance(300)
    }
    const total = [...used.values()].reduce((sum, bytes) => sum + bytes, 0)
    expect(total).toBeLessThanOrEqual(2 << 20)
    for (const bytes of used.values()) expect(bytes).toBeGreaterThan(0)
  })

  it.each<[string, ReportMessage[], string]>([
    ['a batch before the hello', [batchOf([0])], 'begins with a hello'],
    ['a second hello', [hello, hello], 'one hello'],
    ['an empty batch', [hello, batchOf([])], '1 to'],
    ['sequences out of order', [hello, batchOf([3, 2])], 'ascend'],
    ['the same sequence twice', [hello, batchOf([2, 2])], 'ascend'],
    ['a lane without a class', [hello, { batch: { lane: { bootEpoch: 5, lane: 0, class: 0 }, records: [] } }], 'class'],
    ['more than its credit', [hello, ...[0, 1, 2, 3].map((n) => batchOf([n], 60_000))], 'without credit'],
    ['a drop that is no range', [hello, { drop: { lane: usageLane, firstSequence: 5, lastSequence: 4 } }], 'range'],
    ['an outdated protocol', [{ hello: { protocolVersion: 0, lanes: [] } }], 'too old'],
  ])('ends a stream that says %s', async (_what, messages, complaint) => {
    const { connect } = await started()
    const { stream, ended } = connect()
    for (const message of messages) {
      stream.say(message)
      await settle()
    }
    expect(await ended).toContain(complaint)
  })

  it('lets nobody send records without payload beyond his credit', async () => {
    const { connect } = await started()
    const { stream, ended } = connect()
    stream.say(hello)
    await settle()
    const count = Math.ceil(stream.credit / 32)
    const sequences = Array.from({ length: count }, (_, index) => index)
    stream.say(batchOf(sequences, 0))
    stream.say(batchOf([count], 0))
    expect(await ended).toContain('without credit')
  })

  it('reads no more from who declares more drops than are stored, and cuts what they say', async () => {
    const { connect, servers, clock } = await started()
    const { stream, ended } = connect()
    stream.say(hello)
    await settle()
    const say = (n: number, reason = 'over_budget') =>
      stream.say({ drop: { lane: usageLane, firstSequence: n, lastSequence: n, reason } })
    say(0, 'x'.repeat(100_000))
    for (let n = 1; n < 400; n++) say(n)
    await settle()
    expect(servers.jobs.size).toBe(256)
    expect([...servers.jobs.values()].map((job) => job.drop?.reason.length)[0]).toBe(200)
    servers.stored.set(
      'agt/usage/5/0',
      Array.from({ length: 256 }, (_, index) => index),
    )
    await clock.advance(300)
    await settle()
    expect(servers.jobs.size).toBe(400)
    for (let n = 400; n < 600; n++) say(n)
    await settle()
    stream.hangUp()
    expect(await ended).toBe('gone')
  })

  it('gives back the credit of a batch that could not be packed', async () => {
    let broken = true
    const { connect } = await started(1 << 20, async () => {
      if (broken) throw new Error('no memory')
      return 'packed'
    })
    // Far more than the pool, were it lost each time.
    for (let i = 0; i < 50; i++) {
      const { stream, ended } = connect()
      stream.say(hello)
      await settle()
      stream.say(batchOf([0], Math.min(stream.credit, 60_000)))
      expect(await ended).toBe('no memory')
    }
    broken = false
    const { stream } = connect()
    stream.say(hello)
    await settle()
    expect(stream.credit).toBe(64 << 10)
  })

  it('gives a lost stream’s credit back', async () => {
    const { connect, clock } = await started(1 << 20)
    for (let i = 0; i < 50; i++) {
      const { stream, ended } = connect()
      stream.say(hello)
      await settle()
      expect(stream.credit).toBeGreaterThan(0)
      stream.hangUp()
      await ended
    }
    await clock.advance(1_000)
  })
})
