/**
 * One slot that many may wait on: a writer sets the newest value, a reader that was slow skips to it. What lies between
 * is never queued, so a slow reader costs one value and no more.
 */
export class Watch<T> {
  #value: T
  #version = 0
  #closed = false
  #waiters = new Set<() => void>()

  constructor(initial: T) {
    this.#value = initial
  }

  get value(): T {
    return this.#value
  }

  /** Number of `set` calls so far. */
  get version(): number {
    return this.#version
  }

  get closed(): boolean {
    return this.#closed
  }

  set(value: T): void {
    if (this.#closed) return
    this.#value = value
    this.#version += 1
    this.#wake()
  }

  /** Ends every `changes` loop after the value it already saw. */
  close(): void {
    this.#closed = true
    this.#wake()
  }

  /** The value now, then the newest after each change; ends when the watch is closed or the signal aborts. */
  async *changes(signal?: AbortSignal): AsyncGenerator<T, void> {
    for (let seen = -1; ; ) {
      if (signal?.aborted) return
      if (this.#version !== seen) {
        seen = this.#version
        yield this.#value
        continue
      }
      if (this.#closed) return
      await this.#changed(signal)
    }
  }

  /** The first value, now or later, for which `is` holds; rejects with the signal's reason or when the watch closes. */
  async until(is: (value: T) => boolean, signal?: AbortSignal): Promise<T> {
    for await (const value of this.changes(signal)) if (is(value)) return value
    throw signal?.aborted ? signal.reason : new Error('watch closed')
  }

  #changed(signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        this.#waiters.delete(wake)
        signal?.removeEventListener('abort', wake)
        resolve()
      }
      this.#waiters.add(wake)
      signal?.addEventListener('abort', wake, { once: true })
    })
  }

  #wake(): void {
    for (const wake of [...this.#waiters]) wake()
  }
}
