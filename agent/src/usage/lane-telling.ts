import type { SpoolLane } from './lane.js'
import type { SegmentInfo } from './segment.js'

/** What a process that writes a lane tells the one that follows it: all that changed since the last time. */
export interface LaneTelling {
  /** Under which the lane's files lie. */
  readonly bootEpoch: number
  /** Those that are new or grew, in ascending order of number. */
  readonly segments: readonly SegmentTelling[]
  readonly nextSequence: number
  readonly openCount: number
  /** The smallest sequence of a request that runs still; null when none does. */
  readonly openFirst: number | null
  readonly faulted: boolean
}

export type SegmentTelling = Omit<SegmentInfo, 'path' | 'storedAtMs'>

/** What the one that follows asks of the one that writes, for only that one appends. */
export type LaneOrder =
  | { readonly order: 'drop'; readonly first: number; readonly last: number; readonly reason: string }
  | { readonly order: 'end_segment' }
  /** The file of a complete segment is gone. */
  | { readonly order: 'forget'; readonly number: number }
  | { readonly order: 'rekey'; readonly bootEpoch: number }

/** Knows what was told of a lane, and so what there is to tell. */
export class LaneTeller {
  readonly #lane: SpoolLane
  /** Complete ones are told for the last time when they become so. */
  readonly #told = new Map<number, { bytes: number; complete: boolean }>()
  /** Of a lane that nothing was written to. */
  #last = '0 0 null false'

  constructor(lane: SpoolLane) {
    this.#lane = lane
  }

  /** Null when nothing changed. */
  next(): LaneTelling | null {
    const lane = this.#lane
    const segments: SegmentTelling[] = []
    for (const segment of lane.segments) {
      const told = this.#told.get(segment.number)
      if (told?.bytes === segment.bytes && told.complete === segment.complete) continue
      this.#told.set(segment.number, { bytes: segment.bytes, complete: segment.complete })
      const { path: _path, storedAtMs: _storedAtMs, ...facts } = segment
      segments.push(facts)
    }
    const { nextSequence, openCount, faulted } = lane
    const openFirst = lane.firstOpen(0)
    const state = `${nextSequence} ${openCount} ${openFirst} ${faulted}`
    if (segments.length === 0 && state === this.#last) return null
    this.#last = state
    return { bootEpoch: lane.key.bootEpoch, segments, nextSequence, openCount, openFirst, faulted }
  }

  /** Does what was asked. Throws when the disk refuses a rename. */
  obey(order: LaneOrder): void {
    switch (order.order) {
      case 'drop':
        this.#lane.drop(order.first, order.last, order.reason)
        break
      case 'end_segment':
        this.#lane.endSegment()
        break
      case 'forget':
        this.#told.delete(order.number)
        this.#lane.forget(order.number)
        break
      case 'rekey':
        this.#lane.rekey(order.bootEpoch)
        // Who follows begins anew under the new name.
        this.#told.clear()
        this.#last = ''
    }
  }
}
