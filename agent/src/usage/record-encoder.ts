import { usageRecordCodec } from '../../../proto/gen/codec.js'
import type { Hop } from '../../../proto/gen/switchyard/v1/Hop.js'
import type { UsageRecord } from '../../../proto/gen/switchyard/v1/UsageRecord.js'

/**
 * The wire form of a usage record, written by hand because it is made in two halves on every request's path: a quarter of
 * what the generated encoder costs. Whatever is not plain (a number that is not a whole one, a text that does not fit)
 * takes the generated way. The test holds both to the same decoded record, and every field of the contract to being here.
 *
 * A closed record repeats what its open frame said, so it is made of the open frame's bytes and what came since. What
 * `#beginning` writes is therefore settled before `encodeOpen` and never changes after it; `RequestRecord` holds to that.
 */
export class RecordEncoder {
  readonly #bytes = Buffer.allocUnsafeSlow(16 << 10)
  #at = 0
  #plain = true

  /** A view of the encoder's own memory, good until the next call; or fresh bytes when the record is not plain. */
  encode(r: UsageRecord): Uint8Array {
    this.#at = 0
    this.#plain = true
    this.#beginning(r)
    this.#end(r)
    return this.#plain ? this.#bytes.subarray(0, this.#at) : usageRecordCodec.encode(r)
  }

  /** The record as far as it is known before the first upstream byte. */
  encodeOpen(r: UsageRecord): Uint8Array {
    this.#at = 0
    this.#plain = true
    this.#beginning(r)
    if (this.#plain) return this.#bytes.subarray(0, this.#at)
    const { hops: _none, ...beginning } = r
    return usageRecordCodec.encode(beginning)
  }

  /** The whole record, of `open` (what `encodeOpen` gave for it) and what came since. */
  encodeClose(open: Uint8Array, r: UsageRecord): Uint8Array {
    if (open.length > this.#bytes.length) return usageRecordCodec.encode(r)
    this.#bytes.set(open)
    this.#at = open.length
    this.#plain = true
    this.#end(r)
    return this.#plain ? this.#bytes.subarray(0, this.#at) : usageRecordCodec.encode(r)
  }

  /** What is known when a request sets out. */
  #beginning(r: UsageRecord): void {
    this.#text(1, r.requestId)
    this.#text(2, r.traceId)
    this.#count(3, r.startedAtUnixMs)
    this.#text(4, r.tenantId)
    this.#text(5, r.environmentId)
    this.#text(6, r.apiKeyId)
    this.#text(7, r.teamId)
    this.#text(8, r.userId)
    this.#text(9, r.operation)
    this.#text(10, r.routeId)
    this.#text(11, r.routeName)
    this.#text(13, r.requestedModel)
    this.#text(16, r.clusterId)
    this.#text(17, r.region)
    this.#flag(34, r.stream)
    this.#real(35, r.temperature)
    this.#count(41, r.snapshotGeneration)
    this.#text(42, r.spanId)
    this.#text(44, r.routingOverride)
  }

  /** What becomes known by its end. */
  #end(r: UsageRecord): void {
    this.#text(12, r.providerId)
    this.#text(14, r.actualModel)
    this.#text(15, r.modelId)
    this.#optionalCount(18, r.tokensIn)
    this.#optionalCount(19, r.tokensOut)
    this.#optionalCount(20, r.tokensInCached)
    this.#optionalCount(21, r.tokensOutReasoning)
    this.#text(22, r.usageSource)
    this.#optionalCount(23, r.costNanoUsd)
    this.#count(24, r.priceVersion)
    this.#count(25, r.latencyUs)
    this.#count(26, r.providerLatencyUs)
    this.#count(27, r.guardrailLatencyUs)
    this.#optionalCount(28, r.firstTokenUs)
    this.#text(29, r.status)
    this.#text(30, r.code)
    this.#count(31, r.httpStatus)
    this.#flag(32, r.fallbackUsed)
    if (r.hops) for (const hop of r.hops) this.#hop(33, hop)
    this.#optionalText(36, r.promptId)
    this.#optionalText(37, r.promptVersion)
    this.#optionalText(38, r.guardrailResult)
    this.#real(39, r.groundingScore)
    this.#optionalText(40, r.cacheHit)
    this.#optionalCount(43, r.tokensInCacheWrite)
    this.#optionalCount(45, r.savedNanoUsd)
    this.#optionalCount(46, r.savedTokensIn)
    this.#optionalCount(47, r.savedTokensOut)
  }

  #hop(field: number, h: Hop): void {
    if (!this.#room(16)) return
    this.#varint(field * 8 + 2)
    // Two bytes for the length, whether it needs them or not: a varint may be longer than it must.
    const start = this.#at + 2
    this.#at = start
    this.#count(1, h.index)
    this.#text(2, h.targetId)
    this.#text(3, h.providerId)
    this.#text(4, h.modelId)
    this.#text(5, h.upstreamModel)
    this.#text(6, h.outcome)
    this.#count(7, h.httpStatus)
    this.#count(8, h.startedUs)
    this.#count(9, h.durationUs)
    this.#optionalCount(10, h.tokensIn)
    this.#optionalCount(11, h.tokensOut)
    this.#optionalCount(12, h.costNanoUsd)
    const length = this.#at - start
    this.#bytes[start - 2] = (length & 127) | 128
    this.#bytes[start - 1] = length >>> 7
  }

  #text(field: number, value: string | undefined): void {
    if (value !== undefined && value !== '') this.#optionalText(field, value)
  }

  #optionalText(field: number, value: string | undefined): void {
    if (value === undefined || value === null || !this.#room(4)) return
    this.#varint(field * 8 + 2)
    if (!this.#ascii(value)) this.#utf8(value)
  }

  /** Length and units of a short ASCII text; false, and nothing written, for any other. */
  #ascii(value: string): boolean {
    const length = value.length
    if (length > 127 || this.#at + length + 1 > this.#bytes.length) return false
    const bytes = this.#bytes
    let at = this.#at + 1
    for (let i = 0; i < length; i++) {
      const unit = value.charCodeAt(i)
      if (unit > 127) return false
      bytes[at++] = unit
    }
    bytes[this.#at] = length
    this.#at = at
    return true
  }

  #utf8(value: string): void {
    const length = Buffer.byteLength(value)
    if (!this.#room(length + 4)) return
    this.#varint(length)
    this.#at += this.#bytes.write(value, this.#at, 'utf8')
  }

  #count(field: number, value: unknown): void {
    if (value !== undefined && value !== 0) this.#optionalCount(field, value)
  }

  #optionalCount(field: number, value: unknown): void {
    if (value === undefined || value === null) return
    if (typeof value !== 'number' || !(value >= 0) || !Number.isSafeInteger(value) || !this.#room(12)) {
      this.#plain = false
      return
    }
    this.#varint(field * 8)
    this.#varint(value)
  }

  #flag(field: number, value: boolean | undefined): void {
    if (!value || !this.#room(3)) return
    this.#varint(field * 8)
    this.#bytes[this.#at++] = 1
  }

  #real(field: number, value: unknown): void {
    if (value === undefined || value === null) return
    if (typeof value !== 'number' || !this.#room(11)) {
      this.#plain = false
      return
    }
    this.#varint(field * 8 + 1)
    this.#at = this.#bytes.writeDoubleLE(value, this.#at)
  }

  #varint(value: number): void {
    let rest = value
    while (rest > 0x7fffffff) {
      this.#bytes[this.#at++] = (rest % 128) | 128
      rest = Math.floor(rest / 128)
    }
    while (rest > 127) {
      this.#bytes[this.#at++] = (rest & 127) | 128
      rest >>>= 7
    }
    this.#bytes[this.#at++] = rest
  }

  #room(bytes: number): boolean {
    if (this.#at + bytes <= this.#bytes.length) return true
    this.#plain = false
    return false
  }
}
