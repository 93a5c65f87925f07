import { LaneBook } from './lane-book.js'
import type { LaneOrder, LaneTelling } from './lane-telling.js'
import { RangeSet } from './range-set.js'
import { emptySegment, type LaneKey } from './segment.js'

export interface FollowedLaneOptions {
  key: LaneKey
  directory: string
  /** To the process that writes the lane. */
  ask: (order: LaneOrder) => void
  onBytes: (deltaBytes: number) => void
  onFault: (fault: Error) => void
  /** Its files can be read again, under another epoch. */
  onMoved: () => void
}

/**
 * A lane that another process of this agent writes. Its files are read and, once stored, removed here; how far they reach is
 * told (`follow`), and what has to be appended is asked for. What is told is of one instant: bytes, next sequence and who
 * runs still belong together, so that a sequence is never taken for missing because its frame is on its way.
 */
export class FollowedLane extends LaneBook {
  readonly #options: FollowedLaneOptions
  #key: LaneKey
  #nextSequence = 0
  #openCount = 0
  #openFirst: number | null = null
  #faulted = false
  #moving = false
  /** Under which its files may still lie while they move. */
  #epochsBefore: number[] = []
  /** Drops that were asked for, as far as they are not stored: they come, and are no holes. */
  readonly #asked = new RangeSet()
  #askedDrops: readonly AskedDrop[] = []

  constructor(options: FollowedLaneOptions) {
    super(options.onBytes)
    this.#options = options
    this.#key = options.key
  }

  get key(): LaneKey {
    return this.#key
  }

  get nextSequence(): number {
    return this.#nextSequence
  }

  get openCount(): number {
    return this.#openCount
  }

  get faulted(): boolean {
    return this.#faulted
  }

  get readable(): boolean {
    return !this.#moving
  }

  /** Boot epochs that its files may still have in their names; none but while they move. */
  get epochsBefore(): readonly number[] {
    return this.#epochsBefore
  }

  /** Drops that were asked for and are not stored; whether they were written is not known. */
  get askedDrops(): readonly AskedDrop[] {
    return this.#askedDrops
  }

  /** True only of the smallest running one and of what a drop was asked for: more is not asked. */
  isOpen(sequence: number): boolean {
    return sequence === this.#openFirst || this.#asked.has(sequence)
  }

  firstOpen(sequence: number): number | null {
    return this.#openFirst !== null && this.#openFirst >= sequence ? this.#openFirst : null
  }

  /** Takes note of what the writing process told. Tellings come in the order in which they were made. */
  follow(telling: LaneTelling): void {
    // Made before the move was heard of: told once more after it.
    if (telling.bootEpoch !== this.#key.bootEpoch) return
    let deltaBytes = 0
    for (const { number, ...facts } of telling.segments) {
      let segment = this.segments.find((known) => known.number === number)
      if (segment === undefined) {
        segment = emptySegment(this.#options.directory, this.#key, number)
        this.segments.push(segment)
      }
      deltaBytes += facts.bytes - segment.bytes
      Object.assign(segment, facts)
    }
    this.#nextSequence = telling.nextSequence
    this.#openCount = telling.openCount
    this.#openFirst = telling.openFirst
    const broke = telling.faulted && !this.#faulted
    this.#faulted = telling.faulted
    if (deltaBytes !== 0) this.onBytes(deltaBytes)
    if (broke) this.#options.onFault(new Error('the disk refused a write of a request worker'))
    if (!this.#moving) return
    this.#moving = false
    this.#epochsBefore = []
    this.#options.onMoved()
  }

  drop(first: number, last: number, reason: string): void {
    this.#asked.add(first, last + 1)
    this.#askedDrops = [...this.#askedDrops, { first, last, reason }]
    this.#options.ask({ order: 'drop', first, last, reason })
  }

  endSegment(): void {
    this.#options.ask({ order: 'end_segment' })
  }

  override markStored(nextSequence: number, nowMs: number): void {
    super.markStored(nextSequence, nowMs)
    this.#asked.forgetBelow(nextSequence)
    if (this.#askedDrops.length > 0) this.#askedDrops = this.#askedDrops.filter(({ last }) => last >= nextSequence)
  }

  override remove(segment: LaneBook['segments'][number]): void {
    super.remove(segment)
    this.#options.ask({ order: 'forget', number: segment.number })
  }

  /** The writing process renames the files; until it has told where they are, they are nowhere. */
  rekey(bootEpoch: number): void {
    const bytes = this.bytes
    this.#epochsBefore.push(this.#key.bootEpoch)
    this.#key = { ...this.#key, bootEpoch }
    this.#moving = true
    this.segments.length = 0
    this.#options.ask({ order: 'rekey', bootEpoch })
    if (bytes > 0) this.onBytes(-bytes)
  }

  // What the writing process does by itself.

  flush(): void {}

  finish(): void {}

  retry(): boolean {
    return false
  }
}

export interface AskedDrop {
  readonly first: number
  readonly last: number
  readonly reason: string
}
