import type { ToWorker } from './messages.js'

/** Hands a process one kind of telling, one message at a time: what comes meanwhile is in the next. */
export class Relay {
  readonly #send: (message: ToWorker) => Promise<void>
  #next: (() => ToWorker | null) | null = null
  #isSending = false

  /** `send` resolves when the message is handed over, and never rejects. */
  constructor(send: (message: ToWorker) => Promise<void>) {
    this.#send = send
  }

  /** Sends what `next` makes, now or when what was sent before is handed over; of several that wait, the last. */
  offer(next: () => ToWorker | null): void {
    this.#next = next
    if (!this.#isSending) void this.#sendAll()
  }

  async #sendAll(): Promise<void> {
    this.#isSending = true
    for (let next = this.#next; next !== null; next = this.#next) {
      this.#next = null
      const message = next()
      if (message !== null) await this.#send(message)
    }
    this.#isSending = false
  }
}
