import type { Refusal } from '../../../../proto/std/refusal.js'
import type {
  AnswerFormat,
  AssistantPart,
  BytesSource,
  Conversation,
  FieldNames,
  Reasoning,
  Settings,
  TextPart,
  Tool,
  ToolChoice,
  ToolResultPart,
  UrlSource,
  UserPart,
} from '../../conversation/conversation.js'
import { type FieldRefusalCode, Fields, readStrictly } from '../../conversation/fields.js'
import { isJsonObject } from '../../conversation/json-object.js'
import { Losses } from '../../conversation/losses.js'
import { RegularTurns } from '../../conversation/regular-turns.js'
import type { RequestBody } from '../../providers/provider-dialect.js'

/** A message request's body as a conversation. Source: Anthropic's API reference, "Create a Message". */
export const messageFieldNames: FieldNames = Object.freeze({
  system: 'system',
  tools: 'tools',
  toolChoice: 'tool_choice',
  parallelToolCalls: 'tool_choice.disable_parallel_tool_use',
  answerFormat: 'output_config.format',
  outputTokensMax: 'max_tokens',
  temperature: 'temperature',
  topP: 'top_p',
  topK: 'top_k',
  stop: 'stop_sequences',
  // Anthropic has no word for these, so nobody can have given them.
  seed: 'seed',
  frequencyPenalty: 'frequency_penalty',
  presencePenalty: 'presence_penalty',
  logprobs: 'logprobs',
  reasoning: 'thinking',
  user: 'metadata.user_id',
})

/** Change nothing of an answer: who pays how, how fast, where, what is kept. */
const hints = ['cache_control', 'service_tier', 'speed', 'inference_geo', 'diagnostics', 'context_management'] as const
/** Change what is asked for, and have no word in any other language. */
const contents = ['container', 'mcp_servers'] as const

export function readMessagesConversation(body: RequestBody): Conversation | Refusal<FieldRefusalCode> {
  return readStrictly(() => read(new Fields(body.fields, '')))
}

function read(fields: Fields): Conversation {
  const losses = new Losses()
  const config = fields.object('output_config')
  const metadata = fields.object('metadata')
  const system = readSystem(fields, losses)
  const turns = readMessages(fields, losses)
  // Where something was lost on the way, that is what has to be said.
  if (turns.isEmpty && losses.blocking(true) === null)
    throw fields.invalid('messages', 'at least one message has to say something')
  for (const name of hints) {
    if (fields.has(name)) losses.hint(name)
    fields.skip(name)
  }
  for (const name of contents) {
    if (fields.has(name)) losses.content(name)
    fields.skip(name)
  }
  const conversation = {
    system,
    turns: turns.finish(),
    tools: readTools(fields, losses),
    ...readToolChoice(fields),
    answerFormat: config === null ? null : readAnswerFormat(config),
    settings: readSettings(fields),
    reasoning: readReasoning(fields, config),
    user: metadata?.text('user_id') ?? null,
    stream: fields.boolean('stream') ?? false,
    names: messageFieldNames,
  }
  fields.skip('model')
  fields.loseUnread(losses)
  return { ...conversation, losses: losses.all }
}

function readSystem(fields: Fields, losses: Losses): TextPart[] {
  if (fields.isText('system')) return textPart('system', fields.text('system') ?? '')
  return fields.objects('system').flatMap((block) => readText(block, losses))
}

function readMessages(fields: Fields, losses: Losses): RegularTurns {
  const turns = new RegularTurns()
  for (const message of fields.objects('messages')) {
    switch (message.option('role', ['user', 'assistant', 'system'])) {
      case 'system':
        turns.addSystem(message.at, message.isText('content') ? readPlain(message) : readSystemBlocks(message, losses))
        break
      case 'assistant':
        turns.addAssistant(message.at, message.isText('content') ? readPlain(message) : readSaid(message, losses))
        break
      default:
        turns.addUser(message.at, message.isText('content') ? readPlain(message) : readAsked(message, losses))
    }
  }
  return turns
}

function readPlain(message: Fields): TextPart[] {
  return textPart(message.path('content'), message.text('content') ?? '')
}

function readSystemBlocks(message: Fields, losses: Losses): TextPart[] {
  return message.objects('content').flatMap((block) => readText(block, losses))
}

function readText(block: Fields, losses: Losses): TextPart[] {
  if (block.option('type', ['text']) === null) throw block.invalid('type', 'expected text')
  loseMarks(block, losses)
  return textPart(block.at, block.requiredText('text'))
}

/** Marks on a block that change nothing of what it says, and the wish to have a document cited, which does. */
function loseMarks(block: Fields, losses: Losses): void {
  const citations = block.raw('citations')
  if (!isJsonObject(citations)) {
    if (citations !== null) losses.hint(block.path('citations'))
  } else if (citations['enabled'] === true) losses.setting(block.path('citations.enabled'))
  for (const name of ['cache_control', 'caller', 'toolset_name']) {
    if (block.has(name)) losses.hint(block.path(name))
    block.skip(name)
  }
}

function textPart(at: string, text: string): TextPart[] {
  return text === '' ? [] : [{ type: 'text', at, text }]
}

function readAsked(message: Fields, losses: Losses): UserPart[] {
  return message.objects('content').flatMap((block): UserPart[] => {
    const type = block.requiredText('type')
    loseMarks(block, losses)
    switch (type) {
      case 'text':
        return textPart(block.at, block.requiredText('text'))
      case 'image':
        return readImage(block, losses)
      case 'document':
        return readDocument(block, losses)
      case 'tool_result':
        return [readToolResult(block, losses)]
      default:
        return loseBlock(block, type, losses)
    }
  })
}

function readSaid(message: Fields, losses: Losses): AssistantPart[] {
  return message.objects('content').flatMap((block): AssistantPart[] => {
    const type = block.requiredText('type')
    loseMarks(block, losses)
    switch (type) {
      case 'text':
        return textPart(block.at, block.requiredText('text'))
      case 'thinking': {
        const text = block.requiredText('thinking')
        return [{ type: 'reasoning', at: block.at, text, signature: block.text('signature'), redacted: null }]
      }
      case 'redacted_thinking':
        return [{ type: 'reasoning', at: block.at, text: '', signature: null, redacted: block.requiredText('data') }]
      case 'tool_use': {
        const input = block.json('input')
        const argumentsText = JSON.stringify(input ?? {})
        return [
          {
            type: 'tool_call',
            at: block.at,
            id: block.requiredText('id'),
            name: block.requiredText('name'),
            argumentsText,
          },
        ]
      }
      default:
        return loseBlock(block, type, losses)
    }
  })
}

function loseBlock(block: Fields, type: string, losses: Losses): never[] {
  losses.content(block.at, `blocks of type ${type} have no other form`)
  block.skipAll()
  return []
}

function readImage(block: Fields, losses: Losses): UserPart[] {
  block.skip('transformations')
  if (block.has('transformations')) losses.setting(block.path('transformations'))
  const source = readSource(block.requiredObject('source'), losses)
  return source === null ? [] : [{ type: 'image', at: block.at, source, detail: null }]
}

function readDocument(block: Fields, losses: Losses): UserPart[] {
  const name = block.text('title')
  if (block.has('context')) losses.setting(block.path('context'))
  block.skip('context')
  const source = block.requiredObject('source')
  if (source.raw('type') === 'text') {
    source.skip('media_type')
    const text = source.requiredText('data')
    // A text has no title of its own: it stands before the text, as the model is shown it by Anthropic.
    return textPart(block.at, name === null || name === '' ? text : `${name}\n\n${text}`)
  }
  const bytes = readSource(source, losses)
  return bytes === null ? [] : [{ type: 'document', at: block.at, source: bytes, name }]
}

function readSource(source: Fields, losses: Losses): BytesSource | UrlSource | null {
  const type = source.requiredText('type')
  switch (type) {
    case 'base64':
      return { kind: 'base64', mediaType: source.requiredText('media_type'), data: source.requiredText('data') }
    case 'url':
      return { kind: 'url', url: source.requiredText('url') }
    default:
      losses.content(source.at, `sources of type ${type} have no other form`)
      source.skipAll()
      return null
  }
}

function readToolResult(block: Fields, losses: Losses): ToolResultPart {
  return {
    type: 'tool_result',
    at: block.at,
    callId: block.requiredText('tool_use_id'),
    isError: block.boolean('is_error') ?? false,
    parts: block.isText('content')
      ? readPlain(block)
      : block.objects('content').flatMap((part): ToolResultPart['parts'] => {
          const type = part.requiredText('type')
          loseMarks(part, losses)
          if (type === 'text') return textPart(part.at, part.requiredText('text'))
          if (type !== 'image') return loseBlock(part, type, losses)
          const source = readSource(part.requiredObject('source'), losses)
          return source === null ? [] : [{ type: 'image', at: part.at, source, detail: null }]
        }),
  }
}

function readTools(fields: Fields, losses: Losses): Tool[] {
  return fields.objects('tools').flatMap((tool) => {
    const type = tool.text('type') ?? 'custom'
    if (type !== 'custom') {
      losses.content(tool.at, `tools of type ${type} run at Anthropic`)
      tool.skipAll()
      return []
    }
    loseMarks(tool, losses)
    for (const name of ['eager_input_streaming', 'defer_loading', 'input_examples', 'allowed_callers']) {
      if (tool.has(name)) losses.hint(tool.path(name))
      tool.skip(name)
    }
    return [
      {
        at: tool.at,
        name: tool.requiredText('name'),
        description: tool.text('description'),
        parameters: tool.json('input_schema'),
        strict: tool.boolean('strict'),
      },
    ]
  })
}

function readToolChoice(fields: Fields): Pick<Conversation, 'toolChoice' | 'parallelToolCalls'> {
  const choice = fields.object('tool_choice')
  if (choice === null) return { toolChoice: null, parallelToolCalls: null }
  const parallelToolCalls = choice.boolean('disable_parallel_tool_use') === true ? false : null
  return { toolChoice: chosenTool(choice), parallelToolCalls }
}

function chosenTool(choice: Fields): ToolChoice {
  const type = choice.option('type', ['auto', 'any', 'tool', 'none'])
  switch (type) {
    case 'tool':
      return { type, name: choice.requiredText('name') }
    case 'any':
      return { type: 'required' }
    case null:
      throw choice.invalid('type', 'expected auto, any, tool or none')
    default:
      return { type }
  }
}

function readAnswerFormat(config: Fields): AnswerFormat | null {
  const format = config.object('format')
  if (format === null) return null
  if (format.option('type', ['json_schema']) === null) throw format.invalid('type', 'expected json_schema')
  const schema = format.json('schema')
  if (!isJsonObject(schema)) throw format.invalid('schema', 'expected an object')
  return { type: 'schema', name: 'answer', description: null, schema, strict: true }
}

function readSettings(fields: Fields): Settings {
  return {
    outputTokensMax: fields.integer('max_tokens', 0),
    temperature: fields.number('temperature', 0, 1),
    topP: fields.number('top_p', 0, 1),
    topK: fields.integer('top_k', 0),
    stop: fields.texts('stop_sequences'),
    seed: null,
    frequencyPenalty: null,
    presencePenalty: null,
    logprobs: null,
  }
}

function readReasoning(fields: Fields, config: Fields | null): Reasoning | null {
  const effort = config?.option('effort', ['low', 'medium', 'high', 'xhigh', 'max']) ?? null
  const thinking = fields.object('thinking')
  if (thinking === null) return effort === null ? null : { effort, budgetTokens: null }
  // Whether thoughts are shown is for the vendor that has them.
  thinking.skip('display')
  switch (thinking.option('type', ['enabled', 'disabled', 'adaptive', 'between_tools'])) {
    case 'disabled':
      return { effort: 'none', budgetTokens: 0 }
    case 'enabled':
      return { effort, budgetTokens: thinking.integer('budget_tokens', 1) }
    default:
      // Adaptive thinking without an effort is what Anthropic calls high.
      return { effort: effort ?? 'high', budgetTokens: null }
  }
}
