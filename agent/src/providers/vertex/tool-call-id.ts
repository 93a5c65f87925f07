import { hash } from 'node:crypto'

/**
 * Gemini calls functions without an id (Vertex AI's v1 has no such member); clients and other vendors want one. It has to
 * be the same whenever the same answer is read, another for each call of the answer and for each answer of a conversation,
 * and no longer than any vendor takes who may be asked next (OpenAI: 40 characters of `[A-Za-z0-9_-]`). So it is made of
 * what is unique about the answer: its id, or its place in the conversation where the vendor gave none. It goes no further
 * than to the client: towards Gemini, calls and results are matched by name and order.
 */
export function toolCallId(responseId: string | null, turnCount: number, callIndex: number): string {
  const answer = responseId ?? `turn ${turnCount}`
  return `call_${hash('sha256', `${answer} ${callIndex}`, 'base64url').slice(0, 24)}`
}
