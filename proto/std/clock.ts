/**
 * Time as an argument. The only file that reads a clock or sets a timer, so that everything else can be run on virtual
 * time and a test never sleeps.
 */
export interface Clock {
  /** Milliseconds since 1970, UTC; may jump. For instants that people and other machines see. */
  nowMs(): number
  /** Microseconds on a clock that never jumps; comparable only within this process. For durations and deadlines. */
  monotonicUs(): number
  /** Resolves after `ms`, or rejects with the signal's reason as soon as it aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
  /** Calls `task` once after `ms`. The returned function cancels; calling it late or twice is harmless. */
  after(ms: number, task: () => void): () => void
}

/** Looked up once: the global's is a getter. */
const { performance } = globalThis

export const systemClock: Clock = Object.freeze({
  nowMs: () => Date.now(),
  monotonicUs: () => Math.round(performance.now() * 1000),
  sleep: (ms: number, signal?: AbortSignal) =>
    new Promise<void>((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason)
      const timer = setTimeout(() => {
        signal?.removeEventListener('abort', onAbort)
        resolve()
      }, ms)
      const onAbort = () => {
        clearTimeout(timer)
        reject(signal?.reason)
      }
      signal?.addEventListener('abort', onAbort, { once: true })
    }),
  after: (ms: number, task: () => void) => {
    const timer = setTimeout(task, ms)
    return () => clearTimeout(timer)
  },
})

/** A clock that stands still until told: timers fire in order of their instant, equal instants in order of creation. */
export class VirtualClock implements Clock {
  #nowMs: number
  #elapsedMs = 0
  #timers: { atMs: number; order: number; task: () => void }[] = []
  #order = 0

  constructor(startMs = Date.UTC(2026, 0, 1)) {
    this.#nowMs = startMs
  }

  nowMs(): number {
    return this.#nowMs + this.#elapsedMs
  }

  monotonicUs(): number {
    return this.#elapsedMs * 1000
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason)
      const cancel = this.after(ms, () => {
        signal?.removeEventListener('abort', onAbort)
        resolve()
      })
      const onAbort = () => {
        cancel()
        reject(signal?.reason)
      }
      signal?.addEventListener('abort', onAbort, { once: true })
    })
  }

  after(ms: number, task: () => void): () => void {
    const timer = { atMs: this.#elapsedMs + ms, order: this.#order++, task }
    this.#timers.push(timer)
    return () => {
      this.#timers = this.#timers.filter((t) => t !== timer)
    }
  }

  /** Moves time on by `ms`, firing what falls due; promises made by a timer settle before the next one fires. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#elapsedMs + ms
    for (;;) {
      const due = this.#timers.filter((t) => t.atMs <= endMs).sort((a, b) => a.atMs - b.atMs || a.order - b.order)[0]
      if (!due) break
      this.#timers = this.#timers.filter((t) => t !== due)
      this.#elapsedMs = Math.max(this.#elapsedMs, due.atMs)
      due.task()
      await new Promise<void>((resolve) => setImmediate(resolve))
    }
    this.#elapsedMs = endMs
  }
}
