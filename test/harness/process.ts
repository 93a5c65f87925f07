import { type ChildProcess, spawn } from 'node:child_process'
import { createWriteStream, readFileSync } from 'node:fs'
import path from 'node:path'
import { systemClock } from '../../proto/std/clock.js'

const root = path.resolve(import.meta.dirname, import.meta.dirname.includes('/.build/') ? '../../..' : '../..')

/**
 * A real process of the product, run from `.build`, that a scenario may kill and start again. Its output goes to a file
 * that is shown when it dies unasked.
 */
export class TestProcess {
  readonly name: string
  readonly #script: string
  readonly #logFile: string
  #environment: Readonly<Record<string, string>>
  #child: ChildProcess | null = null
  #expectedToEnd = false
  /** Resolves when the last start's output is on disk. */
  #written: Promise<void> = Promise.resolve()

  /** `script` is relative to `.build`, for example `agent/src/main.js`. */
  constructor(options: {
    name: string
    script: string
    environment: Readonly<Record<string, string>>
    folder: string
  }) {
    this.name = options.name
    this.#script = path.join(root, '.build', options.script)
    this.#environment = options.environment
    this.#logFile = path.join(options.folder, `${options.name}.log`)
  }

  get pid(): number | null {
    return this.#child?.pid ?? null
  }

  /** Everything the process wrote so far, over all its starts. */
  get log(): string {
    return readFileSync(this.#logFile, 'utf8')
  }

  /** Adds or replaces variables for the next start. */
  setEnvironment(variables: Readonly<Record<string, string>>): void {
    this.#environment = { ...this.#environment, ...variables }
  }

  start(): void {
    this.#expectedToEnd = false
    const log = createWriteStream(this.#logFile, { flags: 'a' })
    this.#written = new Promise((resolve) => log.once('close', resolve))
    const child = spawn(process.execPath, ['--enable-source-maps', this.#script], {
      cwd: root,
      env: { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '/', ...this.#environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    child.stdout.pipe(log, { end: false })
    child.stderr.pipe(log, { end: false })
    // After the last of its output, which may come later than its exit.
    child.once('close', (code, signal) => log.end(`\n[${this.name} ended: code ${code}, signal ${signal}]\n`))
    child.once('exit', () => {
      if (!this.#expectedToEnd && this.#child === child) this.#child = null
    })
    this.#child = child
  }

  /** Ends it as `signal` does and waits until it is gone and `log` holds its last line. */
  async end(signal: 'SIGKILL' | 'SIGTERM' | 'SIGINT'): Promise<void> {
    const child = this.#child
    if (!child) return
    this.#expectedToEnd = true
    const gone = new Promise<void>((resolve) => {
      if (child.exitCode !== null || child.signalCode !== null) resolve()
      else child.once('exit', () => resolve())
    })
    child.kill(signal)
    await gone
    await this.#written
    this.#child = null
  }

  get alive(): boolean {
    return this.#child !== null && this.#child.exitCode === null && this.#child.signalCode === null
  }
}

/** Waits until `holds` answers with a value other than null, undefined or false; throws `what` after the deadline. */
export async function eventually<T>(
  what: string,
  holds: () => Promise<T | null | undefined | false> | T | null | undefined | false,
  deadlineMs = 60_000,
): Promise<T> {
  let last: unknown = null
  for (const startedUs = systemClock.monotonicUs(); systemClock.monotonicUs() - startedUs < deadlineMs * 1000; ) {
    try {
      const value = await holds()
      if (value !== null && value !== undefined && value !== false) return value
      last = value
    } catch (error) {
      last = error
    }
    await systemClock.sleep(50)
  }
  throw new Error(`not within ${deadlineMs} ms: ${what}`, { cause: last })
}
