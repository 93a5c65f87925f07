/**
 * Open frames of running requests, by sequence, in ascending order. Bytes are copied into memory that is used again, and
 * the map holds numbers only: V8 chains a map's outgrown tables, so with the bytes in it one table in old space would drag
 * those of every later request through the garbage collector.
 */
export class OpenFrames {
  readonly #slots = new Map<number, number>()
  readonly #memory: Buffer[] = []
  readonly #lengths: number[] = []
  readonly #free: number[] = []

  get size(): number {
    return this.#slots.size
  }

  has(sequence: number): boolean {
    return this.#slots.has(sequence)
  }

  /** The smallest sequence at or above `from`, or null. */
  firstFrom(from: number): number | null {
    for (const sequence of this.#slots.keys()) if (sequence >= from) return sequence
    return null
  }

  /** Keeps a copy of `body`. Sequences come in ascending order. */
  set(sequence: number, body: Uint8Array): void {
    const slot = this.#free.pop() ?? this.#memory.length
    let memory = this.#memory[slot]
    if (memory === undefined || memory.length < body.length) {
      memory = Buffer.allocUnsafeSlow(Math.max(slotBytesMin, body.length))
      this.#memory[slot] = memory
    }
    memory.set(body)
    this.#lengths[slot] = body.length
    this.#slots.set(sequence, slot)
  }

  /** A view that holds until the frame is deleted; null when it is not there. */
  get(sequence: number): Uint8Array | null {
    const slot = this.#slots.get(sequence)
    return slot === undefined ? null : (this.#memory[slot]?.subarray(0, this.#lengths[slot]) ?? null)
  }

  /** False when it was not there. */
  delete(sequence: number): boolean {
    const slot = this.#slots.get(sequence)
    if (slot === undefined) return false
    this.#slots.delete(sequence)
    if (slot >= slotsKept) {
      // A burst is over: what it needed beyond the usual is given back.
      this.#memory[slot] = Buffer.alloc(0)
    }
    this.#free.push(slot)
    return true
  }

  /** Every frame, ascending. The bytes are a view that holds until the frame is deleted. */
  *entries(): Generator<[sequence: number, body: Uint8Array], void> {
    for (const [sequence, slot] of this.#slots) {
      const memory = this.#memory[slot]
      if (memory !== undefined) yield [sequence, memory.subarray(0, this.#lengths[slot])]
    }
  }
}

/** Most frames are smaller. */
const slotBytesMin = 768
/** Memory that is kept for good: slots beyond this many are emptied when their request ends. */
const slotsKept = 4_096
