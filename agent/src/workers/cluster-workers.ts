import cluster from 'node:cluster'
import { assert } from '../../../proto/std/assert.js'
import type { ToPrimary, ToWorker } from './messages.js'
import type { WorkerHandle, WorkerSource } from './worker-handle.js'
import type { PrimaryChannel } from './worker-process.js'

export interface ClusterWorkersOptions {
  /** The agent's own main module; in a worker it serves instead (`cluster.isWorker`). */
  readonly script: string
  /** Variables that a worker must not have, as undefined: `node:cluster` gives it all of this process's otherwise. */
  readonly environment: Readonly<Record<string, undefined>>
}

/**
 * Request workers as processes of `node:cluster`, for its one service: this process owns the listening socket and deals
 * connections to workers in turn, one at a time each. The only place that knows `node:cluster`, whose settings are the
 * process's; there is one agent with workers in a process.
 */
export class ClusterWorkers implements WorkerSource {
  readonly #options: ClusterWorkersOptions

  constructor(options: ClusterWorkersOptions) {
    this.#options = options
    cluster.schedulingPolicy = cluster.SCHED_RR
  }

  start(index: number): WorkerHandle {
    const { script, environment } = this.#options
    cluster.setupPrimary({
      exec: script,
      // For `isRequestWorker`, and for whoever looks at a list of processes.
      args: [workerArgument, String(index)],
      execArgv: [...process.execArgv, ...memoryFlags],
      serialization: 'advanced',
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    })
    const worker = cluster.fork(environment)
    const child = worker.process
    const { pid, stdout } = child
    assert(pid !== undefined && stdout !== null, 'a worker that was forked has an id and an output')
    // What cannot be sent any more is said by its end.
    worker.on('error', () => {})
    return {
      pid,
      send: (message: ToWorker) =>
        new Promise((resolve) => {
          if (!child.connected) return resolve()
          child.send(message, () => resolve())
        }),
      onMessage: (listener) => void worker.on('message', (message: ToPrimary) => listener(message)),
      onEnd: (listener) => void child.once('exit', (code, signal) => listener({ code, signal })),
      onOutput: (listener) => void stdout.on('data', listener),
      kill: () => void child.kill('SIGKILL'),
    }
  }
}

/** This process is a request worker; not one of somebody else's cluster, who runs whole agents. */
export function isRequestWorker(): boolean {
  return cluster.isWorker && process.argv[2] === workerArgument
}

const workerArgument = 'request-worker'
/**
 * Of each worker: a young generation of at most 3 × 8 MiB instead of 3 × 16. Measured: a request takes a tenth more at full
 * load, and at half of it nothing; with 3 × 4 it was a quarter, for then most of what belongs to a request is moved into the
 * old generation before it dies. And two helpers of V8's instead of four, which there are for each process: no request was
 * slower by it, and what they keep of memory each is 2 MB.
 */
const memoryFlags = ['--max-semi-space-size=8', '--v8-pool-size=2']

/** In a request worker: the way to its primary. */
export function primaryChannel(): PrimaryChannel {
  return {
    send: (message: ToPrimary) =>
      new Promise((resolve) => {
        if (!process.connected || process.send === undefined) return resolve()
        process.send(message, undefined, {}, () => resolve())
      }),
    onMessage: (listener) => void process.on('message', (message) => listener(message as ToWorker)),
  }
}
