import { describe, expect, it } from 'vitest'
import { spanCodec } from '../../../proto/gen/codec.js'
import type { Span } from '../../../proto/gen/switchyard/v1/Span.js'
import { readSpan, type SpanRow } from './span-record.js'

const startUnixUs = Date.UTC(2026, 0, 2, 3, 4, 5, 678) * 1000 + 9
const whole: Span = {
  traceId: 't1',
  spanId: 's1',
  name: 'request',
  kind: 2,
  startUnixUs,
  endUnixUs: startUnixUs + 1_000,
}
const read = (more: Partial<Span>): SpanRow | string => readSpan(spanCodec.encode({ ...whole, ...more }))

describe('a span', () => {
  it('becomes a row with microseconds, and attributes by their kind', () => {
    const attributes = [
      { key: 'text', text: 'a\0b' },
      { key: 'integer', integer: 2 ** 40 },
      { key: 'real', real: 0.5 },
      { key: 'flag', flag: true },
      { key: 'none', real: Number.NaN },
    ]
    expect(read({ attributes })).toEqual({
      ...{ traceId: 't1', spanId: 's1', parentSpanId: null, name: 'request', kind: 2, status: 'unset' },
      ...{ startedAt: '2026-01-02T03:04:05.678009Z', endedAt: '2026-01-02T03:04:05.679009Z' },
      ...{ tenantId: '', environmentId: '' },
      attributes: { text: 'a\ufffdb', integer: 2 ** 40, real: 0.5, flag: true, none: 'NaN' },
    })
  })

  it.each<[string, Partial<Span>, string]>([
    ['no trace', { traceId: '' }, 'traceId is missing'],
    ['no id', { spanId: '' }, 'spanId is missing'],
    ['no start', { startUnixUs: 0 }, 'startUnixUs is not an instant'],
    ['an end in another age', { endUnixUs: 2 ** 53 - 1 }, 'endUnixUs is not an instant'],
    ['an absurd kind', { kind: 7_000 }, 'kind is not a span kind'],
  ])('with %s is malformed', (_what, more, message) => {
    expect(read(more)).toBe(message)
  })

  it('is malformed when it is not one', () => {
    expect(readSpan(new Uint8Array([0xff, 0xff]))).toMatch(/^not a span/)
  })
})
