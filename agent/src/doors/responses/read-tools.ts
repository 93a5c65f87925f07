import type { Conversation, Tool, ToolChoice } from '../../conversation/conversation.js'
import type { Fields } from '../../conversation/fields.js'
import type { Losses } from '../../conversation/losses.js'

/**
 * Tools of a response request, and which of them the model is to call. Those that run at OpenAI (its search, its
 * interpreter, MCP servers that it calls) run nowhere else.
 */
export function readTools(fields: Fields, losses: Losses): Pick<Conversation, 'tools' | 'toolChoice'> {
  const tools = fields.objects('tools').flatMap((tool) => readTool(tool, losses))
  if (!fields.has('tool_choice')) return { tools, toolChoice: null }
  if (fields.isText('tool_choice')) {
    const type = fields.option('tool_choice', ['auto', 'none', 'required'])
    return { tools, toolChoice: type === null ? null : { type } }
  }
  const choice = fields.requiredObject('tool_choice')
  return choice.raw('type') === 'allowed_tools'
    ? readAllowed(choice, tools, losses)
    : { tools, toolChoice: readNamed(choice, losses) }
}

function readTool(tool: Fields, losses: Losses): Tool[] {
  const type = tool.requiredText('type')
  if (type !== 'function') {
    losses.content(tool.at, `tools of type ${type} have no other form`)
    tool.skipAll()
    return []
  }
  for (const name of ['allowed_callers', 'defer_loading', 'output_schema']) {
    if (tool.has(name)) losses.hint(tool.path(name))
    tool.skip(name)
  }
  return [
    {
      at: tool.at,
      name: tool.requiredText('name'),
      description: tool.text('description'),
      parameters: tool.json('parameters'),
      strict: tool.boolean('strict'),
    },
  ]
}

function readNamed(choice: Fields, losses: Losses): ToolChoice | null {
  const type = choice.requiredText('type')
  if (type === 'function') return { type: 'tool', name: choice.requiredText('name') }
  losses.content(choice.at, `a choice of type ${type} has no other form`)
  choice.skipAll()
  return null
}

/** Only some of the tools: the others are not shown, which is the same to the model. */
function readAllowed(
  choice: Fields,
  tools: readonly Tool[],
  losses: Losses,
): Pick<Conversation, 'tools' | 'toolChoice'> {
  const type = choice.option('mode', ['auto', 'required']) ?? 'auto'
  const names = choice.objects('tools').flatMap((allowed) => {
    if (allowed.requiredText('type') === 'function') return [allowed.requiredText('name')]
    losses.content(allowed.at, 'it names a tool that has no other form')
    allowed.skipAll()
    return []
  })
  return { tools: tools.filter(({ name }) => names.includes(name)), toolChoice: { type } }
}
