import { describe, expect, it } from 'vitest'
import { usageRecordCodec } from '../../../proto/gen/codec.js'
import type { UsageRecord } from '../../../proto/gen/switchyard/v1/UsageRecord.js'
import { readUsageRecord, text, type UsageRow } from './usage-record.js'

const whole: UsageRecord = {
  ...{
    requestId: 'req_1',
    startedAtUnixMs: Date.UTC(2026, 0, 2, 3, 4, 5, 678),
    tenantId: 'ten_1',
    environmentId: 'env_1',
  },
  ...{ apiKeyId: 'key_1', operation: 'chat_completions', clusterId: 'clu_1', status: 'ok', usageSource: 'provider' },
}
const read = (more: Partial<UsageRecord>): UsageRow | string =>
  readUsageRecord(usageRecordCodec.encode({ ...whole, ...more }))

describe('a usage record', () => {
  it('becomes a row in which the wire’s absences are null', () => {
    expect(read({})).toMatchObject({
      ...{ startedAt: '2026-01-02T03:04:05.678Z', userId: 'anonymous', teamId: null, routeName: null, code: null },
      ...{
        tokensIn: null,
        tokensInCacheWrite: null,
        costNanoUsd: null,
        priceVersion: null,
        firstTokenUs: null,
        temperature: null,
        cacheHit: null,
        routingOverride: null,
      },
      ...{ latencyUs: 0, fallbackUsed: false, hops: [] },
    })
    expect(read({ tokensIn: 0, costNanoUsd: 0, cacheHit: '', temperature: 0 })).toMatchObject({
      ...{ tokensIn: 0, costNanoUsd: 0, cacheHit: '', temperature: 0 },
    })
  })

  it.each<[string, Partial<UsageRecord>, string]>([
    ['no request', { requestId: '' }, 'requestId is missing'],
    ['no tenant', { tenantId: '' }, 'tenantId is missing'],
    ['no environment', { environmentId: '' }, 'environmentId is missing'],
    ['no key', { apiKeyId: '' }, 'apiKeyId is missing'],
    ['a status of its own', { status: 'fine' }, 'status is unknown'],
    ['a source of its own', { usageSource: 'guess' }, 'usageSource is unknown'],
    ['no start', { startedAtUnixMs: 0 }, 'startedAtUnixMs is not an instant'],
    ['a start after everything', { startedAtUnixMs: 2 ** 52 }, 'startedAtUnixMs is not an instant'],
    ['a negative cost', { costNanoUsd: -1 }, 'costNanoUsd is not a count'],
    ['tokens beyond a safe integer', { tokensOut: 2 ** 60 }, 'tokensOut is not a count'],
    ['more tokens than any request has', { tokensIn: 2 ** 40 + 1 }, 'tokensIn is beyond 1099511627776'],
    ['a negative cache', { tokensInCacheWrite: -1 }, 'tokensInCacheWrite is not a count'],
    [
      'a cache of more than any request has',
      { tokensInCacheWrite: 2 ** 40 + 1 },
      'tokensInCacheWrite is beyond 1099511627776',
    ],
    ['a cost beyond a safe integer', { costNanoUsd: 2 ** 54 }, 'costNanoUsd is not a count'],
    ['a hop of negative cost', { hops: [{}, { costNanoUsd: -1 }] }, 'hops[1].costNanoUsd is not a count'],
    ['a hop of cost beyond a safe integer', { hops: [{ costNanoUsd: 2 ** 54 }] }, 'hops[0].costNanoUsd is not a count'],
    ['a hop of tokens beyond one', { hops: [{ tokensOut: 2 ** 60 }] }, 'hops[0].tokensOut is not a count'],
    [
      'a hop of more tokens than any request has',
      { hops: [{ tokensIn: 2 ** 40, tokensOut: 0 }, { tokensIn: 2 ** 40 + 1 }] },
      'hops[1].tokensIn is beyond 1099511627776',
    ],
    ['an absurd HTTP status', { httpStatus: 70_000 }, 'httpStatus is not a status'],
  ])('with %s is malformed', (_what, more, message) => {
    expect(read(more)).toBe(message)
  })

  it('is malformed when it is not one', () => {
    expect(readUsageRecord(new Uint8Array([0xff, 0xff, 0xff]))).toMatch(/^not a usage record/)
    expect(readUsageRecord(new Uint8Array())).toBe('requestId is missing')
  })

  it.each<[string, Partial<UsageRecord>, number | null, number | null]>([
    ['nothing', { tokensIn: 10 }, null, null],
    ['what adds up', { tokensIn: 10, tokensInCached: 4, tokensInCacheWrite: 6 }, 4, 6],
    ['more read than there was', { tokensIn: 10, tokensInCached: 40 }, 10, null],
    ['more written than was left', { tokensIn: 10, tokensInCached: 4, tokensInCacheWrite: 7 }, 4, 6],
    ['writing of what was all read', { tokensIn: 10, tokensInCached: 12, tokensInCacheWrite: 1 }, 10, 0],
    ['shares of an input that nobody counted', { tokensInCached: 4, tokensInCacheWrite: 6 }, 4, 6],
  ])('keeps of an upstream that tells of its cache %s', (_what, more, tokensInCached, tokensInCacheWrite) => {
    expect(read(more)).toMatchObject({ tokensIn: more.tokensIn ?? null, tokensInCached, tokensInCacheWrite })
  })

  it('keeps what each of several hops served, and nothing of one that is not known to have', () => {
    const hops = [{ outcome: 'hedge_lost', tokensIn: 7, tokensOut: 0, costNanoUsd: 0 }, { outcome: 'ok' }]
    const row = read({ hops })
    if (typeof row === 'string') throw new Error(row)
    // As it goes into Postgres.
    const [lost, won] = JSON.parse(JSON.stringify(row.hops)) as Record<string, unknown>[]
    expect(lost).toMatchObject({ outcome: 'hedge_lost', tokensIn: 7, tokensOut: 0, costNanoUsd: 0 })
    expect(Object.keys(won ?? {})).toEqual(Object.keys(lost ?? {}).filter((name) => !/tokens|cost/.test(name)))
  })

  it('says what of the routing the client decided, cut and made storable', () => {
    expect(read({ routingOverride: 'target=tgt_1 fallback=none' })).toMatchObject({
      routingOverride: 'target=tgt_1 fallback=none',
    })
    expect(read({ routingOverride: `a\0${'b'.repeat(9_000)}` })).toMatchObject({
      routingOverride: `a\ufffd${'b'.repeat(510)}`,
    })
  })

  it('is of any door', () => {
    for (const operation of ['completions', 'responses', 'messages', 'count_tokens']) {
      expect(read({ operation })).toMatchObject({ operation })
    }
  })

  it('drops numbers that are none', () => {
    expect(read({ temperature: Number.NaN, groundingScore: Number.POSITIVE_INFINITY })).toMatchObject({
      ...{ temperature: null, groundingScore: null },
    })
  })
})

it('a text is cut and made storable', () => {
  expect(text('plain')).toBe('plain')
  expect(text('a\0b')).toBe('a\ufffdb')
  expect(text('\ud800x\udc00')).toBe('\ufffdx\ufffd')
  expect(text('\u{1f600}')).toBe('\u{1f600}')
  expect(text('\u{1f600}', 1)).toBe('\ufffd')
})
