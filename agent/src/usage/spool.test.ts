import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { usageRecordCodec } from '../../../proto/gen/codec.js'
import { VirtualClock } from '../../../proto/std/clock.js'
import type { Log } from '../../../proto/std/service.js'
import { LaneReader } from './lane-reader.js'
import { Meter } from './meter.js'
import { RecordList } from './record-list.js'
import { laneName } from './segment.js'
import { Spool, type SpoolAlarm, type SpoolOptions } from './spool.js'

const quiet: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet }
const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) fs.rmSync(folder, { recursive: true, force: true })
})

function freshFolder(): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'switchyard-spool-'))
  folders.push(folder)
  return folder
}

async function started(directory: string, options: Partial<SpoolOptions> = {}) {
  const clock = options.clock ?? new VirtualClock()
  const alarms: SpoolAlarm[] = []
  const spool = new Spool({ directory, clock, log: quiet, onAlarm: (alarm) => alarms.push(alarm), ...options })
  await spool.run()
  return { spool, meter: new Meter(spool, quiet), clock: clock as VirtualClock, alarms }
}

/** Everything that a sender would find, by lane: `sequence status requestId`, or `first-last reason` for drops. */
async function contents(spool: Spool): Promise<Record<string, string[]>> {
  const found: Record<string, string[]> = {}
  for (const lane of spool.lanes()) {
    const reader = new LaneReader(lane)
    reader.rewind()
    const lines: string[] = []
    for (;;) {
      const read = await reader.read({ recordsMax: 3, bytesMax: 10_000 })
      if (read instanceof RecordList && read.length === 0) break
      for (const entry of read instanceof RecordList ? read : [read]) {
        if (entry.kind === 'drop') lines.push(`${entry.first}-${entry.last} ${entry.reason}`)
        else if (lane.key.class === 'spans') lines.push(`${entry.sequence}`)
        else {
          const record = usageRecordCodec.decode(entry.payload)
          lines.push(`${entry.sequence} ${record.status} ${record.requestId}`)
        }
      }
    }
    await reader.close()
    if (lines.length > 0) found[laneName(lane.key)] = lines
  }
  return found
}

describe('the spool', () => {
  it('gives back what was closed, and after a kill makes open requests interrupted records under their own key', async () => {
    const directory = freshFolder()
    const first = await started(directory)
    const a = first.meter.open({ requestId: 'a', tenantId: 't' })
    const b = first.meter.open({ requestId: 'b', tenantId: 't' })
    first.meter.record({ requestId: 'c', status: 'refused' })
    first.meter.close(b, { requestId: 'b', status: 'ok' })
    expect(first.spool.stats()).toMatchObject({ openCount: 1, usageWaitingCount: 2 })
    const name = laneName(first.spool.usage.key)
    expect(await contents(first.spool)).toEqual({ [name]: ['2 refused c', '1 ok b'] })

    // Killed: nothing is stopped or flushed.
    const second = await started(directory)
    expect(second.spool.bootEpoch).toBe(first.spool.bootEpoch + 1)
    expect(await contents(second.spool)).toEqual({ [name]: ['2 refused c', '1 ok b', '0 interrupted a'] })
    expect(second.spool.stats().interruptedCount).toBe(1)

    const third = await started(directory)
    expect(third.spool.bootEpoch).toBe(second.spool.bootEpoch + 1)
    expect(await contents(third.spool)).toEqual({ [name]: ['2 refused c', '1 ok b', '0 interrupted a'] })
    expect(third.spool.stats().interruptedCount).toBe(0)
    expect(a.closed).toBe(false)
  })

  it('ignores a second close and says so', async () => {
    const { meter, spool } = await started(freshFolder())
    const open = meter.open({ requestId: 'a' })
    meter.close(open, { requestId: 'a', status: 'ok' })
    meter.close(open, { requestId: 'a', status: 'failed' })
    expect(Object.values(await contents(spool))).toEqual([['0 ok a']])
  })

  it('stops cleanly: the next start recovers nothing', async () => {
    const directory = freshFolder()
    const { meter, spool } = await started(directory)
    meter.close(meter.open({ requestId: 'a' }), { requestId: 'a', status: 'ok' })
    await spool.stop()
    expect(spool.accepting).toBe(false)
    const next = await started(directory)
    expect(Object.values(await contents(next.spool))).toEqual([['0 ok a']])
    expect(next.spool.stats()).toMatchObject({ interruptedCount: 0, accepting: true })
  })

  it('keeps a request that runs across many segments recoverable after its first segment was deleted', async () => {
    const directory = freshFolder()
    const { meter, spool, clock } = await started(directory, { segmentBytes: 4096, retainMs: 1_000 })
    meter.record({ requestId: 'first', status: 'ok' })
    meter.open({ requestId: 'long' })
    for (let i = 0; i < 400; i++) meter.record({ requestId: `filler-${i}-${'x'.repeat(40)}`, status: 'ok' })
    expect(spool.usage.segments.length).toBeGreaterThan(5)
    spool.markStored(spool.usage, 1) // stored waits before the long one
    await clock.advance(5_000)
    const kept = await started(directory, { segmentBytes: 4096 })
    const [lines] = Object.values(await contents(kept.spool))
    expect(lines?.filter((line) => line.includes('interrupted'))).toEqual(['1 interrupted long'])
    expect(lines).toHaveLength(401)
  })

  it('cuts a torn tail at any byte and loses nothing before it', async () => {
    const directory = freshFolder()
    const { meter, spool } = await started(directory)
    for (const id of ['a', 'b', 'c']) meter.close(meter.open({ requestId: id }), { requestId: id, status: 'ok' })
    const file = spool.usage.segments[0]?.path ?? ''
    const whole = fs.readFileSync(file)
    for (let cut = 0; cut <= whole.length; cut++) {
      const copy = freshFolder()
      fs.writeFileSync(path.join(copy, path.basename(file)), whole.subarray(0, cut))
      const { spool: recovered } = await started(copy)
      const lines = Object.values(await contents(recovered)).flat()
      const sequences = lines.map((line) => Number(line.split(' ')[0]))
      // A prefix of the sequences, each once; those whose close was cut off are interrupted.
      expect(sequences.sort()).toEqual([0, 1, 2].slice(0, sequences.length))
      const interrupted = lines.filter((line) => line.includes('interrupted'))
      expect(interrupted.length).toBeLessThanOrEqual(1)
      if (cut === whole.length) expect(lines).toEqual(['0 ok a', '1 ok b', '2 ok c'])
      await recovered.stop()
    }
  })

  it('refuses new requests when full, still closes running ones, and accepts again once stored', async () => {
    const { meter, spool, clock, alarms } = await started(freshFolder(), {
      segmentBytes: 4096,
      usageBytesMax: 5 * 4096,
    })
    const running = meter.open({ requestId: 'running' })
    let written = 0
    while (meter.accepting && written < 10_000) {
      meter.record({ requestId: `${written}`, status: 'ok' })
      written += 1
    }
    expect(meter.accepting).toBe(false)
    meter.close(running, { requestId: 'running', status: 'ok' })
    await clock.advance(1_000)
    expect(meter.accepting).toBe(false)
    expect(alarms.map((alarm) => alarm.code)).toContain('full')
    spool.markStored(spool.usage, spool.usage.nextSequence)
    await clock.advance(1_000)
    expect(meter.accepting).toBe(true)
  })

  it('deletes stored segments after their time, or sooner when the disk budget wants it', async () => {
    const options = { segmentBytes: 4096, usageBytesMax: 8 * 4096, retainMs: 3_600_000 }
    const { meter, spool, clock } = await started(freshFolder(), options)
    const fill = () => {
      for (let i = 0; i < 50; i++) meter.record({ requestId: 'x'.repeat(200), status: 'ok' })
    }
    fill()
    const before = spool.usage.segments.length
    spool.markStored(spool.usage, spool.usage.nextSequence)
    await clock.advance(2_000)
    expect(spool.usage.segments.length).toBe(before)
    for (let i = 0; i < 6; i++) {
      fill()
      spool.markStored(spool.usage, spool.usage.nextSequence)
      await clock.advance(1_000)
    }
    expect(spool.stats().usageDiskBytes).toBeLessThanOrEqual(options.usageBytesMax)
    await clock.advance(3_700_000)
    expect(spool.usage.segments.length).toBe(1)
  })

  it('drops the oldest spans over their budget as declared, counted ranges', async () => {
    const { meter, spool, clock } = await started(freshFolder(), { segmentBytes: 4096, spanBytesMax: 3 * 4096 })
    for (let i = 0; i < 400; i++) meter.span({ traceId: 't', name: `span ${i} ${'y'.repeat(60)}` })
    await clock.advance(1_000)
    const lines = (await contents(spool))[laneName(spool.spans.key)] ?? []
    const drops = lines.filter((line) => line.includes('over_budget'))
    const kept = lines.filter((line) => !line.includes('over_budget')).map(Number)
    const dropped = drops.map((line) => line.split(' ')[0]?.split('-').map(Number) ?? [])
    const covered = new Set(kept)
    for (const [first = 0, last = -1] of dropped) for (let i = first; i <= last; i++) covered.add(i)
    expect(covered.size).toBe(400)
    expect(spool.stats().spanDroppedCount).toBe(400 - kept.length)
    expect(spool.stats().spanDiskBytes).toBeLessThanOrEqual(3 * 4096)
  })

  it('never throws into the path when the disk fails: refuses, keeps what closes, goes on when the disk is back', async () => {
    const directory = freshFolder()
    let broken = false
    let half = false
    const write = (fd: number, bytes: Buffer, length: number) => {
      if (broken && half) return fs.writeSync(fd, bytes, 0, Math.floor(length / 2))
      if (broken) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
      return fs.writeSync(fd, bytes, 0, length)
    }
    const { meter, spool, clock, alarms } = await started(directory, { write })
    const a = meter.open({ requestId: 'a' })
    for (half of [false, true]) {
      broken = true
      const b = meter.open({ requestId: 'b' })
      expect(meter.accepting).toBe(false)
      const c = meter.open({ requestId: 'c' })
      meter.close(c, { requestId: 'c', status: 'ok' })
      await clock.advance(3_000)
      expect(meter.accepting).toBe(false)
      broken = false
      await clock.advance(1_000)
      expect(meter.accepting).toBe(true)
      meter.close(b, { requestId: 'b', status: 'ok' })
    }
    meter.close(a, { requestId: 'a', status: 'ok' })
    expect(alarms.filter((alarm) => alarm.code === 'disk_fault')).toHaveLength(2)
    const expected = ['0 ok a', '1 ok b', '2 ok c', '3 ok b', '4 ok c']
    expect(
      Object.values(await contents(spool))
        .flat()
        .sort(),
    ).toEqual(expected)
    const next = await started(directory)
    expect(
      Object.values(await contents(next.spool))
        .flat()
        .sort(),
    ).toEqual(expected)
  })

  it('moves this life to a new epoch when its own turns out to be taken', async () => {
    const directory = freshFolder()
    const { meter, spool } = await started(directory)
    meter.close(meter.open({ requestId: 'a' }), { requestId: 'a', status: 'ok' })
    const open = meter.open({ requestId: 'b' })
    const before = spool.bootEpoch
    spool.rekey(spool.bootEpoch)
    expect(spool.bootEpoch).toBeGreaterThan(before)
    meter.close(open, { requestId: 'b', status: 'ok' })
    const expected = { [`usage-${spool.bootEpoch}-0`]: ['0 ok a', '1 ok b'] }
    expect(await contents(spool)).toEqual(expected)
    expect(await contents((await started(directory)).spool)).toEqual(expected)
  })

  it('counts boots even when the epoch file is older than the segments', async () => {
    const directory = freshFolder()
    const first = await started(directory)
    first.meter.record({ requestId: 'a' })
    fs.writeFileSync(path.join(directory, 'boot-epoch'), '3\n')
    expect((await started(directory)).spool.bootEpoch).toBe(first.spool.bootEpoch + 1)
  })
})
