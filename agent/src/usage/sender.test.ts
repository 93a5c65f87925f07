import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { reportReplyCodec, usageRecordCodec } from '../../../proto/gen/codec.js'
import { VirtualClock } from '../../../proto/std/clock.js'
import type { Log } from '../../../proto/std/service.js'
import { Meter, type OpenRecord } from './meter.js'
import type { LaneKey } from './segment.js'
import { type OutgoingReport, Sender } from './sender.js'
import { Spool, type SpoolAlarm } from './spool.js'

const quiet: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet }
const folders: string[] = []
const senders: Sender[] = []
afterEach(async () => {
  for (const sender of senders.splice(0)) await sender.end()
  for (const folder of folders.splice(0)) fs.rmSync(folder, { recursive: true, force: true })
})

function freshFolder(): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'switchyard-sender-'))
  folders.push(folder)
  return folder
}

/** What Postgres and a queue before it would hold: messages wait until `store`, and may be forgotten. */
class FakeControlPlane {
  readonly lanes = new Map<string, Map<number, string>>()
  readonly contradictions: string[] = []
  #queue: OutgoingReport[] = []

  receive(message: OutgoingReport): void {
    this.#queue.push(message)
  }

  get queued(): number {
    return this.#queue.length
  }

  forget(): void {
    this.#queue = []
  }

  store(count = Number.POSITIVE_INFINITY): void {
    for (const message of this.#queue.splice(0, count)) {
      if (message.batch) {
        const lane = this.#lane(message.batch.lane)
        for (const record of message.batch.records ?? []) {
          const content = Buffer.from(record.payload as Uint8Array).toString('hex')
          const sequence = Number(record.sequence)
          const before = lane.get(sequence)
          if (before === undefined) lane.set(sequence, content)
          else if (before !== content && before !== 'drop') this.contradictions.push(`${sequence}`)
        }
      } else if (message.drop) {
        const lane = this.#lane(message.drop.lane)
        for (let i = Number(message.drop.firstSequence); i <= Number(message.drop.lastSequence); i++) {
          if (!lane.has(i)) lane.set(i, 'drop')
        }
      }
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
    let lane = this.lanes.get(key)
    if (!lane) {
      lane = new Map()
      this.lanes.set(key, lane)
    }
    return lane
  }
}

function stored(key: LaneKey, nextSequence: number) {
  const lane = { bootEpoch: key.bootEpoch, lane: key.lane, class: key.class === 'usage' ? 1 : 2 } as const
  return reportReplyCodec.decode(reportReplyCodec.encode({ stored: { lane, nextSequence } }))
}

function credit(of: 'usage' | 'spans', bytes: number) {
  return reportReplyCodec.decode(reportReplyCodec.encode({ credit: { class: of === 'usage' ? 1 : 2, bytes } }))
}

async function started(directory = freshFolder(), clock = new VirtualClock(), segmentBytes = 4096) {
  const alarms: SpoolAlarm[] = []
  const options = { segmentBytes, usageBytesMax: 4 << 20, spanBytesMax: 1 << 20 }
  const spool = new Spool({ directory, clock, log: quiet, onAlarm: (alarm) => alarms.push(alarm), ...options })
  await spool.run()
  const sender = new Sender({ spool, agentVersion: 'test', clock, log: quiet, recordsMax: 5, bytesMax: 2_000 })
  senders.push(sender)
  return { spool, sender, meter: new Meter(spool, quiet), clock, directory, alarms }
}

type Started = Awaited<ReturnType<typeof started>>

/** Hello, watermarks of every lane, credit. */
async function connect({ spool, sender }: Started, plane: FakeControlPlane, bytes = 1 << 20): Promise<void> {
  await sender.begin()
  for (const lane of spool.lanes()) sender.receive(stored(lane.key, plane.watermark(lane.key)))
  if (bytes > 0) sender.receive(credit('usage', bytes))
  if (bytes > 0) sender.receive(credit('spans', bytes))
}

async function sendAll({ sender }: Started, plane: FakeControlPlane): Promise<void> {
  for (let message = await sender.next(); message; message = await sender.next()) plane.receive(message)
}

function tellWatermarks({ spool, sender }: Started, plane: FakeControlPlane): void {
  for (const lane of spool.lanes()) sender.receive(stored(lane.key, plane.watermark(lane.key)))
}

const record = (requestId: string) => ({ requestId, status: 'ok' })

describe('the sender', () => {
  it('sends nothing before the lane’s watermark and credit, and no more than the credit but for one record', async () => {
    const agent = await started()
    const plane = new FakeControlPlane()
    for (let i = 0; i < 20; i++) agent.meter.record(record(`${i}-${'x'.repeat(80)}`))
    await agent.sender.begin()
    agent.sender.receive(credit('usage', 1 << 20))
    expect(await agent.sender.next()).toBeNull()
    await connect(agent, plane, 0)
    expect(await agent.sender.next()).toBeNull()
    agent.sender.receive(credit('usage', 1))
    const one = await agent.sender.next()
    expect(one?.batch?.records).toHaveLength(1)
    expect(await agent.sender.next()).toBeNull()
    agent.sender.receive(credit('usage', 350))
    expect((await agent.sender.next())?.batch?.records?.length).toBeLessThanOrEqual(3)
  })

  it('sends usage before spans', async () => {
    const agent = await started()
    agent.meter.span({ traceId: 't' })
    agent.meter.record(record('a'))
    await connect(agent, new FakeControlPlane())
    expect((await agent.sender.next())?.batch?.lane?.class).toBe(1)
    expect((await agent.sender.next())?.batch?.lane?.class).toBe(2)
    expect(await agent.sender.next()).toBeNull()
  })

  it('sends again from stored on a new stream', async () => {
    const agent = await started()
    const plane = new FakeControlPlane()
    for (let i = 0; i < 12; i++) agent.meter.record(record(`${i}`))
    await connect(agent, plane)
    await sendAll(agent, plane)
    plane.store(1)
    plane.forget()
    await connect(agent, plane)
    const message = await agent.sender.next()
    expect(message?.batch?.records.sequences).toEqual([5, 6, 7, 8, 9])
  })

  it('sends again when stored stands still before a sent record, with growing patience', async () => {
    const agent = await started()
    const plane = new FakeControlPlane()
    agent.meter.record(record('a'))
    await connect(agent, plane)
    await sendAll(agent, plane)
    plane.forget()
    const waits: number[] = []
    let seconds = 0
    for (let i = 0; i < 80; i++) {
      await agent.clock.advance(1_000)
      seconds += 1
      if (!agent.sender.tick()) continue
      waits.push(seconds)
      seconds = 0
      await sendAll(agent, plane)
      expect(plane.queued).toBe(waits.length)
    }
    expect(waits[0]).toBeGreaterThanOrEqual(10)
    expect(waits[0]).toBeLessThanOrEqual(12)
    expect(waits[1]).toBeGreaterThan((waits[0] ?? 0) * 1.5)
  })

  it('does not take a long request for a stall', async () => {
    const agent = await started()
    const plane = new FakeControlPlane()
    const long = agent.meter.open(record('long'))
    agent.meter.record(record('next'))
    await connect(agent, plane)
    for (let i = 0; i < 60; i++) {
      await sendAll(agent, plane)
      plane.store()
      tellWatermarks(agent, plane)
      await agent.clock.advance(1_000)
      expect(agent.sender.tick()).toBe(false)
    }
    agent.meter.close(long, record('long'))
    await sendAll(agent, plane)
    plane.store()
    expect(plane.watermark(agent.spool.usage.key)).toBe(2)
  })

  it('does not start over while a backlog hides the record that stored waits for', async () => {
    const agent = await started()
    const plane = new FakeControlPlane()
    const first = agent.meter.open(record('first'))
    for (let i = 0; i < 200; i++) agent.meter.record(record(`filler ${i}`))
    agent.meter.close(first, record('first'))
    await connect(agent, plane, 0)
    for (let i = 0; i < 100 && plane.watermark(agent.spool.usage.key) === 0; i++) {
      agent.sender.receive(credit('usage', 200))
      await sendAll(agent, plane)
      plane.store()
      tellWatermarks(agent, plane)
      await agent.clock.advance(6_000)
      agent.sender.tick()
    }
    expect(plane.watermark(agent.spool.usage.key)).toBe(201)
    expect(agent.sender.stats().resendCount).toBe(0)
  })

  it('fills a restored control plane again from segments it kept', async () => {
    const agent = await started()
    const plane = new FakeControlPlane()
    for (let i = 0; i < 100; i++) agent.meter.record(record(`${i}`))
    await connect(agent, plane)
    await sendAll(agent, plane)
    plane.store()
    tellWatermarks(agent, plane)
    expect(agent.spool.stats().usageWaitingCount).toBe(0)
    const restored = new FakeControlPlane()
    await connect(agent, restored)
    await sendAll(agent, restored)
    restored.store()
    expect(restored.watermark(agent.spool.usage.key)).toBe(100)
  })

  it('declares what no segment holds as lost, and says so', async () => {
    const directory = freshFolder()
    const first = await started(directory)
    for (let i = 0; i < 10; i++) first.meter.record(record(`${i}`))
    const file = first.spool.usage.segments[0]?.path ?? ''
    const bytes = fs.readFileSync(file)
    bytes.fill(0, 60, 100)
    fs.writeFileSync(file, bytes)
    const agent = await started(directory)
    const plane = new FakeControlPlane()
    await connect(agent, plane)
    // Stored comes to the gap; the drop is written while looking for more, and is the next thing to send.
    // The watermark comes to the gap and nothing is written any more: the tick alone asks for another look.
    await sendAll(agent, plane)
    expect(agent.sender.tick()).toBe(false)
    plane.store()
    tellWatermarks(agent, plane)
    for (let round = 0; round < 3; round++) {
      expect(agent.sender.tick()).toBe(round < 2)
      await sendAll(agent, plane)
      plane.store()
      tellWatermarks(agent, plane)
    }
    expect(plane.watermark(first.spool.usage.key)).toBe(10)
    expect(agent.alarms.map((alarm) => alarm.code)).toEqual(['damaged', 'lost'])
    const contents = [...(plane.lanes.get(`1/${first.spool.bootEpoch}/0`)?.values() ?? [])]
    const dropped = contents.filter((content) => content === 'drop').length
    expect(dropped).toBeGreaterThan(0)
    expect(dropped).toBeLessThan(4)
  })

  it('never tells under a new name what was stored under the old one', async () => {
    const directory = freshFolder()
    const agent = await started(directory)
    const plane = new FakeControlPlane()
    agent.spool.adopt('agt_old')
    for (let i = 0; i < 60; i++) agent.meter.record(record(`${i}`))
    await connect(agent, plane)
    await sendAll(agent, plane)
    plane.store(9)
    tellWatermarks(agent, plane)
    expect(agent.spool.usage.storedNext).toBe(45)
    await agent.sender.end()
    const underNewName = new FakeControlPlane()
    agent.spool.adopt('agt_new')
    const next = await started(directory)
    next.spool.adopt('agt_new')
    await connect(next, underNewName)
    await sendAll(next, underNewName)
    underNewName.store()
    expect(underNewName.watermark(agent.spool.usage.key)).toBe(60)
    const lane = [...underNewName.lanes.values()].flatMap((each) => [...each])
    expect(lane.filter(([, content]) => content === 'drop').map(([sequence]) => sequence)).toHaveLength(45)
    expect(lane.filter(([, content]) => content !== 'drop').map(([sequence]) => sequence)).toEqual(
      Array.from({ length: 15 }, (_, i) => 45 + i),
    )
  })

  it('takes another epoch when its own was used before', async () => {
    const agent = await started()
    const plane = new FakeControlPlane()
    agent.meter.record(record('a'))
    await agent.sender.begin()
    const before = agent.spool.usage.key
    expect(agent.sender.receive(stored(before, 7))).toBe('rekeyed')
    await connect(agent, plane)
    await sendAll(agent, plane)
    plane.store()
    expect(agent.spool.usage.key.bootEpoch).toBeGreaterThan(before.bootEpoch)
    expect(plane.watermark(agent.spool.usage.key)).toBe(1)
  })
})

/**
 * An agent with a killed process, a lossy queue, lost connections, a database that goes back and disks that fail, at random. However it
 * went: in the end every sequence ever given out is in Postgres, once, and says what happened to its request.
 */
describe('whatever happens', () => {
  const step = fc.oneof(
    { weight: 8, arbitrary: fc.constant('open' as const) },
    { weight: 7, arbitrary: fc.constant('close' as const) },
    { weight: 3, arbitrary: fc.constant('refuse' as const) },
    { weight: 4, arbitrary: fc.constant('send' as const) },
    { weight: 3, arbitrary: fc.constant('store' as const) },
    { weight: 1, arbitrary: fc.constant('forget' as const) },
    { weight: 1, arbitrary: fc.constant('reconnect' as const) },
    { weight: 1, arbitrary: fc.constant('kill' as const) },
    { weight: 1, arbitrary: fc.constant('stop' as const) },
    { weight: 1, arbitrary: fc.constant('wait' as const) },
    { weight: 1, arbitrary: fc.constant('break disk' as const) },
    { weight: 2, arbitrary: fc.constant('mend disk' as const) },
  )

  it.each([
    ['written one by one', false],
    ['gathered by turn', true],
  ])(
    'every request is one record in the end, %s',
    async (_how, gatherWrites) => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 120 }), fc.nat(), async (steps, pick) => {
          const directory = freshFolder()
          let clock = new VirtualClock()
          const plane = new FakeControlPlane()
          let broken = false
          let lives = 0
          const start = async () => {
            lives += 1
            const life = lives
            const spool = new Spool({
              ...{ directory, clock, log: quiet, segmentBytes: 4096, usageBytesMax: 4 << 20, spanBytesMax: 1 << 20 },
              gatherWrites,
              write: (fd, bytes, length) => {
                // What a killed process had in mind it does not do.
                if (life !== lives) throw new Error('killed')
                if (!broken) return fs.writeSync(fd, bytes, 0, length)
                return fs.writeSync(fd, bytes, 0, length >> 1)
              },
            })
            await spool.run()
            const sender = new Sender({
              spool,
              agentVersion: 'test',
              clock,
              log: quiet,
              recordsMax: 4,
              bytesMax: 1_000,
            })
            const agent = { spool, sender, meter: new Meter(spool, quiet), clock, directory, alarms: [] }
            await connect(agent, plane)
            return agent
          }
          let agent = await start()
          const expected = new Map<string, Set<string>>()
          let running: { id: string; open: OpenRecord }[] = []
          /** Touched since the disk began to fail. */
          const atRisk = new Set<string>()
          /** Nobody waited for it to be written yet: nothing went upstream, or the last byte did not go to the client. */
          const unwritten = new Set<string>()
          let made = 0
          for (const [index, action] of steps.entries()) {
            if (action === 'open' && agent.meter.accepting) {
              const id = `r-${made++}`
              running.push({ id, open: agent.meter.open(record(id)) })
              expected.set(id, new Set(['interrupted']))
              if (broken) atRisk.add(id)
              unwritten.add(id)
            } else if (action === 'close' && running.length > 0) {
              const [closing] = running.splice(pick % running.length, 1)
              if (!closing) continue
              agent.meter.close(closing.open, record(closing.id))
              expected.set(closing.id, new Set(['ok']))
              if (broken) atRisk.add(closing.id)
              unwritten.add(closing.id)
            } else if (action === 'refuse' && agent.meter.accepting) {
              const id = `r-${made++}`
              agent.meter.record({ requestId: id, status: 'refused' })
              expected.set(id, new Set(['refused']))
              if (broken) atRisk.add(id)
            } else if (action === 'send') await sendAll(agent, plane)
            else if (action === 'store') {
              plane.store(1 + (pick % 3))
              tellWatermarks(agent, plane)
            } else if (action === 'forget') plane.forget()
            else if (action === 'reconnect') await connect(agent, plane)
            else if (action === 'wait') {
              await clock.advance(11_000)
              agent.sender.tick()
            } else if (action === 'break disk') broken = true
            else if (action === 'mend disk') {
              broken = false
              await clock.advance(600)
              atRisk.clear()
            } else if (action === 'kill' || action === 'stop') {
              // What the disk refused is in memory only, and goes with the process: the open frame may be there, or nothing.
              if (broken && action === 'kill') for (const id of atRisk) expected.get(id)?.add('lost').add('interrupted')
              if (gatherWrites && action === 'kill') {
                for (const id of unwritten) expected.get(id)?.add('lost').add('interrupted')
              }
              unwritten.clear()
              atRisk.clear()
              broken = false
              if (action === 'stop') await agent.spool.stop()
              await agent.sender.end()
              // The timers of a killed process never fire again.
              clock = new VirtualClock(clock.nowMs() + 1_000)
              agent = await start()
              running = []
            }
            if ((index + pick) % 3 === 0) {
              await agent.meter.written()
              if (broken) for (const id of unwritten) atRisk.add(id)
              unwritten.clear()
            }
          }
          broken = false
          await clock.advance(1_000)
          for (const { id, open } of running) {
            agent.meter.close(open, record(id))
            expected.set(id, new Set(['ok']))
          }
          await agent.meter.written()
          for (let round = 0; round < 4; round++) {
            await connect(agent, plane)
            await sendAll(agent, plane)
            await sendAll(agent, plane)
            plane.store()
          }
          tellWatermarks(agent, plane)
          expect(agent.spool.stats().usageWaitingCount).toBe(0)
          expect(plane.contradictions).toEqual([])
          const seen = new Map<string, string[]>()
          for (const lane of plane.lanes.values()) {
            for (const content of lane.values()) {
              if (content === 'drop') continue
              const { requestId, status } = usageRecordCodec.decode(Buffer.from(content, 'hex'))
              seen.set(requestId, [...(seen.get(requestId) ?? []), status])
            }
          }
          for (const [id, allowed] of expected) {
            const found = seen.get(id) ?? ['lost']
            expect(found, id).toHaveLength(1)
            expect([...allowed], id).toContain(found[0])
          }
          await agent.sender.end()
          await agent.spool.stop()
          fs.rmSync(directory, { recursive: true, force: true })
        }),
        { numRuns: 40 },
      )
    },
    60_000,
  )
})
