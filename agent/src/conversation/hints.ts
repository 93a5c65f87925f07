/**
 * Members that change nothing of an answer, by door. Of the Responses API none is here: its answers repeat what was asked,
 * and one client would read another's. Of Anthropic's `metadata` there is only the user's id.
 */
export const hints = Object.freeze({
  chat_completions: ['user', 'safety_identifier', 'prompt_cache_key', 'prompt_cache_retention'],
  completions: ['user'],
  embeddings: ['user'],
  messages: ['metadata'],
} as const)

/** Of any operation. */
export function hintsOf(operation: string): readonly string[] {
  return Object.hasOwn(hints, operation) ? hints[operation as keyof typeof hints] : none
}

const none: readonly string[] = Object.freeze([])
