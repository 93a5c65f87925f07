import { createPostgresBackend, type Job, Queue, Worker, type WorkerOptions, withBackend } from 'bullmq'
import { Redis } from 'ioredis'
import { assert } from '../../../proto/std/assert.js'
import type { Clock } from '../../../proto/std/clock.js'
import { throwRefusal } from '../../../proto/std/refusal.js'
import type { Log, Service } from '../../../proto/std/service.js'
import { makeQueueTables, QueuePool } from './queue-pool.js'
import { type QueueData, type QueueName, queueTable } from './queue-table.js'
import { checkRedis } from './redis-check.js'

export interface JobQueuesOptions {
  /** BullMQ runs on this Redis; null: on PostgreSQL. */
  redisUrl: string | null
  databaseUrl: string
  clock: Clock
  log: Log
}

/** One queue as producers see it. Everything rejects, soon, while the queue's server is away: callers retry. */
export interface JobQueue<Data> {
  /** Queues `data` unless a job of that id is still there. On return the server has it, as well as it keeps things. */
  add(id: string, data: Data): Promise<void>
  /** The job waits or runs. False: it is done, or was lost. */
  has(id: string): Promise<boolean>
  /** Jobs not done: waiting, delayed, running. */
  count(): Promise<number>
}

/** What a processor is told beside the data. */
export interface JobAttempt {
  /** From 1. */
  readonly number: number
}

export type JobProcessor<Data> = (data: Data, attempt: JobAttempt) => Promise<void>

/** A consumer for as long as its connections hold; `JobWorker` keeps one alive. */
export interface RawWorker {
  readonly ready: Promise<void>
  /** Resolves when the consumer has ended by itself; rejects when it broke. */
  readonly ended: Promise<void>
  close(): Promise<void>
}

/** As good as for ever: giving up is the processor's decision (and fits PostgreSQL's integer). */
const attemptsMax = 1_000_000
const answerTimeoutMs = 10_000
/** A job whose worker vanished is given to another after this. */
const lockMs = 6_000
const stalledCheckMs = 3_000
/** Before a worker whose server was away asks it again; BullMQ's own 15 s would be most of a restart's outage. */
const serverRetryMs = 500
const retryMinMs = 200
const retryMaxMs = 10_000

/**
 * BullMQ behind one small seam: on Redis where there is one, else on PostgreSQL; the same tests run on both. Nothing
 * here decides what a job means.
 *
 * Jobs vanish when they end, whichever way; ids are for not queueing the same bytes twice while the first copy is still
 * there, never for exactly-once, which is the store's business.
 */
export class JobQueues implements Service {
  readonly name = 'job-queues'
  readonly backend: 'redis' | 'postgres'
  readonly #options: JobQueuesOptions
  readonly #log: Log
  readonly #producers = new Map<QueueName, Producer>()
  #redis: Redis | null = null
  #running = false

  constructor(options: JobQueuesOptions) {
    this.#options = options
    this.backend = options.redisUrl === null ? 'postgres' : 'redis'
    this.#log = options.log.child({ service: this.name, backend: this.backend })
  }

  /**
   * Prepares the server. Refuses (RefusalError `redis_unfit`) a Redis that is too old or evicts; one that is away is
   * waited for in the background. On PostgreSQL the queue's own tables are made or brought up to date first.
   */
  async run(): Promise<void> {
    if (this.#running) return
    this.#running = true
    if (this.backend === 'redis') await this.#openRedis()
    else await makeQueueTables(this.#options.databaseUrl)
  }

  /** After the workers, before the database. */
  async stop(): Promise<void> {
    if (!this.#running) return
    this.#running = false
    for (const producer of this.#producers.values()) await endProducer(producer)
    this.#producers.clear()
    this.#redis?.disconnect()
    this.#redis = null
  }

  queue<Name extends QueueName>(name: Name): JobQueue<QueueData[Name]> {
    return {
      add: async (id, data) => {
        const { queue } = this.#producer(name)
        await this.#inTime(
          queue.add('batch', data, {
            jobId: id,
            attempts: attemptsMax,
            backoff: { type: 'custom' },
            removeOnComplete: true,
            removeOnFail: true,
            stackTraceLimit: 1,
          }),
        )
      },
      has: async (id) => {
        const state = await this.#inTime(this.#producer(name).queue.getJobState(id))
        return state !== 'unknown' && state !== 'completed' && state !== 'failed'
      },
      count: async () => {
        const counts = await this.#inTime(this.#producer(name).queue.getJobCounts('wait', 'active', 'delayed'))
        return Object.values(counts).reduce((sum, count) => sum + count, 0)
      },
    }
  }

  /** Begins to consume a queue. For `JobWorker`. */
  consume<Name extends QueueName>(name: Name, process: JobProcessor<QueueData[Name]>): RawWorker {
    assert(this.#running, 'job queues: run before consuming')
    const facts = queueTable[name]
    const processor = (job: Job<QueueData[Name]>) => process(job.data, { number: job.attemptsMade + 1 })
    const options = {
      autorun: false,
      concurrency: facts.concurrency,
      lockDuration: lockMs,
      stalledInterval: stalledCheckMs,
      runRetryDelay: serverRetryMs,
      // A worker that dies again and again on one job is stopped by the job's own bound, not by losing it here.
      maxStalledCount: 1_000,
      settings: { backoffStrategy: backoffMs },
    }
    const ends: (() => unknown)[] = []
    const worker = this.#makeWorker(facts.name, processor, options, facts.concurrency, ends)
    worker.on('error', (fault) => this.#log.debug({ queue: name, fault: fault.message }, 'queue worker'))
    const ready = Promise.resolve(worker.waitUntilReady()).then(() => {})
    const ended = ready.then(() => worker.run())
    return {
      ready,
      ended,
      close: async () => {
        // Finishes what runs; a server that is away would let it wait for ever.
        await this.#inTime(worker.close()).catch(() => {})
        for (const end of ends) await end()
      },
    }
  }

  #makeWorker<Data>(
    name: string,
    processor: (job: Job<Data>) => Promise<void>,
    options: Omit<WorkerOptions, 'connection'>,
    concurrency: number,
    ends: (() => unknown)[],
  ): Pick<Worker, 'run' | 'close' | 'waitUntilReady'> & {
    on(event: 'error', listener: (fault: Error) => void): unknown
  } {
    if (this.backend === 'redis') {
      const connection = this.#connectRedis({ maxRetriesPerRequest: null })
      ends.push(() => connection.disconnect())
      return new Worker<Data, void>(name, processor, { ...options, connection })
    }
    const OnPostgres = withBackend(createPostgresBackend)
    // One connection is the worker's for good: it listens.
    const pool = new QueuePool(this.#options.databaseUrl, concurrency + 3)
    ends.push(() => pool.end())
    return new OnPostgres.Worker<Data, void>(name, processor, { ...options, connection: pool })
  }

  #producer(name: QueueName): Producer {
    assert(this.#running, 'job queues: run before use')
    const known = this.#producers.get(name)
    if (known) return known
    const producer = this.#makeQueue(queueTable[name].name)
    this.#producers.set(name, producer)
    producer.queue.on('error', (fault: Error) =>
      this.#log.debug({ queue: name, fault: fault.message }, 'queue producer'),
    )
    // BullMQ remembers for ever that it could not connect at first; the next caller gets a new one.
    producer.queue.waitUntilReady().catch(() => {
      if (this.#producers.get(name) === producer) this.#producers.delete(name)
      void endProducer(producer)
    })
    return producer
  }

  #makeQueue(name: string): Producer {
    if (this.backend === 'redis') {
      assert(this.#redis, 'job queues: Redis is connected to in run')
      return { queue: new Queue(name, { connection: this.#redis }), end: async () => {} }
    }
    const OnPostgres = withBackend(createPostgresBackend)
    const pool = new QueuePool(this.#options.databaseUrl, 4)
    return { queue: new OnPostgres.Queue(name, { connection: pool }), end: () => pool.end() }
  }

  async #openRedis(): Promise<void> {
    // Producers fail fast: without a connection nothing is held back in memory, the caller decides.
    const redis = this.#connectRedis({ maxRetriesPerRequest: 1, enableOfflineQueue: false })
    this.#redis = redis
    const first = new Promise<void>((resolve, reject) => {
      redis.on('ready', () => {
        redis.info().then(
          (info) => {
            const refusal = checkRedis(info)
            if (refusal) this.#log.error({ code: refusal.code }, refusal.message)
            if (refusal) reject(refusal)
            else resolve()
          },
          () => {},
        )
      })
    })
    first.catch(() => {})
    const waited = this.#options.clock.sleep(3_000)
    const outcome = await Promise.race([first.catch((refusal: unknown) => refusal), waited.then(() => 'away' as const)])
    if (outcome === 'away') this.#log.warn({}, 'Redis cannot be reached yet; reporting waits for it')
    else if (outcome !== undefined) {
      const refusal = outcome as { code: string; message: string }
      await this.stop()
      throwRefusal(refusal.code, refusal.message)
    }
  }

  #connectRedis(options: { maxRetriesPerRequest: number | null; enableOfflineQueue?: boolean }): Redis {
    const redis = new Redis(this.#options.redisUrl ?? '', {
      ...options,
      connectTimeout: 5_000,
      keepAlive: 10_000,
      retryStrategy: (attempt) => Math.min(100 * 2 ** Math.min(attempt, 6), 2_000),
    })
    redis.on('error', (fault) => this.#log.debug({ fault: fault.message }, 'Redis connection'))
    return redis
  }

  /** A call that its server never answers must not hold its caller. */
  async #inTime<T>(call: Promise<T>): Promise<T> {
    let cancel = () => {}
    const late = new Promise<never>((_resolve, reject) => {
      cancel = this.#options.clock.after(answerTimeoutMs, () => reject(new Error('the queue did not answer in time')))
    })
    try {
      return await Promise.race([call, late])
    } finally {
      cancel()
    }
  }
}

interface Producer {
  readonly queue: Pick<Queue, 'add' | 'getJobState' | 'getJobCounts' | 'close' | 'waitUntilReady'> & {
    on(event: 'error', listener: (fault: Error) => void): unknown
  }
  end(): Promise<void>
}

async function endProducer(producer: Producer): Promise<void> {
  await producer.queue.close().catch(() => {})
  await producer.end().catch(() => {})
}

function backoffMs(attemptsMade: number): number {
  return Math.min(retryMaxMs, retryMinMs * 2 ** Math.min(attemptsMade, 20))
}
