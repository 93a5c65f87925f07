import type { TokenUsage } from '../../../proto/policy/price-usage.js'

/** One whole answer, in no vendor's words: what providers read and doors write. */
export interface ChatAnswer {
  readonly id: string | null
  /** The vendor's actual model. */
  readonly model: string | null
  readonly parts: readonly AnswerPart[]
  readonly finish: Finish
  readonly usage: TokenUsage | null
}

export type AnswerPart =
  | { readonly type: 'text'; readonly text: string; readonly logprobs: readonly TokenLogprob[] | null }
  | { readonly type: 'refusal'; readonly text: string }
  | {
      readonly type: 'reasoning'
      readonly text: string
      readonly signature: string | null
      readonly redacted: string | null
    }
  | {
      readonly type: 'tool_call'
      readonly id: string
      readonly name: string
      /** JSON of an object. */
      readonly argumentsText: string
    }

/**
 * Why it ended: `stop` by itself, `stop_sequence` at one of the client's, `length` at the limit of tokens, `tool_calls` to
 * hear from tools, `content_filter` by the vendor's filter, `refusal` by the model, `pause` to be continued (Anthropic).
 */
export type FinishReason = 'stop' | 'stop_sequence' | 'length' | 'tool_calls' | 'content_filter' | 'refusal' | 'pause'

export interface Finish {
  readonly reason: FinishReason
  /** Which one, where the vendor says. */
  readonly stopSequence: string | null
}

/** In OpenAI's form, which is the only one with more than a name. */
export interface TokenLogprob {
  readonly token: string
  readonly logprob: number
  readonly bytes: readonly number[] | null
  readonly top: readonly {
    readonly token: string
    readonly logprob: number
    readonly bytes: readonly number[] | null
  }[]
}
