import fc from 'fast-check'
import protobuf from 'protobufjs'
import { describe, expect, it } from 'vitest'
import { usageRecordCodec } from '../../../proto/gen/codec.js'
import { descriptor } from '../../../proto/gen/descriptor.js'
import type { UsageRecord } from '../../../proto/gen/switchyard/v1/UsageRecord.js'
import { RecordEncoder } from './record-encoder.js'

const root = protobuf.Root.fromJSON(descriptor)
const types: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  string: fc.oneof(
    fc.string({ maxLength: 40 }),
    fc.string({ unit: 'grapheme', maxLength: 200 }),
    fc.constant('x'.repeat(300)),
  ),
  uint64: fc.oneof(fc.nat(), fc.maxSafeNat(), fc.constantFrom(0, 127, 128, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 53 - 1)),
  int64: fc.oneof(fc.nat(), fc.maxSafeNat()),
  uint32: fc.oneof(fc.nat(), fc.constant(2 ** 32 - 1)),
  bool: fc.boolean(),
  double: fc.double({ noNaN: true }),
}

/** Any message of the contract's type, from the contract itself: a new field is in it without being told. */
function arbitraryOf(name: string): fc.Arbitrary<Record<string, unknown>> {
  const fields = root.lookupType(name).fieldsArray.map((field) => {
    field.resolve()
    const one = field.resolvedType ? arbitraryOf(field.resolvedType.fullName) : types[field.type]
    if (!one) throw new Error(`a field of type ${field.type} is new here`)
    return [field.name, field.repeated ? fc.array(one, { maxLength: 3 }) : one] as const
  })
  return fc.record(Object.fromEntries(fields), { requiredKeys: [] })
}

describe('the record encoder', () => {
  const encoder = new RecordEncoder()

  it('says what the generated encoder says', () => {
    fc.assert(
      fc.property(arbitraryOf('switchyard.v1.UsageRecord'), (value) => {
        const record = value as UsageRecord
        expect(usageRecordCodec.decode(encoder.encode(record))).toEqual(
          usageRecordCodec.decode(usageRecordCodec.encode(record)),
        )
      }),
      { numRuns: 400 },
    )
  })

  it('says the same in two steps: what was known at the start, then the rest', () => {
    const known = [
      'requestId',
      'traceId',
      'startedAtUnixMs',
      'tenantId',
      'environmentId',
      'apiKeyId',
      'teamId',
      'userId',
    ]
    const more = ['operation', 'routeId', 'routeName', 'requestedModel', 'clusterId', 'region', 'stream', 'temperature']
    const beginning = new Set([...known, ...more, 'snapshotGeneration', 'spanId', 'routingOverride'])
    fc.assert(
      fc.property(arbitraryOf('switchyard.v1.UsageRecord'), (value) => {
        const record = value as UsageRecord
        const facts: UsageRecord = Object.fromEntries(Object.entries(record).filter(([name]) => beginning.has(name)))
        const open = Buffer.from(encoder.encodeOpen(record))
        expect(usageRecordCodec.decode(open)).toEqual(usageRecordCodec.decode(usageRecordCodec.encode(facts)))
        expect(usageRecordCodec.decode(encoder.encodeClose(open, record))).toEqual(
          usageRecordCodec.decode(usageRecordCodec.encode(record)),
        )
      }),
      { numRuns: 400 },
    )
  })

  it.each<[string, UsageRecord]>([
    ['a fraction', { latencyUs: 12.75 }],
    ['a negative number', { costNanoUsd: -5 }],
    ['a number as text', { tokensIn: '17' }],
    ['texts beyond its memory', { userId: 'y'.repeat(40_000), requestId: 'r' }],
    [
      'more hops than its memory',
      { hops: Array.from({ length: 500 }, () => ({ targetId: 'z'.repeat(60) })), spanId: 's' },
    ],
  ])('takes the generated way for %s', (_what, record) => {
    expect(usageRecordCodec.decode(encoder.encode(record))).toEqual(
      usageRecordCodec.decode(usageRecordCodec.encode(record)),
    )
  })
})
