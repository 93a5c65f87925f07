import net from 'node:net'
import grpc from '@grpc/grpc-js'
import { afterEach, describe, expect, test } from 'vitest'
import type { CacheGetRequest__Output } from '../../../proto/gen/switchyard/v1/CacheGetRequest.js'
import type { CacheGetResponse } from '../../../proto/gen/switchyard/v1/CacheGetResponse.js'
import type { CachePutRequest__Output } from '../../../proto/gen/switchyard/v1/CachePutRequest.js'
import type { CachePutResponse } from '../../../proto/gen/switchyard/v1/CachePutResponse.js'
import { type Clock, systemClock } from '../../../proto/std/clock.js'
import { KeptLog } from '../config/config-fixture.js'
import { loadContract } from '../config/grpc-client.js'
import { ControlPlaneStore, type StoreIdentity } from './control-plane-store.js'

type Answer<Response> = (fault: Partial<grpc.ServiceError> | null, response?: Response) => void

/** The other end, without a database: answers what a test says. */
class FakeService {
  readonly gets: CacheGetRequest__Output[] = []
  readonly puts: CachePutRequest__Output[] = []
  onGet = (_request: CacheGetRequest__Output, answer: Answer<CacheGetResponse>) =>
    answer(null, { value: Buffer.from('x') })
  onPut = (_request: CachePutRequest__Output, answer: Answer<CachePutResponse>) => answer(null, { kept: true })
  port = 0
  #server: grpc.Server | null = null

  async start(): Promise<this> {
    const server = new grpc.Server({ 'grpc.max_concurrent_streams': 16 })
    server.addService(loadContract().CacheService.service, {
      get: (
        call: grpc.ServerUnaryCall<CacheGetRequest__Output, CacheGetResponse>,
        answer: Answer<CacheGetResponse>,
      ) => {
        this.gets.push(call.request)
        this.onGet(call.request, answer)
      },
      put: (
        call: grpc.ServerUnaryCall<CachePutRequest__Output, CachePutResponse>,
        answer: Answer<CachePutResponse>,
      ) => {
        this.puts.push(call.request)
        this.onPut(call.request, answer)
      },
    })
    this.port = await new Promise<number>((resolve, reject) =>
      server.bindAsync(`127.0.0.1:${this.port}`, grpc.ServerCredentials.createInsecure(), (fault, port) =>
        fault ? reject(fault) : resolve(port),
      ),
    )
    this.#server = server
    return this
  }

  stop(): void {
    this.#server?.forceShutdown()
    this.#server = null
  }
}

/** The system's, whose monotonic time a test puts ahead. */
class AheadClock implements Clock {
  aheadMs = 0
  nowMs = systemClock.nowMs
  monotonicUs = () => systemClock.monotonicUs() + this.aheadMs * 1_000
  sleep = systemClock.sleep
  after = systemClock.after
}

const open: { stop(): unknown }[] = []
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.stop()
})

const name = Buffer.alloc(32, 7).toString('base64url')
const born = { seconds: 60, bornAtMs: 1_780_000_000_000 }

async function start(port?: number) {
  const service = new FakeService()
  if (port === undefined) await service.start()
  open.push(service)
  const log = new KeptLog()
  const clock = new AheadClock()
  let renewed = () => {}
  let connectionCount = 0
  const identity: StoreIdentity = {
    fleetAddress: `127.0.0.1:${port ?? service.port}`,
    credentials: () => {
      connectionCount += 1
      return grpc.credentials.createInsecure()
    },
    whenValid: async () => {},
    onRenewed: (listener) => {
      renewed = listener
      return () => {}
    },
  }
  const store = new ControlPlaneStore({
    ...{ identity, clock, random: () => 0.5, log, reconnectMinMs: 10, reconnectMaxMs: 40 },
    ...{ keepaliveIntervalMs: 10_000, keepaliveTimeoutMs: 5_000 },
  })
  open.push(store)
  await store.run()
  return { service, store, log, clock, renew: () => renewed(), connectionCount: () => connectionCount }
}

/** A state, not a time: it answers. */
async function untilServed(store: ControlPlaneStore): Promise<void> {
  for (;;) {
    try {
      await store.get(name, 10)
      return
    } catch {
      await systemClock.sleep(5)
    }
  }
}

async function untilAway(store: ControlPlaneStore): Promise<void> {
  for (;;) {
    try {
      await store.get(name, 10)
    } catch (fault) {
      if (String(fault).includes('is away')) return
    }
    await systemClock.sleep(5)
  }
}

describe('the control plane as a store', () => {
  test('is asked by digest, and takes whole seconds and milliseconds', async () => {
    const { service, store } = await start()
    await untilServed(store)
    expect(await store.get(name, 10)).toEqual(Buffer.from('x'))
    expect(service.gets.at(-1)).toMatchObject({ name: Buffer.alloc(32, 7), bytesMax: 10 })
    await store.put(name, Buffer.from('abc'), { seconds: 0.4, bornAtMs: 12.7 })
    await store.put(name, Buffer.from('abc'), { seconds: 1e9, bornAtMs: -1 })
    expect(service.puts).toMatchObject([
      { name: Buffer.alloc(32, 7), value: Buffer.from('abc'), ttlSeconds: 1, bornAtUnixMs: 12 },
      { ttlSeconds: 2_592_000, bornAtUnixMs: 0 },
    ])
    service.onGet = (_request, answer) => answer(null, {})
    expect(await store.get(name, 10)).toBeNull()
    service.onGet = (_request, answer) => answer(null, { value: Buffer.alloc(11) })
    expect(await store.get(name, 10)).toBeNull()
  })

  test('that is away fails every call at once; it is said once, and it comes back', async () => {
    const { service, store, log } = await start()
    await untilServed(store)
    service.stop()
    await untilAway(store)
    for (let count = 0; count < 5; count++) {
      await expect(store.get(name, 10)).rejects.toThrow('away')
      await expect(store.put(name, Buffer.from('x'), born)).rejects.toThrow('away')
    }
    await service.start()
    await untilServed(store)
    await store.put(name, Buffer.from('x'), born)
    expect(log.at('warn')).toEqual(['the shared cache is away; answers are looked for here alone'])
    expect(log.at('info')).toEqual(['the shared cache is back'])
    expect(log.at('error')).toEqual([])
  })

  test('that was never there does not keep an agent from starting', async () => {
    const { store, log } = await start(1)
    await expect(store.get(name, 10)).rejects.toThrow('away')
    await expect.poll(() => log.at('warn').length, { timeout: 8_000 }).toBe(1)
  })

  test.each([grpc.status.FAILED_PRECONDITION, grpc.status.UNIMPLEMENTED, grpc.status.UNAUTHENTICATED])(
    'that refuses with %s is not asked again for a minute; it is said once',
    async (code) => {
      const { service, store, log, clock } = await start()
      await untilServed(store)
      service.onGet = (_request, answer) => answer({ code, details: 'other_region: not here' })
      await expect(store.get(name, 10)).rejects.toThrow('not here')
      const askedCount = service.gets.length
      await expect(store.get(name, 10)).rejects.toThrow('keeps no answers')
      await expect(store.put(name, Buffer.from('x'), born)).rejects.toThrow('keeps no answers')
      expect([service.gets.length, service.puts.length]).toEqual([askedCount, 0])
      clock.aheadMs += 60_001
      await expect(store.get(name, 10)).rejects.toThrow('not here')
      expect(log.at('warn')).toHaveLength(1)
      expect(log.lines.at(-1)?.fields['fault']).toContain('other_region: not here')
      clock.aheadMs += 60_001
      service.onGet = (_request, answer) => answer(null, {})
      expect(await store.get(name, 10)).toBeNull()
      expect(log.at('info')).toEqual(['the control plane keeps answers for this agent'])
    },
  )

  test('is asked by a new connection once the certificate is renewed, and again if it had refused', async () => {
    const { service, store, renew, connectionCount } = await start()
    await untilServed(store)
    service.onGet = (_request, answer) => answer({ code: grpc.status.UNAUTHENTICATED, details: 'no' })
    await expect(store.get(name, 10)).rejects.toThrow()
    service.onGet = (_request, answer) => answer(null, {})
    renew()
    await untilServed(store)
    expect(connectionCount()).toBe(2)
  })

  test('has twelve look-ups and four puts under way; more look-ups are refused, more puts wait', async () => {
    const { service, store } = await start()
    await untilServed(store)
    const held: (() => void)[] = []
    service.onGet = (_request, answer) => held.push(() => answer(null, {}))
    service.onPut = (_request, answer) => held.push(() => answer(null, { kept: true }))
    const said = (fault: unknown) => (String(fault).includes('too many') ? 'refused' : 'asked')
    const gets = Array.from({ length: 20 }, () => store.get(name, 10).then(() => 'asked', said))
    const puts = Array.from({ length: 10 }, () => store.put(name, Buffer.from('x'), born))
    await expect.poll(() => held.length).toBe(16)
    service.onPut = (_request, answer) => answer(null, { kept: true })
    for (const answer of held.splice(0)) answer()
    expect((await Promise.all(gets)).filter((got) => got === 'refused')).toHaveLength(8)
    await Promise.all(puts)
    expect(service.puts).toHaveLength(10)
  })

  test('that takes calls and answers none is given up after two seconds, and made anew', async () => {
    const { service, store, log, connectionCount } = await start()
    await untilServed(store)
    service.onGet = () => {}
    const gaveUp = () => log.lines.some((line) => line.level === 'warn' && line.fields['fault'] === 'no answer')
    while (!gaveUp()) await store.get(name, 10).catch(() => {})
    service.onGet = (_request, answer) => answer(null, {})
    await untilServed(store)
    expect(connectionCount()).toBe(2)
  })

  test('that is slow with puts and answers look-ups meanwhile is kept; its own refusal of a put is heard', async () => {
    const { service, store, log, connectionCount } = await start()
    await untilServed(store)
    service.onPut = ({ value }, answer) => {
      // As late as a control plane whose database is busy.
      if (value.toString() !== 'refused') return
      setTimeout(() => answer({ code: grpc.status.UNAVAILABLE, details: 'the database took too long' }), 3_000)
    }
    let settledCount = 0
    const puts = ['refused', 'never answered'].map((value) =>
      store
        .put(name, Buffer.from(value), born)
        .catch(String)
        .finally(() => (settledCount += 1)),
    )
    while (settledCount < puts.length) {
      await store.get(name, 10).catch(() => {})
      await systemClock.sleep(20)
    }
    expect(await Promise.all(puts)).toEqual([
      expect.stringContaining('the database took too long'),
      expect.stringMatching(/deadline/i),
    ])
    expect(await store.get(name, 10)).toEqual(Buffer.from('x'))
    expect([connectionCount(), log.at('warn')]).toEqual([1, []])
  }, 15_000)

  test('is not given up for a call that an earlier connection left without an answer', async () => {
    const { service, store, log, clock, renew, connectionCount } = await start()
    await untilServed(store)
    service.onGet = () => {}
    const unanswered = store.get(name, 10).catch(String)
    await expect.poll(() => service.gets.length, { interval: 1 }).toBe(2)
    service.onGet = (_request, answer) => answer(null, { value: Buffer.from('x') })
    renew()
    await untilServed(store)
    clock.aheadMs += 2_000
    expect(await unanswered).toMatch(/deadline/i)
    expect(await store.get(name, 10)).toEqual(Buffer.from('x'))
    expect([connectionCount(), log.at('warn')]).toEqual([2, []])
  })

  test('whose port takes connections and says nothing is away', async () => {
    const mute = net.createServer((socket) => socket.on('error', () => {}))
    await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve))
    open.push({ stop: () => mute.close() })
    const { store } = await start((mute.address() as net.AddressInfo).port)
    await expect(store.get(name, 10)).rejects.toThrow('away')
    await store.stop()
  })
})
