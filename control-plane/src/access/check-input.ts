import { z } from 'zod'
import { type IdKind, idPrefixes } from '../../../proto/std/ids.js'
import { throwRefusal } from '../../../proto/std/refusal.js'

/**
 * `value` as `schema` says, or a refusal `bad_input` that names the first wrong field as a caller would write it
 * (`input.targets[0].modelId`). `root` is the name of the GraphQL argument.
 */
export function checkInput<Schema extends z.ZodType>(schema: Schema, value: unknown, root = 'input'): z.output<Schema> {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const issue = result.error.issues[0]
  const field = (issue?.path ?? []).reduce<string>(
    (path, part) => (typeof part === 'number' ? `${path}[${part}]` : `${path}.${String(part)}`),
    root,
  )
  const message = issue?.message === notAnId ? expectedId(field) : (issue?.message ?? 'not valid')
  return throwRefusal('bad_input', `${field}: ${message}`, { field })
}

const notAnId = 'not an id'

/** With the prefix of what the field names: ids look alike, and the wrong one is copied easily. */
function expectedId(field: string): string {
  const kind = /([A-Za-z]+)Ids?(?:\[\d+\])*$/.exec(field)?.[1]
  const prefix = kind !== undefined && Object.hasOwn(idPrefixes, kind) ? `${idPrefixes[kind as IdKind]}_01…` : null
  return prefix === null
    ? 'expected an id as another answer gave it'
    : `expected an id such as ${prefix} as another answer gave it`
}

const controlCharacters = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u

/** The shapes that input fields are made of; compose them, do not repeat them. */
export const shapes = {
  /** A name that machines use: in URLs, in `model`, in metrics. */
  slug: z
    .string()
    .regex(
      /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/,
      'expected 1 to 63 lower-case letters, digits and dashes, not starting or ending with a dash',
    ),
  /** A name that people read. */
  title: z
    .string()
    .trim()
    .min(1, 'expected at least one character')
    .max(120, 'expected at most 120 characters')
    .refine((text) => !controlCharacters.test(text), 'expected no control characters'),
  id: z.string().regex(/^[a-z]{2,8}_[0-9a-z]{26}$/, notAnId),
  region: z
    .string()
    .regex(
      /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/,
      'expected a region such as eu-central-1: lower-case letters, digits, dashes',
    ),
  integer: (min: number, max: number, belowMin = `expected at least ${min}`) =>
    z
      .number()
      .int(`expected a whole number from ${min} to ${max}`)
      .min(min, belowMin)
      .max(max, `expected at most ${max}`),
} as const
