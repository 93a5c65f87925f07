import type { TokenLogprob } from '../../conversation/chat-answer.js'

/**
 * Log probabilities as completions have them: one list per member, and where in the whole text each token begins. Source:
 * OpenAI's API reference, "The completion object", `logprobs`.
 */
export class LogprobLists {
  #textLength = 0

  /** Of the next piece of a text; null for none. */
  next(logprobs: readonly TokenLogprob[]): object | null {
    if (logprobs.length === 0) return null
    return {
      tokens: logprobs.map(({ token }) => token),
      token_logprobs: logprobs.map(({ logprob }) => logprob),
      top_logprobs: logprobs.map(({ top }) => Object.fromEntries(top.map(({ token, logprob }) => [token, logprob]))),
      text_offset: logprobs.map(({ token }) => {
        const offset = this.#textLength
        this.#textLength += token.length
        return offset
      }),
    }
  }
}
