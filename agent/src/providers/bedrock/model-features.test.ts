import { expect, test } from 'vitest'
import { makeTarget } from '../../../../test/harness/agent-door.js'
import { featuresOf, type ModelFeatures } from './model-features.js'

const of = (upstreamModel: string) => featuresOf(makeTarget({ origin: 'https://x', upstreamModel }))

type Known = Exclude<keyof ModelFeatures, 'modelId'>
const all: Known[] = [
  ...(['isClaude', 'takesSystem', 'takesTools', 'takesImages', 'takesDocuments'] as const),
  ...(['takesToolChoice', 'takesSchemas', 'takesSampling', 'takesOneSampling'] as const),
]
const claude3 = all.filter((feature) => feature !== 'takesSchemas' && feature !== 'takesOneSampling')
const claude46 = all
const claudeLater = all.filter((feature) => feature !== 'takesSampling')
const claudes: Known[] = ['isClaude', 'takesToolChoice', 'takesOneSampling']
const other: Known[] = all.filter((feature) => !claudes.includes(feature))
const textOnly: Known[] = ['takesDocuments', 'takesSampling']

const cases: [upstreamModel: string, takes: Known[]][] = [
  ['anthropic.claude-v2:1', ['isClaude', 'takesSystem', 'takesDocuments', 'takesSampling']],
  ['anthropic.claude-3-haiku-20240307-v1:0', claude3],
  ['us.anthropic.claude-3-7-sonnet-20250219-v1:0', claude3],
  ['eu.anthropic.claude-sonnet-4-20250514-v1:0', claude3],
  ['us.anthropic.claude-opus-4-1-20250805-v1:0', [...claude3, 'takesOneSampling']],
  ['anthropic.claude-opus-4-5-20251101-v1:0', claude46],
  ['global.anthropic.claude-sonnet-4-5-20250929-v1:0', claude46],
  ['anthropic.claude-haiku-4-5-20251001-v1:0', claude46],
  ['anthropic.claude-opus-4-6-v1', claude46],
  ['anthropic.claude-sonnet-4-6', claude46],
  ['us.anthropic.claude-opus-4-7', claudeLater],
  ['anthropic.claude-sonnet-5', claudeLater],
  ['arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.anthropic.claude-3-haiku-20240307-v1:0', claude3],
  ['arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-opus-4-6-v1', claude46],
  ['amazon.nova-pro-v1:0', [...other.filter((feature) => feature !== 'takesSchemas'), 'takesToolChoice']],
  ['amazon.titan-text-express-v1', textOnly],
  ['amazon.titan-text-premier-v1:0', ['takesSampling']],
  ['mistral.mistral-7b-instruct-v0:2', textOnly],
  ['mistral.mixtral-8x7b-instruct-v0:1', textOnly],
  ['mistral.mistral-large-2402-v1:0', other],
  ['cohere.command-r-plus-v1:0', other],
  ['openai.gpt-oss-120b-1:0', other],
  ['something.nobody-knows', other],
]
test.each(cases)('%s', (upstreamModel, takes) => {
  const features = of(upstreamModel)
  expect(all.filter((feature) => features[feature])).toEqual(all.filter((feature) => takes.includes(feature)))
})

test('an ARN that does not tell the model goes by the model in the registry', () => {
  const target = makeTarget({ origin: 'https://x', upstreamModel: 'anthropic.claude-3-haiku-20240307-v1:0' })
  const profile = 'arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/abcdef123456'
  expect(featuresOf({ ...target, upstreamModel: profile })).toMatchObject({ isClaude: true, takesSchemas: false })
})
