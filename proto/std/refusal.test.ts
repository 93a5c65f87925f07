import { describe, expect, it } from 'vitest'
import { isRefusal, RefusalError, refuse, throwRefusal } from './refusal.js'

describe('a refusal', () => {
  it('carries code, sentence, field and values, and cannot be changed', () => {
    const refusal = refuse('not_found', 'There is no such model.', {
      field: 'targets[0].modelId',
      detail: { index: 0 },
    })
    expect(refusal).toEqual({
      refused: true,
      code: 'not_found',
      message: 'There is no such model.',
      field: 'targets[0].modelId',
      detail: { index: 0 },
    })
    expect(Object.isFrozen(refusal)).toBe(true)
    expect('field' in refuse('conflict', 'no')).toBe(false)
  })

  it('is told apart from everything else that comes back', () => {
    expect(isRefusal(refuse('conflict', 'no'))).toBe(true)
    for (const other of [null, undefined, false, 'refused', {}, { refused: 'true' }, [], new Error('no')]) {
      expect(isRefusal(other)).toBe(false)
    }
  })

  it('goes up a stack whole', () => {
    const extra = { field: 'name', detail: { reason: 'taken' } }
    const thrown = (() => {
      try {
        return throwRefusal('conflict', 'The name is taken.', extra)
      } catch (error) {
        return error
      }
    })()
    expect(thrown).toBeInstanceOf(RefusalError)
    expect(thrown).toMatchObject({
      message: 'The name is taken.',
      refusal: refuse('conflict', 'The name is taken.', extra),
    })
    expect(isRefusal(thrown)).toBe(false)
  })
})
