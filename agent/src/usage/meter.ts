import { spanCodec } from '../../../proto/gen/codec.js'
import type { Span } from '../../../proto/gen/switchyard/v1/Span.js'
import type { UsageRecord } from '../../../proto/gen/switchyard/v1/UsageRecord.js'
import type { Log } from '../../../proto/std/service.js'
import { recordBytesMax, type SpoolLane } from './lane.js'
import { RecordEncoder } from './record-encoder.js'

/**
 * What is known before the first upstream byte. Should the agent be killed, the record is made of nothing else, so it
 * names at least request, trace, start, tenant, environment, key, user, operation, route and requested model.
 */
export type OpenFacts = UsageRecord

/** Where records go: the spool of the agent, or of a request worker. */
export interface MeterSpool {
  readonly accepting: boolean
  readonly usage: SpoolLane
  readonly spans: SpoolLane
}

/** A request that is being served; belongs to exactly one `close`. */
export interface OpenRecord {
  readonly sequence: number
  closed: boolean
}

/**
 * Writes down what is served: `open` before the first upstream byte, `close` before the last client byte, or `record`
 * for a request that was refused before any upstream. Synchronous; the frames of one turn of the event loop go
 * to the file in one plain write, which `written` waits for; never throws and never waits for the disk. When the spool cannot take more, `accepting` is false and the door refuses with `usage_spool_full`.
 */
export class Meter {
  readonly #spool: MeterSpool
  readonly #log: Log
  readonly #encoder = new RecordEncoder()

  constructor(spool: MeterSpool, log: Log) {
    this.#spool = spool
    this.#log = log.child({ service: 'meter' })
  }

  /** False: refuse new requests (spool full, disk faulty, or not started). */
  get accepting(): boolean {
    return this.#spool.accepting
  }

  open(facts: OpenFacts): OpenRecord {
    const body = this.#encoder.encodeOpen(facts)
    const isFit = body.length <= recordBytesMax
    const sequence = this.#spool.usage.open(isFit ? body : this.#encoder.encodeOpen(cutDown(facts)))
    return { sequence, closed: false }
  }

  /** A second call with the same `open` is our fault: logged, ignored. */
  close(open: OpenRecord, record: UsageRecord): void {
    if (open.closed) {
      this.#log.error({ sequence: open.sequence, requestId: record.requestId }, 'a usage record was closed twice')
      return
    }
    open.closed = true
    const { usage } = this.#spool
    const body = this.#encoder.encodeClose(usage.openBody(open.sequence), record)
    usage.close(open.sequence, this.#bounded(body, record))
  }

  /**
   * Resolves when every frame up to now is in the file: to be awaited between `open` and the first byte upstream, and
   * between `close` and the last byte to the client. Null when it already is.
   */
  written(): Promise<void> | null {
    return this.#spool.usage.written()
  }

  /** The record of a request that reached no upstream. */
  record(record: UsageRecord): void {
    this.#spool.usage.add(this.#bounded(this.#encoder.encode(record), record))
  }

  /** Sampled by the caller. Dropped (and counted) oldest first when spans are over their budget. */
  span(span: Span): void {
    const body = spanCodec.encode(span)
    if (body.length <= recordBytesMax) this.#spool.spans.add(body)
    else this.#spool.spans.add(spanCodec.encode({ ...span, attributes: [] }))
  }

  #bounded(body: Uint8Array, record: UsageRecord): Uint8Array {
    return body.length <= recordBytesMax ? body : this.#encoder.encode(cutDown(record))
  }
}

const textMax = 256
const hopsMax = 16

/** The same record with long texts and hop lists cut: an absurd one must not be lost for its size. */
function cutDown(record: UsageRecord): UsageRecord {
  const entries = Object.entries(record).map(([name, value]) => [
    name,
    typeof value === 'string' ? value.slice(0, textMax) : value,
  ])
  const cut: UsageRecord = Object.fromEntries(entries)
  return {
    ...cut,
    hops: (record.hops ?? [])
      .slice(0, hopsMax)
      .map((hop) => ({ ...hop, upstreamModel: hop.upstreamModel?.slice(0, textMax) ?? '' })),
  }
}
