import type { Clock } from '../../proto/std/clock.js'

/** Lines that tell a person what takes long: nothing for the first second, then what and for how long. */
export class Progress {
  readonly #out: NodeJS.WriteStream
  readonly #clock: Clock

  constructor(out: NodeJS.WriteStream, clock: Clock) {
    this.#out = out
    this.#clock = clock
  }

  /** Runs `work` under a name; its outcome is one line when it took longer than a second. */
  async step<T>(name: string, work: () => Promise<T>): Promise<T> {
    const startedUs = this.#clock.monotonicUs()
    const elapsed = () => ((this.#clock.monotonicUs() - startedUs) / 1_000_000).toFixed(1)
    let shown = false
    let cancel = () => {}
    const tick = () => {
      // On a terminal one line that counts; in a file a line now and then.
      if (this.#out.isTTY) this.#out.write(`\r\x1b[2K  ${name} … ${elapsed()} s`)
      else this.#out.write(`  ${name} … ${elapsed()} s\n`)
      shown = true
      cancel = this.#clock.after(this.#out.isTTY ? 200 : 5_000, tick)
    }
    cancel = this.#clock.after(1_000, tick)
    try {
      const value = await work()
      cancel()
      if (shown) this.#out.write(`${this.#out.isTTY ? '\r\x1b[2K' : ''}  ${name}: ${elapsed()} s\n`)
      return value
    } catch (fault) {
      cancel()
      if (shown && this.#out.isTTY) this.#out.write('\r\x1b[2K')
      throw fault
    }
  }

  line(text: string): void {
    this.#out.write(`${text}\n`)
  }
}
