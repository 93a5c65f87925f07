import { expect, test } from 'vitest'
import { sketchTarget } from '../../../proto/policy/table-fixture.js'
import { systemClock } from '../../../proto/std/clock.js'
import { AccessTokens } from '../providers/access-tokens.js'
import { anthropicDialect } from '../providers/anthropic/dialect.js'
import { Dialects } from '../providers/dialects.js'
import { TokenClient } from '../providers/token-client.js'
import { vectorQuestion } from './vector-question.js'

const dialects = new Dialects({
  clock: systemClock,
  tokens: new AccessTokens(systemClock),
  client: new TokenClient(),
  ambient: { aws: null, azure: null, google: null },
})

function questionOf(kind: string, upstreamModel: string) {
  const sketch = sketchTarget('t')
  const provider = { ...sketch.provider, kind, basePath: '', vendorProject: 'p', vendorRegion: 'eu-central-1' }
  const dialect = dialects.find(kind)
  if (dialect === null) throw new Error(kind)
  return vectorQuestion(dialect, { ...sketch, provider, upstreamModel }, 'how far is it')
}

test('on OpenAI’s wire as a client would', () => {
  const question = questionOf('openai', 'text-embedding-3-small')
  expect(JSON.parse(question?.body.toString() ?? '')).toEqual({
    model: 'text-embedding-3-small',
    input: 'how far is it',
  })
  const answer = Buffer.from('{"data":[{"embedding":[1,2]}],"model":"m","usage":{"prompt_tokens":3,"total_tokens":3}}')
  expect(question?.read(answer)).toMatchObject({ vector: Float32Array.of(1, 2), usage: { input: 3 } })
  expect(question?.read(Buffer.from('{"data":[]}')).vector).toBeNull()
})

test('on a vendor’s own wire, as a question', () => {
  const question = questionOf('bedrock', 'cohere.embed-multilingual-v3')
  expect(question?.path).toContain('/invoke')
  expect(JSON.parse(question?.body.toString() ?? '')).toMatchObject({
    ...{ texts: ['how far is it'], input_type: 'search_query' },
  })
  expect(question?.read(Buffer.from('{"embeddings":{"float":[[0.5,1]]}}')).vector).toEqual(Float32Array.of(0.5, 1))
  expect(question?.read(Buffer.from('{}')).vector).toBeNull()
})

test('not where a vendor makes none, or the model talks', () => {
  const sketch = sketchTarget('t')
  expect(vectorQuestion(anthropicDialect, sketch, 'a')).toBeNull()
  expect(questionOf('bedrock', 'anthropic.claude-sonnet-4-20250514-v1:0')).toBeNull()
})
