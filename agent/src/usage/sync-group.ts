import fs from 'node:fs'
import type { Clock } from '../../../proto/std/clock.js'

/** An open segment file. `dirty`: written since the last sync began. */
export interface SyncedFile {
  readonly fd: number
  dirty: boolean
}

export interface SyncGroupOptions {
  clock: Clock
  /** Longest time between a write and the start of its sync: what a power cut can take. A killed process loses nothing. */
  intervalMs: number
  onFault: (fault: Error) => void
}

/**
 * Group commit: everything written within an interval goes to the disk with one `fdatasync` per file, on the thread
 * pool. Nobody on the request path waits for it.
 */
export class SyncGroup {
  readonly #options: SyncGroupOptions
  readonly #dirty = new Set<SyncedFile>()
  #cancelTimer: (() => void) | null = null
  #running = 0
  #idleWaiters: (() => void)[] = []
  /** Duration of the last sync, in microseconds. */
  lastSyncUs = 0

  constructor(options: SyncGroupOptions) {
    this.#options = options
  }

  touch(file: SyncedFile): void {
    if (file.dirty) return
    file.dirty = true
    this.#dirty.add(file)
    this.#cancelTimer ??= this.#options.clock.after(this.#options.intervalMs, () => {
      this.#cancelTimer = null
      this.#syncDirty()
    })
  }

  /** Syncs the file, then closes it; returns at once. */
  retire(file: SyncedFile): void {
    this.#dirty.delete(file)
    this.#sync(file, () => fs.close(file.fd, (fault) => fault && this.#options.onFault(fault)))
  }

  /** Makes new and removed names of a folder survive a power cut; returns at once. */
  syncFolder(directory: string): void {
    this.#running += 1
    fs.open(directory, 'r', (openFault, fd) => {
      if (openFault) return this.#done(openFault)
      fs.fsync(fd, (fault) => fs.close(fd, () => this.#done(fault)))
    })
  }

  /** Resolves when everything written so far is on the disk. */
  flush(): Promise<void> {
    this.#cancelTimer?.()
    this.#cancelTimer = null
    this.#syncDirty()
    if (this.#running === 0) return Promise.resolve()
    return new Promise((resolve) => this.#idleWaiters.push(resolve))
  }

  #syncDirty(): void {
    for (const file of this.#dirty) this.#sync(file, () => {})
    this.#dirty.clear()
  }

  #sync(file: SyncedFile, then: () => void): void {
    file.dirty = false
    this.#running += 1
    const startUs = this.#options.clock.monotonicUs()
    fs.fdatasync(file.fd, (fault) => {
      this.lastSyncUs = this.#options.clock.monotonicUs() - startUs
      this.#done(fault)
      then()
    })
  }

  #done(fault: Error | null): void {
    this.#running -= 1
    if (fault) this.#options.onFault(fault)
    if (this.#running > 0) return
    const waiters = this.#idleWaiters
    this.#idleWaiters = []
    for (const wake of waiters) wake()
  }
}
