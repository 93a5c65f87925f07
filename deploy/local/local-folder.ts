import { closeSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import path from 'node:path'
import type { Clock } from '../../proto/std/clock.js'
import { throwRefusal } from '../../proto/std/refusal.js'
import { identityOf, isAlive, type ProcessIdentity, signalGroup } from './process-identity.js'

/**
 * The folder of one local installation (`.switchyard`): its data, secrets, logs, lock and the list of processes it
 * started. One starter at a time; what an earlier one left running is ended before anything new begins.
 */
export class LocalFolder {
  readonly path: string
  #processes: ProcessIdentity[] = []
  #locked = false

  constructor(folder: string) {
    this.path = folder
    mkdirSync(this.logs, { recursive: true, mode: 0o700 })
  }

  get logs(): string {
    return path.join(this.path, 'logs')
  }

  get postgres(): string {
    return path.join(this.path, 'postgres')
  }

  get agent(): string {
    return path.join(this.path, 'agent')
  }

  /** Facts for people and programs; see `LocalFile`. */
  get localFile(): string {
    return path.join(this.path, 'local.json')
  }

  /** What must be the same at the next start; see `LocalState`. */
  get stateFile(): string {
    return path.join(this.path, 'state.json')
  }

  get #lockFile(): string {
    return path.join(this.path, 'lock')
  }

  get #processesFile(): string {
    return path.join(this.path, 'processes.json')
  }

  /** Takes the folder for this process; refuses while another starter that lives has it. */
  lock(): void {
    const own = identityOf('start', process.pid)
    for (let tries = 0; tries < 5; tries++) {
      try {
        const file = openSync(this.#lockFile, 'wx', 0o600)
        writeSync(file, JSON.stringify(own))
        closeSync(file)
        this.#locked = true
        return
      } catch (error) {
        if ((error as { code?: string }).code !== 'EEXIST') throw error
      }
      const owner = readJsonFile<ProcessIdentity>(this.#lockFile)
      if (owner && isAlive(owner)) {
        throwRefusal(
          'conflict',
          `Switchyard already runs in ${this.path} (process ${owner.pid}); press Ctrl-C there, or run: kill ${owner.pid}`,
        )
      }
      rmSync(this.#lockFile, { force: true })
    }
    throwRefusal('conflict', `another start takes ${this.path} at this moment; try again`)
  }

  unlock(): void {
    if (!this.#locked) return
    this.#locked = false
    rmSync(this.#lockFile, { force: true })
  }

  /** Remembers a process before it can do anything that outlives us. */
  record(name: string, pid: number): void {
    const identity = identityOf(name, pid)
    this.#processes = this.#processes.filter((known) => known.name !== name)
    if (identity) this.#processes.push(identity)
    this.#saveProcesses()
  }

  forget(name: string): void {
    this.#processes = this.#processes.filter((known) => known.name !== name)
    this.#saveProcesses()
  }

  get processes(): readonly ProcessIdentity[] {
    return this.#processes
  }

  /**
   * Ends what an earlier start left running, agent first and Postgres last, and says what it ended. A process is known by
   * number and start time, so nobody else's is touched.
   */
  async reap(clock: Clock): Promise<readonly ProcessIdentity[]> {
    const left = (readJsonFile<ProcessIdentity[]>(this.#processesFile) ?? []).filter(isAlive)
    for (const identity of [...left].reverse()) {
      // Postgres: SIGINT ends sessions and writes a checkpoint; SIGTERM would wait for the sessions.
      signalGroup(identity.pid, identity.name === 'postgres' ? 'SIGINT' : 'SIGTERM')
      const startedUs = clock.monotonicUs()
      while (isAlive(identity)) {
        if (clock.monotonicUs() - startedUs > 10_000_000) signalGroup(identity.pid, 'SIGKILL')
        await clock.sleep(20)
      }
    }
    this.#processes = []
    this.#saveProcesses()
    return left
  }

  #saveProcesses(): void {
    writeSecretFile(this.#processesFile, this.#processes)
  }
}

/** The JSON of `file`; null when there is none or it is torn. */
export function readJsonFile<T>(file: string): T | null {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as T
  } catch {
    return null
  }
}

/** Writes JSON that only this user may read; whoever reads sees the old content or the new, never half. */
export function writeSecretFile(file: string, value: unknown): void {
  const temporary = `${file}.${process.pid}.tmp`
  rmSync(temporary, { force: true })
  writeFileSync(temporary, `${JSON.stringify(value, null, 2)}\n`, { mode: 0o600, flag: 'wx' })
  renameSync(temporary, file)
}
