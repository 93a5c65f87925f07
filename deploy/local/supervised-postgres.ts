import { Backoff } from '../../proto/std/backoff.js'
import type { Clock } from '../../proto/std/clock.js'
import { randomUnit } from '../../proto/std/ids.js'
import type { Service } from '../../proto/std/service.js'
import type { BoundedLog } from './bounded-log.js'
import { type EmbeddedPostgres, startEmbeddedPostgres } from './embedded-postgres.js'

export interface SupervisedPostgresOptions {
  folder: string
  port: number
  clock: Clock
  log: BoundedLog
  onStart: (pid: number) => void
  onRestart?: (delayMs: number) => void
}

/** The embedded PostgreSQL, started again on the same data when it dies unasked. */
export class SupervisedPostgres implements Service {
  readonly name = 'postgres'
  readonly #options: SupervisedPostgresOptions
  readonly #backoff = new Backoff({ minMs: 200, maxMs: 10_000 }, randomUnit)
  #server: EmbeddedPostgres | null = null
  #starting: Promise<void> = Promise.resolve()
  #restarting: Promise<void> = Promise.resolve()
  #stopping = false

  constructor(options: SupervisedPostgresOptions) {
    this.#options = options
  }

  get server(): EmbeddedPostgres | null {
    return this.#server
  }

  async run(): Promise<void> {
    this.#stopping = false
    this.#starting = this.#start()
    await this.#starting
  }

  async stop(): Promise<void> {
    this.#stopping = true
    await this.#starting.catch(() => {})
    await this.#restarting
    await this.#server?.stop()
    this.#server = null
  }

  async #start(): Promise<void> {
    const { folder, port, clock, log, onStart } = this.#options
    const server = await startEmbeddedPostgres({ folder, port, clock, log: (line) => log.write(`${line}\n`) })
    this.#server = server
    onStart(server.pid)
    void server.exited.then(() => {
      if (!this.#stopping) this.#restarting = this.#restart()
    })
  }

  async #restart(): Promise<void> {
    const { clock, log, onRestart } = this.#options
    while (!this.#stopping) {
      const delayMs = this.#backoff.nextMs()
      onRestart?.(delayMs)
      await clock.sleep(delayMs)
      if (this.#stopping) return
      try {
        await this.#start()
        this.#backoff.reset()
        return
      } catch (fault) {
        log.write(`PostgreSQL could not be started again: ${String(fault)}\n`)
      }
    }
  }
}
