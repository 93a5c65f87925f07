import type { ToPrimary, ToWorker } from './messages.js'

/** A request worker's process, as the primary holds it. */
export interface WorkerHandle {
  readonly pid: number
  /** Resolves when it is handed over, or the process is gone; never rejects. Messages arrive in the order of the calls. */
  send(message: ToWorker): Promise<void>
  onMessage(listener: (message: ToPrimary) => void): void
  /** Called once, when the process is gone: it writes nothing any more. */
  onEnd(listener: (how: WorkerEnd) => void): void
  /** What it writes on its standard output. */
  onOutput(listener: (chunk: Buffer) => void): void
  /** At once, whatever it does. */
  kill(): void
}

export interface WorkerEnd {
  readonly code: number | null
  readonly signal: string | null
}

/** Where workers come from. */
export interface WorkerSource {
  /** Throws when the system gives no process. */
  start(index: number): WorkerHandle
}
