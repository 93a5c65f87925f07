import { newId } from '../../../proto/std/ids.js'

export const requestIdHeader = 'x-request-id'

/** The caller's id when it is one that may stand in a log and an audit entry, else a new one. */
export function requestIdOf(header: string | readonly string[] | undefined, nowMs: number): string {
  return typeof header === 'string' && /^[A-Za-z0-9._:-]{1,128}$/.test(header) ? header : newId('request', nowMs)
}

/** What stands for the id where a refusal was made without knowing which request it is about. */
export const unknownRequestId = 'unknown'

/**
 * Apollo refuses what is no GraphQL request (a form, a batch, a body without a query) before it has a context, so its
 * error cannot know the id: the door, which does, puts it into the finished answer. Any other answer is returned as it is.
 */
export function nameRequest(answer: string, requestId: string): string {
  const { errors, ...rest } = JSON.parse(answer) as { errors?: { extensions?: Record<string, unknown> }[] }
  if (!errors?.some(({ extensions }) => extensions?.['requestId'] === unknownRequestId)) return answer
  const named = errors.map(({ extensions, ...error }) => ({ ...error, extensions: { ...extensions, requestId } }))
  return JSON.stringify({ ...rest, errors: named })
}
