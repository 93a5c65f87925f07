import type { Salt } from './prefix-index.js'

/** A prompt that went to a replica, as names; plain data, a few bytes for a thousand characters. */
export interface LearnedPrefix {
  readonly providerId: string
  readonly url: string
  readonly names: Uint32Array
  readonly salt: Salt
}

/** In one telling, and waiting for one. A prompt of a million characters has 8 KiB of names. */
const prefixesMax = 256
const bytesMax = 64 * 1024

/**
 * Beginnings of prompts on their way to another process. They are hints: where more come than are taken the oldest goes, which
 * is nearest to being forgotten at the other end as well, and is counted.
 */
export class PrefixOutbox {
  #waiting: LearnedPrefix[] = []
  #bytes = 0
  #droppedCount = 0

  get isEmpty(): boolean {
    return this.#waiting.length === 0
  }

  /** Since the start. */
  get droppedCount(): number {
    return this.#droppedCount
  }

  add(learned: LearnedPrefix): void {
    this.#waiting.push(learned)
    this.#bytes += learned.names.byteLength
    while (this.#waiting.length > prefixesMax || this.#bytes > bytesMax) {
      const oldest = this.#waiting.shift()
      if (oldest === undefined) return
      this.#bytes -= oldest.names.byteLength
      this.#droppedCount += 1
    }
  }

  /** All that waits, oldest first; then nothing does. */
  take(): readonly LearnedPrefix[] {
    const taken = this.#waiting
    this.#waiting = []
    this.#bytes = 0
    return taken
  }
}
