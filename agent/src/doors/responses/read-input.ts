import type {
  AssistantPart,
  ImagePart,
  TextPart,
  ToolCallPart,
  ToolResultPart,
  UserPart,
} from '../../conversation/conversation.js'
import { bytesOfDataUrl } from '../../conversation/data-url.js'
import type { Fields } from '../../conversation/fields.js'
import { parseJsonObject } from '../../conversation/json-object.js'
import type { Losses } from '../../conversation/losses.js'
import { RegularTurns } from '../../conversation/regular-turns.js'
import { carriedThought } from '../../providers/openai/carried-thought.js'

/**
 * `instructions` and `input` of a response request as turns. Source: OpenAI's API reference, "Create a model response",
 * input items. Clients send back what they got, so members that only an answer has are passed over.
 */
export interface ReadInput {
  readonly system: readonly TextPart[]
  readonly turns: RegularTurns
}

const roles = ['user', 'assistant', 'system', 'developer'] as const

export function readInput(fields: Fields, losses: Losses): ReadInput {
  const system = textPart('instructions', fields.text('instructions') ?? '')
  const turns = new RegularTurns()
  if (fields.isText('input')) {
    turns.addUser('input', textPart('input', fields.text('input') ?? ''))
    return { system, turns }
  }
  for (const item of fields.objects('input')) {
    item.skip('id', 'status')
    const type = item.text('type') ?? 'message'
    switch (type) {
      case 'message':
        readMessage(item, system, turns, losses)
        break
      case 'function_call':
        turns.addAssistant(item.at, [readCall(item, losses)])
        break
      case 'function_call_output':
        turns.addUser(item.at, [readResult(item, losses)])
        break
      case 'reasoning':
        turns.addAssistant(item.at, readThought(item, losses))
        break
      default:
        losses.content(item.at, `items of type ${type} have no other form`)
        item.skipAll()
    }
  }
  return { system, turns }
}

function readMessage(message: Fields, system: TextPart[], turns: RegularTurns, losses: Losses): void {
  loseMarks(message, losses, 'phase')
  switch (message.option('role', roles)) {
    case 'system':
    case 'developer':
      if (turns.isEmpty) for (const text of readTexts(message, losses)) system.push(text)
      else turns.addSystem(message.at, readTexts(message, losses))
      return
    case 'user':
      turns.addUser(message.at, readAsked(message, losses))
      return
    case 'assistant':
      turns.addAssistant(message.at, readSaid(message, losses))
      return
    default:
      throw message.invalid('role', `expected one of ${roles.join(', ')}`)
  }
}

/** What OpenAI's own client notes on the answers that it reads, and sends back with them. */
const clientNotes = ['parsed', 'parsed_arguments'] as const

/** Marks that change nothing of what is said. */
function loseMarks(fields: Fields, losses: Losses, ...names: string[]): void {
  for (const name of names) {
    if (fields.has(name)) losses.hint(fields.path(name))
    fields.skip(name)
  }
}

/** Empty ones are left out: they say nothing, and some vendors refuse them. */
function textPart(at: string, text: string): TextPart[] {
  return text === '' ? [] : [{ type: 'text', at, text }]
}

function readPlain(message: Fields): TextPart[] {
  return textPart(message.path('content'), message.text('content') ?? '')
}

function readText(part: Fields, losses: Losses): TextPart[] {
  loseMarks(part, losses, 'prompt_cache_breakpoint')
  part.skip('annotations', 'logprobs', ...clientNotes)
  return textPart(part.at, part.requiredText('text'))
}

function readTexts(message: Fields, losses: Losses): TextPart[] {
  if (message.isText('content')) return readPlain(message)
  return message.objects('content').flatMap((part) => {
    if (part.option('type', ['input_text', 'output_text']) === null) throw part.invalid('type', 'expected input_text')
    return readText(part, losses)
  })
}

function readAsked(message: Fields, losses: Losses): UserPart[] {
  if (message.isText('content')) return readPlain(message)
  return message.objects('content').flatMap((part): UserPart[] => {
    const type = part.requiredText('type')
    switch (type) {
      case 'input_text':
      case 'output_text':
        return readText(part, losses)
      case 'input_image':
        return readImage(part, losses)
      case 'input_file':
        return readFile(part, losses)
      default:
        return losePart(part, type, losses)
    }
  })
}

function readSaid(message: Fields, losses: Losses): AssistantPart[] {
  if (message.isText('content')) return readPlain(message)
  return message.objects('content').flatMap((part): AssistantPart[] => {
    const type = part.requiredText('type')
    switch (type) {
      case 'input_text':
      case 'output_text':
        return readText(part, losses)
      case 'refusal':
        part.skip(...clientNotes)
        return textPart(part.at, part.requiredText('refusal'))
      default:
        return losePart(part, type, losses)
    }
  })
}

function losePart(part: Fields, type: string, losses: Losses): never[] {
  losses.content(part.at, `parts of type ${type} have no other form`)
  part.skipAll()
  return []
}

const keptAtVendor = 'files kept at a provider cannot be sent to another'

function readImage(part: Fields, losses: Losses): ImagePart[] {
  loseMarks(part, losses, 'prompt_cache_breakpoint')
  const detail = part.text('detail')
  if (part.has('file_id')) {
    losses.content(part.path('file_id'), `${keptAtVendor}; send image_url`)
    part.skip('file_id', 'image_url')
    return []
  }
  const url = part.requiredText('image_url')
  return [{ type: 'image', at: part.at, source: bytesOfDataUrl(url) ?? { kind: 'url', url }, detail }]
}

function readFile(part: Fields, losses: Losses): UserPart[] {
  loseMarks(part, losses, 'prompt_cache_breakpoint')
  const name = part.text('filename')
  const detail = part.text('detail')
  if (detail !== null && detail !== 'auto') losses.hint(part.path('detail'))
  if (part.has('file_id')) {
    losses.content(part.path('file_id'), `${keptAtVendor}; send file_data`)
    part.skip('file_id', 'file_data', 'file_url')
    return []
  }
  if (part.has('file_url')) {
    const url = part.requiredText('file_url')
    return [{ type: 'document', at: part.at, source: { kind: 'url', url }, name }]
  }
  const source = bytesOfDataUrl(part.requiredText('file_data'))
  if (source === null) throw part.invalid('file_data', 'expected a data: URL in base64')
  if (source.mediaType !== 'application/pdf') {
    losses.content(part.path('file_data'), `files of type ${source.mediaType} have no other form`)
    return []
  }
  return [{ type: 'document', at: part.at, source, name }]
}

function readCall(item: Fields, losses: Losses): ToolCallPart {
  loseMarks(item, losses, 'caller', 'async')
  item.skip(...clientNotes)
  const argumentsText = item.text('arguments') ?? ''
  if (argumentsText !== '' && parseJsonObject(argumentsText) === null) {
    throw item.invalid('arguments', 'expected the JSON of an object')
  }
  return {
    type: 'tool_call',
    at: item.at,
    id: item.requiredText('call_id'),
    name: item.requiredText('name'),
    argumentsText: argumentsText === '' ? '{}' : argumentsText,
  }
}

function readResult(item: Fields, losses: Losses): ToolResultPart {
  loseMarks(item, losses, 'caller', 'name')
  return {
    type: 'tool_result',
    at: item.at,
    callId: item.requiredText('call_id'),
    isError: false,
    parts: item.isText('output')
      ? textPart(item.path('output'), item.text('output') ?? '')
      : item.objects('output').flatMap((part): ToolResultPart['parts'] => {
          const type = part.requiredText('type')
          if (type === 'input_text' || type === 'output_text') return readText(part, losses)
          return type === 'input_image' ? readImage(part, losses) : losePart(part, type, losses)
        }),
  }
}

/** Thoughts that the agent carries for their vendor are what they were; of others there is only what was shown. */
function readThought(item: Fields, losses: Losses): AssistantPart[] {
  const shown = [...item.objects('content'), ...item.objects('summary')].map((part) => {
    part.skip('type')
    return part.requiredText('text')
  })
  const encrypted = item.text('encrypted_content')
  const carried = encrypted === null ? null : carriedThought(encrypted)
  if (carried !== null) return [{ type: 'reasoning', at: item.at, ...carried }]
  if (encrypted !== null) losses.hint(item.path('encrypted_content'))
  const text = shown.join('\n\n')
  return text === '' ? [] : [{ type: 'reasoning', at: item.at, text, signature: null, redacted: null }]
}
