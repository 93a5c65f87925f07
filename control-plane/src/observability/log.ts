import { type Logger, pino } from 'pino'
import type { Clock } from '../../../proto/std/clock.js'
import type { Log } from '../../../proto/std/service.js'
import { redactFields, redactText } from './redact.js'

export interface LogOptions {
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  readonly clock: Clock
  /** Where lines go; default: standard output. */
  readonly write?: (line: string) => void
}

/**
 * The plane's logger: one JSON line per event with `timestamp` (ISO 8601, UTC), `level`, `message` and the fields, each
 * without secrets (see `redact.ts`). Written at once, so that a crash does not swallow the line that explains it.
 */
export function createLog(options: LogOptions): Log {
  const destination = options.write === undefined ? pino.destination({ sync: true }) : { write: options.write }
  return asLog(
    pino(
      {
        level: options.level,
        base: { plane: 'control-plane' },
        messageKey: 'message',
        timestamp: () => `,"timestamp":"${new Date(options.clock.nowMs()).toISOString()}"`,
        formatters: { level: (level) => ({ level }), log: redactFields },
      },
      destination,
    ),
  )
}

function asLog(logger: Logger): Log {
  return {
    debug: (fields, message) => logger.debug(fields, redactText(message)),
    info: (fields, message) => logger.info(fields, redactText(message)),
    warn: (fields, message) => logger.warn(fields, redactText(message)),
    error: (fields, message) => logger.error(fields, redactText(message)),
    child: (fields) => asLog(logger.child(redactFields(fields))),
  }
}
