/**
 * W3C Trace Context, level 1, read strictly: a header that is not exactly what the standard allows is treated as absent,
 * as it demands, and a new trace begins.
 */
export interface TraceContext {
  /** 32 lower-case hexadecimal characters. */
  readonly traceId: string
  /** The caller's span; null when the trace begins here. */
  readonly parentSpanId: string | null
  readonly sampled: boolean
  /** Passed on as it came, or null. */
  readonly state: string | null
}

const pattern = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/
const stateLengthMax = 512

/** What the caller's headers say, or null when they say nothing valid. */
export function parseTraceContext(
  traceparent: string | undefined,
  tracestate: string | undefined,
): TraceContext | null {
  if (traceparent === undefined || traceparent.length > 512) return null
  const match = pattern.exec(traceparent)
  if (match === null) return null
  const [, version, traceId, parentSpanId, flags, more] = match
  if (traceId === undefined || parentSpanId === undefined || flags === undefined) return null
  // Version ff is forbidden; version 00 has nothing after the flags; later versions may.
  if (version === 'ff' || (version === '00' && more !== undefined)) return null
  if (/^0+$/.test(traceId) || /^0+$/.test(parentSpanId)) return null
  const kept = tracestate !== undefined && tracestate.length <= stateLengthMax ? tracestate : null
  return { traceId, parentSpanId, sampled: (Number.parseInt(flags, 16) & 1) === 1, state: kept }
}

/** The header that names `spanId` as parent. */
export function formatTraceparent(traceId: string, spanId: string, sampled: boolean): string {
  return `00-${traceId}-${spanId}-${sampled ? '01' : '00'}`
}
