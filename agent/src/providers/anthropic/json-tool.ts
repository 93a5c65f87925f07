import type { Conversation } from '../../conversation/conversation.js'

/**
 * JSON mode without a schema, which Anthropic has no word for, as Anthropic's cookbook advises it: the model is made to
 * call a tool whose input is the answer. Only where there are no tools of the client's own.
 */
const name = 'json_answer'

export const jsonTool = Object.freeze({
  name,
  description: 'Give your answer, as a JSON object, as the input of this tool.',
  input_schema: Object.freeze({ type: 'object', additionalProperties: true }),
})

export function isJsonTool(called: string, conversation: Conversation | null): boolean {
  return called === name && conversation?.answerFormat?.type === 'json' && conversation.tools.length === 0
}
