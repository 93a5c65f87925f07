import { describe, expect, it } from 'vitest'
import { must } from '../../../proto/std/assert.js'
import { VirtualClock } from '../../../proto/std/clock.js'
import type { Effect } from '../config/build-tables.js'
import { KeptLog, startApplier, temporaryFolder } from '../config/config-fixture.js'
import { draft, sign, updateTo } from '../config/snapshot-fixture.js'
import type { LaneOrder } from '../usage/lane-telling.js'
import type { SpoolClass } from '../usage/segment.js'
import type { FollowedLanes } from '../usage/spool.js'
import type { ToPrimary, ToWorker, WorkerSettings } from './messages.js'
import type { WorkerEnd, WorkerHandle } from './worker-handle.js'
import { WorkerPool } from './worker-pool.js'

/** A process that does what a worker does unless told otherwise; everything it is told is kept. */
class FakeProcess implements WorkerHandle {
  readonly told: ToWorker[] = []
  readonly pid: number
  isEnded = false
  wasKilled = false
  /** Kinds of messages that it takes and does not act upon. */
  readonly ignores = new Set<ToWorker['kind'] | 'sign of life'>()
  #listener: (message: ToPrimary) => void = () => {}
  #onEnd: (how: WorkerEnd) => void = () => {}

  constructor(
    readonly index: number,
    readonly life: number,
    clock: VirtualClock,
    behave: (process: FakeProcess) => void,
  ) {
    this.pid = 1_000 * (index + 1) + life
    behave(this)
    if (this.isEnded) return
    clock.after(1, () => this.say({ kind: 'up' }))
    const live = () => {
      if (this.isEnded) return
      if (!this.ignores.has('sign of life')) this.say(useOf())
      clock.after(1_000, live)
    }
    clock.after(10, live)
  }

  onMessage(listener: (message: ToPrimary) => void): void {
    this.#listener = listener
  }
  onEnd(listener: (how: WorkerEnd) => void): void {
    this.#onEnd = listener
  }
  onOutput(): void {}

  say(message: ToPrimary): void {
    if (!this.isEnded) this.#listener(message)
  }

  async send(message: ToWorker): Promise<void> {
    if (this.isEnded) return
    this.told.push(message)
    if (this.ignores.has(message.kind)) return
    await Promise.resolve()
    this.act(message)
  }

  act(message: ToWorker): void {
    if (message.kind === 'tables' && message.parcel.header) this.say({ kind: 'applied', number: message.parcel.number })
    else if (message.kind === 'serve') this.say({ kind: 'serving', host: '127.0.0.1', port: 7404 })
    else if (message.kind === 'drain') this.say({ kind: 'drained' })
    else if (message.kind === 'stop') this.end({ code: 0, signal: null })
    else if (message.kind === 'scrape') this.say({ kind: 'scraped', number: message.number, text: `of ${this.index}` })
  }

  end(how: WorkerEnd): void {
    if (this.isEnded) return
    this.isEnded = true
    this.#onEnd(how)
  }

  kill(): void {
    this.wasKilled = true
    this.end({ code: null, signal: 'SIGKILL' })
  }

  /** Kinds of what it was told, in order, the same one after the other once. */
  get kinds(): string[] {
    return this.told.map(({ kind }) => kind).filter((kind, index, all) => kind !== 'others' && kind !== all[index - 1])
  }

  get generations(): number[] {
    return this.told.flatMap((message) =>
      message.kind === 'tables' && message.parcel.header ? [message.parcel.header.generation] : [],
    )
  }
}

const useOf = (keys: (readonly [string, number, number])[] = []): ToPrimary => ({
  kind: 'use',
  use: { connections: 1, inFlight: 0, keys },
})

interface PoolOptions {
  readonly count?: number
  readonly behave?: (process: FakeProcess) => unknown
  /** Called before the disk is used: what it throws, the disk does. */
  readonly onDisk?: (what: 'follow' | 'unfollow') => void
}

function makePool(options: PoolOptions = {}) {
  const clock = new VirtualClock()
  const log = new KeptLog()
  const processes: FakeProcess[] = []
  const followed: string[] = []
  const unfollowed: string[] = []
  const registered: number[] = []
  const reported: string[] = []
  const orders: [number, SpoolClass, LaneOrder][] = []
  const ended: number[] = []
  let epoch = 7
  let setAccepting: (accepting: boolean) => void = () => {}
  const pool = new WorkerPool({
    ...{ count: options.count ?? 2, settings: {} as WorkerSettings, tls: null, clock, log, random: () => 0.5 },
    source: {
      start: (index) => {
        const life = processes.filter((process) => process.index === index).length
        const process = new FakeProcess(index, life, clock, (made) => options.behave?.(made))
        processes.push(process)
        return process
      },
    },
    registry: {
      add: async (pid) => void registered.push(pid),
      remove: async (pid) => void registered.splice(registered.indexOf(pid), 1),
    },
    spool: {
      directory: '/spool',
      accepting: true,
      onAccepting: (listener) => {
        setAccepting = listener
      },
      follow: (lane, ask) => {
        options.onDisk?.('follow')
        const bootEpoch = epoch++
        followed.push(`${bootEpoch}/${lane}`)
        const lanes = (of: SpoolClass) => ({
          key: { bootEpoch, lane, class: of },
          follow: () => {},
          ask: (order: LaneOrder) => ask(of, order),
        })
        return { usage: lanes('usage'), spans: lanes('spans') } as unknown as FollowedLanes
      },
      unfollow: (lanes) => {
        options.onDisk?.('unfollow')
        unfollowed.push(`${lanes.usage.key.bootEpoch}/${lanes.usage.key.lane}`)
      },
    },
    vault: {
      values: () => [['crd_1', 1, 'secret']],
      reportRejected: (id, version) => void reported.push(`rejected ${id}@${version}`),
      reportAccepted: (id, version) => void reported.push(`accepted ${id}@${version}`),
    },
    output: () => () => {},
    onEnded: (life) => void ended.push(life),
    prefixKey: new Uint32Array([1, 2, 3]),
  })
  /** The newest process of a number. */
  const worker = (index: number) =>
    must(
      processes.findLast((process) => process.index === index),
      'it was started',
    )
  const start = async () => {
    const run = pool.run()
    run.catch(() => {})
    await clock.advance(20)
    await run
  }
  return {
    ...{ pool, clock, log, processes, worker, start, followed, unfollowed, registered, reported, orders, ended },
    setAccepting: (accepting: boolean) => setAccepting(accepting),
  }
}

/** Ends the newest process of a number and waits for the next one to have been told what it is told at once. */
async function restart({ worker, clock }: ReturnType<typeof makePool>, index: number): Promise<FakeProcess> {
  const before = worker(index)
  before.end({ code: 1, signal: null })
  await settle()
  while (worker(index) === before) await clock.advance(5)
  await settle()
  await clock.advance(5)
  await settle()
  return worker(index)
}

/** What is in effect after each of so many generations. */
async function effects(count: number): Promise<Effect[]> {
  const folder = await temporaryFolder()
  const { applier, close } = await startApplier(folder.path)
  const made: Effect[] = []
  for (let generation = 1; generation <= count; generation++) {
    await applier.apply(updateTo(sign(draft({ generation })), applier.held))
    made.push(must(applier.effect, 'something is in effect'))
  }
  await close()
  await folder.remove()
  return made
}

/** What is due now, without time. */
const settle = () => new Promise((resolve) => setImmediate(resolve))

/** True once the promise is settled, looked at after what is due now. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false
  void promise.finally(() => {
    settled = true
  })
  await settle()
  return settled
}

describe('request workers', () => {
  it('are told who they are, what they need and then to serve; ready is when all do', async () => {
    const { pool, clock, worker, followed, registered } = makePool({
      behave: (process) => process.ignores.add('serve'),
    })
    const [effect] = await effects(1)
    await pool.publish(must(effect, 'one'))
    const run = pool.run()
    await clock.advance(20)
    for (const index of [0, 1]) expect(worker(index).kinds).toEqual(['begin', 'credentials', 'tables', 'serve'])
    expect(registered.sort()).toEqual([1_000, 2_000])
    expect(followed).toEqual(['7/0', '8/1'])
    worker(0).act({ kind: 'serve' })
    expect([await isSettled(run), pool.unreadyReason]).toEqual([false, 'starting'])
    worker(1).act({ kind: 'serve' })
    await run
    expect([pool.unreadyReason, pool.servingCount, pool.address]).toEqual([null, 2, { host: '127.0.0.1', port: 7404 }])
  })

  it('are not ready before each of them has a configuration, though the primary has it and all doors are open', async () => {
    const { pool, worker, start } = makePool()
    await start()
    expect([pool.servingCount, pool.unreadyReason]).toEqual([2, 'no_configuration'])
    worker(1).ignores.add('tables')
    const [effect] = await effects(1)
    const published = pool.publish(must(effect, 'one'))
    await settle()
    expect(pool.unreadyReason).toBe('no_configuration')
    worker(1).act(
      must(
        worker(1).told.findLast(({ kind }) => kind === 'tables'),
        'told',
      ),
    )
    await published
    expect(pool.unreadyReason).toBeNull()
  })

  it('all have swapped before a change is said to be in effect', async () => {
    const { pool, worker, start, clock } = makePool()
    const [first, second] = await effects(2)
    await pool.publish(must(first, 'one'))
    await start()
    worker(1).ignores.add('tables')
    const published = pool.publish(must(second, 'two'))
    await clock.advance(5_000)
    expect(worker(0).generations).toEqual([1, 2])
    expect(await isSettled(published)).toBe(false)
    worker(1).act(must(worker(1).told.at(-1), 'told'))
    await published
  })

  it('one that does not serve yet holds up no change, and serves by it', async () => {
    const made = makePool({ behave: (process) => process.life > 0 && process.ignores.add('tables').add('serve') })
    const { pool, worker, start } = made
    const [first, second, third] = await effects(3)
    await pool.publish(must(first, 'one'))
    await start()
    const slow = await restart(made, 1)
    const apply = async () => {
      slow.act(must(slow.told.at(-1), 'told'))
      await settle()
    }
    expect(slow.kinds).toEqual(['begin', 'credentials', 'tables'])
    // A revocation, for example: the one that serves has swapped.
    expect(await isSettled(pool.publish(must(second, 'two')))).toBe(true)
    expect(worker(0).generations).toEqual([1, 2])
    await apply()
    expect([slow.generations, slow.kinds.includes('serve')]).toEqual([[1, 2], false])
    await apply()
    expect(slow.kinds).toEqual(['begin', 'credentials', 'tables', 'serve'])
    // From here on its door may be open, whatever was heard of it.
    const published = pool.publish(must(third, 'three'))
    expect(await isSettled(published)).toBe(false)
    expect(slow.generations).toEqual([1, 2, 3])
    await apply()
    await published
  })

  it('one whose door is not open in time is killed', async () => {
    const made = makePool({ behave: (process) => process.life > 0 && process.ignores.add('serve') })
    await made.start()
    const stuck = await restart(made, 1)
    await made.clock.advance(59_000)
    expect([stuck.kinds.at(-1), stuck.wasKilled]).toEqual(['serve', false])
    await made.clock.advance(2_000)
    expect(stuck.wasKilled).toBe(true)
  })

  it('one that the disk does not let begin is started anew, later and later', async () => {
    let isBroken = false
    const { pool, clock, worker, start, log } = makePool({
      onDisk: (what) => {
        if (isBroken && what === 'follow') throw new Error('ENOSPC')
      },
    })
    await start()
    isBroken = true
    worker(1).end({ code: 1, signal: null })
    await clock.advance(3_000)
    expect(worker(1).life).toBeGreaterThan(2)
    expect(worker(1).life).toBeLessThan(8)
    expect(log.lines.find(({ fields }) => String(fields['why']).includes('ENOSPC'))?.level).toBe('error')
    expect(worker(1).kinds).not.toContain('begin')
    isBroken = false
    await clock.advance(30_000)
    expect(pool.servingCount).toBe(2)
  })

  it('one whose lanes cannot be recovered is an alarm, and the next one begins all the same', async () => {
    const made = makePool({
      onDisk: (what) => {
        if (what === 'unfollow') throw new Error('EIO')
      },
    })
    const { pool, start, log, registered } = made
    await start()
    await restart(made, 1)
    expect(log.at('error')).toContain(
      'what a request worker left could not be recovered; the next start of the agent does it',
    )
    expect(pool.servingCount).toBe(2)
    expect(registered).toHaveLength(2)
  })

  it('tell each other what they sent to which replica and have running there, within 20 ms and in one message', async () => {
    const { worker, start, clock } = makePool({ count: 3 })
    await start()
    const learned = (url: string) => ({
      ...{ providerId: 'prv_1', url, names: new Uint32Array([1, 2]), salt: { high: 3, low: 4 } },
    })
    expect(worker(0).told.find(({ kind }) => kind === 'begin')).toMatchObject({
      begin: { prefixKey: new Uint32Array([1, 2, 3]) },
    })
    worker(0).say({ kind: 'replicas', telling: { prefixes: [learned('a')], loads: [['r', 2, 900, 1, 500]] } })
    worker(1).say({ kind: 'replicas', telling: { prefixes: [learned('b')], loads: [] } })
    await clock.advance(20)
    const urls = (index: number) =>
      worker(index).told.flatMap((message) =>
        message.kind === 'replicas' ? [message.telling.prefixes.map(({ url }) => url)] : [],
      )
    expect([0, 1, 2].map(urls)).toEqual([[['b']], [['a']], [['a', 'b']]])
    const loads = (index: number) =>
      worker(index).told.flatMap((message) => (message.kind === 'replicas' ? message.telling.loads : []))
    expect([0, 1, 2].map(loads)).toEqual([[], [['r', 2, 900, 1, 500]], [['r', 2, 900, 1, 500]]])
    worker(0).end({ code: 1, signal: null })
    await settle()
    await clock.advance(20)
    expect(loads(2).at(-1)).toEqual(['r', 0, 0, 0, 0])
  })

  it('that take no prefixes lose the oldest, which is counted, also when they are gone', async () => {
    const { pool, worker, start, clock } = makePool()
    await start()
    const names = new Uint32Array(1_024)
    const learned = { providerId: 'prv_1', url: 'a', names, salt: { high: 3, low: 4 } }
    for (let i = 0; i < 20; i++) worker(0).say({ kind: 'replicas', telling: { prefixes: [learned], loads: [] } })
    expect(pool.droppedPrefixCount).toBe(4)
    worker(1).end({ code: 1, signal: null })
    await clock.advance(5_000)
    expect(pool.droppedPrefixCount).toBe(4)
  })

  it('one that does not swap in time is killed, and serves again by nothing but the newest', async () => {
    const { pool, clock, worker, start, log, unfollowed } = makePool()
    const [first, second, third] = await effects(3)
    await pool.publish(must(first, 'one'))
    await start()
    const stuck = worker(1)
    stuck.ignores.add('tables')
    const published = pool.publish(must(second, 'two'))
    await settle()
    await clock.advance(10_010)
    await published
    expect(stuck.wasKilled).toBe(true)
    expect(log.at('error')).toEqual(['a request worker is stuck; it is killed'])
    expect(unfollowed).toEqual(['8/1'])
    void pool.publish(must(third, 'three'))
    await settle()
    await clock.advance(1_000)
    expect(worker(1)).not.toBe(stuck)
    expect(worker(1).generations).toEqual([3])
    expect(worker(1).kinds).toEqual(['begin', 'credentials', 'tables', 'serve'])
  })

  it('one that begins while a change comes serves by the newest', async () => {
    const { pool, clock, worker, processes } = makePool({
      behave: (process) => process.ignores.add('tables'),
    })
    const [first, second] = await effects(2)
    await pool.publish(must(first, 'one'))
    const run = pool.run()
    await clock.advance(20)
    const published = pool.publish(must(second, 'two'))
    const apply = async () => {
      for (const process of processes) {
        process.act(
          must(
            process.told.findLast(({ kind }) => kind === 'tables'),
            'told',
          ),
        )
      }
      await settle()
    }
    await apply()
    expect(worker(0).kinds).not.toContain('serve')
    await apply()
    await Promise.all([run, published])
    expect(worker(0).generations).toEqual([1, 2])
  })

  it('one that ends is started anew, ever later, with lanes of its own, while the others go on', async () => {
    const { pool, clock, worker, start, unfollowed, followed, ended, log, registered } = makePool()
    await pool.publish(must((await effects(1))[0], 'one'))
    await start()
    const waits: number[] = []
    for (let crash = 0; crash < 4; crash++) {
      const before = worker(1)
      before.end({ code: null, signal: 'SIGSEGV' })
      await clock.advance(0)
      expect([pool.servingCount, pool.unreadyReason]).toEqual([1, null])
      const atMs = clock.nowMs()
      while (worker(1) === before) await clock.advance(5)
      waits.push(clock.nowMs() - atMs)
      await clock.advance(20)
      expect(pool.servingCount).toBe(2)
    }
    expect(waits).toEqual([...waits].sort((a, b) => a - b))
    expect(waits.at(-1)).toBeGreaterThan((waits[0] ?? 0) * 4)
    expect(pool.restartCount).toBe(4)
    expect(unfollowed).toHaveLength(4)
    expect(new Set(followed).size).toBe(6)
    // Each life by a number of its own; the first two are those of the start.
    expect(ended).toEqual([1, 2, 3, 4])
    expect(log.at('warn')).toContain('a request worker ended; it is started anew')
    expect(registered).toHaveLength(2)
    // One that was well for a while begins with the first wait again.
    await clock.advance(61_000)
    const before = worker(1)
    before.end({ code: 1, signal: null })
    await settle()
    await clock.advance(110)
    expect(worker(1)).not.toBe(before)
  })

  it('without any of them the agent is not ready', async () => {
    const { pool, clock, worker, start } = makePool()
    await pool.publish(must((await effects(1))[0], 'one'))
    await start()
    for (const index of [0, 1]) worker(index).end({ code: 1, signal: null })
    await clock.advance(0)
    expect(pool.unreadyReason).toBe('no_request_worker')
    await clock.advance(1_000)
    expect(pool.unreadyReason).toBeNull()
  })

  it('one that says nothing any more is killed; not for the primary’s own sleep', async () => {
    const { clock, worker, start, log } = makePool()
    await start()
    const silent = worker(0)
    silent.ignores.add('sign of life')
    await clock.advance(14_000)
    expect(silent.wasKilled).toBe(false)
    await clock.advance(3_000)
    expect(silent.wasKilled).toBe(true)
    expect(log.lines.filter(({ level }) => level === 'error').map(({ fields }) => fields['why'])).toEqual([
      'nothing was heard of it for 15000 ms',
    ])
  })

  it.each<[string, (process: FakeProcess) => void, string]>([
    [
      'says why',
      (process) => {
        process.ignores.add('serve')
        process.act = () => {}
        const send = process.send.bind(process)
        process.send = async (message) => {
          await send(message)
          if (message.kind !== 'serve') return
          process.say({ kind: 'failed', code: 'EADDRINUSE', message: 'listen EADDRINUSE 127.0.0.1:7404' })
          process.end({ code: 0, signal: null })
        }
      },
      'listen EADDRINUSE 127.0.0.1:7404',
    ],
    [
      'just ends',
      (process) => {
        process.send = async (message) => {
          if (message.kind === 'serve') process.end({ code: 1, signal: null })
        }
      },
      'a request worker ended before it served',
    ],
  ])('the first start is refused when one %s', async (_, behave, message) => {
    const { start } = makePool({ behave: (process) => process.index === 1 && behave(process) })
    await expect(start()).rejects.toThrow(message)
  })

  it('are told credentials as they come, and what upstreams said of them to each other', async () => {
    const { pool, worker, start, reported } = makePool()
    await start()
    pool.tellCredential('crd_2', 1, 'new')
    const credential = { credentialId: 'crd_2', version: 1, rejected: true }
    worker(0).say({ kind: 'rejected', credential })
    worker(1).say({ kind: 'rejected', credential: { ...credential, rejected: false } })
    expect(reported).toEqual(['rejected crd_2@1', 'accepted crd_2@1'])
    expect(worker(1).told.slice(-2)).toEqual([
      { kind: 'credentials', values: [['crd_2', 1, 'new']] },
      { kind: 'rejected', credential },
    ])
    expect(worker(0).told.at(-1)).toEqual({ kind: 'rejected', credential: { ...credential, rejected: false } })
  })

  it('are told what the others use, one message at a time', async () => {
    const { worker, start, clock } = makePool({ count: 3 })
    await start()
    await clock.advance(10)
    const others = (index: number) =>
      worker(index).told.flatMap((message) => (message.kind === 'others' ? [message.use.keys] : []))
    const before = others(2).length
    worker(0).say(useOf([['key', 1, 1]]))
    worker(1).say(useOf([['key', 2, 5]]))
    await clock.advance(10)
    expect(others(2).slice(before)).toEqual([[['key', 3, 6]]])
    expect(others(0).at(-1)).toEqual([['key', 2, 5]])
  })

  it('are told when the spool is full and when it is not any more', async () => {
    const { worker, start, setAccepting } = makePool()
    await start()
    setAccepting(false)
    expect(worker(1).told.at(-1)).toEqual({ kind: 'accepting', accepting: false })
  })

  it('answer a scrape, and who does not in time is left out', async () => {
    const { pool, worker, start, clock } = makePool()
    await start()
    worker(0).ignores.add('scrape')
    const scrape = pool.scrape()
    await clock.advance(2_000)
    expect([...(await scrape)]).toEqual([[1, 'of 1']])
    // Who ends meanwhile is not waited for, and the next process of its number has a number of its own.
    const another = pool.scrape()
    worker(0).end({ code: 1, signal: null })
    expect(await isSettled(another)).toBe(true)
    await clock.advance(1_000)
    expect([...(await pool.scrape()).keys()].sort()).toEqual([1, 2])
  })

  it('drain before anything of the agent ends; who ends meanwhile stays down', async () => {
    const { pool, clock, worker, start, processes } = makePool()
    await start()
    worker(0).ignores.add('drain')
    const drained = pool.drain(30_000)
    worker(1).end({ code: 1, signal: null })
    await clock.advance(5_000)
    expect(await isSettled(drained)).toBe(false)
    worker(0).say({ kind: 'drained' })
    await drained
    expect(processes).toHaveLength(2)
    expect(pool.restartCount).toBe(0)
  })

  it('one that becomes ready while others drain never serves, and one that has not begun is told nothing of it', async () => {
    const made = makePool({
      count: 3,
      behave: (process) => {
        if (process.life === 0) return
        process.ignores.add('tables')
        // Its first word does not come.
        if (process.index === 2) process.say = () => {}
      },
    })
    const { pool, clock, worker, start, log } = made
    await pool.publish(must((await effects(1))[0], 'one'))
    await start()
    const late = await restart(made, 1)
    const early = await restart(made, 2)
    expect([late.kinds, early.kinds]).toEqual([['begin', 'credentials', 'tables'], []])
    await pool.drain(1_000)
    late.act(must(late.told.at(-1), 'told'))
    await clock.advance(100)
    expect([late.kinds, early.kinds]).toEqual([['begin', 'credentials', 'tables'], []])
    expect(worker(0).kinds.at(-1)).toBe('drain')
    await pool.stop()
    expect([late.kinds.at(-1), early.kinds.at(-1)]).toEqual(['stop', 'stop'])
    expect(log.at('error')).toEqual([])
  })

  it('one that is opening its door when others drain is told so, and is waited for no longer', async () => {
    const made = makePool({ behave: (process) => process.life > 0 && process.ignores.add('serve') })
    const { pool, clock, start, log } = made
    await start()
    const opening = await restart(made, 1)
    expect(opening.kinds.at(-1)).toBe('serve')
    await pool.drain(1_000)
    expect(opening.kinds.at(-1)).toBe('drain')
    await clock.advance(70_000)
    expect([opening.wasKilled, log.at('error')]).toEqual([false, []])
  })

  it('that do not drain hold nobody up for ever', async () => {
    const { pool, clock, worker, start } = makePool()
    await start()
    worker(0).ignores.add('drain').add('sign of life')
    const drained = pool.drain(1_000)
    await clock.advance(11_100)
    await drained
  })

  it('stop with sealed lanes, and are killed when they do not', async () => {
    const { pool, clock, worker, start, unfollowed, registered } = makePool()
    await start()
    worker(0).ignores.add('stop')
    const stopped = pool.stop()
    await clock.advance(4_000)
    expect(worker(1).isEnded).toBe(true)
    expect(worker(0).isEnded).toBe(false)
    await clock.advance(2_000)
    await stopped
    expect(worker(0).wasKilled).toBe(true)
    expect(unfollowed.sort()).toEqual(['7/0', '8/1'])
    expect(registered).toEqual([])
  })
})
