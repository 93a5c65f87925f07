import type { ReasoningPart } from '../../conversation/conversation.js'

/**
 * Gemini 3 signs the first function call of each step and refuses a conversation that gives the call back unsigned (HTTP
 * 400), because the signature is its encrypted chain of thought. A tool call of ours has no place for it but its id, and
 * the id is the wrong one: signatures have no bound ("store them as opaque, of variable length; never truncate"), while
 * OpenAI takes ids of 40 characters and Bedrock of 64, so that a conversation begun here could not go on there.
 *
 * Where it fits is the signature of a reasoning part, which clients of the messages door keep and give back as it was: the
 * call's signature leaves as that of the reasoning before the call, marked as Gemini's, and comes back onto the call. What
 * comes without one (chat completions have no such member; calls of another vendor's model; a client that drops thoughts)
 * gets the text that Google documents for calls which Gemini did not sign. The model then goes on without its thoughts
 * from before the call, as it does for every client that lost them.
 *
 * Sources: Google Cloud's documentation, "Thought signatures" ("Using REST or manual handling", "Constraints"); Gemini
 * API's documentation, "Thought signatures", FAQ 1 and "Thought signatures for different models".
 */
export const unsignedCall = 'skip_thought_signature_validator'

/** In front of our signatures: one of another vendor's would be refused as damaged. */
const mark = 'gemini:'

export function markSignature(signature: string): string {
  return `${mark}${signature}`
}

/** The signature that Gemini gave; null where the reasoning is another model's, or unsigned. */
export function signatureOf({ signature }: ReasoningPart): string | null {
  return signature?.startsWith(mark) ? signature.slice(mark.length) : null
}
