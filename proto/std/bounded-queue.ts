import { assert } from './assert.js'

/** First in, first out, never more than `countMax`: `offer` says no instead of growing. */
export class BoundedQueue<T> {
  readonly countMax: number
  #items: (T | undefined)[]
  #head = 0
  #count = 0

  constructor(countMax: number) {
    assert(Number.isInteger(countMax) && countMax > 0, 'bounded queue: countMax is a positive integer')
    this.countMax = countMax
    this.#items = new Array(Math.min(countMax, 16))
  }

  get count(): number {
    return this.#count
  }

  /** False when full; the item was not taken. */
  offer(item: T): boolean {
    if (this.#count === this.countMax) return false
    if (this.#count === this.#items.length) this.#grow()
    this.#items[(this.#head + this.#count) % this.#items.length] = item
    this.#count += 1
    return true
  }

  poll(): T | undefined {
    if (this.#count === 0) return undefined
    const item = this.#items[this.#head]
    this.#items[this.#head] = undefined
    this.#head = (this.#head + 1) % this.#items.length
    this.#count -= 1
    return item
  }

  peek(): T | undefined {
    return this.#count === 0 ? undefined : this.#items[this.#head]
  }

  #grow(): void {
    const grown = new Array<T | undefined>(Math.min(this.countMax, this.#items.length * 2))
    for (let i = 0; i < this.#count; i++) grown[i] = this.#items[(this.#head + i) % this.#items.length]
    this.#items = grown
    this.#head = 0
  }
}
