import { isJsonObject, type JsonObject, objectsOf, parseJsonObject } from '../conversation/json-object.js'
import type { UpstreamOperation } from '../providers/provider-dialect.js'

/**
 * Whether an answer may be given again: whole, ended by itself or to hear from tools, with something in it. Not what was cut
 * at a limit, filtered, refused or empty: the next try may do better, and a "no" must not stay for a day.
 *
 * Read from the bytes that the client got, in the words of its door.
 */
export function isStreamWorthKeeping(operation: UpstreamOperation, said: Buffer): boolean {
  return isStreamGood(operation, said.toString('latin1'))
}

/** The same of a whole one. `parsed`: what it says, where somebody has looked already. */
export function isWholeWorthKeeping(
  operation: UpstreamOperation,
  said: Buffer | string,
  parsed: JsonObject | null = null,
): boolean {
  return isAnswerGood(operation, parsed ?? parseJsonObject(typeof said === 'string' ? said : said.toString('utf8')))
}

const endings: Readonly<Record<string, ReadonlySet<unknown>>> = Object.freeze({
  finish_reason: new Set(['stop', 'tool_calls', 'function_call']),
  stop_reason: new Set(['end_turn', 'stop_sequence', 'tool_use']),
})

function isAnswerGood(operation: UpstreamOperation, answer: JsonObject | null): boolean {
  if (answer === null || hasValue(answer['error'])) return false
  switch (operation) {
    case 'chat_completions':
      return areChoicesGood(answer, ({ message }) => isJsonObject(message) && saysSomething(message))
    case 'completions':
      return areChoicesGood(answer, ({ text }) => typeof text === 'string' && text !== '')
    case 'messages':
      return endings['stop_reason']?.has(answer['stop_reason']) === true && objectsOf(answer['content']).length > 0
    case 'responses':
      return isResponseGood(answer)
    case 'embeddings':
      return Array.isArray(answer['data']) && answer['data'].length > 0
    default:
      return false
  }
}

function areChoicesGood(answer: JsonObject, says: (choice: JsonObject) => boolean): boolean {
  const choices = objectsOf(answer['choices'])
  return (
    choices.length > 0 &&
    choices.every((choice) => endings['finish_reason']?.has(choice['finish_reason']) === true && says(choice))
  )
}

function saysSomething(message: JsonObject): boolean {
  if (typeof message['refusal'] === 'string' && message['refusal'] !== '') return false
  const { content } = message
  return (
    (typeof content === 'string' && content !== '') ||
    (Array.isArray(content) && content.length > 0) ||
    objectsOf(message['tool_calls']).length > 0 ||
    hasValue(message['function_call'])
  )
}

function isResponseGood(response: JsonObject): boolean {
  const items = objectsOf(response['output'])
  const parts = items.flatMap((item) => objectsOf(item['content']))
  return (
    response['status'] === 'completed' &&
    !hasValue(response['incomplete_details']) &&
    items.some((item) => item['type'] !== 'reasoning') &&
    !parts.some((part) => part['type'] === 'refusal')
  )
}

function hasValue(value: unknown): boolean {
  return value !== undefined && value !== null
}

/**
 * A quote inside a JSON text is always escaped, so what looks like a member is one, wherever the text came from. Every ending
 * in the stream has to be good, and there has to be one.
 */
function isStreamGood(operation: UpstreamOperation, text: string): boolean {
  switch (operation) {
    case 'chat_completions':
      return (
        areEndingsGood(text, 'finish_reason') &&
        !/"refusal"\s*:\s*"[^"]/.test(text) &&
        /"(?:content|arguments|name)"\s*:\s*"[^"]|"content"\s*:\s*\[/.test(text)
      )
    case 'completions':
      return areEndingsGood(text, 'finish_reason') && /"text"\s*:\s*"[^"]/.test(text)
    case 'messages':
      return areEndingsGood(text, 'stop_reason') && /"type"\s*:\s*"content_block_start"/.test(text)
    case 'responses':
      return (
        /"type"\s*:\s*"response\.completed"/.test(text) &&
        !/"type"\s*:\s*"(?:response\.(?:refusal|incomplete|failed)[^"]*|refusal|error)"/.test(text) &&
        /"type"\s*:\s*"response\.(?:output_text|function_call_arguments)\.done"/.test(text)
      )
    default:
      return false
  }
}

function areEndingsGood(text: string, member: 'finish_reason' | 'stop_reason'): boolean {
  let count = 0
  for (const [, ending = ''] of text.matchAll(new RegExp(`"${member}"\\s*:\\s*"([^"]*)"`, 'g'))) {
    // Some servers tell an empty one with every chunk.
    if (ending === '') continue
    if (endings[member]?.has(ending) !== true) return false
    count += 1
  }
  return count > 0
}
