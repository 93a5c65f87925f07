import { Backoff } from '../../../proto/std/backoff.js'
import type { Clock } from '../../../proto/std/clock.js'
import type { Log, Service } from '../../../proto/std/service.js'
import type { JobProcessor, JobQueues, RawWorker } from './job-queues.js'
import type { QueueData, QueueName } from './queue-table.js'

export interface JobWorkerOptions<Name extends QueueName> {
  queues: JobQueues
  queue: Name
  process: JobProcessor<QueueData[Name]>
  clock: Clock
  random: () => number
  log: Log
}

const watchMs = 5_000

/**
 * Keeps a queue's consumer alive: made again when it breaks, cannot connect, or looks healthy and takes nothing although
 * jobs wait (it lost its place on a server that came back).
 */
export class JobWorker<Name extends QueueName> implements Service {
  readonly name: string
  readonly #options: JobWorkerOptions<Name>
  readonly #log: Log
  readonly #stopping = new AbortController()
  #worker: RawWorker | null = null
  #ended: Promise<void> | null = null
  #takenCount = 0
  #activeCount = 0

  constructor(options: JobWorkerOptions<Name>) {
    this.#options = options
    this.name = `${options.queue}-worker`
    this.#log = options.log.child({ service: this.name })
  }

  async run(): Promise<void> {
    this.#ended ??= this.#loop()
  }

  /** Takes no more jobs; those that run are finished. */
  async drain(): Promise<void> {
    await this.stop()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#worker?.close()
    await this.#ended
  }

  async #loop(): Promise<void> {
    const { clock, queues, queue, random } = this.#options
    const backoff = new Backoff({ minMs: 200, maxMs: 10_000 }, random)
    const { signal } = this.#stopping
    while (!signal.aborted) {
      const worker = queues.consume(queue, this.#process)
      this.#worker = worker
      worker.ready.then(
        () => backoff.reset(),
        () => {},
      )
      const over = new AbortController()
      const end = () => over.abort()
      signal.addEventListener('abort', end, { once: true })
      try {
        await Promise.race([worker.ended, this.#watch(over.signal)])
      } catch (fault) {
        if (!signal.aborted) this.#log[backoff.logLevel]({ fault: (fault as Error).message }, 'the consumer broke')
      } finally {
        // A watch that outlived its consumer would ask the server for ever, one more after each break.
        end()
        signal.removeEventListener('abort', end)
      }
      if (signal.aborted) break
      await worker.close().catch(() => {})
      await clock.sleep(backoff.nextMs(), signal).catch(() => {})
    }
  }

  readonly #process: JobProcessor<QueueData[Name]> = async (data, attempt) => {
    this.#takenCount += 1
    this.#activeCount += 1
    try {
      await this.#options.process(data, attempt)
    } finally {
      this.#activeCount -= 1
    }
  }

  /** Resolves when the consumer sits idle before waiting jobs. */
  async #watch(signal: AbortSignal): Promise<void> {
    const { clock, queues, queue } = this.#options
    let idleCount = 0
    for (let seen = this.#takenCount; ; seen = this.#takenCount) {
      await clock.sleep(watchMs, signal)
      const idle = this.#takenCount === seen && this.#activeCount === 0
      const waiting = idle
        ? await queues
            .queue(queue)
            .count()
            .catch(() => 0)
        : 0
      idleCount = waiting > 0 ? idleCount + 1 : 0
      if (idleCount < 3) continue
      this.#log.warn({ waiting }, 'jobs wait and none is taken; making the consumer again')
      return
    }
  }
}
