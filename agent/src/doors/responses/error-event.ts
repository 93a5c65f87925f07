import type { RequestRefusal } from '../../request/request-refusal.js'
import { openaiErrorBody } from '../openai-error.js'

/**
 * How a stream of responses says that it broke. The documentation has the members flat ("Streaming events", `error`), and
 * OpenAI sends them within `error`; clients were written for either, so both are there.
 */
export function responseErrorEvent(refusal: RequestRefusal, status: number): string {
  const { error } = JSON.parse(openaiErrorBody(refusal, status)) as { error: { [name: string]: unknown } }
  const { code, message, param } = error
  const data = { type: 'error', code, message, param, sequence_number: sequenceNumberMax, error }
  return `event: error\ndata: ${JSON.stringify(data)}\n\n`
}

/** A door does not see how many events there were; this is behind all of them. */
const sequenceNumberMax = 2_147_483_647
