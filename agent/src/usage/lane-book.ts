import fs from 'node:fs'
import { assert } from '../../../proto/std/assert.js'
import type { LaneKey, SegmentInfo } from './segment.js'

/**
 * What is known of one lane on disk: its segments, and how much of it Postgres has. Reader, sender and upkeep need no more.
 * Who writes the lane is a matter of the two kinds: this process (`SpoolLane`), or a request worker (`FollowedLane`).
 */
export abstract class LaneBook {
  readonly segments: SegmentInfo[] = []
  /** Every sequence below is a row, a dead letter or a declared drop in Postgres, as far as we were told. */
  storedNext = 0
  /** Records below were stored under the name that the agent had before; they are never sent under another. */
  floor = 0
  /** The lane's files grew or shrank by so many bytes. */
  protected readonly onBytes: (deltaBytes: number) => void

  constructor(onBytes: (deltaBytes: number) => void) {
    this.onBytes = onBytes
  }

  abstract get key(): LaneKey
  /** One more than the largest sequence ever given out. */
  abstract get nextSequence(): number
  abstract get openCount(): number
  /** Whether the request `sequence` runs still. Asked of the smallest one that is not stored. */
  abstract isOpen(sequence: number): boolean
  /** The smallest running request at or above `sequence`, or null. */
  abstract firstOpen(sequence: number): number | null
  /** The disk refused the last write; `retry` has not succeeded yet. */
  abstract get faulted(): boolean
  /** Its files can be read: false while they move to another epoch. */
  abstract get readable(): boolean

  /** Declares [first, last] gone. */
  abstract drop(first: number, last: number, reason: string): void
  /** Ends the growing segment, if any; the next frame begins a new one. */
  abstract endSegment(): void
  abstract flush(): void
  /** Ends the lane for good when no request is open and nothing waits in memory; else recovery will see to it. */
  abstract finish(): void
  /** Writes what waited in memory. True when nothing waits any more. */
  abstract retry(): boolean
  /** Gives the lane, with everything in it, another boot epoch: nothing of it was ever sent. */
  abstract rekey(bootEpoch: number): void

  get bytes(): number {
    let sum = 0
    for (const segment of this.segments) sum += segment.bytes
    return sum
  }

  /** Records that Postgres is not known to have; those stored above the watermark count too. */
  get waitingCount(): number {
    return Math.max(0, this.nextSequence - this.storedNext - this.openCount)
  }

  /** Bytes of segments that hold anything not stored. */
  get unstoredBytes(): number {
    let sum = 0
    for (const segment of this.segments) if (!this.#isStored(segment)) sum += segment.bytes
    return sum
  }

  /** Takes note of the watermark; stored segments are stamped with `nowMs`. May go back after a restore. */
  markStored(nextSequence: number, nowMs: number): void {
    this.storedNext = nextSequence
    for (const segment of this.segments) {
      if (!this.#isStored(segment)) segment.storedAtMs = null
      else segment.storedAtMs ??= nowMs
    }
  }

  /** Removes a complete segment and its file. */
  remove(segment: SegmentInfo): void {
    assert(segment.complete, 'lane: only a complete segment is removed')
    this.segments.splice(this.segments.indexOf(segment), 1)
    this.onBytes(-segment.bytes)
    fs.rmSync(segment.path, { force: true })
  }

  #isStored(segment: SegmentInfo): boolean {
    return segment.complete && segment.sequenceMax < this.storedNext
  }
}
