import type { PromptFacts } from './measured-prompt.js'

/** The doors at which a request for an answer can come in. */
export type RoutedOperation =
  | 'chat_completions'
  | 'completions'
  | 'responses'
  | 'messages'
  | 'count_tokens'
  | 'embeddings'

export type Capability = 'chat' | 'embeddings'

/**
 * What is known of a request when its targets are chosen; the key says who asks. Only `operation` and `model` must be there:
 * what is left out is *not known*, so that a condition that reads it fails (counts as false, and says so). Functions are
 * called only by rules that need what they give, and then once.
 */
export interface RequestFacts {
  readonly operation: RoutedOperation
  /** What the client put into `model`: the name of a route. */
  readonly model: string
  /** Left out: what the operation needs. */
  readonly capability?: Capability | undefined
  /** The end user; left out or empty: the client names none. */
  readonly userId?: string | undefined
  readonly sessionId?: string | undefined
  /** By lower-case name. */
  readonly header?: ((name: string) => string | undefined) | undefined
  readonly stream?: boolean | undefined
  /** Of the cluster that decides. */
  readonly region?: string | undefined
  /** The instant of the request, milliseconds since 1970. */
  readonly nowMs?: number | undefined
  /** 0 ≤ draw < 1, drawn anew for each request: for `weighted` and `least_latency`. Left out: 0. */
  readonly draw?: number | undefined
  /** Most tokens of an answer that the client asks for; left out: it does not say. */
  readonly outputTokensMax?: number | undefined
  /**
   * Bytes of the request's body: a prompt has fewer tokens than a multiple of it, so that a small one is not measured to
   * find that it fits.
   */
  readonly bodyBytes?: number | undefined
  readonly prompt?: PromptFacts | undefined
}

export function capabilityOf({ operation, capability }: RequestFacts): Capability {
  return capability ?? (operation === 'embeddings' ? 'embeddings' : 'chat')
}
