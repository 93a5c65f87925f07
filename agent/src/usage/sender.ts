import { reportMessageCodec } from '../../../proto/gen/codec.js'
import type { Lane__Output } from '../../../proto/gen/switchyard/v1/Lane.js'
import type { ReportMessage } from '../../../proto/gen/switchyard/v1/ReportMessage.js'
import type { ReportReply__Output } from '../../../proto/gen/switchyard/v1/ReportReply.js'
import type { Clock } from '../../../proto/std/clock.js'
import { protocolVersion } from '../../../proto/std/protocol-version.js'
import type { Log } from '../../../proto/std/service.js'
import type { LaneBook } from './lane-book.js'
import { LaneReader } from './lane-reader.js'
import { RangeSet } from './range-set.js'
import { RecordList, type WireLane } from './record-list.js'
import { laneName, type SpoolClass } from './segment.js'
import type { Spool } from './spool.js'

export interface SenderOptions {
  spool: Spool
  agentVersion: string
  clock: Clock
  log: Log
  /** Of one batch. Default 500. */
  recordsMax?: number
  /** Of one batch's payloads. Default 256 KiB. */
  bytesMax?: number
  /** A sent record is sent again when the watermark stood still before it for so long; doubles while it stands. Default 10 s. */
  stallMs?: number
}

/** What is sent: a `ReportMessage`, but that records stay where they were read until they are put on the wire. */
export interface OutgoingReport {
  readonly hello?: ReportMessage['hello']
  readonly drop?: ReportMessage['drop']
  readonly batch?: { readonly lane: WireLane; readonly records: RecordList }
}

/** Its bytes on the wire. */
export function encodeReport(message: OutgoingReport): Buffer {
  if (message.batch !== undefined) return message.batch.records.encodeBatch(message.batch.lane)
  const { hello, drop } = message
  return Buffer.from(reportMessageCodec.encode(hello !== undefined ? { hello } : { drop: drop ?? null }))
}

/** What is known of one lane on this stream. */
interface LaneState {
  readonly reader: LaneReader
  /** Sent and, as far as we know, not stored. */
  readonly sent: RangeSet
  /** The control plane told its watermark on this stream. */
  welcomed: boolean
  /** sent := stored before the next reading. */
  rewindWanted: boolean
  /** The next rewinding is to look at every checksum, because something is missing. */
  isCareful: boolean
  stall: { sequence: number; sinceUs: number; waitMs: number } | null
}

export interface SenderStats {
  readonly sentRecordCount: number
  readonly sentBytes: number
  readonly resendCount: number
  readonly creditBytes: Readonly<Record<SpoolClass, number>>
}

const wireClass = { usage: 1, spans: 2 } as const
const stallMaxMs = 160_000

/**
 * Decides what to send next: usage before spans, eldest lane first, within the credit of each class. Two watermarks per
 * lane: *sent*, which is a guess and falls back to *stored* on every reconnect and whenever stored stands still although
 * the record it waits for was sent; and *stored*, which only Postgres moves.
 *
 * A long request leaves a gap while it runs, and stored rightly waits before it: that is no stall, because the missing
 * record was not sent.
 */
export class Sender {
  readonly #options: Required<SenderOptions>
  readonly #log: Log
  readonly #states = new Map<LaneBook, LaneState>()
  #credit: Record<SpoolClass, number> = { usage: 0, spans: 0 }
  #sentRecordCount = 0
  #sentBytes = 0
  #resendCount = 0
  /** Lanes that this round has taken everything from. */
  readonly #served = new Set<LaneBook>()
  /**
   * Names of lanes of which a batch has left: from then on their watermark may be above zero. Names, because a lane that is
   * recovered when its request worker ends is the same lane in another object.
   */
  readonly #everSent = new Set<string>()

  constructor(options: SenderOptions) {
    this.#options = { recordsMax: 500, bytesMax: 256 << 10, stallMs: 10_000, ...options }
    this.#log = options.log
  }

  stats(): SenderStats {
    return {
      sentRecordCount: this.#sentRecordCount,
      sentBytes: this.#sentBytes,
      resendCount: this.#resendCount,
      creditBytes: { ...this.#credit },
    }
  }

  /** A new stream: forgets credit and what was sent; the hello names every lane. */
  async begin(): Promise<OutgoingReport> {
    await this.end()
    this.#credit = { usage: 0, spans: 0 }
    const lanes = this.#options.spool.lanes()
    for (const lane of lanes) this.#states.set(lane, freshState(lane))
    for (const name of this.#everSent) if (!this.#options.spool.has(name)) this.#everSent.delete(name)
    return {
      hello: { protocolVersion, agentVersion: this.#options.agentVersion, lanes: lanes.map(wireLane) },
    }
  }

  async end(): Promise<void> {
    const states = [...this.#states.values()]
    this.#states.clear()
    this.#served.clear()
    for (const { reader } of states) await reader.close()
  }

  /**
   * `sendable`: something waited for this reply; what merely moves a watermark is no reason to send a batch before its
   * time. `rekeyed`: the boot epoch had been used before and was changed; the stream must begin anew.
   */
  receive(reply: ReportReply__Output): 'ok' | 'sendable' | 'rekeyed' {
    let isSendable = false
    if (reply.credit) {
      const of = reply.credit.class === 'USAGE' ? 'usage' : 'spans'
      isSendable = this.#credit[of] <= 0
      this.#credit[of] += reply.credit.bytes
    }
    const told = reply.stored?.lane ? this.#onStored(reply.stored.lane, reply.stored.nextSequence) : 'ok'
    return told === 'ok' && isSendable ? 'sendable' : told
  }

  #onStored(wire: Lane__Output, nextSequence: number): 'ok' | 'sendable' | 'rekeyed' {
    const { spool } = this.#options
    const key = {
      bootEpoch: wire.bootEpoch,
      lane: wire.lane,
      class: wire.class === 'USAGE' ? 'usage' : 'spans',
    } as const
    const lane = spool.lane(key)
    const state = lane && this.#states.get(lane)
    if (!lane || !state) return 'ok'
    if (nextSequence > 0 && this.#isUnsent(lane)) {
      // Somebody reported under this epoch before us: our folder is older than our name (a restored disk image).
      this.#log.error({ lane: laneName(lane.key), nextSequence }, 'the boot epoch was used before; taking a new one')
      // What has left under this epoch stays: under another one it would be counted twice.
      spool.rekey(lane.key.bootEpoch, (other) => this.#isUnsent(other))
      return 'rekeyed'
    }
    if (nextSequence < lane.storedNext) {
      this.#log.warn(
        { lane: laneName(lane.key), was: lane.storedNext, now: nextSequence },
        'the control plane stores less than before; sending again what it lacks',
      )
      state.rewindWanted = true
    }
    if (!state.welcomed) state.rewindWanted = true
    state.welcomed = true
    if (nextSequence !== lane.storedNext) {
      state.stall = null
      state.isCareful = false
      spool.markStored(lane, nextSequence)
      state.sent.forgetBelow(nextSequence)
    }
    return state.rewindWanted ? 'sendable' : 'ok'
  }

  /** Begun in this life, whoever wrote it and whether it is still written, and nothing of it was ever sent. */
  #isUnsent(lane: LaneBook): boolean {
    return this.#options.spool.hasBegun(lane) && !this.#everSent.has(laneName(lane.key))
  }

  /**
   * The next message of this round for which there is credit, or null at its end. A round takes from every lane batch after
   * batch until one is not full: what is written after that waits for the next round, so that batches are not small under
   * load and a lane that is written steadily does not keep the others waiting. One call at a time.
   */
  async next(): Promise<OutgoingReport | null> {
    for (const lane of this.#options.spool.lanes()) {
      const state = this.#states.get(lane)
      if (!state?.welcomed || this.#served.has(lane) || this.#credit[lane.key.class] <= 0) continue
      const message = await this.#nextOf(lane, state)
      if (!state.reader.hasMore) this.#served.add(lane)
      if (message) return message
    }
    this.#served.clear()
    return null
  }

  async #nextOf(lane: LaneBook, state: LaneState): Promise<OutgoingReport | null> {
    if (state.rewindWanted) {
      state.rewindWanted = false
      state.sent.clear()
      state.reader.rewind(state.isCareful)
    }
    const bytesMax = Math.min(this.#options.bytesMax, this.#credit[lane.key.class])
    const read = await state.reader.read({ recordsMax: this.#options.recordsMax, bytesMax })
    if (read instanceof RecordList && read.length === 0) {
      // Nothing more will come from an earlier life: its file must not be held open once it is deleted.
      if (!this.#options.spool.isLive(lane)) await state.reader.close()
      return this.#findHole(lane, state) ? this.#nextOf(lane, state) : null
    }
    this.#everSent.add(laneName(lane.key))
    if (!(read instanceof RecordList)) {
      const { first, last, reason } = read
      state.sent.add(first, last + 1)
      return { drop: { lane: wireLane(lane), firstSequence: first, lastSequence: last, reason } }
    }
    read.sort()
    for (const [start, end] of read.runs()) state.sent.add(start, end)
    this.#credit[lane.key.class] -= read.bytes
    this.#sentRecordCount += read.length
    this.#sentBytes += read.bytes
    return { batch: { lane: wireLane(lane), records: read } }
  }

  /**
   * Everything readable was sent, and yet the sequence that stored waits for is neither sent nor running: it is in no
   * segment (torn by a power cut, damaged). Left alone it would hold the watermark for ever. Before it is declared lost
   * everything is read once more, as carefully as can be: true, then that is to be done now.
   */
  #findHole(lane: LaneBook, state: LaneState): boolean {
    const end = this.#holeEnd(lane, state)
    if (end === null) return false
    if (state.isCareful) {
      this.#options.spool.declareLost(lane, lane.storedNext, end - 1)
      return false
    }
    state.isCareful = true
    state.rewindWanted = true
    return true
  }

  /** The sequence after a hole at the watermark; null when there is none. */
  #holeEnd(lane: LaneBook, state: LaneState): number | null {
    const first = lane.storedNext
    if (!state.welcomed || state.rewindWanted || lane.faulted || !state.reader.atEnd) return null
    if (first >= lane.nextSequence || lane.isOpen(first) || state.sent.has(first)) return null
    return Math.min(state.sent.firstFrom(first) ?? lane.nextSequence, lane.firstOpen(first) ?? lane.nextSequence)
  }

  /** Called about once a second: notices watermarks that stand still. True when there is something to send or declare. */
  tick(): boolean {
    const nowUs = this.#options.clock.monotonicUs()
    let rewound = false
    for (const [lane, state] of this.#states) {
      const sequence = lane.storedNext
      // Only a look declares a hole, and the reply that moved the watermark up to it may have been the last.
      if (this.#holeEnd(lane, state) !== null) rewound = true
      if (!state.welcomed || state.rewindWanted || !state.sent.has(sequence)) continue
      if (state.stall?.sequence !== sequence) {
        state.stall = { sequence, sinceUs: nowUs, waitMs: this.#options.stallMs }
      } else if (nowUs - state.stall.sinceUs >= state.stall.waitMs * 1000) {
        state.stall = { sequence, sinceUs: nowUs, waitMs: Math.min(state.stall.waitMs * 2, stallMaxMs) }
        state.rewindWanted = true
        rewound = true
        this.#resendCount += 1
        this.#log.info({ lane: laneName(lane.key), sequence }, 'sent but not stored; sending again')
      }
    }
    return rewound
  }
}

function freshState(lane: LaneBook): LaneState {
  return {
    reader: new LaneReader(lane),
    sent: new RangeSet(),
    welcomed: false,
    rewindWanted: false,
    isCareful: false,
    stall: null,
  }
}

function wireLane(lane: LaneBook): WireLane {
  return { bootEpoch: lane.key.bootEpoch, lane: lane.key.lane, class: wireClass[lane.key.class] }
}
