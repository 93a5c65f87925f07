import { describe, expect, test } from 'vitest'
import type { TargetTable } from '../../../../proto/policy/tables.js'
import { isRefusal } from '../../../../proto/std/refusal.js'
import { responsesDoor } from '../../doors/responses/door.js'
import { carriedThought, carryThought, isCarriedItem } from './carried-thought.js'
import { responseRequestBody } from './response-request.js'
import { readResponse } from './response-usage.js'

function sent(text: string, upstreamModel = 'gpt-5'): string {
  const body = responsesDoor.parse(Buffer.from(text))
  if (isRefusal(body)) throw new Error(body.message)
  return responseRequestBody(body, { upstreamModel } as TargetTable).toString()
}

describe('a response request goes on byte for byte', () => {
  test.each([
    [
      'with the model and, first, that nothing is to be kept',
      '{ "input":"a",\n"model" : "fast", "new_member":{"model":1e2} }',
      '{"store":false, "input":"a",\n"model" : "gpt-5", "new_member":{"model":1e2} }',
    ],
    [
      'what keeps nothing already stays',
      '{"store":false,"model":"fast","input":"a"}',
      '{"store":false,"model":"gpt-5","input":"a"}',
    ],
    ['null says nothing', '{"model":"fast","input":"a","store":null}', '{"model":"gpt-5","input":"a","store":false}'],
    [
      'a store further in is somebody else’s',
      '{"model":"fast","input":"a","metadata":{"store":"true"}}',
      '{"store":false,"model":"gpt-5","input":"a","metadata":{"store":"true"}}',
    ],
  ])('%s', (_name, text, expected) => {
    expect(sent(text)).toBe(expected)
  })

  test('where nothing is to be changed, the very bytes', () => {
    const body = responsesDoor.parse(Buffer.from('{"model":"gpt-5","input":"a","store":false}'))
    if (isRefusal(body)) throw new Error(body.message)
    expect(responseRequestBody(body, { upstreamModel: 'gpt-5' } as TargetTable)).toBe(body.bytes)
  })

  test('without the thoughts that the agent carries for other vendors, and with all others', () => {
    const carried = carryThought({ text: 'hm', signature: 'sig', redacted: null })
    const own = { type: 'reasoning', id: 'rs_1', summary: [], encrypted_content: 'gAAAA' }
    const input = [
      { type: 'reasoning', id: 'rs_switchyard_a_0', summary: [], content: [{ type: 'reasoning_text', text: 'hm' }] },
      { type: 'reasoning', id: 'rs_x', summary: [], encrypted_content: carried },
      own,
      { role: 'user', content: 'hi' },
    ]
    const body = JSON.parse(sent(JSON.stringify({ model: 'fast', input }))) as { input: unknown[] }
    expect(body.input).toEqual([own, input[3]])
  })
})

describe('a thought that the agent carries', () => {
  const thought = { text: 'hm “so”', signature: 'sig', redacted: null }

  test('comes back as it was', () => {
    expect(carriedThought(carryThought(thought))).toEqual(thought)
    const redacted = { text: '', signature: null, redacted: 'abc' }
    expect(carriedThought(carryThought(redacted))).toEqual(redacted)
  })

  test('is none where another vendor wrote it, or somebody else', () => {
    const nothing = carryThought({ text: 'hm', signature: null, redacted: null })
    for (const content of ['', 'gAAAAABo', 'switchyard.1.', 'switchyard.1.!!', 'switchyard.1.e30', nothing]) {
      expect(carriedThought(content)).toBeNull()
    }
  })

  test.each([null, 'text', [], {}, { type: 'message', id: 'rs_switchyard_1' }, { type: 'reasoning', id: 7 }])(
    'is not taken for %j',
    (item) => {
      expect(isCarriedItem(item)).toBe(false)
    },
  )
})

describe('the usage of a whole response', () => {
  const usage = { input_tokens: 7, output_tokens: 3, total_tokens: 10 }
  const bytesOf = (value: unknown) => Buffer.from(JSON.stringify(value))

  test('is told with the parts that the vendor counts, and null for those it does not', () => {
    expect(readResponse(bytesOf({ object: 'response', model: 'm', usage }))).toEqual({
      model: 'm',
      usage: { input: 7, output: 3, cachedInput: null, cacheWriteInput: null, reasoningOutput: null },
    })
    expect(readResponse(bytesOf({ object: 'response', usage: null }))).toEqual({ model: null, usage: null })
  })

  test('is not read of anything else', () => {
    for (const bytes of [bytesOf({ object: 'chat.completion', usage }), bytesOf([]), Buffer.from('{"object":"resp')]) {
      expect(readResponse(bytes)).toBeNull()
    }
  })
})
