import { type ChildProcess, spawn } from 'node:child_process'
import { Backoff } from '../../proto/std/backoff.js'
import type { Clock } from '../../proto/std/clock.js'
import { randomUnit } from '../../proto/std/ids.js'
import { throwRefusal } from '../../proto/std/refusal.js'
import type { Service } from '../../proto/std/service.js'
import type { BoundedLog } from './bounded-log.js'
import { signalGroup } from './process-identity.js'

export interface SupervisedProcessOptions {
  name: string
  /** Program and arguments. */
  command: readonly [string, ...string[]]
  /** Asked anew for every start, so that a restart gets what holds then. */
  environment: () => Readonly<Record<string, string | undefined>>
  folder: string
  log: BoundedLog
  clock: Clock
  /** True once it can be used. */
  isReady: () => Promise<boolean>
  readyTimeoutMs?: number
  /** After SIGTERM; then SIGKILL. */
  stopTimeoutMs?: number
  /** Called for every start, before it is waited for. */
  onStart: (pid: number) => void
  onRestart?: (delayMs: number) => void
}

/** A process that lived this long was healthy: the next restart begins with the shortest delay again. */
const healthyAfterMs = 30_000
const lastWordsMax = 16 * 1024

/**
 * One child in its own process group, so that Ctrl-C at the terminal reaches only the supervisor, which then ends the
 * children in order. A child that dies unasked is started again after a growing delay; one that dies before it was ever
 * ready fails the start with its last words.
 */
export class SupervisedProcess implements Service {
  readonly name: string
  readonly #options: SupervisedProcessOptions
  readonly #backoff = new Backoff({ minMs: 200, maxMs: 10_000 }, randomUnit)
  #child: ChildProcess | null = null
  #stopping = false
  /** The end of what it wrote since this start. */
  #lastWords = ''
  #wasReady = false
  #startedUs = 0
  #cancelRestart: () => void = () => {}

  constructor(options: SupervisedProcessOptions) {
    this.name = options.name
    this.#options = options
  }

  get pid(): number | null {
    return this.#child?.pid ?? null
  }

  /** Starts it and returns once it is ready. */
  async run(): Promise<void> {
    this.#stopping = false
    this.#wasReady = false
    this.#start()
    const { clock, isReady, readyTimeoutMs = 60_000 } = this.#options
    const startedUs = clock.monotonicUs()
    for (;;) {
      if (!this.#child) this.#fail('stopped while starting')
      if (await isReady().catch(() => false)) break
      if (clock.monotonicUs() - startedUs > readyTimeoutMs * 1_000) {
        await this.stop()
        this.#fail(`was not ready within ${readyTimeoutMs / 1_000} s`)
      }
      await clock.sleep(25)
    }
    this.#wasReady = true
  }

  async stop(): Promise<void> {
    this.#stopping = true
    this.#cancelRestart()
    const child = this.#child
    if (!child?.pid) return
    const gone = new Promise<void>((resolve) => child.once('close', () => resolve()))
    const patience = new AbortController()
    const { clock, stopTimeoutMs = 15_000 } = this.#options
    signalGroup(child.pid, 'SIGTERM')
    const inTime = await Promise.race([
      gone.then(() => true),
      clock.sleep(stopTimeoutMs, patience.signal).then(
        () => false,
        () => false,
      ),
    ])
    patience.abort()
    if (!inTime) signalGroup(child.pid, 'SIGKILL')
    await gone
  }

  #start(): void {
    const { command, environment, folder, log, clock, onStart } = this.#options
    const [program, ...args] = command
    const child = spawn(program, args, {
      cwd: folder,
      env: { ...environment() },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    })
    this.#child = child
    this.#startedUs = clock.monotonicUs()
    if (child.pid !== undefined) onStart(child.pid)
    this.#lastWords = ''
    const hear = (part: Buffer | string) => {
      log.write(part)
      this.#lastWords = (this.#lastWords + part.toString()).slice(-lastWordsMax)
    }
    child.stdout.on('data', hear)
    child.stderr.on('data', hear)
    child.once('error', (error) => hear(`${this.name} could not be started: ${error.message}\n`))
    child.once('close', (code, signal) => {
      log.write(`${JSON.stringify({ message: `${this.name} ended`, code, signal })}\n`)
      this.#child = null
      if (!this.#stopping && this.#wasReady) this.#restartLater()
    })
  }

  #restartLater(): void {
    const { clock, onRestart } = this.#options
    if (clock.monotonicUs() - this.#startedUs > healthyAfterMs * 1_000) this.#backoff.reset()
    const delayMs = this.#backoff.nextMs()
    onRestart?.(delayMs)
    this.#cancelRestart = clock.after(delayMs, () => {
      if (!this.#stopping) this.#start()
    })
  }

  #fail(what: string): never {
    // Without the frames of a stack: they say where, and the person who starts it wants to know what.
    const words = this.#lastWords
      .split('\n')
      .filter((line) => line.trim() !== '' && !/^\s+at /.test(line))
      .slice(-6)
      .map((line) => `    ${line.slice(0, 400)}`)
      .join('\n')
    const { log } = this.#options
    return throwRefusal('unavailable', `the ${this.name} ${what}; its last words (all of them: ${log.path}):\n${words}`)
  }
}
