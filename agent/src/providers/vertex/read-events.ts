import type { FinishReason, TokenLogprob } from '../../conversation/chat-answer.js'
import type { ChatEventReader, TakeEvent } from '../../conversation/chat-event.js'
import type { Conversation } from '../../conversation/conversation.js'
import { countOf, isJsonObject, type JsonObject, objectsOf, textOf } from '../../conversation/json-object.js'
import { type SseData, SseFields } from '../sse-fields.js'
import { tokensOf } from './answer.js'
import { errorMessageIn, parseError } from './read-error.js'
import { markSignature } from './thought-signature.js'
import { toolCallId } from './tool-call-id.js'

/**
 * Reads a stream of `GenerateContentResponse`s. It has no terminal event: it is over when the upstream ends its answer, and
 * whole when a finish reason came before that. Source: Vertex AI's REST reference, `streamGenerateContent`.
 */
export class GeminiEventReader implements ChatEventReader {
  readonly #sse = new SseFields()
  readonly #events: ContentEvents

  constructor(conversation: Conversation) {
    this.#events = new ContentEvents(conversation)
  }

  push(chunk: Buffer, take: TakeEvent) {
    this.#sse.push(chunk, (data) => this.#read(data, take))
    if (this.#sse.malformed) take({ type: 'malformed' })
  }

  end(take: TakeEvent) {
    this.#sse.end((data) => this.#read(data, take))
    if (this.#sse.malformed) take({ type: 'malformed' })
    else if (this.#events.hasFinished) take({ type: 'done' })
  }

  #read(data: SseData, take: TakeEvent) {
    if ('fields' in data) return this.#events.read(data.fields, take)
    const message = parseError(data.text)
    take(message === null ? { type: 'malformed' } : { type: 'error', message })
  }
}

/** What the responses to one request mean, be it one or a stream of them. */
export class ContentEvents {
  hasFinished = false
  readonly #conversation: Conversation
  #hasBegun = false
  #id: string | null = null
  #callCount = 0

  constructor(conversation: Conversation) {
    this.#conversation = conversation
  }

  read(response: JsonObject, take: TakeEvent) {
    const error = errorMessageIn(response)
    if (error !== null) return take({ type: 'error', message: error })
    if (!members.some((name) => response[name] !== undefined)) return take({ type: 'malformed' })
    if (!this.#hasBegun) {
      this.#hasBegun = true
      this.#id = textOf(response['responseId'])
      take({ type: 'start', id: this.#id, model: textOf(response['modelVersion']) })
    }
    // Only the first: more were not asked for.
    const candidate = objectsOf(response['candidates'])[0] ?? null
    if (candidate !== null && !this.#readContent(candidate, take)) return take({ type: 'malformed' })
    const finish = candidate === null ? blockOf(response['promptFeedback']) : textOf(candidate['finishReason'])
    this.#readUsage(response['usageMetadata'], finish !== null, take)
    if (finish !== null && finish !== '') this.#finish(finish, candidate, take)
  }

  /** False when it cannot be read. */
  #readContent(candidate: JsonObject, take: TakeEvent): boolean {
    const { content } = candidate
    if (!isJsonObject(content)) return true
    let logprobs = logprobsOf(candidate['logprobsResult'])
    for (const part of objectsOf(content['parts'])) {
      const text = textOf(part['text']) ?? ''
      if (isJsonObject(part['functionCall'])) {
        const name = textOf(part['functionCall']['name']) ?? ''
        if (name === '') return false
        this.#readCall(name, part['functionCall'], part, take)
      } else if (text !== '' && part['thought'] === true) {
        take({ type: 'reasoning', text })
      } else if (text !== '') {
        take({ type: 'text', text, logprobs })
        // They are told once for all texts of a response.
        logprobs = null
      }
    }
    return true
  }

  /** A call comes whole: nobody asks for its arguments in pieces. */
  #readCall(name: string, call: JsonObject, part: JsonObject, take: TakeEvent) {
    const signature = textOf(part['thoughtSignature'])
    if (signature !== null) take({ type: 'reasoning_signature', signature: markSignature(signature) })
    const id = toolCallId(this.#id, this.#conversation.turns.length, this.#callCount++)
    take({ type: 'tool_call', id, name })
    take({ type: 'tool_arguments', text: JSON.stringify(call['args'] ?? {}) })
  }

  #readUsage(usage: unknown, isLast: boolean, take: TakeEvent) {
    const tokens = isJsonObject(usage) ? tokensOf(usage) : null
    if (tokens === null || !isJsonObject(usage)) return
    // Running totals count what their own response brought; one without any output tells the input only.
    take({ type: 'usage', usage: tokens, final: isLast || countOf(usage['candidatesTokenCount']) !== null })
  }

  #finish(finish: string, candidate: JsonObject | null, take: TakeEvent) {
    if (this.hasFinished) return
    if (failures.has(finish)) {
      const detail = textOf(candidate?.['finishMessage'])
      return take({ type: 'error', message: `the model failed: ${finish}${detail === null ? '' : `, ${detail}`}` })
    }
    this.hasFinished = true
    take({ type: 'finish', finish: { reason: this.#reasonOf(finish, candidate), stopSequence: null } })
  }

  #reasonOf(finish: string, candidate: JsonObject | null): FinishReason {
    if (candidate === null) return 'content_filter'
    switch (finish) {
      case 'STOP':
      case 'FINISH_REASON_UNSPECIFIED':
        // Also where it waits for its functions, and at one of the client's sequences, which it does not tell.
        return this.#callCount > 0 ? 'tool_calls' : 'stop'
      case 'MAX_TOKENS':
        return 'length'
      default:
        // SAFETY, RECITATION, BLOCKLIST, PROHIBITED_CONTENT, SPII, MODEL_ARMOR, LANGUAGE, OTHER and what comes later:
        // Google ended it before the model did.
        return 'content_filter'
    }
  }
}

/** One of these is in every response. */
const members = ['candidates', 'promptFeedback', 'usageMetadata', 'responseId'] as const

/** The model wrote what nobody can read, so there is no answer; the next target may have one. */
const failures: ReadonlySet<string> = new Set([
  'MALFORMED_FUNCTION_CALL',
  'UNEXPECTED_TOOL_CALL',
  'TOO_MANY_TOOL_CALLS',
  'MALFORMED_RESPONSE',
  'MISSING_THOUGHT_SIGNATURE',
])

/** Why nothing was generated at all. */
function blockOf(feedback: unknown): string | null {
  return isJsonObject(feedback) ? textOf(feedback['blockReason']) : null
}

function logprobsOf(result: unknown): readonly TokenLogprob[] | null {
  if (!isJsonObject(result)) return null
  const tops = objectsOf(result['topCandidates'])
  const logprobs = objectsOf(result['chosenCandidates']).map((chosen, index) => ({
    ...tokenOf(chosen),
    top: objectsOf(tops[index]?.['candidates']).map(tokenOf),
  }))
  return logprobs.length === 0 ? null : logprobs
}

function tokenOf({ token, logProbability }: JsonObject) {
  return {
    token: textOf(token) ?? '',
    logprob: typeof logProbability === 'number' ? logProbability : 0,
    bytes: null,
  }
}
