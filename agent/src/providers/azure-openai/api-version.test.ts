import { describe, expect, test } from 'vitest'
import { isUndated, knows } from './api-version.js'

describe('an API version', () => {
  const cases: [apiVersion: string, known: Parameters<typeof knows>[1][]][] = [
    ['2024-06-01', []],
    ['2024-07-01-preview', []],
    ['2024-08-01-preview', ['structuredOutputs']],
    ['2024-09-01-preview', ['structuredOutputs', 'parallelToolCalls', 'completionTokens', 'streamUsage']],
    ['2024-10-21', ['structuredOutputs', 'parallelToolCalls', 'completionTokens', 'streamUsage']],
    [
      '2024-12-01-preview',
      ['structuredOutputs', 'parallelToolCalls', 'completionTokens', 'streamUsage', 'reasoningEffort'],
    ],
    ['v1', ['structuredOutputs', 'parallelToolCalls', 'completionTokens', 'streamUsage', 'reasoningEffort']],
  ]
  test.each(cases)('%s knows what came until then', (apiVersion, known) => {
    const features = [
      ...(['structuredOutputs', 'parallelToolCalls', 'completionTokens', 'streamUsage', 'reasoningEffort'] as const),
    ]
    expect(features.filter((feature) => knows(apiVersion, feature))).toEqual(known)
  })

  test('has a date, but for v1', () => {
    expect([isUndated('v1'), isUndated('2024-10-21')]).toEqual([true, false])
  })
})
