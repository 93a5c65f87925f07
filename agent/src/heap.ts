import { getHeapStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/**
 * Tells V8 not to guess which objects will live long. An inference request lives for seconds, through many collections of
 * the young generation, so V8 soon allocates what belongs to requests in the old one; dead there, it keeps everything it
 * points to alive until the next full collection: bodies, parsed JSON, the response. Measured: the collector took 45 µs of
 * each request with the guess and 6 µs without. To be called first, before there is much to guess from.
 *
 * And lets small buffers share pages of 64 KiB instead of 8: a page is memory of the system's with objects around it that the
 * collector has to follow, and a request with its answer takes most of 8 KiB. Measured: a twentieth of a request. Whoever
 * keeps bytes for longer than a request copies them (`Buffer.allocUnsafeSlow`), or the whole page would stay with them.
 */
export function tuneHeap(): void {
  setFlagsFromString('--no-allocation-site-pretenuring')
  Buffer.poolSize = 64 * 1024
}

/** What may wait in the main process of an agent. There is one; of request workers there are several, which have less. */
export const agentWaitingBytes = 32 * 1024 * 1024

/**
 * Bounds what waits to be collected in a process's old generation. V8 collects it when it has grown by a factor, up to
 * fourfold, so that what waits grows with what lives; of a request worker with a thousand tenants it was 70 MB. Here it is
 * some `waitingBytes`, whatever lives, and never less than a sixth of it: collecting costs by what lives, so that a smaller
 * bound costs every request of a process with many tenants a few per cent.
 *
 * The first configuration is followed by a whole collection (a tenth of a second, before anybody is served): compiling leaves
 * as much behind as it makes, and it is the next collection that the bound counts from.
 */
export class HeapBound {
  readonly #waitingBytes: number
  #percent = 0

  constructor(waitingBytes: number) {
    this.#waitingBytes = waitingBytes
  }

  /** To be called when what lives may have changed: after a change of configuration. */
  adapt(): void {
    const isFirst = this.#percent === 0
    const share = (100 * this.#waitingBytes) / getHeapStatistics().used_heap_size
    const percent = Math.round(Math.min(percentMax, Math.max(percentMin, share)))
    if (Math.abs(percent - this.#percent) < stepPercent) return
    this.#percent = percent
    setFlagsFromString(`--heap-growing-percent=${percent}`)
    if (isFirst) collect()
  }
}

const percentMin = 16
const percentMax = 100
/** A smaller change is not worth a word. */
const stepPercent = 10

/** A whole collection, now. */
function collect(): void {
  setFlagsFromString('--expose-gc')
  const gc: unknown = runInNewContext('gc')
  if (typeof gc === 'function') gc()
}
