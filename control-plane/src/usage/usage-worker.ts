import { batchCodec } from '../../../proto/gen/codec.js'
import type { Clock } from '../../../proto/std/clock.js'
import { RefusalError } from '../../../proto/std/refusal.js'
import type { Log, Service } from '../../../proto/std/service.js'
import { classifyDatabaseError } from '../database/database-error.js'
import type { JobAttempt, JobQueues } from '../jobs/job-queues.js'
import { JobWorker } from '../jobs/job-worker.js'
import type { BatchJob, QueueName } from '../jobs/queue-table.js'
import type { BatchService, ReportBatch } from './batch-service.js'
import type { DeadLetterCode } from './lane-store.js'
import { unpackBatch } from './packed-batch.js'
import { laneKey } from './report-lane.js'

/** Somebody should look: records were not stored as rows, or are gone. */
export interface UsageAlarm {
  readonly code: DeadLetterCode | 'dropped'
  readonly lane: string
  readonly count: number
  readonly message: string
}

export interface UsageWorkerOptions {
  queues: JobQueues
  /** `usage` or `spans`: the queue, and the class of its batches. */
  queue: QueueName
  batches: Pick<BatchService<unknown>, 'store' | 'drop' | 'bury'>
  clock: Clock
  random: () => number
  log: Log
  /** After each commit: the watermark of the lane may have moved. */
  onStored?: () => void
  onAlarm?: (alarm: UsageAlarm) => void
}

/** Tries before a job that fails for a reason of its own is taken apart. */
const attemptsBeforeBisect = 4

/**
 * Takes batches from a queue into Postgres. What the database cannot do right now is tried again for as long as it
 * takes; what it will never do is cut in halves until the records that it is about stand alone, and those become dead
 * letters. No job ever ends as a failure.
 */
export class UsageWorker implements Service {
  readonly name: string
  readonly #options: UsageWorkerOptions
  readonly #worker: JobWorker<QueueName>
  readonly #log: Log

  constructor(options: UsageWorkerOptions) {
    this.#options = options
    this.#worker = new JobWorker({ ...options, process: (job, attempt) => this.process(job, attempt) })
    this.name = this.#worker.name
    this.#log = options.log.child({ service: this.name })
  }

  run(): Promise<void> {
    return this.#worker.run()
  }

  drain(): Promise<void> {
    return this.#worker.drain()
  }

  stop(): Promise<void> {
    return this.#worker.stop()
  }

  /** One job. Throws to have it tried again. */
  async process(job: BatchJob, attempt: JobAttempt): Promise<void> {
    try {
      if (job.drop) await this.#drop(job, job.drop)
      const batch = job.batch === null ? null : await this.#decode(job, job.batch)
      if (batch) await this.#storeOrBisect(batch, attempt)
    } catch (fault) {
      // A blip is quiet, an outage is not.
      const level = attempt.number <= 3 ? 'debug' : attempt.number <= 6 ? 'info' : 'warn'
      this.#log[level]({ attempt: attempt.number, fault: (fault as Error).message }, 'not stored yet')
      throw fault
    }
    this.#options.onStored?.()
  }

  async #decode(job: BatchJob, text: string): Promise<ReportBatch | null> {
    try {
      const { lane, records } = batchCodec.decode(await unpackBatch(text))
      if (!lane) throw new Error('a batch without a lane')
      return {
        lane: { agentId: job.agentId, bootEpoch: lane.bootEpoch, lane: lane.lane, class: this.#options.queue },
        clusterId: job.clusterId,
        records,
      }
    } catch (fault) {
      // The agent still has the records and will send them again; keeping a job that nobody can read helps nobody.
      this.#log.error({ agentId: job.agentId, fault: (fault as Error).message }, 'a queued batch cannot be read')
      return null
    }
  }

  async #storeOrBisect(batch: ReportBatch, attempt: JobAttempt): Promise<void> {
    try {
      await this.#store(batch)
    } catch (fault) {
      if (!isHopeless(fault) && !(isOurs(fault) && attempt.number >= attemptsBeforeBisect)) throw fault
      this.#log.warn({ lane: laneKey(batch.lane), fault: (fault as Error).message }, 'taking a batch apart')
      await this.#bisect(batch, fault)
    }
  }

  async #bisect(batch: ReportBatch, fault: unknown): Promise<void> {
    if (batch.records.length <= 1) {
      const message = (fault as Error).message
      await this.#options.batches.bury(batch, 'rejected', message)
      this.#alarm({ code: 'rejected', lane: laneKey(batch.lane), count: batch.records.length, message })
      return
    }
    const middle = batch.records.length >> 1
    for (const records of [batch.records.slice(0, middle), batch.records.slice(middle)]) {
      const half = { ...batch, records }
      try {
        await this.#store(half)
      } catch (halfFault) {
        if (!isHopeless(halfFault) && !isOurs(halfFault)) throw halfFault
        await this.#bisect(half, halfFault)
      }
    }
  }

  async #store(batch: ReportBatch): Promise<void> {
    const { deadLetters } = await this.#options.batches.store(batch)
    for (const code of new Set(deadLetters.map((letter) => letter.code))) {
      const letters = deadLetters.filter((letter) => letter.code === code)
      this.#alarm({ code, lane: laneKey(batch.lane), count: letters.length, message: letters[0]?.message ?? '' })
    }
  }

  async #drop(job: BatchJob, drop: NonNullable<BatchJob['drop']>): Promise<void> {
    const lane = {
      agentId: job.agentId,
      bootEpoch: drop.bootEpoch,
      lane: drop.lane,
      class: this.#options.queue,
    }
    const count = await this.#options.batches.drop(lane, drop.firstSequence, drop.lastSequence, drop.reason)
    if (count > 0) this.#alarm({ code: 'dropped', lane: laneKey(lane), count, message: drop.reason })
  }

  #alarm(alarm: UsageAlarm): void {
    // Dropped spans are a budget at work; anything else somebody should see.
    const level = alarm.code === 'dropped' && this.#options.queue === 'spans' ? 'info' : 'error'
    this.#log[level]({ ...alarm }, alarmSentences[alarm.code])
    this.#options.onAlarm?.(alarm)
  }
}

const alarmSentences: Readonly<Record<UsageAlarm['code'], string>> = {
  malformed: 'an agent reported something that is not a record; kept as a dead letter',
  conflict: 'an agent reported two different records under one key; the second is a dead letter',
  placement: 'an agent reported about an environment that its cluster never served; kept as a dead letter',
  rejected: 'a record could not be stored; kept as a dead letter',
  dropped: 'an agent declared records gone',
}

/** Postgres will not take it, today or tomorrow: bad data, a constraint, a limit. */
function isHopeless(fault: unknown): boolean {
  const state = (fault as { code?: unknown }).code
  return typeof state === 'string' && /^(22|23|54)[0-9A-Z]{3}$/.test(state)
}

/** Neither the database's nor the network's: a fault of this program, which another try may or may not repeat. */
function isOurs(fault: unknown): boolean {
  if (fault instanceof RefusalError || classifyDatabaseError(fault) !== null) return false
  const state = (fault as { code?: unknown }).code
  return typeof state !== 'string'
}
