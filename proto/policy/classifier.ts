import type { PromptClass } from './classify-prompt.js'
import type { RouteTable } from './tables.js'

/**
 * Somebody else's measure of a prompt: what a route may want of its classifier, and what came of asking. Who asks is the
 * agent; an answer that does not come is no reason to refuse anybody, for the built-in estimates are there.
 */
export const classifierOutcomes = [
  /** It measured something that was wanted. */
  'ok',
  /** It answered and measured nothing of it. */
  'abstained',
  ...(['timeout', 'connect_error', 'http_error', 'rate_limited', 'too_large', 'malformed'] as const),
  /** The client left before the answer came. */
  'aborted',
  /** These were not sent: it failed too often; too many wait for it; its credential is not here; the key or the environment does not permit it. */
  ...(['circuit_open', 'busy', 'not_ready', 'not_permitted'] as const),
] as const
export type ClassifierOutcome = (typeof classifierOutcomes)[number]

export interface Classified {
  readonly outcome: ClassifierOutcome
  /** 0..1; null: it did not say. */
  readonly complexity: number | null
  readonly promptClass: PromptClass | null
  /** What it calls itself, its version for example; empty: nothing. */
  readonly label: string
}

/** What a classifier can measure. */
export type ClassifiedMeasure = 'complexity' | 'prompt_class'

/** What the rules of `route` want of its classifier: nothing that somebody has said already. */
export function measuresWanted(
  { measures }: Pick<RouteTable, 'measures'>,
  isSaid: (measure: ClassifiedMeasure) => boolean,
): readonly ClassifiedMeasure[] {
  return classifiedMeasures.filter((measure) => measures.has(measure) && !isSaid(measure))
}

const classifiedMeasures = ['complexity', 'prompt_class'] as const
