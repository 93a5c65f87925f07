import { describe, expect, test } from 'vitest'
import { isRefusal } from '../../../proto/std/refusal.js'
import { makeTarget } from '../../../test/harness/agent-door.js'
import type { EmbeddingRequest } from '../conversation/embedding.js'
import { Losses } from '../conversation/losses.js'
import { embeddingsDoor } from '../doors/embeddings/door.js'
import type { EmbeddingsWire, ProviderDialect } from '../providers/provider-dialect.js'
import { droppedHeader, type HopQuestion, planHop, type ReadOnce } from './plan-hop.js'
import type { ClientCall } from './ports.js'

describe('the header that names what was left out', () => {
  function headerOf(fields: readonly string[]): string | null {
    const losses = new Losses()
    for (const field of fields) losses.setting(field)
    return droppedHeader(losses)
  }
  const many = (count: number, name = 'f') => Array.from({ length: count }, (_, index) => `${name}${index}`)

  test.each([
    ['nothing', [], null],
    ['one', ['seed'], 'seed'],
    ['some', ['seed', 'a b', 'ü,'], 'seed, a?b, ??'],
    ['more than are named', many(40), `${many(32).join(', ')}, ... and 8 more`],
  ])('%s', (_what, fields, header) => {
    expect(headerOf(fields)).toBe(header)
  })

  test.each([1, 16, 32, 40_000])('is no longer than clients take, whatever the names: %d', (count) => {
    const header = headerOf(many(count, 'x'.repeat(500))) ?? ''
    expect(header.length).toBeLessThan(2_100)
    expect(header.startsWith('x'.repeat(128))).toBe(true)
    const named = header.split(', ').filter((field) => field.startsWith('x')).length
    const more = Number(/, \.\.\. and (\d+) more$/.exec(header)?.[1] ?? 0)
    expect(named + more).toBe(count)
  })
})

test('what is embedded is read once for all targets', () => {
  const body = embeddingsDoor.parse(Buffer.from('{"model":"m","input":["a","b"]}'))
  if (isRefusal(body)) throw new Error(body.message)
  let readCount = 0
  const { embeddings } = embeddingsDoor
  if (embeddings === undefined) throw new Error('no embeddings')
  const read: typeof embeddings.read = (given) => {
    readCount += 1
    return embeddings.read(given)
  }
  const written: EmbeddingRequest[] = []
  const wire: EmbeddingsWire = {
    path: () => '/',
    headers: () => [],
    write: (request) => {
      written.push(request)
      return Buffer.from('{}')
    },
    readAnswer: () => null,
    readError: () => null,
  }
  const dialect = { native: {}, chat: null, embeddings: wire } as unknown as ProviderDialect
  const once: ReadOnce = { conversation: null, embedding: null }
  const door = { ...embeddingsDoor, embeddings: { ...embeddings, read } }
  const route = { dropsUnsupported: false } as HopQuestion['route']
  for (const kind of ['vertex', 'bedrock'] as const) {
    const target = makeTarget({ origin: 'https://x', kind })
    const call = { door } as unknown as ClientCall
    const plan = planHop({ call, body, read: once, route, target, dialect, requestId: 'r' })
    expect(isRefusal(plan)).toBe(false)
  }
  expect(readCount).toBe(1)
  expect(written).toHaveLength(2)
  expect(written[1]).toBe(written[0])
})
