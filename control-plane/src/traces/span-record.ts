import { spanCodec } from '../../../proto/gen/codec.js'
import type { Attribute__Output } from '../../../proto/gen/switchyard/v1/Attribute.js'
import type { Span__Output } from '../../../proto/gen/switchyard/v1/Span.js'

/** A span as it goes into Postgres. */
export interface SpanRow {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string | null
  readonly name: string
  readonly kind: number
  /** ISO 8601, microseconds, UTC. */
  readonly startedAt: string
  readonly endedAt: string
  readonly status: string
  readonly attributes: Readonly<Record<string, string | number | boolean>>
  readonly tenantId: string
  readonly environmentId: string
}

const idMax = 64
const textMax = 1_024
const attributesMax = 64
const earliestUs = Date.UTC(2020, 0, 1) * 1000
const latestUs = Date.UTC(2200, 0, 1) * 1000

/** The row of a payload, or in words why it is malformed. Texts are cut and made storable, never refused. */
export function readSpan(payload: Uint8Array): SpanRow | string {
  let span: Span__Output
  try {
    span = spanCodec.decode(payload)
  } catch (fault) {
    return `not a span: ${(fault as Error).message}`
  }
  if (span.traceId === '') return 'traceId is missing'
  if (span.spanId === '') return 'spanId is missing'
  if (!isInstant(span.startUnixUs)) return 'startUnixUs is not an instant'
  if (!isInstant(span.endUnixUs)) return 'endUnixUs is not an instant'
  if (span.kind > 100) return 'kind is not a span kind'
  return {
    traceId: text(span.traceId, idMax),
    spanId: text(span.spanId, idMax),
    parentSpanId: span.parentSpanId === '' ? null : text(span.parentSpanId, idMax),
    name: text(span.name),
    kind: span.kind,
    startedAt: isoOfUs(span.startUnixUs),
    endedAt: isoOfUs(span.endUnixUs),
    status: text(span.status, idMax) || 'unset',
    attributes: Object.fromEntries(
      span.attributes
        .slice(0, attributesMax)
        .map((attribute) => [text(attribute.key, idMax), attributeValue(attribute)]),
    ),
    tenantId: text(span.tenantId, idMax),
    environmentId: text(span.environmentId, idMax),
  }
}

function isInstant(us: number): boolean {
  return us >= earliestUs && us <= latestUs
}

function isoOfUs(us: number): string {
  const whole = new Date(Math.floor(us / 1000)).toISOString()
  return `${whole.slice(0, -1)}${String(us % 1000).padStart(3, '0')}Z`
}

function attributeValue(attribute: Attribute__Output): string | number | boolean {
  switch (attribute.value) {
    case 'integer':
      return attribute.integer ?? 0
    case 'real':
      return Number.isFinite(attribute.real) ? (attribute.real ?? 0) : String(attribute.real)
    case 'flag':
      return attribute.flag ?? false
    default:
      return text(attribute.text ?? '')
  }
}

/** What PostgreSQL cannot store as text: NUL, and halves of surrogate pairs. */
const unstorable = /\0|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g

function text(value: string, max = textMax): string {
  return value.slice(0, max).replace(unstorable, '\ufffd')
}
