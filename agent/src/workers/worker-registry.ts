import type { Clock } from '../../../proto/std/clock.js'
import { throwRefusal } from '../../../proto/std/refusal.js'
import type { Log } from '../../../proto/std/service.js'
import { isAlive, type StateFolder, startTimeOf } from '../config/state-folder.js'

/**
 * The request workers that this folder's agent has, by process id and start time, in the folder itself. A worker ends when
 * its primary does; one that cannot at once (stopped, or deep in a computation) may still append to its lane, so that no
 * later agent may read lanes before it is gone. It is on the list before it gets a lane.
 */
export class WorkerRegistry {
  readonly #folder: StateFolder
  #workers: readonly WorkerEntry[] = []
  #written: Promise<void> = Promise.resolve()

  constructor(folder: StateFolder) {
    this.#folder = folder
  }

  /** On the list when it resolves. Rejects when the disk does not take it. */
  add(pid: number): Promise<void> {
    return this.#change(async (workers) => [...workers, { pid, startTime: await startTimeOf(pid) }])
  }

  /** Rejects when the disk does not take it; then the list names one that is gone, which harms nobody. */
  remove(pid: number): Promise<void> {
    return this.#change((workers) => workers.filter((worker) => worker.pid !== pid))
  }

  /** One after the other: the last list is the one that stays. */
  #change(make: (workers: readonly WorkerEntry[]) => WorkerEntry[] | Promise<WorkerEntry[]>): Promise<void> {
    const change = async () => {
      this.#workers = await make(this.#workers)
      await this.#folder.write(fileName, Buffer.from(JSON.stringify(this.#workers)))
    }
    this.#written = this.#written.then(change, change)
    return this.#written
  }
}

/**
 * Returns when no worker of an earlier life of the agent in `folder` is alive: waits for those that are, then kills them. An
 * id that another process has by now is left alone. Refuses (RefusalError) where one can be neither waited for nor told from
 * another process.
 */
export async function outliveWorkers(folder: StateFolder, clock: Clock, log: Log): Promise<void> {
  const bytes = await folder.read(fileName)
  if (bytes === null) return
  for (const worker of entriesIn(bytes)) {
    if (await endsWithin(worker, clock, leaveMs)) continue
    if (worker.startTime === '') {
      throwRefusal(
        'request_worker_alive',
        `process ${worker.pid} may be a request worker of this folder's last agent and still runs; end it, or delete ${folder.at(fileName)} if it is none`,
      )
    }
    log.warn({ pid: worker.pid }, 'a request worker of an earlier life still runs; it is killed')
    killIfThere(worker.pid)
    if (await endsWithin(worker, clock, killMs)) continue
    throwRefusal(
      'request_worker_alive',
      `process ${worker.pid}, a request worker of this folder's last agent, cannot be ended`,
    )
  }
  await folder.remove(fileName)
}

const fileName = 'workers'
/** It ends by itself as soon as it looks. */
const leaveMs = 2_000
const killMs = 10_000
const pollMs = 20

interface WorkerEntry {
  readonly pid: number
  /** Empty where the system does not tell. */
  readonly startTime: string
}

async function endsWithin(worker: WorkerEntry, clock: Clock, ms: number): Promise<boolean> {
  for (const dueUs = clock.monotonicUs() + ms * 1000; ; ) {
    if (!isAlive(worker.pid)) return true
    if (worker.startTime !== '' && (await startTimeOf(worker.pid)) !== worker.startTime) return true
    if (clock.monotonicUs() >= dueUs) return false
    await clock.sleep(pollMs)
  }
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (fault) {
    if ((fault as NodeJS.ErrnoException).code !== 'ESRCH') throw fault
  }
}

/** A list that is damaged names nobody: it is written whole or not at all, so this is no list. */
function entriesIn(bytes: Buffer): readonly WorkerEntry[] {
  try {
    const entries: unknown = JSON.parse(bytes.toString('utf8'))
    if (!Array.isArray(entries)) return []
    return entries.flatMap(({ pid, startTime }: Partial<WorkerEntry>) =>
      Number.isSafeInteger(pid) && typeof startTime === 'string' ? [{ pid: pid as number, startTime }] : [],
    )
  } catch {
    return []
  }
}
