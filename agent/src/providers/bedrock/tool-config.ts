import type { Conversation, Tool } from '../../conversation/conversation.js'
import type { Losses } from '../../conversation/losses.js'
import { jsonToolOf } from './json-tool.js'
import type { ModelFeatures } from './model-features.js'

/**
 * `toolConfig`: the tools and how to choose among them. Converse wants it wherever the conversation holds calls or results
 * ("The toolConfig field must be defined when using toolUse and toolResult content blocks") and has no choice "none", so:
 *
 *   none, no calls before     tools are left out, which is what none means
 *   none, calls before        tools stay and the model may choose: the choice is lost
 *   no tools, calls before    those that were called are declared by their names: having none is lost
 *
 * Source: AWS's Bedrock API reference, "ToolConfiguration" and "ToolChoice".
 */
export function toolConfigOf(
  conversation: Conversation,
  features: ModelFeatures,
  thinks: boolean,
  losses: Losses,
): object {
  const { tools, toolChoice, names, parallelToolCalls } = conversation
  const jsonTool = jsonToolOf(conversation, features, thinks, losses)
  if (jsonTool !== null) return { toolConfig: jsonTool }
  const called = calledTools(conversation)
  if (called.length === 0 && (tools.length === 0 || toolChoice?.type === 'none')) return {}
  if (!features.takesTools) {
    losses.content(names.tools, 'this model has none')
    return {}
  }
  if (tools.length === 0) {
    losses.setting(names.tools, 'after calls of tools it wants the tools too; without them it may call those again')
    return { toolConfig: { tools: called.map((name) => toolSpec({ name, description: null, parameters: null })) } }
  }
  if (toolChoice?.type === 'none') {
    losses.setting(names.toolChoice, 'after calls of tools the model can always call one')
  } else if (parallelToolCalls === false) {
    losses.setting(names.parallelToolCalls)
  }
  return { toolConfig: chosenTools(conversation, features, losses) }
}

/** Names of the tools that were called, each once; a result without its call has none to tell. */
function calledTools({ turns }: Conversation): string[] {
  const names = turns.flatMap((turn) =>
    turn.role === 'assistant' ? turn.parts.flatMap((part) => (part.type === 'tool_call' ? [part.name] : [])) : [],
  )
  return [...new Set(names)]
}

function chosenTools({ tools, toolChoice }: Conversation, features: ModelFeatures, losses: Losses): object {
  const declare = (tool: Tool) => declared(tool, features, losses)
  switch (toolChoice?.type) {
    case 'required':
      return { tools: tools.map(declare), toolChoice: { any: {} } }
    case 'tool': {
      const { name } = toolChoice
      if (features.takesToolChoice) return { tools: tools.map(declare), toolChoice: { tool: { name } } }
      // Only Claude and Nova can be told which; for others it is the only one there is to call.
      return { tools: tools.filter((tool) => tool.name === name).map(declare), toolChoice: { any: {} } }
    }
    default:
      // `auto` is what it does anyhow, also with models that refuse to be told.
      return { tools: tools.map(declare) }
  }
}

function declared(tool: Tool, { takesSchemas }: ModelFeatures, losses: Losses): object {
  if (tool.strict === true && !takesSchemas)
    losses.setting(tool.at, 'this model cannot be held to a tool’s schema (strict)')
  return toolSpec(tool, tool.strict === true && takesSchemas)
}

function toolSpec(
  { name, description, parameters }: Pick<Tool, 'name' | 'description' | 'parameters'>,
  isStrict = false,
): object {
  return {
    toolSpec: {
      name,
      ...(description === null || description === '' ? {} : { description }),
      inputSchema: { json: parameters ?? { type: 'object', properties: {} } },
      ...(isStrict ? { strict: true } : {}),
    },
  }
}
