import type { TargetTable } from '../../../../proto/policy/tables.js'
import type {
  AnswerFormat,
  AssistantTurn,
  Conversation,
  ImagePart,
  TextPart,
  Tool,
  ToolChoice,
  ToolResultPart,
  Turn,
  UserPart,
} from '../../conversation/conversation.js'
import { dataUrlOf } from '../../conversation/data-url.js'
import type { Losses } from '../../conversation/losses.js'
import type { UsageDepth } from '../provider-dialect.js'
import { effortFor } from './reasoning-effort.js'

/**
 * A conversation as a chat completion's body, for what speaks like OpenAI. Source: OpenAI's API reference, "Create chat
 * completion". Members that only some servers know (`top_k`) go to those kinds only.
 */
const stopsMax = 4

export function writeChatRequest(
  conversation: Conversation,
  target: TargetTable,
  depth: UsageDepth,
  losses: Losses,
): Buffer {
  const { settings, names, tools, toolChoice, stream } = conversation
  const isOpenai = isOwnedByOpenai(target.provider.kind)
  const effort = effortFor(conversation.reasoning, target.upstreamModel)
  if (settings.topK !== null && isOpenai) losses.setting(names.topK)
  if (settings.stop.length > stopsMax && isOpenai) losses.setting(names.stop, `it takes at most ${stopsMax}`)
  const maxName = isOpenai ? 'max_completion_tokens' : 'max_tokens'
  return Buffer.from(
    JSON.stringify({
      model: target.upstreamModel,
      messages: messagesOf(conversation, losses),
      ...(settings.outputTokensMax === null ? {} : { [maxName]: settings.outputTokensMax }),
      ...(settings.temperature === null ? {} : { temperature: settings.temperature }),
      ...(settings.topP === null ? {} : { top_p: settings.topP }),
      ...(settings.topK === null || isOpenai ? {} : { top_k: settings.topK }),
      ...(settings.stop.length === 0 ? {} : { stop: isOpenai ? settings.stop.slice(0, stopsMax) : settings.stop }),
      ...(settings.seed === null ? {} : { seed: settings.seed }),
      ...(settings.frequencyPenalty === null ? {} : { frequency_penalty: settings.frequencyPenalty }),
      ...(settings.presencePenalty === null ? {} : { presence_penalty: settings.presencePenalty }),
      ...(settings.logprobs === null ? {} : { logprobs: true, top_logprobs: settings.logprobs }),
      ...(tools.length === 0 ? {} : { tools: tools.map(toolOf) }),
      ...(toolChoice === null || tools.length === 0 ? {} : { tool_choice: toolChoiceOf(toolChoice) }),
      ...(conversation.parallelToolCalls === null || tools.length === 0
        ? {}
        : { parallel_tool_calls: conversation.parallelToolCalls }),
      ...(conversation.answerFormat === null ? {} : { response_format: responseFormatOf(conversation.answerFormat) }),
      ...(effort === null ? {} : { reasoning_effort: effort }),
      ...(conversation.user === null ? {} : { user: conversation.user }),
      ...(stream ? { stream: true, ...streamOptionsOf(depth) } : {}),
    }),
  )
}

/** OpenAI refuses members it does not know; others pass over them. */
function isOwnedByOpenai(kind: string): boolean {
  return kind === 'openai' || kind === 'azure-openai'
}

function streamOptionsOf(depth: UsageDepth): object {
  if (depth === 'none') return {}
  const continuous = depth === 'continuous' ? { continuous_usage_stats: true } : {}
  return { stream_options: { include_usage: true, ...continuous } }
}

export function messagesOf({ system, turns }: Conversation, losses: Losses): object[] {
  const messages: object[] = system.length === 0 ? [] : [{ role: 'system', content: contentOf(system) }]
  for (const turn of turns) {
    for (const message of messagesOfTurn(turn, losses)) messages.push(message)
  }
  return messages
}

function messagesOfTurn(turn: Turn, losses: Losses): object[] {
  switch (turn.role) {
    case 'system':
      return [{ role: 'system', content: contentOf(turn.parts) }]
    case 'assistant':
      return assistantMessages(turn, losses)
    case 'user': {
      const results = turn.parts.filter((part) => part.type === 'tool_result')
      const said = turn.parts.filter((part) => part.type !== 'tool_result')
      const messages: object[] = results.map((result) => toolMessage(result, losses))
      if (said.length > 0) messages.push({ role: 'user', content: userContent(said, losses) })
      return messages
    }
  }
}

/** One text is a text: some compatible servers know nothing else. */
function contentOf(parts: readonly TextPart[]): string | object[] {
  const [first] = parts
  return parts.length === 1 && first ? first.text : parts.map(({ text }) => ({ type: 'text', text }))
}

function userContent(parts: readonly Exclude<UserPart, ToolResultPart>[], losses: Losses): string | object[] {
  const texts = parts.filter((part) => part.type === 'text')
  if (texts.length === parts.length) return contentOf(texts)
  return parts.flatMap((part): object[] => {
    switch (part.type) {
      case 'text':
        return [{ type: 'text', text: part.text }]
      case 'image':
        return [{ type: 'image_url', image_url: imageUrlOf(part) }]
      case 'document': {
        if (part.source.kind === 'url') {
          losses.content(part.at, 'documents go to it as bytes, not by URL')
          return []
        }
        return [{ type: 'file', file: { filename: part.name ?? 'document.pdf', file_data: dataUrlOf(part.source) } }]
      }
      default:
        return []
    }
  })
}

function imageUrlOf({ source, detail }: ImagePart): object {
  const url = source.kind === 'url' ? source.url : dataUrlOf(source)
  return detail === null ? { url } : { url, detail }
}

function toolMessage(result: ToolResultPart, losses: Losses): object {
  const texts = result.parts.filter((part) => part.type === 'text')
  const image = result.parts.find((part) => part.type === 'image')
  if (image) losses.content(image.at, 'a tool’s result is text to it')
  if (result.isError) losses.hint(`${result.at}.is_error`)
  return { role: 'tool', tool_call_id: result.callId, content: texts.length === 0 ? '' : contentOf(texts) }
}

/** None where nothing is left to say: thoughts alone are another vendor's. */
function assistantMessages(turn: AssistantTurn, losses: Losses): object[] {
  const texts = turn.parts.filter((part) => part.type === 'text')
  const calls = turn.parts.filter((part) => part.type === 'tool_call')
  const reasoning = turn.parts.find((part) => part.type === 'reasoning')
  if (reasoning) losses.hint(reasoning.at)
  if (texts.length === 0 && calls.length === 0) return []
  const message = {
    role: 'assistant',
    content: texts.length === 0 ? null : contentOf(texts),
    ...(calls.length === 0
      ? {}
      : {
          tool_calls: calls.map(({ id, name, argumentsText }) => ({
            id,
            type: 'function',
            function: { name, arguments: argumentsText },
          })),
        }),
  }
  return [message]
}

export function toolOf({ name, description, parameters, strict }: Tool): object {
  return {
    type: 'function',
    function: {
      name,
      ...(description === null ? {} : { description }),
      ...(parameters === null ? {} : { parameters }),
      ...(strict === null ? {} : { strict }),
    },
  }
}

function toolChoiceOf(choice: ToolChoice): unknown {
  return choice.type === 'tool' ? { type: 'function', function: { name: choice.name } } : choice.type
}

function responseFormatOf(format: AnswerFormat): object {
  if (format.type === 'json') return { type: 'json_object' }
  const { name, description, schema, strict } = format
  return {
    type: 'json_schema',
    json_schema: {
      name,
      schema,
      ...(description === null ? {} : { description }),
      ...(strict === null ? {} : { strict }),
    },
  }
}
