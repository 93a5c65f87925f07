import { getHeapStatistics, setFlagsFromString } from 'node:v8'

/**
 * Bounds what waits to be collected in a request worker's old generation. V8 collects it when it has grown by a factor, up to
 * fourfold, so that what waits grows with what lives; of a worker with a thousand tenants it was 70 MB. Here it is some
 * 16 MB, whatever lives, and never less than a quarter of it, so that collecting costs no more than it did.
 *
 * The first configuration is followed by a whole collection (a tenth of a second, before anybody is served): compiling leaves
 * as much behind as it makes, and it is the next collection that the bound counts from.
 */
const waitingBytes = 16 * 1024 * 1024
const percentMin = 25
const percentMax = 100
/** A smaller change is not worth a word. */
const stepPercent = 10

export class HeapBound {
  #percent = 0

  /** To be called when what lives may have changed: after a change of configuration. */
  adapt(): void {
    const isFirst = this.#percent === 0
    // There where `--expose-gc` is, which `ClusterWorkers` gives.
    const { gc } = globalThis as { gc?: () => void }
    const share = (100 * waitingBytes) / getHeapStatistics().used_heap_size
    const percent = Math.round(Math.min(percentMax, Math.max(percentMin, share)))
    if (Math.abs(percent - this.#percent) < stepPercent) return
    this.#percent = percent
    setFlagsFromString(`--heap-growing-percent=${percent}`)
    if (isFirst) gc?.()
  }
}
