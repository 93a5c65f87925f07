/**
 * Every long-lived thing has the same verbs. `run` starts its loop and returns when the loop stands (not when it ends);
 * `drain` refuses new work and finishes what runs, within the deadline; `stop` ends it at once. Both may be called twice.
 */
export interface Service {
  /** Its name in logs and in the README's list of loops. */
  readonly name: string
  run(): Promise<void>
  drain?(deadlineMs: number): Promise<void>
  stop(): Promise<void>
}

/** What a room logs through; `fields` are structured and redacted by the plane's logger. */
export interface Log {
  debug(fields: Readonly<Record<string, unknown>>, message: string): void
  info(fields: Readonly<Record<string, unknown>>, message: string): void
  warn(fields: Readonly<Record<string, unknown>>, message: string): void
  /** Only if somebody should be woken. */
  error(fields: Readonly<Record<string, unknown>>, message: string): void
  child(fields: Readonly<Record<string, unknown>>): Log
}
