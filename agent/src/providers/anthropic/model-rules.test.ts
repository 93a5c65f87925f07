import { expect, test } from 'vitest'
import { takesInstructionsMidway, takesOneSampling, takesSampling } from './model-rules.js'

const older = { samples: true, one: false, midway: false }
const one = { samples: true, one: true, midway: false }
const later = { samples: false, one: true, midway: false }
const newest = { samples: false, one: true, midway: true }

test.each([
  ['claude-2.1', older],
  ['claude-instant-1.2', older],
  ['anthropic.claude-v2:1', older],
  ['claude-3-5-sonnet-20241022', older],
  ['claude-3-7-sonnet-latest', older],
  ['claude-sonnet-4-20250514', older],
  ['claude-sonnet-4@20250514', older],
  ['claude-sonnet-4-0', older],
  ['eu.anthropic.claude-sonnet-4-20250514-v1:0', older],
  ['claude-opus-4-1', one],
  ['us.anthropic.claude-opus-4-1-20250805-v1:0', one],
  ['claude-sonnet-4-5-20250929', one],
  ['claude-haiku-4-5', one],
  ['claude-opus-4-6', one],
  ['anthropic.claude-opus-4-6-v1', one],
  ['claude-opus-4-7', later],
  ['claude-opus-4-8', newest],
  ['claude-opus-4-8-20260528', newest],
  ['claude-opus-4-10', newest],
  ['claude-sonnet-5', newest],
  ['claude-fable-5-1', newest],
  ['claude-opus-5-5', newest],
  // Nothing is known of it: neither is sent.
  ['somebodys-model', later],
])('%s', (modelId, takes) => {
  expect({
    samples: takesSampling(modelId),
    one: takesOneSampling(modelId),
    midway: takesInstructionsMidway(modelId),
  }).toEqual(takes)
})
