import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { ChildReady, ChildUsage } from './agent-child.js'
import type { Contestant } from './agent-contest.js'
import type { LoadTarget } from './agent-load.js'

/** A process of the bench: one module of this folder, started by itself, ended with its parent. */
export class BenchProcess implements Contestant {
  readonly name: string
  readonly ready: ChildReady
  readonly #child: ChildProcess

  private constructor(name: string, child: ChildProcess, ready: ChildReady) {
    this.name = name
    this.#child = child
    this.ready = ready
  }

  static start(
    name: string,
    module: string,
    args: readonly string[],
    nodeArgs: readonly string[] = [],
  ): Promise<BenchProcess> {
    const file = fileURLToPath(new URL(module, import.meta.url))
    const child = fork(file, [...args], { execArgv: [...nodeArgs], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
    return new Promise((resolve, reject) => {
      child.once('message', (message) => resolve(new BenchProcess(name, child, message as ChildReady)))
      child.once('exit', (code) => reject(new Error(`${module} ended with code ${code} before it was ready`)))
    })
  }

  /** The agent in front of `upstream`, reporting to `sink`. */
  static startAgent(upstream: BenchProcess, sink: BenchProcess, kind = 'openai'): Promise<BenchProcess> {
    const args = [upstream.ready.url, sink.ready.url, JSON.stringify(sink.ready.reportTls), kind]
    return BenchProcess.start('agent', './agent-under-test.js', args)
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
