import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { ChildReady, ChildUsage } from './agent-child.js'
import type { LoadTarget } from './agent-load.js'

/** A process of the bench: one module of this folder, started by itself, ended with its parent. */
export class BenchProcess {
  readonly #child: ChildProcess
  readonly ready: ChildReady

  private constructor(child: ChildProcess, ready: ChildReady) {
    this.#child = child
    this.ready = ready
  }

  static start(module: string, args: readonly string[], execArgv: readonly string[] = []): Promise<BenchProcess> {
    const file = fileURLToPath(new URL(module, import.meta.url))
    const child = fork(file, [...args], { execArgv: [...execArgv], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
    return new Promise((resolve, reject) => {
      child.once('message', (message) => resolve(new BenchProcess(child, message as ChildReady)))
      child.once('exit', (code) => reject(new Error(`${module} ended with code ${code} before it was ready`)))
    })
  }

  get target(): LoadTarget {
    const { url, apiKey } = this.ready
    return apiKey === undefined ? { url } : { url, apiKey }
  }

  usage(): Promise<ChildUsage> {
    return new Promise((resolve) => {
      this.#child.once('message', (message) => resolve(message as ChildUsage))
      this.#child.send('usage')
    })
  }

  stop(): Promise<void> {
    return new Promise((resolve) => {
      this.#child.once('exit', () => resolve())
      this.#child.disconnect()
    })
  }
}
