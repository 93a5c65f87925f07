import { describe, expect, test } from 'vitest'
import { formatTraceparent, parseTraceContext } from './trace-context.js'

const trace = '0af7651916cd43dd8448eb211c80319c'
const span = 'b7ad6b7169203331'

describe('trace context', () => {
  test('is read and written', () => {
    expect(parseTraceContext(`00-${trace}-${span}-01`, 'a=1')).toEqual({
      traceId: trace,
      parentSpanId: span,
      sampled: true,
      state: 'a=1',
    })
    expect(parseTraceContext(`00-${trace}-${span}-02`, undefined)).toMatchObject({ sampled: false, state: null })
    expect(parseTraceContext(`cc-${trace}-${span}-01-what-the-future-will-be-like`, undefined)).not.toBeNull()
    expect(formatTraceparent(trace, span, true)).toBe(`00-${trace}-${span}-01`)
  })

  test.each([
    undefined,
    '',
    `00-${trace}-${span}`,
    `ff-${trace}-${span}-01`,
    `00-${trace}-${span}-01-more`,
    `00-${'0'.repeat(32)}-${span}-01`,
    `00-${trace}-${'0'.repeat(16)}-01`,
    `00-${trace.toUpperCase()}-${span}-01`,
    `00-${trace}-${span}-01 `,
    `0-${trace}-${span}-01`,
    `00-${trace}g-${span}-01`,
    `01-${trace}-${span}-01x`,
    `00-${trace}-${span}-01,00-${trace}-${span}-01`,
  ])('is refused: %s', (text) => {
    expect(parseTraceContext(text, undefined)).toBeNull()
  })

  test('a state that is too long is left out', () => {
    expect(parseTraceContext(`00-${trace}-${span}-01`, 'a='.padEnd(600, 'x'))?.state).toBeNull()
  })
})
