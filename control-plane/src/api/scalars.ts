import { GraphQLError, GraphQLScalarType, Kind, valueFromASTUntyped } from 'graphql'
import type { Json } from '../../../proto/std/canonical-json.js'

const instantPattern = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})$/

/** An instant: `Date` inside, ISO 8601 in UTC outside. Input must name its offset. */
export const DateTime = new GraphQLScalarType<Date, string>({
  name: 'DateTime',
  description: 'An instant as ISO 8601, for example 2026-01-31T12:00:00.000Z. Input must carry Z or an offset.',
  serialize: (value) => (value instanceof Date ? value : new Date(String(value))).toISOString(),
  parseValue: (value) => parseInstant(value),
  parseLiteral: (node) => parseInstant(node.kind === Kind.STRING ? node.value : undefined),
})

function parseInstant(value: unknown): Date {
  const instant = typeof value === 'string' && instantPattern.test(value) ? new Date(value) : null
  if (instant === null || Number.isNaN(instant.getTime())) {
    throw new GraphQLError('expected an instant as ISO 8601 with an offset, for example 2026-01-31T12:00:00Z')
  }
  return instant
}

/** A whole number of any size: `bigint` inside, decimal text outside, because JSON numbers end at 2^53. */
export const BigIntString = new GraphQLScalarType<bigint, string>({
  name: 'BigInt',
  description: 'A whole number of any size, as decimal text.',
  serialize: (value) => BigInt(value as bigint | number | string).toString(),
  parseValue: (value) => parseWhole(value),
  parseLiteral: (node) => parseWhole(node.kind === Kind.STRING || node.kind === Kind.INT ? node.value : undefined),
})

function parseWhole(value: unknown): bigint {
  const text = typeof value === 'number' && Number.isSafeInteger(value) ? String(value) : value
  if (typeof text !== 'string' || !/^-?\d{1,38}$/.test(text)) {
    throw new GraphQLError('expected a whole number as decimal text of at most 38 digits')
  }
  return BigInt(text)
}

/** Any JSON value, as it is. */
export const JsonValue = new GraphQLScalarType<Json, Json>({
  name: 'JSON',
  description: 'Any JSON value.',
  serialize: (value) => value as Json,
  parseValue: (value) => value as Json,
  parseLiteral: (node, variables) => valueFromASTUntyped(node, variables) as Json,
})
