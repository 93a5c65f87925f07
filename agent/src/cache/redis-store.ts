import type { Redis } from 'ioredis'
import type { Log, Service } from '../../../proto/std/service.js'
import type { SharedStore } from './shared-answers.js'

const retryMinMs = 100
const retryMaxMs = 5_000
const connectTimeoutMs = 2_000
/** No answer to a command, and nothing at all on the connection, for so long: it is given up and made anew. */
const answerTimeoutMs = 2_000
const keepAliveMs = 10_000

/** Before each name: whoever looks into the Redis sees what it is. */
const namePrefix = 'switchyard:cache:'
/** Before each answer, in the clear: when it was born, so that an older one never takes its place. */
const bornLength = 16
const putNewer = `
local before = redis.call('GETRANGE', KEYS[1], 0, ${bornLength - 1})
if #before == ${bornLength} and (tonumber(before) or 0) > tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2], 'EX', ARGV[3])
return 1`

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
      autoResendUnfulfilledCommands: false,
      commandTimeout: answerTimeoutMs,
      socketTimeout: answerTimeoutMs,
      keepAlive: keepAliveMs,
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

  async get(name: string, bytesMax: number): Promise<Buffer | null> {
    // One byte more than fits: whoever else writes into this Redis may have put anything there, of any length.
    const found = await this.#ready().getrangeBuffer(namePrefix + name, 0, bornLength + bytesMax)
    return found.length <= bornLength || found.length > bornLength + bytesMax ? null : found.subarray(bornLength)
  }

  async put(name: string, bytes: Buffer, options: { seconds: number; bornAtMs: number }): Promise<void> {
    const born = String(Math.max(0, Math.floor(options.bornAtMs))).padStart(bornLength, '0')
    await this.#ready().eval(putNewer, 1, namePrefix + name, born, bytes, Math.max(1, Math.ceil(options.seconds)))
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
