import { newId } from '../../../proto/std/ids.js'

export const requestIdHeader = 'x-request-id'

/** The caller's id when it is one that may stand in a log and an audit entry, else a new one. */
export function requestIdOf(header: string | readonly string[] | undefined, nowMs: number): string {
  return typeof header === 'string' && /^[A-Za-z0-9._:-]{1,128}$/.test(header) ? header : newId('request', nowMs)
}
