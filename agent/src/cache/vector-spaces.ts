import type { Clock } from '../../../proto/std/clock.js'
import { type Pause, pauseEvery } from '../../../proto/std/pause.js'

/**
 * Questions by meaning: unit vectors in spaces, each the questions that were asked in the same surroundings. A search looks
 * at every vector of its space, so what it finds is exact; it is bounded by how much a space holds, at most 2,000 vectors of
 * 1,536 numbers or as many numbers in fewer of them, which is a few milliseconds at worst. Nearly always it is far less: of
 * a vector whose first numbers are far apart, the rest cannot make up for it (Cauchy and Schwarz), and it is left at that.
 *
 * Spaces are bounded in bytes together, the least recently used going first; a full space replaces its oldest vector.
 */
const vectorsMax = 2_000
const numbersMax = vectorsMax * 1_536
const lengthMax = 8_192
/** Numbers of a vector that are looked at before the rest is bounded. */
const headLength = 192
/** Of searching between two turns of the event loop, and vectors between two looks at the clock. */
const sliceMs = 2
const sliceCount = 128
/** What sums of products in single precision may be off by. */
const slack = 1e-4

export interface Near {
  readonly key: string
  /** Cosine, -1..1. */
  readonly similarity: number
}

export class VectorSpaces {
  readonly #bytesMax: number
  readonly #clock: Clock
  /** In order of use, the least recently used first. */
  readonly #spaces = new Map<string, Space>()
  #bytes = 0

  constructor(options: { bytesMax: number; clock: Clock }) {
    this.#bytesMax = options.bytesMax
    this.#clock = options.clock
  }

  get bytes(): number {
    return this.#bytes
  }

  get size(): number {
    return this.#spaces.size
  }

  /** Of at least `threshold`, the nearest first, at most `count`. Gives way to others every few hundred vectors. */
  async search(spaceKey: string, vector: Float32Array, threshold: number, count: number): Promise<readonly Near[]> {
    const space = this.#spaces.get(spaceKey)
    const unit = unitOf(vector)
    if (space === undefined || unit === null || space.length !== unit.length) return []
    this.#use(spaceKey, space)
    return space.search(unit, threshold, count, pauseEvery(sliceMs, this.#clock))
  }

  /** A vector that says nothing (all zero, not finite, too long) is not kept. */
  add(spaceKey: string, vector: Float32Array, key: string): void {
    const unit = unitOf(vector)
    if (unit === null) return
    let space = this.#spaces.get(spaceKey)
    if (space !== undefined && space.length !== unit.length) {
      // The model that makes vectors was replaced under its name: what it made before cannot be compared.
      this.#drop(spaceKey, space)
      space = undefined
    }
    space ??= new Space(unit.length)
    const before = this.#spaces.has(spaceKey) ? space.bytes : 0
    space.add(unit, key)
    this.#bytes += space.bytes - before
    this.#use(spaceKey, space)
    for (const [oldest, other] of this.#spaces) {
      if (this.#bytes <= this.#bytesMax || other === space) break
      this.#drop(oldest, other)
    }
    if (this.#bytes > this.#bytesMax) this.#drop(spaceKey, space)
  }

  /** What it pointed to is gone. */
  delete(spaceKey: string, key: string): void {
    this.#spaces.get(spaceKey)?.delete(key)
  }

  #use(spaceKey: string, space: Space): void {
    this.#spaces.delete(spaceKey)
    this.#spaces.set(spaceKey, space)
  }

  #drop(spaceKey: string, space: Space): void {
    this.#spaces.delete(spaceKey)
    this.#bytes -= space.bytes
  }
}

class Space {
  readonly length: number
  readonly #capacityMax: number
  #numbers: Float32Array
  /** Length of each vector beyond its head. */
  #tails: Float32Array
  readonly #keys: string[] = []
  /** Where the next goes once it is full. */
  #oldest = 0

  constructor(length: number) {
    this.length = length
    this.#capacityMax = Math.min(vectorsMax, Math.max(1, Math.floor(numbersMax / length)))
    this.#numbers = new Float32Array(length * 8)
    this.#tails = new Float32Array(8)
  }

  get bytes(): number {
    return this.#numbers.byteLength + this.#tails.byteLength + this.#keys.length * keyBytes
  }

  add(unit: Float32Array, key: string) {
    const known = this.#keys.indexOf(key)
    if (known !== -1) return this.#write(known, unit)
    const at = this.#keys.length
    if (at < this.#capacityMax) {
      if (at === this.#tails.length) this.#grow()
      this.#keys.push(key)
      return this.#write(at, unit)
    }
    this.#keys[this.#oldest] = key
    this.#write(this.#oldest, unit)
    this.#oldest = (this.#oldest + 1) % this.#capacityMax
  }

  delete(key: string): void {
    const at = this.#keys.indexOf(key)
    if (at === -1) return
    // A vector of nothing is near nothing, and its place is taken in its turn.
    this.#keys[at] = ''
    this.#numbers.fill(0, at * this.length, (at + 1) * this.length)
    this.#tails[at] = 0
  }

  async search(unit: Float32Array, threshold: number, count: number, pause: Pause): Promise<readonly Near[]> {
    const { length } = this
    const keys = this.#keys
    let [numbers, tails] = [this.#numbers, this.#tails]
    const head = Math.min(headLength, length)
    const ownTail = tailOf(unit, head)
    const found: Near[] = []
    let least = threshold
    // What is added meanwhile is not looked at: this search began before it.
    const rowCount = keys.length
    for (let at = 0; at < rowCount; at++) {
      if (at % sliceCount === sliceCount - 1) {
        await pause()
        // The space may have grown into other memory; a row that was replaced there has its new key here.
        numbers = this.#numbers
        tails = this.#tails
      }
      const start = at * length
      let similarity = dot(numbers, start, unit, 0, head)
      if (similarity + ownTail * (tails[at] ?? 0) < least - slack) continue
      similarity += dot(numbers, start, unit, head, length)
      // Also of what is no number at all.
      if (!(similarity >= least)) continue
      found.push({ key: keys[at] ?? '', similarity })
      if (found.length < count * 4) continue
      found.sort(nearestFirst).length = count
      least = found.at(-1)?.similarity ?? least
    }
    return found.sort(nearestFirst).slice(0, count)
  }

  #write(at: number, unit: Float32Array) {
    this.#numbers.set(unit, at * this.length)
    this.#tails[at] = tailOf(unit, Math.min(headLength, this.length))
  }

  #grow(): void {
    const capacity = Math.min(this.#capacityMax, this.#tails.length * 2)
    const numbers = new Float32Array(capacity * this.length)
    numbers.set(this.#numbers)
    this.#numbers = numbers
    const tails = new Float32Array(capacity)
    tails.set(this.#tails)
    this.#tails = tails
  }
}

const keyBytes = 64

function nearestFirst(a: Near, b: Near): number {
  return b.similarity - a.similarity
}

/**
 * Four sums at once: the processor need not wait for one to begin the next. Indices are kept small integers by hand (`| 0`),
 * without which V8 checks each for overflow, a third of the time.
 */
function dot(numbers: Float32Array, start: number, unit: Float32Array, from: number, to: number): number {
  let a = 0
  let b = 0
  let c = 0
  let d = 0
  let at = from | 0
  let place = (start + from) | 0
  for (const end = (to - 3) | 0; at < end; at = (at + 4) | 0, place = (place + 4) | 0) {
    a += (numbers[place] as number) * (unit[at] as number)
    b += (numbers[(place + 1) | 0] as number) * (unit[(at + 1) | 0] as number)
    c += (numbers[(place + 2) | 0] as number) * (unit[(at + 2) | 0] as number)
    d += (numbers[(place + 3) | 0] as number) * (unit[(at + 3) | 0] as number)
  }
  for (; at < to; at++) a += (numbers[start + at] as number) * (unit[at] as number)
  return a + b + c + d
}

function tailOf(unit: Float32Array, head: number): number {
  let sum = 0
  for (let at = head; at < unit.length; at++) sum += (unit[at] as number) ** 2
  return Math.sqrt(sum)
}

/** Of length 1; null when it has no direction. */
function unitOf(vector: Float32Array): Float32Array | null {
  if (vector.length === 0 || vector.length > lengthMax) return null
  let sum = 0
  for (let at = 0; at < vector.length; at++) sum += (vector[at] as number) ** 2
  const length = Math.sqrt(sum)
  return Number.isFinite(length) && length > 0 ? vector.map((number) => number / length) : null
}
