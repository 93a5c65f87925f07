import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { EmbeddingRequest, VectorEncoding } from '../../conversation/embedding.js'
import { base64Of, writeEmbeddingAnswer } from './write-answer.js'

function written(encoding: VectorEncoding, answer: Partial<Parameters<typeof writeEmbeddingAnswer>[0]> = {}) {
  const request = { encoding } as EmbeddingRequest
  const text = writeEmbeddingAnswer({ vectors: [[0.1, -2]], model: null, usage: null, ...answer }, request, 'asked-for')
  return JSON.parse(text) as { data: { embedding: unknown }[] } & Record<string, unknown>
}

/** As a client unpacks it: byte by byte, whatever machine this is. */
function unpacked(base64: string): number[] {
  const bytes = Buffer.from(base64, 'base64')
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  return Array.from({ length: bytes.length / 4 }, (_none, index) => view.getFloat32(index * 4, true))
}

describe('a list of embeddings', () => {
  test('in numbers, as the vendor gave them', () => {
    expect(written('float')).toEqual({
      object: 'list',
      data: [{ object: 'embedding', index: 0, embedding: [0.1, -2] }],
      model: 'asked-for',
      usage: { prompt_tokens: 0, total_tokens: 0 },
    })
  })

  test('in base64, with the vendor’s model and tokens, in order', () => {
    const usage = { input: 7, output: 0, cachedInput: null, cacheWriteInput: null, reasoningOutput: null }
    const vectors = [[1], [2, 0.5]]
    expect(written('base64', { vectors, model: 'real', usage })).toEqual({
      object: 'list',
      data: [
        { object: 'embedding', index: 0, embedding: 'AACAPw==' },
        { object: 'embedding', index: 1, embedding: 'AAAAQAAAAD8=' },
      ],
      model: 'real',
      usage: { prompt_tokens: 7, total_tokens: 7 },
    })
  })
})

test('base64 unpacks to the nearest numbers of 32 bits, the lowest byte first', () => {
  fc.assert(
    fc.property(fc.array(fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e30, max: 1e30 })), (vector) => {
      expect(unpacked(base64Of(vector))).toEqual(vector.map(Math.fround))
    }),
  )
})
