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
import { Spool, type SpoolOptions } from './spool.js'

const quiet: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet }
const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) fs.rmSync(folder, { recursive: true, force: true })
})

async function started(directory: string, options: Partial<SpoolOptions> = {}) {
  const clock = new VirtualClock()
  const spool = new Spool({ directory, clock, log: quiet, gatherWrites: true, ...options })
  await spool.run()
  return { spool, meter: new Meter(spool, quiet), clock }
}

function freshFolder(): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'switchyard-gather-'))
  folders.push(folder)
  return folder
}

async function requestIds(spool: Spool): Promise<string[]> {
  const found: string[] = []
  for (const lane of spool.lanes()) {
    if (lane.key.class !== 'usage') continue
    const reader = new LaneReader(lane)
    reader.rewind()
    for (;;) {
      const read = await reader.read({ recordsMax: 100, bytesMax: 1_000_000 })
      if (!(read instanceof RecordList)) continue
      if (read.length === 0) break
      for (const entry of read) {
        const record = usageRecordCodec.decode(entry.payload)
        found.push(`${record.requestId} ${record.status}`)
      }
    }
    await reader.close()
  }
  return found.sort()
}

const facts = (requestId: string) => ({ requestId, status: 'ok' })

describe('writes of one turn', () => {
  it('leave as one, and are in the file when `written` resolves', async () => {
    const writes: number[] = []
    const { spool, meter } = await started(freshFolder(), {
      write: (fd, bytes, length) => {
        writes.push(length)
        return fs.writeSync(fd, bytes, 0, length)
      },
    })
    expect(meter.written()).toBeNull()
    const opens = ['a', 'b', 'c'].map((id) => meter.open(facts(id)))
    expect(writes).toEqual([])
    await meter.written()
    expect(meter.written()).toBeNull()
    // The first write begins the segment.
    expect(writes).toHaveLength(2)
    for (const [index, open] of opens.entries()) meter.close(open, facts(['a', 'b', 'c'][index] ?? ''))
    // Not in the file yet: still open, so that nobody takes the gap for a loss.
    expect(spool.usage.openCount).toBe(3)
    await meter.written()
    expect(writes).toHaveLength(3)
    expect(spool.usage.openCount).toBe(0)
    expect(await requestIds(spool)).toEqual(['a ok', 'b ok', 'c ok'])
    await spool.stop()
  })

  it('that are more than the block holds, or than a segment, lose nothing', async () => {
    const { spool, meter } = await started(freshFolder(), {
      segmentBytes: 8_192,
      usageBytesMax: 1 << 20,
      spanBytesMax: 1 << 20,
    })
    const ids = Array.from(
      { length: 400 },
      (_, index) => `request-${String(index).padStart(4, '0')}-${'x'.repeat(200)}`,
    )
    const opens = ids.map((id) => meter.open(facts(id)))
    for (const [index, open] of opens.entries()) meter.close(open, facts(ids[index] ?? ''))
    await meter.written()
    expect(await requestIds(spool)).toEqual(ids.map((id) => `${id} ok`))
    await spool.stop()
  })

  it('that the disk refuses wait in memory and are written when it recovers', async () => {
    let isRefusing = false
    const { spool, meter, clock } = await started(freshFolder(), {
      write: (fd, bytes, length) => {
        if (isRefusing) throw new Error('ENOSPC')
        return fs.writeSync(fd, bytes, 0, length)
      },
    })
    const first = meter.open(facts('a'))
    await meter.written()
    isRefusing = true
    const second = meter.open(facts('b'))
    meter.close(first, facts('a'))
    await meter.written()
    expect(spool.usage.faulted).toBe(true)
    meter.close(second, facts('b'))
    isRefusing = false
    await clock.advance(10_000)
    expect(spool.usage.faulted).toBe(false)
    expect(await requestIds(spool)).toEqual(['a ok', 'b ok'])
    await spool.stop()
  })

  it('survive a kill once `written` resolved; what had not is nobody’s loss yet', async () => {
    const directory = freshFolder()
    const { meter } = await started(directory)
    meter.open(facts('reached-upstream'))
    await meter.written()
    meter.open(facts('never-sent'))
    // No stop: the process is gone.
    const { spool } = await started(directory)
    expect(await requestIds(spool)).toEqual(['reached-upstream interrupted'])
    await spool.stop()
  })

  it('are not overtaken by a refusal: a kill leaves no gap', async () => {
    const directory = freshFolder()
    const { meter, spool } = await started(directory)
    meter.open(facts('a'))
    meter.record(facts('refused'))
    meter.open(facts('never-sent'))
    const next = await started(directory)
    expect(await requestIds(next.spool)).toEqual(['a interrupted', 'refused ok'])
    expect(next.spool.lane(spool.usage.key)?.nextSequence).toBe(2)
    await next.spool.stop()
  })
})

describe('a close', () => {
  it('is the whole record, of an open frame of any size', async () => {
    const { spool, meter } = await started(freshFolder())
    const longest = 'u'.repeat(200_000)
    for (const userId of ['ann', 'ünï', longest]) {
      const open = meter.open({ requestId: `of ${userId.slice(0, 3)}`, userId, operation: 'chat_completions' })
      meter.close(open, {
        requestId: `of ${userId.slice(0, 3)}`,
        userId,
        operation: 'chat_completions',
        status: 'ok',
        tokensIn: 7,
        hops: [{ targetId: 't', outcome: 'ok' }],
      })
    }
    await meter.written()
    const reader = new LaneReader(spool.usage)
    reader.rewind()
    const read = await reader.read({ recordsMax: 100, bytesMax: 10_000_000 })
    await reader.close()
    const records = read instanceof RecordList && [...read].map(({ payload }) => usageRecordCodec.decode(payload))
    expect(records).toMatchObject(
      ['ann', 'ünï', longest.slice(0, 256)].map((userId) => ({
        userId,
        status: 'ok',
        tokensIn: 7,
        hops: [{ targetId: 't' }],
      })),
    )
    await spool.stop()
  })
})

describe('a reading', () => {
  it('ends at what was written when it was called, so that steady writing cannot keep it', async () => {
    const { spool, meter } = await started(freshFolder(), { gatherWrites: false })
    for (const requestId of ['a', 'b']) meter.record(facts(requestId))
    const reader = new LaneReader(spool.usage)
    reader.rewind()
    const limits = { recordsMax: 100, bytesMax: 1_000_000 }
    const reading = reader.read(limits)
    meter.record(facts('c'))
    expect(await reading).toHaveLength(2)
    expect([reader.hasMore, reader.atEnd]).toEqual([false, false])
    expect(await reader.read(limits)).toHaveLength(1)
    expect(reader.atEnd).toBe(true)
    await reader.close()
    await spool.stop()
  })
})
