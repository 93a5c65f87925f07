import { closeSync, fstatSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'

/** A log file that never grows beyond `bytesMax`: when full it becomes `<path>.1` (the former one is dropped). */
export class BoundedLog {
  readonly path: string
  readonly #bytesMax: number
  #file: number
  #bytes: number

  constructor(path: string, bytesMax = 16 * 1024 * 1024) {
    this.path = path
    this.#bytesMax = bytesMax
    this.#file = openSync(path, 'a', 0o600)
    this.#bytes = fstatSync(this.#file).size
  }

  write(part: Uint8Array | string): void {
    const bytes = typeof part === 'string' ? Buffer.from(part) : part
    if (this.#bytes + bytes.length > this.#bytesMax && this.#bytes > 0) this.#rotate()
    this.#bytes += writeSync(this.#file, bytes)
  }

  /** The last `count` lines that are not empty. */
  tail(count: number): string[] {
    const lines = readFileSync(this.path, 'utf8').split('\n')
    return lines.filter((line) => line.trim() !== '').slice(-count)
  }

  close(): void {
    closeSync(this.#file)
  }

  #rotate(): void {
    closeSync(this.#file)
    renameSync(this.path, `${this.path}.1`)
    this.#file = openSync(this.path, 'a', 0o600)
    this.#bytes = 0
  }
}
