import { assert } from '../../../proto/std/assert.js'

export interface ReadRecord {
  readonly kind: 'record'
  readonly sequence: number
  /** A view of the bytes that were read. */
  readonly payload: Uint8Array
}

/** The name of a lane as `Lane` has it. */
export interface WireLane {
  readonly bootEpoch: number
  readonly lane: number
  readonly class: 1 | 2
}

/**
 * Records of one reading: where each stands in the bytes that were read, in lists of numbers. They are read, counted and put
 * on the wire for every request that was ever served; an object and a view for each, alive while the next chunk is read,
 * cost more than everything else that is done with them.
 */
export class RecordList {
  #sequences: number[] = []
  #starts: number[] = []
  #ends: number[] = []
  /** Which of the chunks each stands in. */
  #chunkOf: number[] = []
  readonly #chunks: Buffer[] = []
  #isAscending = true
  /** Of all payloads. */
  bytes = 0

  get length(): number {
    return this.#sequences.length
  }

  get sequences(): readonly number[] {
    return this.#sequences
  }

  /** The record whose payload stands in `chunk` from `start` to `end`; `chunk` is not written to again. */
  add(sequence: number, chunk: Buffer, start: number, end: number): void {
    const last = this.#sequences.length - 1
    if (last >= 0 && sequence < (this.#sequences[last] as number)) this.#isAscending = false
    if (this.#chunks.at(-1) !== chunk) this.#chunks.push(chunk)
    this.#sequences.push(sequence)
    this.#starts.push(start)
    this.#ends.push(end)
    this.#chunkOf.push(this.#chunks.length - 1)
    this.bytes += end - start
  }

  /** In ascending order of sequence, as batches have to be. */
  sort(): void {
    if (this.#isAscending) return
    const order = this.#sequences.map((_, index) => index)
    const sequences = this.#sequences
    order.sort((a, b) => (sequences[a] as number) - (sequences[b] as number))
    const sorted = (values: readonly number[]) => order.map((index) => values[index] as number)
    this.#starts = sorted(this.#starts)
    this.#ends = sorted(this.#ends)
    this.#chunkOf = sorted(this.#chunkOf)
    this.#sequences = sorted(sequences)
    this.#isAscending = true
  }

  /** Sequences that follow on each other, [start, end), in the order of the list. */
  *runs(): Generator<readonly [start: number, end: number], void> {
    const sequences = this.#sequences
    let start = sequences[0]
    if (start === undefined) return
    let end = start + 1
    for (let index = 1; index < sequences.length; index++) {
      const sequence = sequences[index] as number
      if (sequence !== end) {
        yield [start, end]
        start = sequence
      }
      end = sequence + 1
    }
    yield [start, end]
  }

  *[Symbol.iterator](): Generator<ReadRecord, void> {
    for (let index = 0; index < this.length; index++) {
      const sequence = this.#sequences[index] as number
      yield { kind: 'record', sequence, payload: this.#chunk(index).subarray(this.#starts[index], this.#ends[index]) }
    }
  }

  /** A serialized `ReportMessage` of these records as a batch of `lane`; by hand, as each payload is copied once this way. */
  encodeBatch(lane: WireLane): Buffer {
    const laneBytes = encodeLane(lane)
    let batchBytes = 1 + varintBytes(laneBytes.length) + laneBytes.length
    for (let index = 0; index < this.length; index++) {
      const size = this.#recordBytes(index)
      batchBytes += 1 + varintBytes(size) + size
    }
    const out = Buffer.allocUnsafeSlow(1 + varintBytes(batchBytes) + batchBytes)
    let at = putLength(out, 0, tags.batch, batchBytes)
    at = putLength(out, at, tags.lane, laneBytes.length)
    out.set(laneBytes, at)
    at += laneBytes.length
    for (let index = 0; index < this.length; index++) {
      const start = this.#starts[index] as number
      const end = this.#ends[index] as number
      at = putLength(out, at, tags.records, this.#recordBytes(index))
      const sequence = this.#sequences[index] as number
      if (sequence !== 0) {
        out[at++] = tags.sequence
        at = putVarint(out, at, sequence)
      }
      if (end === start) continue
      at = putLength(out, at, tags.payload, end - start)
      this.#chunk(index).copy(out, at, start, end)
      at += end - start
    }
    assert(at === out.length, 'record list: a batch is as long as was counted')
    return out
  }

  #chunk(index: number): Buffer {
    return this.#chunks[this.#chunkOf[index] as number] as Buffer
  }

  /** Of the `Record` at `index`; what is zero or empty is left out, as proto3 does. */
  #recordBytes(index: number): number {
    const payloadBytes = (this.#ends[index] as number) - (this.#starts[index] as number)
    const sequence = this.#sequences[index] as number
    return (
      (sequence === 0 ? 0 : 1 + varintBytes(sequence)) +
      (payloadBytes === 0 ? 0 : 1 + varintBytes(payloadBytes) + payloadBytes)
    )
  }
}

/** Field number × 8 + wire type, of `ReportMessage`, `Batch`, `Record` and `Lane` (`proto/switchyard/v1/report.proto`). */
const tags = {
  batch: 0x12,
  lane: 0x0a,
  records: 0x12,
  sequence: 0x08,
  payload: 0x12,
  bootEpoch: 0x08,
  laneNumber: 0x10,
  class: 0x18,
}

function encodeLane({ bootEpoch, lane, class: of }: WireLane): Buffer {
  const out = Buffer.alloc(24)
  let at = 0
  if (bootEpoch !== 0) {
    out[at++] = tags.bootEpoch
    at = putVarint(out, at, bootEpoch)
  }
  if (lane !== 0) {
    out[at++] = tags.laneNumber
    at = putVarint(out, at, lane)
  }
  out[at++] = tags.class
  out[at++] = of
  return out.subarray(0, at)
}

function putLength(out: Buffer, offset: number, tag: number, length: number): number {
  out[offset] = tag
  return putVarint(out, offset + 1, length)
}

function putVarint(out: Buffer, offset: number, value: number): number {
  let at = offset
  let rest = value
  while (rest > 0x7fffffff) {
    out[at++] = (rest % 128) | 128
    rest = Math.floor(rest / 128)
  }
  while (rest > 127) {
    out[at++] = (rest & 127) | 128
    rest >>>= 7
  }
  out[at++] = rest
  return at
}

function varintBytes(value: number): number {
  let bytes = 1
  for (let rest = value; rest > 127; rest = Math.floor(rest / 128)) bytes += 1
  return bytes
}
