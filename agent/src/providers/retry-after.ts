import type { Clock } from '../../../proto/std/clock.js'

/**
 * Seconds of a `retry-after` header, bounded to an hour; null when there is none that can be read. A number (fractions, which
 * some servers send, are rounded up) or a date (RFC 9110, section 10.2.3).
 */
export function retryAfterOf(value: string | string[] | undefined, clock: Clock): number | null {
  if (typeof value !== 'string') return null
  const isNumber = /^\d{1,6}(?:\.\d{1,9})?$/.test(value)
  const seconds = Math.ceil(isNumber ? Number(value) : (Date.parse(value) - clock.nowMs()) / 1000)
  return Number.isFinite(seconds) ? Math.min(3600, Math.max(0, seconds)) : null
}
