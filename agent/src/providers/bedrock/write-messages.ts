import type {
  AssistantPart,
  Conversation,
  DocumentPart,
  ImagePart,
  ToolResultPart,
  UserPart,
} from '../../conversation/conversation.js'
import { parseJsonObject } from '../../conversation/json-object.js'
import type { Losses } from '../../conversation/losses.js'
import { callIdFor } from '../call-id.js'
import { DocumentNames } from './document-names.js'
import type { ModelFeatures } from './model-features.js'

/**
 * Turns as Converse's messages: user and assistant by turns, a user first, none empty, results of tools before the rest.
 * Instructions in the middle are moved to the beginning, which is told; what then stands side by side is one message.
 * Source: AWS's Bedrock API reference, "Message" and "ContentBlock".
 */
export interface WrittenTurns {
  readonly system: readonly object[]
  readonly messages: readonly Message[]
}

interface Message {
  readonly role: 'user' | 'assistant'
  readonly content: object[]
}

/** A message while turns are added to it. */
interface OpenMessage {
  readonly role: Message['role']
  readonly results: object[]
  readonly others: object[]
}

interface Pen {
  readonly features: ModelFeatures
  readonly losses: Losses
  readonly names: DocumentNames
}

export function writeTurns(conversation: Conversation, features: ModelFeatures, losses: Losses): WrittenTurns {
  const pen = { features, losses, names: new DocumentNames() }
  const system = conversation.system.map(({ text }) => text)
  const messages: OpenMessage[] = []
  const first = conversation.turns.find(({ role }) => role !== 'system')
  if (first?.role === 'assistant') losses.content(first.at, 'a conversation begins with a user for it')
  for (const turn of conversation.turns) {
    if (turn.role === 'system') {
      losses.setting(turn.at, 'instructions in the middle are moved to the beginning')
      for (const { text } of turn.parts) system.push(text)
    } else {
      add(messages, turn.role, turn.role === 'user' ? asked(turn.parts, pen) : said(turn.parts, pen))
    }
  }
  const instructions = system.filter((text) => text.trim() !== '')
  if (instructions.length > 0 && !features.takesSystem) {
    losses.content(conversation.system[0]?.at ?? conversation.names.system, 'this model takes no instructions')
  }
  return {
    system: features.takesSystem ? instructions.map((text) => ({ text })) : [],
    messages: messages.map(({ role, results, others }) => ({ role, content: [...results, ...others] })),
  }
}

/** To the last message where it is of the same role. Each block is looked at once, however many turns become one. */
function add(messages: OpenMessage[], role: Message['role'], content: readonly object[]): void {
  if (content.length === 0) return
  let last = messages.at(-1)
  if (last?.role !== role) {
    last = { role, results: [], others: [] }
    messages.push(last)
  }
  for (const block of content) ('toolResult' in block ? last.results : last.others).push(block)
}

/** It refuses a text of white space, which models of other vendors say before they call a tool. */
function isBlank(part: UserPart | AssistantPart): boolean {
  return part.type === 'text' && part.text.trim() === ''
}

/** A model that said nothing has no turn. */
function said(parts: readonly AssistantPart[], pen: Pen): object[] {
  return parts.filter((part) => !isBlank(part)).flatMap((part) => saidBlocks(part, pen))
}

/** A user who asks nothing but white space is for AWS to refuse: without the turn it would be another question. */
function asked(parts: readonly UserPart[], pen: Pen): object[] {
  const saying = parts.every(isBlank) ? parts : parts.filter((part) => !isBlank(part))
  const hasText = saying.some(({ type }) => type === 'text')
  return saying.flatMap((part) => askedBlocks(part, hasText, pen))
}

function askedBlocks(part: UserPart, hasText: boolean, pen: Pen): object[] {
  switch (part.type) {
    case 'text':
      return [{ text: part.text }]
    case 'image':
      return imageBlock(part, pen)
    case 'document':
      return documentBlock(part, hasText, pen)
    case 'tool_result':
      return [toolResultBlock(part, pen)]
  }
}

function saidBlocks(part: AssistantPart, { features, losses }: Pen): object[] {
  switch (part.type) {
    case 'text':
      return [{ text: part.text }]
    case 'tool_call': {
      const input = parseJsonObject(part.argumentsText) ?? {}
      return [{ toolUse: { toolUseId: toolUseId(part.id), name: part.name, input } }]
    }
    case 'reasoning': {
      const { at, text, signature, redacted } = part
      if (features.isClaude) {
        if (redacted !== null) return [{ reasoningContent: { redactedContent: redacted } }]
        if (signature) return [{ reasoningContent: { reasoningText: { text, signature } } }]
      }
      // Thoughts of another model, which this one did not sign and would refuse.
      losses.hint(at)
      return []
    }
  }
}

const imageFormats: ReadonlyMap<string, string> = new Map([
  ['image/png', 'png'],
  ['image/jpeg', 'jpeg'],
  ['image/gif', 'gif'],
  ['image/webp', 'webp'],
])

function imageBlock({ at, source, detail }: ImagePart, { features, losses }: Pen): object[] {
  if (detail !== null && detail !== 'auto') losses.hint(`${at}.detail`)
  const format = source.kind === 'url' ? null : imageFormats.get(source.mediaType)
  if (!features.takesImages) losses.content(at, 'this model sees no images')
  else if (source.kind === 'url') losses.content(at, 'it does not fetch images; send the bytes')
  else if (format === undefined) losses.content(at, `images of type ${source.mediaType} are not known to it`)
  else return [{ image: { format, source: { bytes: source.data } } }]
  return []
}

function documentBlock(
  { at, source, name }: DocumentPart,
  hasText: boolean,
  { features, losses, names }: Pen,
): object[] {
  if (!features.takesDocuments) losses.content(at, 'this model reads no documents')
  else if (source.kind === 'url') losses.content(at, 'it does not fetch documents; send the bytes')
  else if (source.mediaType !== 'application/pdf')
    losses.content(at, `documents of type ${source.mediaType} have no other form`)
  else if (!hasText) losses.content(at, 'it takes a document only beside a text in the same message')
  else return [{ document: { format: 'pdf', name: names.next(name), source: { bytes: source.data } } }]
  return []
}

function toolResultBlock({ callId, parts, isError }: ToolResultPart, pen: Pen): object {
  const content = parts.flatMap((part): object[] => {
    if (part.type === 'image') return imageBlock(part, pen)
    return part.text.trim() === '' ? [] : [{ text: part.text }]
  })
  return { toolResult: { toolUseId: toolUseId(callId), content, ...(isError ? { status: 'error' } : {}) } }
}

function toolUseId(id: string): string {
  return callIdFor(id, /^[a-zA-Z0-9_.:-]{1,64}$/)
}
