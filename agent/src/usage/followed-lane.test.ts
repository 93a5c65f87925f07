import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { reportReplyCodec, usageRecordCodec } from '../../../proto/gen/codec.js'
import { VirtualClock } from '../../../proto/std/clock.js'
import type { Log } from '../../../proto/std/service.js'
import type { LaneOrder } from './lane-telling.js'
import { Meter, type OpenRecord } from './meter.js'
import type { LaneKey, SpoolClass } from './segment.js'
import { type OutgoingReport, Sender } from './sender.js'
import { type FollowedLanes, Spool, type SpoolAlarm } from './spool.js'
import { type LaneTellings, tellMs, WorkerSpool } from './worker-spool.js'

const quiet: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet }
const ends: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

function freshFolder(): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'switchyard-followed-'))
  ends.push(() => fs.rmSync(folder, { recursive: true, force: true }))
  return folder
}

const budgets = { segmentBytes: 4096, usageBytesMax: 4 << 20, spanBytesMax: 1 << 20 }

/** One life of a request worker, with the channel to its primary: what is on its way stays there until `exchange`. */
class Worker {
  readonly clock = new VirtualClock()
  readonly lanes: FollowedLanes
  readonly spool: WorkerSpool
  readonly meter: Meter
  readonly toPrimary: LaneTellings[] = []
  readonly toWorker: (readonly [SpoolClass, LaneOrder])[] = []
  isAlive = true

  constructor(
    readonly primary: Spool,
    readonly index: number,
    disk: { broken: boolean },
  ) {
    this.lanes = primary.follow(index, (of, order) => this.toWorker.push([of, order]))
    this.spool = new WorkerSpool({
      ...{ directory: primary.directory, bootEpoch: this.lanes.usage.key.bootEpoch, lane: index },
      ...{ segmentBytes: budgets.segmentBytes, accepting: true, clock: this.clock, log: quiet },
      tell: async (tellings) => {
        if (this.isAlive) this.toPrimary.push(tellings)
      },
      write: (fd, bytes, length) => {
        if (!this.isAlive) throw new Error('killed')
        return fs.writeSync(fd, bytes, 0, disk.broken ? length >> 1 : length)
      },
    })
    void this.spool.run()
    this.meter = new Meter(this.spool, quiet)
  }

  /** Time for tellings and retries, then both ways of the channel are emptied. */
  async exchange(ms = 110): Promise<void> {
    await this.meter.written()
    await this.clock.advance(ms)
    for (const [of, order] of this.toWorker.splice(0)) this.spool.obey(of, order)
    await this.clock.advance(tellMs + 30)
    this.deliver()
  }

  deliver(count = Number.POSITIVE_INFINITY): void {
    for (const tellings of this.toPrimary.splice(0, count)) {
      for (const of of ['usage', 'spans'] as const) {
        const telling = tellings[of]
        if (telling !== null) this.lanes[of].follow(telling)
      }
    }
  }

  /** What was told and not read yet is lost, or was read in time, as `delivered` says. */
  kill(delivered: number): void {
    this.isAlive = false
    this.deliver(delivered)
    this.primary.unfollow(this.lanes)
  }
}

async function startPrimary(directory: string, clock: VirtualClock, over: Partial<typeof budgets> = {}) {
  const alarms: SpoolAlarm[] = []
  const spool = new Spool({
    ...{ directory, clock, log: quiet, ownLanes: false, onAlarm: (alarm: SpoolAlarm) => alarms.push(alarm) },
    ...{ ...budgets, ...over },
  })
  await spool.run()
  const sender = new Sender({ spool, agentVersion: 'test', clock, log: quiet, recordsMax: 4, bytesMax: 1_000 })
  ends.push(() => sender.end())
  return { spool, sender, alarms }
}

type Primary = Awaited<ReturnType<typeof startPrimary>>

/** What Postgres and a queue before it would hold. */
class FakeControlPlane {
  readonly lanes = new Map<string, Map<number, string>>()
  readonly contradictions: string[] = []
  queue: OutgoingReport[] = []

  store(count = Number.POSITIVE_INFINITY): void {
    for (const { batch, drop } of this.queue.splice(0, count)) {
      for (const record of batch?.records ?? []) {
        const content = Buffer.from(record.payload as Uint8Array).toString('hex')
        const lane = this.#lane(batch?.lane)
        const before = lane.get(Number(record.sequence))
        if (before === undefined) lane.set(Number(record.sequence), content)
        else if (before !== content && before !== 'drop') this.contradictions.push(`${record.sequence}`)
      }
      if (!drop) continue
      const lane = this.#lane(drop.lane)
      for (let i = Number(drop.firstSequence); i <= Number(drop.lastSequence); i++)
        if (!lane.has(i)) lane.set(i, 'drop')
    }
  }

  watermark(key: LaneKey): number {
    const lane = this.lanes.get(`${key.class === 'usage' ? 1 : 2}/${key.bootEpoch}/${key.lane}`)
    let next = 0
    while (lane?.has(next)) next += 1
    return next
  }

  #lane(wire: { bootEpoch?: unknown; lane?: unknown; class?: unknown } | null | undefined): Map<number, string> {
    const key = `${wire?.class}/${wire?.bootEpoch}/${wire?.lane}`
    const lane = this.lanes.get(key) ?? new Map<number, string>()
    this.lanes.set(key, lane)
    return lane
  }
}

function stored(key: LaneKey, nextSequence: number) {
  const lane = { bootEpoch: key.bootEpoch, lane: key.lane, class: key.class === 'usage' ? 1 : 2 } as const
  return reportReplyCodec.decode(reportReplyCodec.encode({ stored: { lane, nextSequence } }))
}

async function connect({ spool, sender }: Primary, plane: FakeControlPlane): Promise<void> {
  await sender.begin()
  tellWatermarks({ spool, sender }, plane)
  for (const of of [1, 2] as const) {
    sender.receive(reportReplyCodec.decode(reportReplyCodec.encode({ credit: { class: of, bytes: 1 << 20 } })))
  }
}

function tellWatermarks({ spool, sender }: Pick<Primary, 'spool' | 'sender'>, plane: FakeControlPlane): void {
  for (const lane of spool.lanes()) sender.receive(stored(lane.key, plane.watermark(lane.key)))
}

async function sendAll({ sender }: Primary, plane: FakeControlPlane): Promise<void> {
  for (let message = await sender.next(); message; message = await sender.next()) plane.queue.push(message)
}

const record = (requestId: string, status = 'ok') => ({ requestId, status })

/** `requestId status` of every record, in the order of their keys. */
function storedRecords(plane: FakeControlPlane): string[] {
  return [...plane.lanes].flatMap(([name, lane]) =>
    name.startsWith('1/')
      ? [...lane].map(([, content]) => {
          if (content === 'drop') return 'drop'
          const { requestId, status } = usageRecordCodec.decode(Buffer.from(content, 'hex'))
          return `${requestId} ${status}`
        })
      : [],
  )
}

async function one(over: Partial<typeof budgets> = {}) {
  const clock = new VirtualClock()
  const primary = await startPrimary(freshFolder(), clock, over)
  const disk = { broken: false }
  const worker = new Worker(primary.spool, 0, disk)
  return { clock, primary, disk, worker, plane: new FakeControlPlane() }
}

describe('a lane that a request worker writes', () => {
  it('is sent as far as it was told, and its gap of a running request is no hole', async () => {
    const { primary, worker, plane } = await one()
    const long = worker.meter.open(record('long'))
    worker.meter.close(worker.meter.open(record('short')), record('short'))
    await connect(primary, plane)
    await sendAll(primary, plane)
    expect(plane.queue).toEqual([])
    await worker.exchange()
    await sendAll(primary, plane)
    await sendAll(primary, plane)
    primary.sender.tick()
    plane.store()
    expect(storedRecords(plane)).toEqual(['short ok'])
    expect(primary.spool.stats()).toMatchObject({ openCount: 1, usageWaitingCount: 1 })
    worker.meter.close(long, record('long'))
    await worker.exchange()
    await sendAll(primary, plane)
    plane.store()
    expect(storedRecords(plane).sort()).toEqual(['long ok', 'short ok'])
    expect(primary.alarms).toEqual([])
  })

  it('is recovered when its process ends: what ran is interrupted, once, and the next life has another key', async () => {
    const { primary, worker, plane } = await one()
    worker.meter.open(record('ran'))
    worker.meter.close(worker.meter.open(record('done')), record('done'))
    // Nothing was told yet.
    worker.spool.usage.flush()
    worker.kill(0)
    const next = new Worker(primary.spool, 0, { broken: false })
    expect(next.lanes.usage.key.bootEpoch).toBeGreaterThan(worker.lanes.usage.key.bootEpoch)
    expect(next.lanes.usage.key.lane).toBe(0)
    next.meter.close(next.meter.open(record('later')), record('later'))
    await next.exchange()
    await connect(primary, plane)
    await sendAll(primary, plane)
    plane.store()
    expect(storedRecords(plane).sort()).toEqual(['done ok', 'later ok', 'ran interrupted'])
    expect(primary.spool.stats().interruptedCount).toBe(1)
  })

  it('keeps the keys of two workers apart', async () => {
    const { primary, worker, plane } = await one()
    const other = new Worker(primary.spool, 1, { broken: false })
    for (const each of [worker, other]) each.meter.record(record(`of ${each.index}`))
    for (const each of [worker, other]) await each.exchange()
    await connect(primary, plane)
    await sendAll(primary, plane)
    plane.store()
    const { bootEpoch } = worker.lanes.usage.key
    expect([...plane.lanes.keys()].sort()).toEqual([`1/${bootEpoch}/0`, `1/${bootEpoch}/1`])
  })

  it('has a missing record declared lost once, though the worker writes that down later', async () => {
    const { primary, worker, plane } = await one()
    for (const id of ['a', 'b', 'c']) worker.meter.record(record(id))
    await worker.exchange()
    const segment = worker.lanes.usage.segments[0]
    const bytes = fs.readFileSync(segment?.path ?? '')
    const at = bytes.indexOf('b', bytes.indexOf('a') + 1)
    bytes[at] = 'x'.charCodeAt(0)
    fs.writeFileSync(segment?.path ?? '', bytes)
    await connect(primary, plane)
    for (let round = 0; round < 3; round++) {
      await sendAll(primary, plane)
      plane.store()
      tellWatermarks(primary, plane)
      primary.sender.tick()
    }
    expect(primary.alarms.map(({ code }) => code)).toEqual(['lost'])
    expect(worker.toWorker).toEqual([['usage', { order: 'drop', first: 1, last: 1, reason: 'lost_on_disk' }]])
    await worker.exchange()
    await sendAll(primary, plane)
    plane.store()
    tellWatermarks(primary, plane)
    expect(storedRecords(plane).sort()).toEqual(['a ok', 'c ok', 'drop'])
    expect(primary.spool.stats().usageWaitingCount).toBe(0)
    expect(primary.alarms).toHaveLength(1)
  })

  it('moves to another epoch when its own was used before, with all that the worker writes meanwhile', async () => {
    const { primary, worker, plane } = await one()
    let lanesChanged = 0
    primary.spool.onLanes(() => {
      lanesChanged += 1
    })
    for (let i = 0; i < 60; i++) worker.meter.record(record(`${i}-${'x'.repeat(100)}`))
    await worker.exchange()
    const before = worker.lanes.usage.key
    await primary.sender.begin()
    expect(primary.sender.receive(stored(before, 7))).toBe('rekeyed')
    expect(primary.spool.lanes()).toEqual([])
    // Begun under the old name before the worker hears of the new one.
    for (let i = 60; i < 120; i++) worker.meter.record(record(`${i}-${'x'.repeat(100)}`))
    await worker.clock.advance(tellMs + 30)
    worker.deliver()
    expect(primary.spool.lanes()).toEqual([])
    await worker.exchange()
    expect(lanesChanged).toBeGreaterThan(0)
    worker.meter.record(record('last'))
    await worker.exchange()
    await connect(primary, plane)
    await sendAll(primary, plane)
    plane.store()
    expect(worker.lanes.usage.key.bootEpoch).toBeGreaterThan(before.bootEpoch)
    expect(plane.watermark(worker.lanes.usage.key)).toBe(121)
    expect(fs.readdirSync(primary.spool.directory).filter((name) => name.includes(`-${before.bootEpoch}-0-`))).toEqual(
      [],
    )
  })

  it.each(['before it renamed a file', 'when it had renamed one'])(
    'moves to another epoch though its process dies, %s',
    async (when) => {
      const { primary, worker, plane } = await one()
      for (let i = 0; i < 60; i++) worker.meter.record(record(`${i}-${'x'.repeat(100)}`))
      await worker.exchange()
      const before = worker.lanes.usage.key
      await primary.sender.begin()
      expect(primary.sender.receive(stored(before, 7))).toBe('rekeyed')
      const { bootEpoch } = worker.lanes.usage.key
      const files = fs
        .readdirSync(primary.spool.directory)
        .filter((name) => name.startsWith(`usage-${before.bootEpoch}-`))
      expect(files.length).toBeGreaterThan(1)
      if (when !== 'before it renamed a file') {
        const [first = ''] = files
        const at = (name: string) => path.join(primary.spool.directory, name)
        fs.renameSync(at(first), at(first.replace(`-${before.bootEpoch}-`, `-${bootEpoch}-`)))
      }
      worker.kill(0)
      await connect(primary, plane)
      await sendAll(primary, plane)
      plane.store()
      expect(plane.watermark({ ...before, bootEpoch })).toBe(60)
      expect(storedRecords(plane)).toHaveLength(60)
      expect(primary.alarms).toEqual([])
    },
  )

  it('moves to another epoch though the whole agent dies midway: the next start ends what was begun', async () => {
    const { clock, primary, worker, plane } = await one()
    for (let i = 0; i < 60; i++) worker.meter.record(record(`${i}-${'x'.repeat(100)}`))
    await worker.exchange()
    const before = worker.lanes.usage.key
    await primary.sender.begin()
    primary.sender.receive(stored(before, 7))
    const { bootEpoch } = worker.lanes.usage.key
    worker.isAlive = false
    const next = await startPrimary(primary.spool.directory, clock)
    expect(next.spool.lanes().map(({ key }) => key.bootEpoch)).toEqual([bootEpoch])
    await connect(next, plane)
    await sendAll(next, plane)
    plane.store()
    expect(plane.watermark({ ...before, bootEpoch })).toBe(60)
    expect(fs.readdirSync(primary.spool.directory)).not.toContain('moves.json')
  })

  it('moves to another epoch also when its process died before anything of it was sent', async () => {
    const { primary, worker, plane } = await one()
    for (let i = 0; i < 12; i++) worker.meter.record(record(`${i}`))
    worker.meter.open(record('ran'))
    worker.spool.usage.flush()
    const before = worker.lanes.usage.key
    worker.kill(0)
    await primary.sender.begin()
    expect(primary.sender.receive(stored(before, 7))).toBe('rekeyed')
    await connect(primary, plane)
    await sendAll(primary, plane)
    plane.store()
    expect(storedRecords(plane)).toHaveLength(13)
    expect([...plane.lanes.keys()]).not.toContain(`1/${before.bootEpoch}/0`)
  })

  it('is known by its name: one that was sent and then recovered moves nowhere', async () => {
    const { primary, worker, plane } = await one()
    for (let i = 0; i < 12; i++) worker.meter.record(record(`${i}`))
    await worker.exchange()
    await connect(primary, plane)
    await sendAll(primary, plane)
    plane.store()
    worker.kill(0)
    await primary.sender.begin()
    expect(primary.sender.receive(stored(worker.lanes.usage.key, 12))).not.toBe('rekeyed')
    expect(primary.spool.stats().usageWaitingCount).toBe(0)
  })

  it('stays where it was sent when the other class of its epoch moves, and the next life takes neither’s key', async () => {
    const { primary, worker, plane } = await one()
    worker.meter.record(record('a'))
    worker.meter.span({ traceId: 't'.repeat(32), name: 's' })
    await worker.exchange()
    const [usage, spans] = [worker.lanes.usage.key, worker.lanes.spans.key]
    await primary.sender.begin()
    primary.sender.receive(stored(usage, 0))
    primary.sender.receive(reportReplyCodec.decode(reportReplyCodec.encode({ credit: { class: 1, bytes: 1 << 20 } })))
    await sendAll(primary, plane)
    expect(primary.sender.receive(stored(spans, 3))).toBe('rekeyed')
    expect(worker.lanes.usage.key).toEqual(usage)
    expect(worker.lanes.spans.key.bootEpoch).toBeGreaterThan(spans.bootEpoch)
    await worker.exchange()
    worker.kill(0)
    const next = new Worker(primary.spool, 0, { broken: false })
    expect(next.lanes.usage.key.bootEpoch).toBeGreaterThan(worker.lanes.spans.key.bootEpoch)
    await connect(primary, plane)
    await sendAll(primary, plane)
    plane.store()
    expect(storedRecords(plane)).toEqual(['a ok'])
    expect(plane.contradictions).toEqual([])
  })

  it.each([0, 1_000])(
    'has the drop of spans that it did not live to write declared, and nothing is called lost (%i more)',
    async (more) => {
      const { clock, primary, worker, plane } = await one({ spanBytesMax: 8192 })
      for (let i = 0; i < 150 + more; i++)
        worker.meter.span({ traceId: 't'.repeat(32), name: `${i}-${'x'.repeat(60)}` })
      await worker.exchange()
      await clock.advance(1_000)
      expect(worker.toWorker.some(([, { order }]) => order === 'drop')).toBe(true)
      worker.kill(0)
      await connect(primary, plane)
      for (let round = 0; round < 3; round++) {
        await sendAll(primary, plane)
        plane.store()
        tellWatermarks(primary, plane)
        primary.sender.tick()
      }
      expect(plane.watermark(worker.lanes.spans.key)).toBe(150 + more)
      expect(primary.alarms).toEqual([])
    },
  )

  it('that the disk does not let be recovered is left whole for the next start, which is an alarm', async () => {
    const { clock, primary, worker, plane } = await one()
    for (let i = 0; i < 60; i++) worker.meter.record(record(`${i}-${'x'.repeat(100)}`))
    worker.meter.span({ traceId: 't'.repeat(32), name: 'kept' })
    await worker.exchange()
    const file = worker.lanes.usage.segments.at(-1)?.path ?? ''
    fs.renameSync(file, `${file}.aside`)
    fs.mkdirSync(file)
    worker.kill(0)
    expect(primary.alarms.map(({ code }) => code)).toEqual(['left'])
    expect(primary.spool.lanes().map(({ key }) => key.class)).toEqual(['spans'])
    expect(primary.spool.stats()).toMatchObject({ usageDiskBytes: 0, usageUnstoredBytes: 0 })
    await connect(primary, plane)
    await sendAll(primary, plane)
    plane.store()
    expect(storedRecords(plane)).toEqual([])
    fs.rmdirSync(file)
    fs.renameSync(`${file}.aside`, file)
    await primary.sender.end()
    await primary.spool.stop()
    const next = await startPrimary(primary.spool.directory, clock)
    await connect(next, plane)
    await sendAll(next, plane)
    plane.store()
    expect(storedRecords(plane)).toHaveLength(60)
  })

  it('gives up its eldest spans over the budget, declared, and the worker forgets the files', async () => {
    const { clock, primary, worker, plane } = await one({ spanBytesMax: 8192 })
    for (let i = 0; i < 150; i++) worker.meter.span({ traceId: 't'.repeat(32), name: `${i}-${'x'.repeat(60)}` })
    await worker.exchange()
    expect(primary.spool.stats().spanDiskBytes).toBeGreaterThan(8192)
    await clock.advance(1_000)
    expect(primary.spool.stats().spanDiskBytes).toBeLessThanOrEqual(8192 + 4096)
    await worker.exchange()
    expect(worker.spool.spans.segments.length).toBeLessThanOrEqual(worker.lanes.spans.segments.length)
    await connect(primary, plane)
    await sendAll(primary, plane)
    plane.store()
    expect(plane.watermark(worker.lanes.spans.key)).toBe(150)
  })

  it('says that the budget is used up, and a worker whose disk fails refuses by itself', async () => {
    const { primary, worker, disk } = await one({ usageBytesMax: 4 * 4096 })
    const told: boolean[] = []
    primary.spool.onAccepting((accepting) => told.push(accepting))
    disk.broken = true
    worker.meter.record(record('a'))
    expect(worker.spool.accepting).toBe(false)
    await worker.exchange()
    expect(told).toEqual([false])
    expect(primary.alarms.map(({ code }) => code)).toEqual(['disk_fault'])
    disk.broken = false
    await worker.exchange(600)
    expect(worker.spool.accepting).toBe(true)
    for (let i = 0; i < 100; i++) worker.meter.record(record(`${i}-${'x'.repeat(150)}`))
    await worker.exchange()
    expect(primary.alarms.map(({ code }) => code)).toContain('full')
    expect(primary.spool.accepting).toBe(false)
  })

  it('is sealed when its worker stops, with nothing to recover', async () => {
    const { primary, worker, plane } = await one()
    worker.meter.close(worker.meter.open(record('a')), record('a'))
    await worker.spool.stop()
    worker.kill(Number.POSITIVE_INFINITY)
    await connect(primary, plane)
    await sendAll(primary, plane)
    plane.store()
    expect(storedRecords(plane)).toEqual(['a ok'])
    expect(primary.spool.stats()).toMatchObject({ interruptedCount: 0, openCount: 0 })
  })
})

/** Two workers and their primary, with kills of one or all, late tellings, a lossy queue and disks that fail, at random. */
describe('whatever happens to workers and their primary', () => {
  const step = fc.oneof(
    ...(
      [
        ['open', 8],
        ['close', 7],
        ['refuse', 3],
        ['exchange', 4],
        ['send', 4],
        ['store', 3],
        ['forget', 1],
        ['reconnect', 2],
        ['kill worker', 2],
        ['stop worker', 1],
        ['kill all', 1],
        ['break disk', 1],
        ['mend disk', 2],
        ['wait', 1],
      ] as const
    ).map(([name, weight]) => ({
      weight,
      arbitrary: fc.record({ action: fc.constant(name), pick: fc.nat(1_000) }),
    })),
  )

  it('every request is one record in the end', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 150 }), async (steps) => {
        const directory = freshFolder()
        const plane = new FakeControlPlane()
        const disk = { broken: false }
        let clock = new VirtualClock()
        let primary = await startPrimary(directory, clock)
        let workers = [0, 1].map((index) => new Worker(primary.spool, index, disk))
        await connect(primary, plane)
        const expected = new Map<string, Set<string>>()
        let running: { id: string; open: OpenRecord; worker: Worker }[] = []
        /** Nobody waited for it to be in the file, or the disk refused it: with its process it may go. */
        const atRisk = new Map<string, Worker>()
        let made = 0
        const lose = (worker: Worker) => {
          for (const [id, of] of atRisk) {
            if (of !== worker) continue
            expected.get(id)?.add('lost').add('interrupted')
            atRisk.delete(id)
          }
          running = running.filter((request) => request.worker !== worker)
        }
        for (const { action, pick } of steps) {
          const worker = workers[pick % 2] as Worker
          if (action === 'open' && worker.meter.accepting) {
            const id = `r-${made++}`
            running.push({ id, open: worker.meter.open(record(id)), worker })
            expected.set(id, new Set(['interrupted']))
            atRisk.set(id, worker)
          } else if (action === 'close' && running.length > 0) {
            const [closing] = running.splice(pick % running.length, 1)
            if (closing === undefined) continue
            closing.worker.meter.close(closing.open, record(closing.id))
            expected.set(closing.id, new Set(['ok']))
            atRisk.set(closing.id, closing.worker)
          } else if (action === 'refuse' && worker.meter.accepting) {
            const id = `r-${made++}`
            worker.meter.record(record(id, 'refused'))
            expected.set(id, new Set(['refused']))
            if (disk.broken) atRisk.set(id, worker)
          } else if (action === 'exchange') await worker.exchange()
          else if (action === 'send') await sendAll(primary, plane)
          else if (action === 'store') {
            plane.store(1 + (pick % 3))
            tellWatermarks(primary, plane)
          } else if (action === 'forget') plane.queue = []
          else if (action === 'reconnect') await connect(primary, plane)
          else if (action === 'wait') {
            await clock.advance(11_000)
            primary.sender.tick()
          } else if (action === 'break disk') disk.broken = true
          else if (action === 'mend disk') {
            disk.broken = false
            for (const each of workers) await each.exchange(600)
            atRisk.clear()
          } else if (action === 'kill worker' || action === 'stop worker') {
            if (action === 'stop worker' && !disk.broken) {
              await worker.spool.stop()
              running = running.filter((request) => request.worker !== worker)
              for (const [id, of] of atRisk) if (of === worker) atRisk.delete(id)
            }
            lose(worker)
            worker.kill(pick % 3)
            workers = workers.map((each) => (each === worker ? new Worker(primary.spool, each.index, disk) : each))
            await connect(primary, plane)
          } else if (action === 'kill all') {
            disk.broken = false
            for (const each of workers) {
              each.isAlive = false
              lose(each)
            }
            await primary.sender.end()
            clock = new VirtualClock(clock.nowMs() + 1_000)
            primary = await startPrimary(directory, clock)
            workers = [0, 1].map((index) => new Worker(primary.spool, index, disk))
            await connect(primary, plane)
          }
          if (pick % 3 === 0) {
            for (const each of workers) await each.meter.written()
            if (!disk.broken) atRisk.clear()
          }
        }
        disk.broken = false
        for (const { id, open, worker } of running) {
          worker.meter.close(open, record(id))
          expected.set(id, new Set(['ok']))
        }
        for (const worker of workers) {
          await worker.meter.written()
          await worker.exchange(600)
        }
        for (let round = 0; round < 5; round++) {
          await connect(primary, plane)
          await sendAll(primary, plane)
          await sendAll(primary, plane)
          plane.store()
          for (const worker of workers) await worker.exchange()
        }
        tellWatermarks(primary, plane)
        expect(primary.spool.stats().usageWaitingCount).toBe(0)
        expect(plane.contradictions).toEqual([])
        const seen = new Map<string, string[]>()
        for (const line of storedRecords(plane)) {
          if (line === 'drop') continue
          const [id = '', status = ''] = line.split(' ')
          seen.set(id, [...(seen.get(id) ?? []), status])
        }
        for (const [id, allowed] of expected) {
          const found = seen.get(id) ?? ['lost']
          expect(found, id).toHaveLength(1)
          expect([...allowed], id).toContain(found[0])
        }
        await primary.sender.end()
        await primary.spool.stop()
      }),
      { numRuns: 80 },
    )
  }, 60_000)
})
