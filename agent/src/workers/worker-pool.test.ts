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

function makePool(options: { count?: number; behave?: (process: FakeProcess) => void } = {}) {
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
        const bootEpoch = epoch++
        followed.push(`${bootEpoch}/${lane}`)
        const lanes = (of: SpoolClass) => ({
          key: { bootEpoch, lane, class: of },
          follow: () => {},
          ask: (order: LaneOrder) => ask(of, order),
        })
        return { usage: lanes('usage'), spans: lanes('spans') } as unknown as FollowedLanes
      },
      unfollow: (lanes) => void unfollowed.push(`${lanes.usage.key.bootEpoch}/${lanes.usage.key.lane}`),
    },
    vault: {
      values: () => [['crd_1', 1, 'secret']],
      reportRejected: (id, version) => void reported.push(`rejected ${id}@${version}`),
      reportAccepted: (id, version) => void reported.push(`accepted ${id}@${version}`),
    },
    output: () => () => {},
    onEnded: (index) => void ended.push(index),
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
    expect(ended).toEqual([1, 1, 1, 1])
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
