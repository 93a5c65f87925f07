/**
 * Memory for bytes that come and go all the time, used again. Allocated anew each time it would be freed by nobody but the
 * collector, which then runs for its sake: measured, a fifth of what streaming costs where every answer is kept.
 *
 * Whoever gives memory back promises that nobody looks at it any more. What is not given back is the collector's.
 */
export class ByteMemory {
  /** Free pieces of each size, the smallest first. */
  readonly #free: readonly Buffer[][] = sizes.map(() => [])
  #freeBytes = 0

  get freeBytes(): number {
    return this.#freeBytes
  }

  /** `length` bytes or more, with anything in them; at most a quarter and 64 bytes more, and 256 at least. */
  take(length: number): Buffer {
    const at = placeOf(length)
    if (at === sizes.length) return Buffer.allocUnsafeSlow(length)
    const used = this.#free[at]?.pop()
    if (used === undefined) return Buffer.allocUnsafeSlow(sizes[at] as number)
    this.#freeBytes -= used.length
    return used
  }

  /** Of a buffer that `take` gave, or a view of its beginning; any other is left to the collector. */
  give(bytes: Buffer): void {
    const { buffer, byteOffset } = bytes
    const size = buffer.byteLength
    const at = placeOf(size)
    if (byteOffset !== 0 || sizes[at] !== size || !(buffer instanceof ArrayBuffer)) return
    // The very object that was taken: those that live long are not to be made anew each time.
    this.#free[at]?.push(bytes.length === size ? bytes : Buffer.from(buffer))
    this.#freeBytes += size
    while (this.#freeBytes > freeBytesMax) this.#dropOne()
  }

  /** Of the size that holds most: sizes that are not asked for any more must not keep others out. */
  #dropOne(): void {
    let most = 0
    let mostBytes = 0
    for (const [at, pieces] of this.#free.entries()) {
      const bytes = pieces.length * (sizes[at] as number)
      if (bytes <= mostBytes) continue
      most = at
      mostBytes = bytes
    }
    this.#freeBytes -= this.#free[most]?.pop()?.length ?? 0
  }
}

const freeBytesMax = 4 * 1024 * 1024
const sizes: readonly number[] = sizesUpTo(1024 * 1024)

/** Each a quarter above the one before, in steps of 64. */
function sizesUpTo(most: number): number[] {
  const all = [256]
  for (let last = 256; last < most; ) {
    last = Math.min(most, Math.ceil((last * 1.25) / 64) * 64)
    all.push(last)
  }
  return all
}

function placeOf(length: number): number {
  let low = 0
  let high = sizes.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((sizes[middle] as number) < length) low = middle + 1
    else high = middle
  }
  return low
}

/** Bytes of memory that `bytes` keep: of a piece taken here all of it. */
export function heldBytesOf({ buffer, byteOffset, length }: Buffer): number {
  return byteOffset === 0 && buffer.byteLength <= length * 1.25 + 256 ? buffer.byteLength : length
}
