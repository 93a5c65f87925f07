import type { AnswerPart, ChatAnswer, Finish, TokenLogprob } from '../../conversation/chat-answer.js'
import { isJsonObject, type JsonObject, objectsOf, parseJsonObject, textOf } from '../../conversation/json-object.js'
import { usageOf } from './answer.js'

/** A whole chat completion; null when the bytes are none. Only its first choice counts: more were not asked for. */
export function readChatAnswer(bytes: Buffer): ChatAnswer | null {
  const answer = parseJsonObject(bytes.toString('utf8'))
  const choice = answer === null ? undefined : objectsOf(answer['choices'])[0]
  const message = choice?.['message']
  if (!answer || !choice || !isJsonObject(message)) return null
  const parts: AnswerPart[] = []
  const reasoning = reasoningIn(message)
  if (reasoning !== '') parts.push({ type: 'reasoning', text: reasoning, signature: null, redacted: null })
  const text = contentIn(message)
  if (text === null) return null
  if (text !== '') parts.push({ type: 'text', text, logprobs: logprobsOf(choice['logprobs']) })
  const refusal = textOf(message['refusal'])
  if (refusal !== null && refusal !== '') parts.push({ type: 'refusal', text: refusal })
  const calls = objectsOf(message['tool_calls'])
  for (const [index, call] of calls.entries()) {
    const called = call['function']
    const argumentsText = isJsonObject(called) ? argumentsIn(called) : null
    if (!isJsonObject(called) || argumentsText === null) return null
    parts.push({
      type: 'tool_call',
      id: textOf(call['id']) || `call_${index}`,
      name: textOf(called['name']) ?? '',
      argumentsText: argumentsText === '' ? '{}' : argumentsText,
    })
  }
  return {
    id: textOf(answer['id']),
    model: textOf(answer['model']),
    parts,
    finish: finishOf(choice, calls.length > 0),
    usage: usageOf(answer),
  }
}

/** The text of a message or delta, which some servers send as a list of parts; null for anything else that is no text. */
export function contentIn({ content }: JsonObject): string | null {
  if (content === undefined || content === null) return ''
  if (!Array.isArray(content)) return textOf(content)
  const texts = content.map((part: unknown) =>
    isJsonObject(part) && part['type'] === 'text' ? textOf(part['text']) : null,
  )
  return texts.includes(null) ? null : texts.join('')
}

/** The arguments of a call as JSON, which some servers send as the object itself; null for anything else. */
export function argumentsIn({ arguments: given }: JsonObject): string | null {
  if (given === undefined || given === null) return ''
  return isJsonObject(given) ? JSON.stringify(given) : textOf(given)
}

/** What a message or delta shows of the model's thoughts: vLLM says `reasoning`, others `reasoning_content`. */
export function reasoningIn(message: JsonObject): string {
  return textOf(message['reasoning_content']) ?? textOf(message['reasoning']) ?? ''
}

/**
 * How a choice ended. vLLM tells the stop sequence in `stop_reason`. A model that was made to call a certain tool `stop`s
 * (OpenAI's reference of `tool_choice`), and some servers always say so; other languages want to know of the calls.
 */
export function finishOf(choice: JsonObject, hasCalls: boolean): Finish {
  const stopSequence = textOf(choice['stop_reason'])
  switch (choice['finish_reason']) {
    case 'length':
      return { reason: 'length', stopSequence: null }
    case 'tool_calls':
    case 'function_call':
      return { reason: 'tool_calls', stopSequence: null }
    case 'content_filter':
      return { reason: 'content_filter', stopSequence: null }
    default:
      if (hasCalls) return { reason: 'tool_calls', stopSequence: null }
      return { reason: stopSequence === null ? 'stop' : 'stop_sequence', stopSequence }
  }
}

export function logprobsOf(value: unknown): readonly TokenLogprob[] | null {
  if (!isJsonObject(value)) return null
  const logprobs = objectsOf(value['content']).map((entry) => ({
    ...alternativeOf(entry),
    top: objectsOf(entry['top_logprobs']).map(alternativeOf),
  }))
  return logprobs.length === 0 ? null : logprobs
}

function alternativeOf(entry: JsonObject) {
  const { token, logprob, bytes } = entry
  return {
    token: textOf(token) ?? '',
    logprob: typeof logprob === 'number' ? logprob : 0,
    bytes: Array.isArray(bytes) ? (bytes as number[]) : null,
  }
}

/** The message of OpenAI's error body, or of the shorter ones that compatible servers send. */
export function readErrorMessage(bytes: Buffer): string | null {
  const body = parseJsonObject(bytes.toString('utf8'))
  if (body === null) return null
  const error = body['error']
  if (isJsonObject(error)) return textOf(error['message'])
  return textOf(error) ?? textOf(body['message']) ?? textOf(body['detail'])
}
