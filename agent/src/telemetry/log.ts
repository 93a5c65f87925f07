import { type DestinationStream, type Logger, pino } from 'pino'
import type { Clock } from '../../../proto/std/clock.js'
import type { Log } from '../../../proto/std/service.js'

/**
 * One JSON line per event on standard output, ISO-8601 time, secrets redacted by name wherever they stand. Text of
 * prompts and answers is never logged.
 */
const secretNames = ['authorization', 'apiKey', 'api_key', 'secret', 'password', 'token', 'joinToken', 'credential']
const redactedPaths = [
  ...secretNames.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]),
  '["api-key"]',
  '*["api-key"]',
  '*.*["api-key"]',
]

export interface AgentLogOptions {
  readonly level: string
  readonly agentName: string
  readonly clock: Clock
  /** Standard output unless a test gives another. */
  readonly destination?: DestinationStream
}

/** The agent's log. */
export function createAgentLog(options: AgentLogOptions): Log {
  const logger = pino(
    {
      level: options.level,
      base: { plane: 'agent', agent: options.agentName },
      messageKey: 'message',
      timestamp: () => `,"timestamp":"${new Date(options.clock.nowMs()).toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: redactedPaths, censor: '[redacted]' },
    },
    ...(options.destination === undefined ? [] : [options.destination]),
  )
  return new PinoLog(logger)
}

class PinoLog implements Log {
  readonly #logger: Logger
  constructor(logger: Logger) {
    this.#logger = logger
  }
  debug(fields: Readonly<Record<string, unknown>>, message: string): void {
    this.#logger.debug(fields, message)
  }
  info(fields: Readonly<Record<string, unknown>>, message: string): void {
    this.#logger.info(fields, message)
  }
  warn(fields: Readonly<Record<string, unknown>>, message: string): void {
    this.#logger.warn(fields, message)
  }
  error(fields: Readonly<Record<string, unknown>>, message: string): void {
    this.#logger.error(fields, message)
  }
  child(fields: Readonly<Record<string, unknown>>): Log {
    return new PinoLog(this.#logger.child(fields))
  }
}
