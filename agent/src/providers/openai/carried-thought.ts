import { isJsonObject, type JsonObject, parseJsonObject, textOf } from '../../conversation/json-object.js'

/**
 * What a model of another vendor thought, in the reasoning items of the Responses API. Some vendors want it back exactly as
 * it was, with their signature, and the agent keeps nothing between two requests; so it travels with the client, in the
 * member that OpenAI has for that (`encrypted_content`), and comes back with the next request. Nothing in it is secret from
 * the client: what a vendor hides it has encrypted itself.
 *
 * OpenAI could not open such an item and would refuse it: on the way there it is taken out (`isCarriedItem`).
 */
export interface CarriedThought {
  readonly text: string
  readonly signature: string | null
  readonly redacted: string | null
}

const mark = 'switchyard.1.'
/** How the ids of reasoning items begin that the agent wrote. */
export const carriedIdPrefix = 'rs_switchyard'

export function carryThought({ text, signature, redacted }: CarriedThought): string {
  return mark + Buffer.from(JSON.stringify({ text, signature, redacted })).toString('base64url')
}

/** Null for what another vendor encrypted, and for what was changed on its way. */
export function carriedThought(content: string): CarriedThought | null {
  if (!content.startsWith(mark)) return null
  const carried = parseJsonObject(Buffer.from(content.slice(mark.length), 'base64url').toString('utf8'))
  const text = textOf(carried?.['text'])
  const signature = textOf(carried?.['signature'])
  const redacted = textOf(carried?.['redacted'])
  return text === null || (signature === null && redacted === null) ? null : { text, signature, redacted }
}

/** Whether an item of a request's `input` is a thought that the agent wrote for another vendor. */
export function isCarriedItem(item: unknown): item is JsonObject {
  if (!isJsonObject(item) || item['type'] !== 'reasoning') return false
  const { id, encrypted_content: content } = item
  return (
    (typeof id === 'string' && id.startsWith(carriedIdPrefix)) ||
    (typeof content === 'string' && content.startsWith(mark))
  )
}
