import type { TextSigns } from './text-signs.js'

/**
 * How hard a prompt is, 0 to 1, from signs that cost microseconds: no model is asked and nothing is tokenized. An estimate
 * for sorting prompts into tiers, not a measure; who has a better one gives it (a classifier at the agent) and this is not
 * called.
 *
 * Each signal is 0 to 1 and may raise the score by at most its weight, in what is left to 1: score = 1 − Π(1 − weight ×
 * signal). So more of anything never makes a prompt easier, none alone makes it hard, and the order of the signals does not
 * matter.
 *
 * | signal       | weight | grows with, is whole at                                   |
 * | ------------ | ------ | --------------------------------------------------------- |
 * | length       | 0.35   | words of the text, by logarithm: 12 → 0, 1,500 → 1        |
 * | questions    | 0.15   | question marks beyond the first; 4 → 1                    |
 * | reasoning    | 0.50   | words such as why, prove, compare, trade-off; 4 → 1       |
 * | code         | 0.35   | keywords, braces, fences; 12 → 1                          |
 * | mathematics  | 0.40   | operators between operands, LaTeX, its words; 8 → 1       |
 * | steps        | 0.30   | list items and words such as then, finally; 6 → 1         |
 * | conversation | 0.15   | turns beyond the second; 12 → 1                           |
 * | tools        | 0.25   | tools that the model may call; 8 → 1                      |
 */
export interface ComplexityShape {
  readonly turnCount: number
  readonly toolCount: number
}

export function estimateComplexity(signs: TextSigns, shape: ComplexityShape): number {
  let easy = 1
  for (const { weight, signal } of complexitySignals) easy *= 1 - weight * signal(signs, shape)
  return 1 - easy
}

export interface ComplexitySignal {
  readonly name: string
  readonly weight: number
  /** 0..1, never falling as its sign grows. */
  readonly signal: (signs: TextSigns, shape: ComplexityShape) => number
}

export const complexitySignals: readonly ComplexitySignal[] = Object.freeze([
  { name: 'length', weight: 0.35, signal: ({ wordCount }) => byLogarithm(wordCount, 12, 1_500) },
  { name: 'questions', weight: 0.15, signal: ({ questionCount }) => share(questionCount - 1, 3) },
  { name: 'reasoning', weight: 0.5, signal: ({ reasoningCount }) => share(reasoningCount, 4) },
  { name: 'code', weight: 0.35, signal: ({ codeCount }) => share(codeCount, 12) },
  { name: 'mathematics', weight: 0.4, signal: ({ mathCount }) => share(mathCount, 8) },
  { name: 'steps', weight: 0.3, signal: ({ stepCount }) => share(stepCount, 6) },
  { name: 'conversation', weight: 0.15, signal: (_, { turnCount }) => share(turnCount - 2, 10) },
  { name: 'tools', weight: 0.25, signal: (_, { toolCount }) => share(toolCount, 8) },
] as const satisfies readonly ComplexitySignal[])

function share(count: number, whole: number): number {
  return count <= 0 ? 0 : count >= whole ? 1 : count / whole
}

function byLogarithm(count: number, from: number, to: number): number {
  return count <= from ? 0 : count >= to ? 1 : Math.log(count / from) / Math.log(to / from)
}
