import type { ChatRequest } from './simulator-request.js'
import { generateTokens, randomFrom, sampleOf, seedOf, tokensOf } from './simulator-text.js'

/** Everything that will be said, decided before the first byte: a pure function of the request, the seed and the knobs. */
export interface Answer {
  readonly form: ChatRequest['form']
  readonly id: string
  readonly created: number
  readonly model: string
  readonly fingerprint: string
  /** The deltas of a stream, each of 1 to 7 tokens. */
  readonly pieces: readonly { readonly text: string; readonly tokenCount: number }[]
  readonly completionTokens: number
  readonly finishReason: 'stop' | 'length' | 'tool_calls'
  /** The pieces are the arguments of this call instead of content. */
  readonly toolCall: { readonly id: string; readonly name: string } | null
}

export interface AnswerOptions {
  seed: number
  /** Makes the answer's id unique; the words do not depend on it. */
  ordinal: number
  nowMs: number
  /** 0 lets the seed choose. */
  outputTokens: number
}

export function composeAnswer(request: ChatRequest, options: AnswerOptions): Answer {
  const random = randomFrom(seedOf(`${options.seed}\n${request.seedText}`))
  const id = seedOf(`${options.seed}/${options.ordinal}/${options.nowMs}`).toString(16).padStart(8, '0')
  const common = {
    form: request.form,
    id: `${request.form === 'chat' ? 'chatcmpl' : 'cmpl'}-sim-${id}${options.ordinal.toString(16).padStart(8, '0')}`,
    created: Math.floor(options.nowMs / 1000),
    model: request.model.id,
    fingerprint: `fp_simulator_${seedOf(`${options.seed}`).toString(16).padStart(8, '0')}`,
  }
  if (request.toolCall || request.jsonSchema) {
    const value = sampleOf(request.toolCall?.schema ?? request.jsonSchema, random)
    const tokens = tokensOf(JSON.stringify(value ?? {}))
    const cut = request.outputTokensMax !== null && tokens.length > request.outputTokensMax
    const kept = cut ? tokens.slice(0, request.outputTokensMax ?? 0) : tokens
    return {
      ...common,
      pieces: piecesOf(kept, random),
      completionTokens: kept.length,
      finishReason: cut ? 'length' : request.toolCall && !request.toolCall.named ? 'tool_calls' : 'stop',
      toolCall: request.toolCall ? { id: `call_sim_${id}`, name: request.toolCall.name } : null,
    }
  }
  const wanted = options.outputTokens > 0 ? options.outputTokens : 12 + Math.floor(random() * 85)
  const natural = request.ignoreEnd && request.outputTokensMax !== null ? request.outputTokensMax : wanted
  const room = Math.min(request.outputTokensMax ?? Number.POSITIVE_INFINITY, remaining(request))
  const generated = generateTokens(random, Math.min(natural, room))
  const { tokens, stopped } = cutAtStop(generated, request.stop)
  return {
    ...common,
    pieces: piecesOf(tokens, random),
    completionTokens: tokens.length,
    finishReason: !stopped && (natural > room || request.ignoreEnd) ? 'length' : 'stop',
    toolCall: null,
  }
}

function remaining(request: ChatRequest): number {
  return Math.max(1, request.model.contextTokensMax - request.promptTokens)
}

/** Tokens up to the first stop text, which is not part of the answer. The last kept token may be cut short. */
function cutAtStop(
  tokens: readonly string[],
  stops: readonly string[],
): { tokens: readonly string[]; stopped: boolean } {
  const text = tokens.join('')
  const ends = stops.map((stop) => text.indexOf(stop)).filter((index) => index >= 0)
  if (ends.length === 0) return { tokens, stopped: false }
  const kept: string[] = []
  let left = Math.min(...ends)
  for (const token of tokens) {
    if (left <= 0) break
    kept.push(token.slice(0, left))
    left -= token.length
  }
  return { tokens: kept, stopped: true }
}

function piecesOf(tokens: readonly string[], random: () => number): { text: string; tokenCount: number }[] {
  const pieces: { text: string; tokenCount: number }[] = []
  for (let start = 0; start < tokens.length; ) {
    const taken = tokens.slice(start, start + 1 + Math.floor(random() * 7))
    pieces.push({ text: taken.join(''), tokenCount: taken.length })
    start += taken.length
  }
  return pieces
}

export interface Usage {
  readonly prompt_tokens: number
  readonly completion_tokens: number
  readonly total_tokens: number
  readonly prompt_tokens_details: { readonly cached_tokens: number }
}

export function usageOf(promptTokens: number, completionTokens: number, cachedPromptRatio: number): Usage {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: Math.floor(promptTokens * cachedPromptRatio) },
  }
}

/** The body of an answer that is not streamed. */
export function completionBody(answer: Answer, usage: Usage): string {
  const text = answer.pieces.map((piece) => piece.text).join('')
  const call = answer.toolCall
  if (answer.form === 'text') {
    const choices = [textChoice(text, answer.finishReason)]
    return JSON.stringify({ ...headOf(answer, 'text_completion'), choices, usage })
  }
  return JSON.stringify({
    ...headOf(answer, 'chat.completion'),
    choices: [
      {
        index: 0,
        message: {
          role: 'assistant',
          content: call ? null : text,
          refusal: null,
          ...(call
            ? { tool_calls: [{ id: call.id, type: 'function', function: { name: call.name, arguments: text } }] }
            : {}),
        },
        logprobs: null,
        finish_reason: answer.finishReason,
      },
    ],
    usage,
    service_tier: 'default',
    system_fingerprint: answer.fingerprint,
  })
}

/** One server-sent event of a stream. `usage` undefined leaves the member out. */
export function chunkEvent(answer: Answer, choices: readonly object[], usage: Usage | null | undefined): string {
  const chunk =
    answer.form === 'text'
      ? { ...headOf(answer, 'text_completion'), choices, usage }
      : {
          ...headOf(answer, 'chat.completion.chunk'),
          service_tier: 'default',
          system_fingerprint: answer.fingerprint,
          choices,
          usage,
        }
  return `data: ${JSON.stringify(chunk)}\n\n`
}

function headOf({ id, created, model }: Answer, object: string): object {
  return { id, object, created, model }
}

/** What both a text and a chunk of one have as their choice. */
function textChoice(text: string, finishReason: string | null): object {
  return { index: 0, text, logprobs: null, finish_reason: finishReason }
}

/** The first choice of a stream: the role and, for a tool call, its name; null where a stream begins with its text. */
export function openingChoice(answer: Answer): object | null {
  if (answer.form === 'text') return null
  const call = answer.toolCall
  const delta = call
    ? {
        role: 'assistant',
        content: null,
        tool_calls: [{ index: 0, id: call.id, type: 'function', function: { name: call.name, arguments: '' } }],
      }
    : { role: 'assistant', content: '', refusal: null }
  return { index: 0, delta, logprobs: null, finish_reason: null }
}

export function pieceChoice(answer: Answer, text: string): object {
  if (answer.form === 'text') return textChoice(text, null)
  const delta = answer.toolCall ? { tool_calls: [{ index: 0, function: { arguments: text } }] } : { content: text }
  return { index: 0, delta, logprobs: null, finish_reason: null }
}

export function closingChoice(answer: Answer): object {
  if (answer.form === 'text') return textChoice('', answer.finishReason)
  return { index: 0, delta: {}, logprobs: null, finish_reason: answer.finishReason }
}
