import type { Conversation } from '../../conversation/conversation.js'
import type { Losses } from '../../conversation/losses.js'
import type { ModelFeatures } from './model-features.js'

/**
 * JSON from models that Converse cannot hold to a schema, and JSON mode without one, for which it has no word: the model is
 * made to call a tool whose input is the answer, as AWS's examples for Converse do it. Only where there are no tools of the
 * client's own and the model does not think, which excludes forced calls.
 */
const name = 'json_answer'

/** The tool, to be called and nothing else; null where none is needed, or where it would not do (then it is told). */
export function jsonToolOf(
  { answerFormat, tools, names }: Conversation,
  features: ModelFeatures,
  thinks: boolean,
  losses: Losses,
): object | null {
  if (answerFormat === null || (answerFormat.type === 'schema' && features.takesSchemas)) return null
  const what = answerFormat.type === 'json' ? 'JSON without a schema' : 'a schema'
  const obstacle = !features.takesToolChoice
    ? `this model cannot be held to ${what}`
    : tools.length > 0
      ? `${what} cannot be asked of this model beside tools`
      : thinks
        ? `${what} cannot be asked of this model while it thinks`
        : null
  if (obstacle !== null) {
    losses.content(names.answerFormat, obstacle)
    return null
  }
  const schema = answerFormat.type === 'schema' ? answerFormat.schema : { type: 'object', additionalProperties: true }
  const description = answerFormat.type === 'schema' ? answerFormat.description : null
  return {
    tools: [
      {
        toolSpec: {
          name,
          description: description || 'Give your answer, as a JSON object, as the input of this tool.',
          inputSchema: { json: schema },
        },
      },
    ],
    toolChoice: { tool: { name } },
  }
}

export function isJsonTool(called: string, { answerFormat, tools }: Conversation): boolean {
  return called === name && answerFormat !== null && tools.length === 0
}
