import { expect, test } from 'vitest'
import { makeTarget } from '../../../../test/harness/agent-door.js'
import { generationOf } from './gemini-generation.js'
import { modelPath } from './model-path.js'

const spec = {
  ...{ origin: 'https://europe-west4-aiplatform.googleapis.com', basePath: '', kind: 'vertex' },
  ...{ vendorProject: 'example.com:acme', vendorRegion: 'europe-west4' },
}

test.each([
  [
    'gemini-2.5-flash',
    '/v1/projects/example.com:acme/locations/europe-west4/publishers/google/models/gemini-2.5-flash',
  ],
  ['a/../b c?d', '/v1/projects/example.com:acme/locations/europe-west4/publishers/google/models/a%2F..%2Fb%20c%3Fd'],
  ['publishers/meta/models/x@1', '/v1/projects/example.com:acme/locations/europe-west4/publishers/meta/models/x@1'],
  ['projects/7/locations/global/endpoints/42', '/v1/projects/7/locations/global/endpoints/42'],
])('%s', (upstreamModel, path) => {
  const target = makeTarget({ ...spec, upstreamModel })
  expect(modelPath(target, false)).toBe(`${path}:generateContent`)
  expect(modelPath(target, true)).toBe(`${path}:streamGenerateContent?alt=sse`)
  expect(modelPath(makeTarget({ ...spec, basePath: '/proxy', upstreamModel }), false)).toMatch(/^\/proxy\/v1\//)
})

test.each([
  ['gemini-2.0-flash-001', 2],
  ['gemini-2.5-flash-lite', 2.5],
  ['publishers/google/models/gemini-3.1-pro-preview', 3.1],
  ['gemini-4-hydrogen', 4],
  ['gemini-flash-latest', Number.POSITIVE_INFINITY],
  ['projects/7/locations/global/endpoints/42', Number.POSITIVE_INFINITY],
])('%s is of generation %d', (upstreamModel, generation) => {
  expect(generationOf(upstreamModel)).toBe(generation)
})
