import type { TokenUsage } from '../../../proto/policy/price-usage.js'
import type { Finish, TokenLogprob } from './chat-answer.js'

/**
 * A streamed answer as events, in no vendor's words: what providers read and doors write. In order:
 *
 *     start · (text | refusal | reasoning … | tool_call, its tool_arguments …)* · finish · done
 *
 * `usage` may come anywhere and again, `error` and `malformed` anywhere and end everything. What one part says is not
 * interrupted by another: a tool call's arguments all come before the next part begins.
 */
export type ChatEvent =
  | { readonly type: 'start'; readonly id: string | null; readonly model: string | null }
  | { readonly type: 'text'; readonly text: string; readonly logprobs: readonly TokenLogprob[] | null }
  | { readonly type: 'refusal'; readonly text: string }
  | { readonly type: 'reasoning'; readonly text: string }
  /** Closes the reasoning before it. */
  | { readonly type: 'reasoning_signature'; readonly signature: string }
  | { readonly type: 'reasoning_redacted'; readonly data: string }
  | { readonly type: 'tool_call'; readonly id: string; readonly name: string }
  /** A piece of the JSON of the last `tool_call`. */
  | { readonly type: 'tool_arguments'; readonly text: string }
  | { readonly type: 'finish'; readonly finish: Finish }
  /** `final` counts all that was said up to now; otherwise only the input is certain. */
  | { readonly type: 'usage'; readonly usage: TokenUsage; readonly final: boolean }
  | { readonly type: 'error'; readonly message: string }
  | { readonly type: 'malformed' }
  /** The vendor's own terminal event. */
  | { readonly type: 'done' }

export type TakeEvent = (event: ChatEvent) => void

/** Reads one vendor's stream. One per stream; holds less than one event of it, within a bound. */
export interface ChatEventReader {
  /** Reads the next bytes, wherever the network cut them. Nothing more is given after `done`, `error` or `malformed`. */
  push(chunk: Buffer, take: TakeEvent): void
  /** The upstream ended its answer: what is left counts, where the vendor has no terminal event it ends here. */
  end(take: TakeEvent): void
}

/** Writes one client's stream. One per stream. */
export interface ChatStreamWriter {
  /** What the client is sent for `event`, empty for nothing. Not called with `usage`, `error`, `malformed` and `done`. */
  write(event: ChatEvent): string
  /** What ends the stream; `usage` null where nobody told. */
  end(usage: TokenUsage | null): string
}
