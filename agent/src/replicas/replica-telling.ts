import { type LearnedPrefix, PrefixOutbox } from './prefix-outbox.js'
import type { ReplicaServer, ServerLoad } from './replica-server.js'

/** What request workers of one agent tell each other of replicas: plain data. */
export interface ReplicaTelling {
  readonly prefixes: readonly LearnedPrefix[]
  /** Of servers where it changed; whole, not by how much. */
  readonly loads: readonly ServerLoad[]
}

/** Servers in one telling. */
export const loadsPerTellingMax = 256

/** What this worker has to tell the others: prompts that went somewhere, and servers of several where its load changed. */
export class ReplicaTeller {
  readonly #prefixes = new PrefixOutbox()
  readonly #onNews: () => void
  #changed: ReplicaServer[] = []

  /** `onNews`: there is something to tell; called again and again while there is. */
  constructor(onNews: () => void) {
    this.#onNews = onNews
  }

  get hasNews(): boolean {
    return this.#changed.length > 0 || !this.#prefixes.isEmpty
  }

  /** Beginnings of prompts that there was no room for. */
  get droppedCount(): number {
    return this.#prefixes.droppedCount
  }

  readonly onLearned = (learned: LearnedPrefix): void => {
    this.#prefixes.add(learned)
    this.#onNews()
  }

  readonly onLoad = (server: ReplicaServer): void => {
    if (server.isToBeTold) return
    server.isToBeTold = true
    this.#changed.push(server)
    this.#onNews()
  }

  /** As much as fits into one telling. */
  take(): ReplicaTelling {
    const changed = this.#changed.splice(0, loadsPerTellingMax)
    for (const server of changed) server.isToBeTold = false
    return { prefixes: this.#prefixes.take(), loads: changed.map((server) => server.load) }
  }
}
