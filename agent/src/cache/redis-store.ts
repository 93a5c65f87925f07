import type { Redis } from 'ioredis'
import type { Log, Service } from '../../../proto/std/service.js'
import type { SharedStore } from './shared-answers.js'

const retryMinMs = 100
const retryMaxMs = 5_000
const connectTimeoutMs = 2_000

/**
 * A Redis (or Valkey) that agents share. Nothing waits for it: while it is away every call fails at once, and it is tried
 * again in the background. It may evict as it likes (`maxmemory-policy allkeys-lru` fits).
 */
export class RedisStore implements SharedStore, Service {
  readonly name = 'cache-redis'
  readonly #url: string
  readonly #log: Log
  #redis: Redis | null = null
  #isAway = false

  constructor(options: { url: string; log: Log }) {
    this.#url = options.url
    this.#log = options.log.child({ service: this.name })
  }

  /** Returns at once: an agent starts whether its Redis is there or not. */
  async run(): Promise<void> {
    if (this.#redis !== null) return
    // Only who shares pays for the client.
    const { Redis: Client } = await import('ioredis')
    const redis = new Client(this.#url, {
      connectTimeout: connectTimeoutMs,
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      retryStrategy: (attempt) => Math.min(retryMinMs * 2 ** Math.min(attempt, 10), retryMaxMs),
    })
    redis.on('error', (fault: Error) => this.#sayAway(fault.message))
    redis.on('close', () => this.#sayAway('the connection was closed'))
    redis.on('ready', () => {
      if (this.#isAway) this.#log.info({}, 'the shared cache is back')
      this.#isAway = false
    })
    this.#redis = redis
  }

  async stop(): Promise<void> {
    const redis = this.#redis
    this.#redis = null
    redis?.disconnect()
  }

  async get(name: string): Promise<Buffer | null> {
    return await this.#ready().getBuffer(name)
  }

  async put(name: string, bytes: Buffer, seconds: number): Promise<void> {
    await this.#ready().set(name, bytes, 'EX', Math.max(1, Math.ceil(seconds)))
  }

  /** Once, until it is back. */
  #sayAway(fault: string): void {
    if (this.#isAway || this.#redis === null) return
    this.#isAway = true
    this.#log.warn({ fault }, 'the shared cache is away; answers are looked for here alone')
  }

  #ready(): Redis {
    if (this.#redis?.status !== 'ready') throw new Error('the shared cache is away')
    return this.#redis
  }
}
