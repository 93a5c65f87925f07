import type { ServerResponse } from 'node:http'
import { writeAnswer } from './respond.js'

/** What `/healthz` and `/readyz` ask. */
export interface Health {
  /** Null: ready. Otherwise why not, in a word for a machine. */
  unreadyReason(): string | null
}

/** `/healthz`: the process answers, which is all it says. */
export function writeHealthy(response: ServerResponse): void {
  writeAnswer(response, 200, 'application/json', '{"status":"ok"}', null)
}

/** `/readyz`: 200 when requests can be served, else 503 and why. */
export function writeReadiness(response: ServerResponse, health: Health): void {
  const reason = health.unreadyReason()
  if (reason === null) writeAnswer(response, 200, 'application/json', '{"status":"ready"}', null)
  else writeAnswer(response, 503, 'application/json', JSON.stringify({ status: 'unready', reason }), null)
}
