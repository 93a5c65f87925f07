import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { must } from '../../../proto/std/assert.js'
import { VirtualClock } from '../../../proto/std/clock.js'
import { KeptLog, startApplier, temporaryFolder } from '../config/config-fixture.js'
import { draft, lookup, sign, updateTo } from '../config/snapshot-fixture.js'
import type { LearnedPrefix } from '../replicas/prefix-outbox.js'
import type { ToPrimary, ToWorker, WorkerBeginning } from './messages.js'
import { parcelsOf } from './tables-parcel.js'
import { type ServingParts, WorkerProcess } from './worker-process.js'

const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) fs.rmSync(folder, { recursive: true, force: true })
})

function start(options: { openDoor?: () => Promise<void> } = {}) {
  const clock = new VirtualClock()
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'switchyard-worker-'))
  folders.push(directory)
  const said: ToPrimary[] = []
  const exits: number[] = []
  const door = { isOpen: false, connectionCount: 0, inFlightCount: 0, drainedMs: -1, dropCount: 0 }
  const learned: LearnedPrefix[] = []
  let parts: ServingParts | null = null
  let tell: (message: ToWorker) => void = () => {}
  new WorkerProcess({
    channel: {
      send: async (message) => {
        said.push(structuredClone(message))
      },
      onMessage: (listener) => {
        tell = listener
      },
    },
    clock,
    makeLog: () => new KeptLog(),
    makeServing: (made) => {
      parts = made
      return {
        address: { host: '127.0.0.1', port: 7404 },
        get connectionCount() {
          return door.connectionCount
        },
        get inFlightCount() {
          return door.inFlightCount
        },
        run: async () => {
          await options.openDoor?.()
          door.isOpen = true
        },
        drain: async (deadlineMs) => {
          door.drainedMs = deadlineMs
        },
        stop: async () => {
          door.isOpen = false
        },
        metricsText: async () => 'numbers',
        countDroppedConnection: () => {
          door.dropCount += 1
        },
        learn: ({ prefixes }) => void learned.push(...prefixes),
      }
    },
    exit: (code) => exits.push(code),
  }).run()
  const begin: WorkerBeginning = {
    ...{ index: 0, count: 2, tls: null, spoolDirectory: directory, bootEpoch: 7, accepting: true },
    prefixKey: new Uint32Array([1, 2, 3]),
    settings: { spoolSegmentBytes: 65_536, connectionsMax: 10, inFlightMax: 10 } as WorkerBeginning['settings'],
  }
  const settle = () => new Promise((resolve) => setImmediate(resolve))
  return {
    ...{ clock, said, exits, door, begin, settle, learned },
    kinds: () => said.map(({ kind }) => kind),
    parts: () => must(parts, 'it has begun'),
    tell: async (message: ToWorker) => {
      tell(message)
      await settle()
      await settle()
    },
  }
}

async function someParcels(number: number) {
  const folder = await temporaryFolder()
  const { applier, close } = await startApplier(folder.path)
  await applier.apply(updateTo(sign(draft({ keys: ['key_1'] })), null))
  const effect = must(applier.effect, 'something is in effect')
  const parcels: ToWorker[] = []
  for await (const parcel of parcelsOf(null, effect, number, () => undefined)) parcels.push({ kind: 'tables', parcel })
  await close()
  await folder.remove()
  return parcels
}

describe('a request worker’s process', () => {
  it('says that it listens, and opens its door only after the tables that came before', async () => {
    const worker = start()
    expect(worker.kinds()).toEqual(['up'])
    await worker.tell({ kind: 'begin', begin: worker.begin })
    expect([worker.door.isOpen, worker.parts().tables.current]).toEqual([false, null])
    for (const message of await someParcels(5)) void worker.tell(message)
    await worker.tell({ kind: 'serve' })
    await worker.settle()
    expect(worker.said.slice(1)).toEqual([
      { kind: 'applied', number: 5 },
      { kind: 'serving', host: '127.0.0.1', port: 7404 },
    ])
    expect(worker.parts().tables.current?.keys.get(lookup('key_1'))?.id).toBe('key_1')
  })

  it('says why it cannot open its door, and ends', async () => {
    const worker = start({
      openDoor: async () => {
        throw Object.assign(new Error('listen EADDRINUSE'), { code: 'EADDRINUSE' })
      },
    })
    await worker.tell({ kind: 'begin', begin: worker.begin })
    await worker.tell({ kind: 'serve' })
    await worker.settle()
    expect(worker.said.at(-1)).toEqual({ kind: 'failed', code: 'EADDRINUSE', message: 'listen EADDRINUSE' })
    await expect.poll(() => worker.exits).toEqual([0])
  })

  it('gives a sign of life once a second while nothing happens, and tells soon what does', async () => {
    const worker = start()
    await worker.tell({ kind: 'begin', begin: worker.begin })
    await worker.clock.advance(10_000)
    const signs = worker.kinds().filter((kind) => kind === 'use').length
    expect(signs).toBeGreaterThanOrEqual(10)
    expect(signs).toBeLessThanOrEqual(12)
    worker.door.inFlightCount = 3
    await worker.clock.advance(250)
    expect(worker.said.at(-1)).toEqual({ kind: 'use', use: { connections: 0, inFlight: 3, keys: [] } })
  })

  it('tells at once of a key that comes near its limit, and sees what the others leave of it', async () => {
    const worker = start()
    await worker.tell({ kind: 'begin', begin: worker.begin })
    for (const message of await someParcels(1)) await worker.tell(message)
    const { tables, meter } = worker.parts()
    const key = () => must(tables.current?.keys.get(lookup('key_1')), 'it is there')
    expect(key().inFlightMax).toBe(8)
    await worker.tell({ kind: 'others', use: { connections: 1, inFlight: 4, keys: [['key_1', 3, 3]] } })
    expect([key().inFlightMax, key().requestsPerMinuteMax]).toEqual([5, 597])
    expect(worker.parts().limits.inFlightMax).toBe(6)
    const open = meter.open({ requestId: 'r', apiKeyId: 'key_1' })
    await worker.clock.advance(10)
    expect(worker.said.at(-1)).toEqual({ kind: 'use', use: { connections: 0, inFlight: 0, keys: [['key_1', 1, 1]] } })
    meter.close(open, { requestId: 'r', apiKeyId: 'key_1', status: 'ok' })
    meter.record({ requestId: 's', apiKeyId: 'key_1', status: 'refused', code: 'rate_limit_exceeded' })
    meter.record({ requestId: 't', apiKeyId: 'key_1', status: 'refused', code: 'model_not_found' })
    await worker.clock.advance(300)
    const tellings = worker.said.flatMap((message) => (message.kind === 'use' ? [...message.use.keys] : []))
    expect(tellings.at(-1)).toEqual(['key_1', 0, 1])
  })

  it('refuses when the agent’s spool is full, though its own lanes are well', async () => {
    const worker = start()
    await worker.tell({ kind: 'begin', begin: worker.begin })
    expect(worker.parts().meter.accepting).toBe(true)
    await worker.tell({ kind: 'accepting', accepting: false })
    expect(worker.parts().meter.accepting).toBe(false)
  })

  it('drains to the deadline it is given, tells its lanes, and stops with them sealed', async () => {
    const worker = start()
    await worker.tell({ kind: 'begin', begin: worker.begin })
    await worker.tell({ kind: 'serve' })
    worker.parts().meter.record({ requestId: 'a', status: 'ok' })
    await worker.tell({ kind: 'drain', deadlineMs: 30_000 })
    await expect.poll(() => worker.kinds().at(-1)).toBe('drained')
    expect(worker.door.drainedMs).toBe(30_000)
    expect(worker.kinds().slice(-2)).toEqual(['lanes', 'drained'])
    await worker.tell({ kind: 'stop' })
    await expect.poll(() => worker.exits).toEqual([0])
    const last = worker.said.findLast((message) => message.kind === 'lanes')
    expect(last?.tellings.usage?.segments.map(({ final }) => final)).toEqual([true])
  })

  it('that drains opens no door any more', async () => {
    const worker = start()
    await worker.tell({ kind: 'begin', begin: worker.begin })
    void worker.tell({ kind: 'drain', deadlineMs: 1_000 })
    await worker.tell({ kind: 'serve' })
    await expect.poll(() => worker.kinds().at(-1)).toBe('drained')
    expect([worker.door.isOpen, worker.kinds().includes('serving')]).toEqual([false, false])
  })

  it('that drains while its door opens does not say that it serves', async () => {
    let open = () => {}
    const worker = start({
      openDoor: () =>
        new Promise((resolve) => {
          open = resolve
        }),
    })
    await worker.tell({ kind: 'begin', begin: worker.begin })
    await worker.tell({ kind: 'serve' })
    await worker.tell({ kind: 'drain', deadlineMs: 1_000 })
    open()
    await worker.settle()
    await worker.settle()
    expect(worker.kinds()).not.toContain('serving')
  })

  it('tells what it sent to which replica within 20 ms, together, and learns what others did', async () => {
    const worker = start()
    await worker.tell({ kind: 'begin', begin: worker.begin })
    const { peers } = worker.parts()
    expect(peers?.key).toEqual(worker.begin.prefixKey)
    const learned = (url: string): LearnedPrefix => ({
      ...{ providerId: 'prv_1', url, names: new Uint32Array([1, 2]), salt: { high: 3, low: 4 } },
    })
    peers?.teller.onLearned(learned('http://a/v1'))
    peers?.teller.onLearned(learned('http://b/v1'))
    await worker.clock.advance(20)
    expect(worker.said.filter(({ kind }) => kind === 'replicas')).toEqual([
      { kind: 'replicas', telling: { prefixes: [learned('http://a/v1'), learned('http://b/v1')], loads: [] } },
    ])
    await worker.tell({ kind: 'replicas', telling: { prefixes: [learned('http://c/v1')], loads: [] } })
    expect(worker.learned).toEqual([learned('http://c/v1')])
    expect(worker.said.filter(({ kind }) => kind === 'replicas')).toHaveLength(1)
  })

  it('answers a scrape', async () => {
    const worker = start()
    await worker.tell({ kind: 'begin', begin: worker.begin })
    await worker.tell({ kind: 'scrape', number: 4 })
    expect(worker.said.at(-1)).toEqual({ kind: 'scraped', number: 4, text: 'numbers' })
  })
})
