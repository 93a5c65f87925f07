import { type DestinationStream, pino } from 'pino'
import type { Clock } from '../../../proto/std/clock.js'

/**
 * Standard output of an agent with request workers. Several processes on one pipe would cut into each other's lines as soon
 * as a write is longer than a page; so workers write to this process, and this one writes on what are whole lines. What
 * nobody reads is dropped beyond `waitingBytesMax`, as it is by an agent of one process.
 */
const waitingBytesMax = 8 * 1024 * 1024
const pageBytes = 64 * 1024
const gatherMs = 200
/** A longer line is passed on in pieces: it is none of ours. */
const lineBytesMax = 1024 * 1024

interface BytesOutput {
  write(bytes: Uint8Array): boolean
  flushSync(): void
}

export class LineOutput implements DestinationStream {
  readonly #output: BytesOutput
  readonly #clock: Clock
  #waiting: Buffer[] = []
  #waitingBytes = 0
  #cancelTimer: (() => void) | null = null

  constructor(clock: Clock, output: BytesOutput) {
    this.#clock = clock
    this.#output = output
  }

  /** This process's own standard output; what waits leaves at exit. */
  static open(clock: Clock): LineOutput {
    const bytes = openOutput()
    const output = new LineOutput(clock, bytes)
    process.on('exit', () => {
      output.flush()
      bytes.flushSync()
    })
    return output
  }

  /** A line of this process. */
  write(line: string): void {
    this.#add(Buffer.from(line))
  }

  /** Passes on what a worker writes, in whole lines; the returned function takes its chunks as they come. */
  join(): (chunk: Buffer) => void {
    let rest: Buffer = Buffer.alloc(0)
    return (chunk) => {
      const end = chunk.lastIndexOf(newline) + 1
      if (end > 0) {
        if (rest.length > 0) this.#add(rest)
        this.#add(chunk.subarray(0, end))
        rest = chunk.subarray(end)
      } else rest = Buffer.concat([rest, chunk])
      if (rest.length <= lineBytesMax) return
      this.#add(rest)
      rest = Buffer.alloc(0)
    }
  }

  flush(): void {
    this.#cancelTimer?.()
    this.#cancelTimer = null
    if (this.#waitingBytes === 0) return
    this.#output.write(Buffer.concat(this.#waiting, this.#waitingBytes))
    this.#waiting = []
    this.#waitingBytes = 0
  }

  #add(bytes: Buffer): void {
    this.#waiting.push(bytes)
    this.#waitingBytes += bytes.length
    if (this.#waitingBytes >= pageBytes) this.flush()
    else this.#cancelTimer ??= this.#clock.after(gatherMs, () => this.flush())
  }
}

const newline = 0x0a

function openOutput(): BytesOutput {
  // Its types know texts only, whatever the content mode.
  return pino.destination({
    ...{ dest: 1, sync: false, maxLength: waitingBytesMax, contentMode: 'buffer' },
  } as Parameters<typeof pino.destination>[0]) as unknown as BytesOutput
}
