import type { TargetTable } from '../../../../proto/policy/tables.js'
import type {
  AnswerFormat,
  AssistantPart,
  Conversation,
  DocumentPart,
  ImagePart,
  TextPart,
  Tool,
  ToolResultPart,
  Turn,
  UserPart,
} from '../../conversation/conversation.js'
import { parseJsonObject } from '../../conversation/json-object.js'
import type { Losses } from '../../conversation/losses.js'
import { RegularTurns } from '../../conversation/regular-turns.js'
import { callIdFor } from '../call-id.js'
import type { UsageDepth } from '../provider-dialect.js'
import { jsonTool } from './json-tool.js'
import { takesInstructionsMidway, takesOneSampling, takesSampling } from './model-rules.js'
import { isSigned, thinkingOf } from './thinking.js'

/** A conversation as a message request's body. Source: Anthropic's API reference, "Create a Message". */
const imageTypes: ReadonlySet<string> = new Set(['image/jpeg', 'image/png', 'image/gif', 'image/webp'])

export function writeMessageRequest(
  conversation: Conversation,
  target: TargetTable,
  _depth: UsageDepth,
  losses: Losses,
): Buffer {
  const { settings, names } = conversation
  const thinking = thinkingOf(conversation, target, losses)
  const { system, turns } = placed(conversation, target, losses)
  const first = turns.find(({ role }) => role !== 'system')
  if (first?.role === 'assistant') losses.content(first.at, 'a conversation begins with a user for it')
  for (const [value, name] of [
    [settings.seed, names.seed],
    [settings.logprobs, names.logprobs],
    [settings.frequencyPenalty || null, names.frequencyPenalty],
    [settings.presencePenalty || null, names.presencePenalty],
  ] as const) {
    if (value !== null) losses.setting(name)
  }
  const stops = settings.stop.filter((stop) => stop.trim() !== '')
  if (stops.length < settings.stop.length) losses.setting(names.stop, 'a stop sequence of white space is none for it')
  return Buffer.from(
    JSON.stringify({
      model: target.upstreamModel,
      max_tokens: thinking.outputTokensMax,
      ...(system.length === 0 ? {} : { system: contentOf(system) }),
      messages: turns.map((turn) => messageOf(turn, losses)),
      ...samplingOf(conversation, target, thinking.thinks, losses),
      ...(stops.length === 0 ? {} : { stop_sequences: stops }),
      ...toolsOf(conversation, thinking.thinks, losses),
      ...thinking.members,
      ...outputConfigOf(conversation.answerFormat, thinking.effort),
      ...(conversation.user === null ? {} : { metadata: { user_id: conversation.user } }),
      ...(conversation.stream ? { stream: true } : {}),
    }),
  )
}

/**
 * Instructions in the middle stay where they stand if the model takes them there, and there only: behind what a user says
 * and before what the model says or the end. Others go before the conversation, which is told. Turns that become neighbours
 * are one.
 */
function placed(
  conversation: Conversation,
  target: TargetTable,
  losses: Losses,
): Pick<Conversation, 'system' | 'turns'> {
  const takesMidway = takesInstructionsMidway(target.upstreamModel)
  const system = [...conversation.system]
  const regular = new RegularTurns()
  const saying = conversation.turns.flatMap((turn) => sayable(turn, losses))
  let before: Turn['role'] | null = null
  for (const [index, turn] of saying.entries()) {
    const after = saying[index + 1]?.role ?? 'assistant'
    if (turn.role === 'system' && !(takesMidway && before === 'user' && after === 'assistant')) {
      losses.setting(turn.at, 'it takes instructions only before the conversation')
      for (const part of turn.parts) system.push(part)
      continue
    }
    before = turn.role
    if (turn.role === 'user') regular.addUser(turn.at, turn.parts)
    else if (turn.role === 'assistant') regular.addAssistant(turn.at, turn.parts)
    else regular.addSystem(turn.at, turn.parts)
  }
  return { system, turns: regular.finish() }
}

/**
 * Without thoughts of another vendor's model, which it did not sign, and without a text of white space, which models of other
 * vendors say before they call a tool: it would refuse both. A model that said nothing else has no turn.
 */
function sayable(turn: Turn, losses: Losses): Turn[] {
  if (turn.role !== 'assistant') return [turn]
  const parts = turn.parts.filter((part) => {
    const isForeign = part.type === 'reasoning' && part.redacted === null && !isSigned(part)
    if (isForeign) losses.hint(part.at)
    return !isForeign && !isBlank(part)
  })
  return parts.length === 0 ? [] : [{ ...turn, parts }]
}

function samplingOf(conversation: Conversation, target: TargetTable, thinks: boolean, losses: Losses): object {
  const { settings, names } = conversation
  // Defaults are what leaving them out means: OpenAI's 1, and vLLM's -1 and 0 for `top_k`.
  const temperature = settings.temperature === 1 ? null : settings.temperature
  const topP = settings.topP === 1 ? null : settings.topP
  const topK = settings.topK === null || settings.topK <= 0 ? null : settings.topK
  if (thinks || !takesSampling(target.upstreamModel)) {
    const reason = thinks ? 'it cannot be set while the model thinks' : 'its newer models have no such setting'
    if (temperature !== null) losses.setting(names.temperature, reason)
    if (topP !== null) losses.setting(names.topP, reason)
    if (topK !== null) losses.setting(names.topK, reason)
    return {}
  }
  if (temperature !== null && temperature > 1) losses.setting(names.temperature, 'its highest is 1')
  const isEither = temperature !== null && topP !== null && takesOneSampling(target.upstreamModel)
  if (isEither) losses.setting(names.topP, 'this model takes no temperature beside it')
  return {
    ...(temperature === null ? {} : { temperature: Math.min(1, temperature) }),
    ...(topP === null || isEither ? {} : { top_p: topP }),
    ...(topK === null ? {} : { top_k: topK }),
  }
}

function outputConfigOf(format: AnswerFormat | null, effort: string | null): object {
  if (format?.type !== 'schema' && effort === null) return {}
  return {
    output_config: {
      ...(effort === null ? {} : { effort }),
      ...(format?.type === 'schema' ? { format: { type: 'json_schema', schema: format.schema } } : {}),
    },
  }
}

function toolsOf(conversation: Conversation, thinks: boolean, losses: Losses): object {
  const { tools, answerFormat, names, parallelToolCalls } = conversation
  if (answerFormat?.type === 'json') {
    if (tools.length > 0) losses.content(names.answerFormat, 'JSON without a schema cannot be asked for beside tools')
    else if (thinks) losses.content(names.answerFormat, 'JSON without a schema cannot be asked for while it thinks')
    else return { tools: [jsonTool], tool_choice: { type: 'tool', name: jsonTool.name } }
  }
  if (tools.length === 0) return {}
  const choice = toolChoiceOf(conversation)
  const single = parallelToolCalls === false && choice?.type !== 'none'
  return {
    tools: tools.map(toolOf),
    ...(choice === null && !single
      ? {}
      : { tool_choice: { ...(choice ?? { type: 'auto' }), ...(single ? { disable_parallel_tool_use: true } : {}) } }),
  }
}

function toolChoiceOf({ toolChoice }: Conversation): { type: string; name?: string } | null {
  if (toolChoice === null) return null
  if (toolChoice.type === 'tool') return { type: 'tool', name: toolChoice.name }
  return { type: toolChoice.type === 'required' ? 'any' : toolChoice.type }
}

function toolOf({ name, description, parameters, strict }: Tool): object {
  return {
    name,
    ...(description === null ? {} : { description }),
    input_schema: parameters ?? { type: 'object', properties: {} },
    ...(strict === null ? {} : { strict }),
  }
}

function messageOf(turn: Turn, losses: Losses): object {
  switch (turn.role) {
    case 'system':
      return { role: 'system', content: contentOf(turn.parts) }
    case 'assistant':
      return { role: 'assistant', content: turn.parts.map(saidBlock) }
    case 'user':
      return { role: 'user', content: askedContent(turn.parts, losses) }
  }
}

function contentOf(parts: readonly TextPart[]): string | object[] {
  const [first] = parts
  return parts.length === 1 && first ? first.text : parts.map(({ text }) => ({ type: 'text', text }))
}

function askedContent(parts: readonly UserPart[], losses: Losses): string | object[] {
  const texts = parts.filter((part) => part.type === 'text')
  if (texts.length === 1 && parts.length === 1) return contentOf(texts)
  return withoutBlanks(parts).flatMap((part) => askedBlock(part, losses))
}

function isBlank(part: UserPart | AssistantPart): boolean {
  return part.type === 'text' && part.text.trim() === ''
}

/** A user who asks nothing but white space is for Anthropic to refuse: without the turn it would be another question. */
function withoutBlanks(parts: readonly UserPart[]): readonly UserPart[] {
  const saying = parts.filter((part) => !isBlank(part))
  return saying.length === 0 ? parts : saying
}

function askedBlock(part: UserPart, losses: Losses): object[] {
  switch (part.type) {
    case 'text':
      return [{ type: 'text', text: part.text }]
    case 'image':
      return imageBlock(part, losses)
    case 'document':
      return documentBlock(part)
    case 'tool_result':
      return [toolResultBlock(part, losses)]
  }
}

function imageBlock({ at, source, detail }: ImagePart, losses: Losses): object[] {
  if (detail !== null && detail !== 'auto') losses.hint(`${at}.detail`)
  if (source.kind === 'url') return [{ type: 'image', source: { type: 'url', url: source.url } }]
  if (!imageTypes.has(source.mediaType)) {
    losses.content(at, `images of type ${source.mediaType} are not known to it`)
    return []
  }
  return [{ type: 'image', source: { type: 'base64', media_type: source.mediaType, data: source.data } }]
}

function documentBlock({ source, name }: DocumentPart): object[] {
  const written =
    source.kind === 'url'
      ? { type: 'url', url: source.url }
      : { type: 'base64', media_type: source.mediaType, data: source.data }
  return [{ type: 'document', source: written, ...(name === null ? {} : { title: name }) }]
}

function toolResultBlock({ callId, parts, isError }: ToolResultPart, losses: Losses): object {
  const blocks = parts.flatMap((part) =>
    part.type === 'text' ? [{ type: 'text', text: part.text }] : imageBlock(part, losses),
  )
  return {
    type: 'tool_result',
    tool_use_id: toolId(callId),
    ...(blocks.length === 0 ? {} : { content: blocks }),
    ...(isError ? { is_error: true } : {}),
  }
}

function saidBlock(part: AssistantPart): object {
  switch (part.type) {
    case 'text':
      return { type: 'text', text: part.text }
    case 'tool_call':
      return {
        type: 'tool_use',
        id: toolId(part.id),
        name: part.name,
        input: parseJsonObject(part.argumentsText) ?? {},
      }
    case 'reasoning':
      if (part.redacted !== null) return { type: 'redacted_thinking', data: part.redacted }
      return { type: 'thinking', thinking: part.text, signature: part.signature }
  }
}

function toolId(id: string): string {
  return callIdFor(id, /^[a-zA-Z0-9_-]{1,64}$/)
}
