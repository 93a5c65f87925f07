import { BoundedQueue } from '../../../proto/std/bounded-queue.js'
import { RefusalError, refuse } from '../../../proto/std/refusal.js'

/**
 * One listener of a subscription: what is pushed and not yet taken waits in a bounded queue; one that falls further
 * behind is told so and ended, rather than fed from memory without end.
 */
export class Subscriber<T> implements AsyncIterableIterator<T> {
  readonly #queue: BoundedQueue<T>
  readonly #onEnd: () => void
  #ended = false
  #fault: Error | null = null
  #wake: (() => void) | null = null

  /** `onEnd` is called once, when it ends for whatever reason. */
  constructor(countMax: number, onEnd: () => void) {
    this.#queue = new BoundedQueue(countMax)
    this.#onEnd = onEnd
  }

  push(item: T): void {
    if (this.#ended) return
    if (!this.#queue.offer(item)) {
      this.end(
        new RefusalError(
          refuse('limit_exceeded', 'this subscription was read too slowly; read the list and subscribe again'),
        ),
      )
    }
    this.#wake?.()
  }

  /** After what was pushed before has been taken. */
  end(fault: Error | null = null): void {
    if (this.#ended) return
    this.#ended = true
    this.#fault = fault
    this.#onEnd()
    this.#wake?.()
  }

  async next(): Promise<IteratorResult<T>> {
    for (;;) {
      const item = this.#queue.poll()
      if (item !== undefined) return { done: false, value: item }
      if (this.#ended) {
        const fault = this.#fault
        this.#fault = null
        if (fault !== null) throw fault
        return { done: true, value: undefined }
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      this.#wake = null
    }
  }

  async return(): Promise<IteratorResult<T>> {
    this.end()
    while (this.#queue.poll() !== undefined);
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<T> {
    return this
  }
}
