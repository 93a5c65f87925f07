import { type Refusal, refuse } from '../../../../proto/std/refusal.js'
import {
  type AnswerFormat,
  type AssistantPart,
  type Conversation,
  type FieldNames,
  type ImagePart,
  type Reasoning,
  reasoningEfforts,
  type Settings,
  type TextPart,
  type Tool,
  type ToolCallPart,
  type ToolChoice,
  type ToolResultPart,
  type UserPart,
} from '../../conversation/conversation.js'
import { bytesOfDataUrl } from '../../conversation/data-url.js'
import { type FieldRefusalCode, Fields, readStrictly } from '../../conversation/fields.js'
import { parseJsonObject } from '../../conversation/json-object.js'
import { Losses } from '../../conversation/losses.js'
import { RegularTurns } from '../../conversation/regular-turns.js'
import type { RequestBody } from '../../providers/provider-dialect.js'

/**
 * A chat completion's body as a conversation. Source: OpenAI's API reference, "Create chat completion"; `top_k` and
 * `reasoning_content` are vLLM's, which other compatible servers share.
 */
export const chatFieldNames: FieldNames = Object.freeze({
  system: 'messages',
  tools: 'tools',
  toolChoice: 'tool_choice',
  parallelToolCalls: 'parallel_tool_calls',
  answerFormat: 'response_format',
  outputTokensMax: 'max_completion_tokens',
  temperature: 'temperature',
  topP: 'top_p',
  topK: 'top_k',
  stop: 'stop',
  seed: 'seed',
  frequencyPenalty: 'frequency_penalty',
  presencePenalty: 'presence_penalty',
  logprobs: 'logprobs',
  reasoning: 'reasoning_effort',
  user: 'user',
})

/** Change nothing of an answer: who pays how, where it is kept, what to expect. */
const hints = [
  ...(['metadata', 'store', 'service_tier', 'prompt_cache_key', 'prompt_cache_retention', 'prediction'] as const),
  'cache_control',
] as const
/** Change what is asked for, and have no word in any other language. */
const contents = ['audio', 'functions', 'function_call', 'web_search_options'] as const

export function readChatConversation(body: RequestBody): Conversation | Refusal<FieldRefusalCode> {
  return readStrictly(() => read(new Fields(body.fields, '')))
}

function read(fields: Fields): Conversation | Refusal<FieldRefusalCode> {
  const losses = new Losses()
  const { system, turns } = readMessages(fields, losses)
  // Where something was lost on the way, that is what has to be said.
  if (turns.isEmpty && losses.blocking(true) === null) {
    return refuse('invalid_value', "'messages' needs a message of a user, an assistant or a tool.", {
      field: 'messages',
    })
  }
  for (const name of hints) {
    if (fields.has(name)) losses.hint(name)
    fields.skip(name)
  }
  for (const name of contents) {
    if (fields.has(name)) losses.content(name)
    fields.skip(name)
  }
  if ((fields.integer('n', 1) ?? 1) > 1) losses.content('n', 'it gives one answer at a time')
  const modalities = fields.texts('modalities')
  if (modalities.some((modality) => modality !== 'text')) losses.content('modalities')
  const bias = fields.json('logit_bias')
  if (bias !== null && Object.keys(bias).length > 0) losses.setting('logit_bias')
  const safetyIdentifier = fields.text('safety_identifier')
  const conversation = {
    system,
    turns: turns.finish(),
    tools: readTools(fields, losses),
    toolChoice: readToolChoice(fields, losses),
    parallelToolCalls: fields.boolean('parallel_tool_calls'),
    answerFormat: readAnswerFormat(fields),
    settings: readSettings(fields),
    reasoning: readReasoning(fields),
    user: fields.text('user') ?? safetyIdentifier,
    stream: fields.boolean('stream') ?? false,
    names: chatFieldNames,
  }
  fields.skip('model', 'stream_options')
  fields.loseUnread(losses)
  return { ...conversation, losses: losses.all }
}

function readMessages(fields: Fields, losses: Losses): { system: TextPart[]; turns: RegularTurns } {
  const system: TextPart[] = []
  const turns = new RegularTurns()
  for (const message of fields.objects('messages')) {
    const role = message.option('role', ['system', 'developer', 'user', 'assistant', 'tool', 'function'])
    if (message.has('name')) losses.hint(message.path('name'))
    message.skip('name')
    loseCacheMark(message, losses)
    switch (role) {
      case 'system':
      case 'developer':
        if (turns.isEmpty) for (const text of readTexts(message, losses)) system.push(text)
        else turns.addSystem(message.at, readTexts(message, losses))
        break
      case 'user':
        turns.addUser(message.at, readUserParts(message, losses))
        break
      case 'assistant':
        turns.addAssistant(message.at, readAssistantParts(message, losses))
        break
      case 'tool':
        turns.addUser(message.at, [readToolResult(message, losses)])
        break
      default:
        losses.content(message.path('role'), 'functions are older than tools; use tools')
    }
  }
  return { system, turns }
}

/** Anthropic's mark of what to keep in its cache, which clients that know LiteLLM or OpenRouter put on OpenAI's members too. */
function loseCacheMark(marked: Fields, losses: Losses): void {
  if (marked.has('cache_control')) losses.hint(marked.path('cache_control'))
  marked.skip('cache_control')
}

/** A content of texts only, empty ones left out: they say nothing, and some vendors refuse them. */
function readTexts(message: Fields, losses: Losses): TextPart[] {
  if (message.isText('content')) return textPart(message.path('content'), message.text('content') ?? '')
  return message.objects('content').flatMap((part) => {
    if (part.option('type', ['text']) === null) throw part.invalid('type', 'expected text')
    loseCacheMark(part, losses)
    return textPart(part.at, part.requiredText('text'))
  })
}

function textPart(at: string, text: string): TextPart[] {
  return text === '' ? [] : [{ type: 'text', at, text }]
}

function readUserParts(message: Fields, losses: Losses): UserPart[] {
  if (message.isText('content')) return readTexts(message, losses)
  return message.objects('content').flatMap((part): UserPart[] => {
    const type = part.requiredText('type')
    loseCacheMark(part, losses)
    switch (type) {
      case 'text':
        return textPart(part.at, part.requiredText('text'))
      case 'image_url':
        return [readImage(part)]
      case 'file':
        return readFile(part, losses)
      default:
        losses.content(part.at, `parts of type ${type} have no other form`)
        part.skip(type)
        return []
    }
  })
}

function readImage(part: Fields): ImagePart {
  const image = part.requiredObject('image_url')
  const url = image.requiredText('url')
  return {
    type: 'image',
    at: part.at,
    source: bytesOfDataUrl(url) ?? { kind: 'url', url },
    detail: image.text('detail'),
  }
}

function readFile(part: Fields, losses: Losses): UserPart[] {
  const file = part.requiredObject('file')
  const data = file.text('file_data')
  const source = data === null ? null : bytesOfDataUrl(data)
  const name = file.text('filename')
  if (file.has('file_id')) {
    losses.content(file.path('file_id'), 'files kept at a vendor cannot be sent to another; send file_data')
    file.skip('file_id')
    return []
  }
  if (source === null) throw file.invalid('file_data', 'expected a data: URL in base64')
  if (source.mediaType !== 'application/pdf') {
    losses.content(file.path('file_data'), `files of type ${source.mediaType} have no other form`)
    return []
  }
  return [{ type: 'document', at: part.at, source, name }]
}

function readAssistantParts(message: Fields, losses: Losses): AssistantPart[] {
  const parts: AssistantPart[] = []
  // vLLM says `reasoning`, others `reasoning_content`.
  const reasoning = message.text('reasoning_content') ?? message.text('reasoning')
  message.skip('reasoning')
  if (reasoning !== null && reasoning !== '') {
    const at = message.path('reasoning_content')
    parts.push({ type: 'reasoning', at, text: reasoning, signature: null, redacted: null })
  }
  if (message.isText('content')) parts.push(...textPart(message.path('content'), message.text('content') ?? ''))
  else {
    for (const part of message.objects('content')) {
      const type = part.option('type', ['text', 'refusal'])
      loseCacheMark(part, losses)
      parts.push(...textPart(part.at, part.requiredText(type === 'refusal' ? 'refusal' : 'text')))
    }
  }
  parts.push(...textPart(message.path('refusal'), message.text('refusal') ?? ''))
  for (const name of ['function_call', 'audio']) {
    if (message.has(name)) losses.content(message.path(name))
    message.skip(name)
  }
  message.skip('annotations')
  for (const call of message.objects('tool_calls')) {
    const part = readToolCall(call, losses)
    if (part !== null) parts.push(part)
  }
  return parts
}

function readToolCall(call: Fields, losses: Losses): ToolCallPart | null {
  const type = call.text('type') ?? 'function'
  const id = call.requiredText('id')
  if (type !== 'function') {
    losses.content(call.at, `tool calls of type ${type} have no other form`)
    call.skip(type)
    return null
  }
  call.skip('index')
  loseCacheMark(call, losses)
  const called = call.requiredObject('function')
  const argumentsText = called.text('arguments') ?? ''
  if (argumentsText !== '' && parseJsonObject(argumentsText) === null) {
    throw called.invalid('arguments', 'expected the JSON of an object')
  }
  return {
    type: 'tool_call',
    at: call.at,
    id,
    name: called.requiredText('name'),
    argumentsText: argumentsText === '' ? '{}' : argumentsText,
  }
}

function readToolResult(message: Fields, losses: Losses): ToolResultPart {
  return {
    type: 'tool_result',
    at: message.at,
    callId: message.requiredText('tool_call_id'),
    parts: readTexts(message, losses),
    isError: false,
  }
}

function readTools(fields: Fields, losses: Losses): Tool[] {
  const tools: Tool[] = []
  for (const tool of fields.objects('tools')) {
    const type = tool.requiredText('type')
    loseCacheMark(tool, losses)
    if (type !== 'function') {
      losses.content(tool.at, `tools of type ${type} have no other form`)
      tool.skip(type)
      continue
    }
    const definition = tool.requiredObject('function')
    loseCacheMark(definition, losses)
    tools.push({
      at: tool.at,
      name: definition.requiredText('name'),
      description: definition.text('description'),
      parameters: definition.json('parameters'),
      strict: definition.boolean('strict'),
    })
  }
  return tools
}

function readToolChoice(fields: Fields, losses: Losses): ToolChoice | null {
  if (!fields.has('tool_choice')) return null
  if (fields.isText('tool_choice')) {
    const type = fields.option('tool_choice', ['auto', 'none', 'required'])
    return type === null ? null : { type }
  }
  const choice = fields.requiredObject('tool_choice')
  const type = choice.requiredText('type')
  if (type === 'function') return { type: 'tool', name: choice.requiredObject('function').requiredText('name') }
  losses.content(choice.at, `a choice of type ${type} has no other form`)
  choice.skip(type)
  return null
}

function readAnswerFormat(fields: Fields): AnswerFormat | null {
  const format = fields.object('response_format')
  if (format === null) return null
  switch (format.option('type', ['text', 'json_object', 'json_schema'])) {
    case 'json_object':
      return { type: 'json' }
    case 'json_schema': {
      const definition = format.requiredObject('json_schema')
      const schema = definition.json('schema')
      const description = definition.text('description')
      const strict = definition.boolean('strict')
      const name = definition.requiredText('name')
      return schema === null ? { type: 'json' } : { type: 'schema', name, description, schema, strict }
    }
    default:
      return null
  }
}

function readSettings(fields: Fields): Settings {
  const wantsLogprobs = fields.boolean('logprobs')
  const top = fields.integer('top_logprobs', 0, 20)
  // The older name counts where the newer one is not given.
  const olderMax = fields.integer('max_tokens', 1)
  return {
    outputTokensMax: fields.integer('max_completion_tokens', 1) ?? olderMax,
    temperature: fields.number('temperature', 0, 2),
    topP: fields.number('top_p', 0, 1),
    topK: fields.integer('top_k', -1),
    stop: fields.isText('stop') ? [fields.requiredText('stop')] : fields.texts('stop'),
    seed: fields.integer('seed', Number.MIN_SAFE_INTEGER),
    frequencyPenalty: fields.number('frequency_penalty', -2, 2),
    presencePenalty: fields.number('presence_penalty', -2, 2),
    logprobs: wantsLogprobs === true ? (top ?? 0) : null,
  }
}

function readReasoning(fields: Fields): Reasoning | null {
  const effort = fields.option('reasoning_effort', reasoningEfforts)
  return effort === null ? null : { effort, budgetTokens: null }
}
