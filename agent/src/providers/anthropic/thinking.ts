import type { TargetTable } from '../../../../proto/policy/tables.js'
import {
  budgetOfEffort,
  type Conversation,
  effortOfBudget,
  type Reasoning,
  type ReasoningPart,
} from '../../conversation/conversation.js'
import type { Losses } from '../../conversation/losses.js'

/**
 * How much a model is to think, in the form that it knows, and the limit of tokens that thinking counts against. Source:
 * Anthropic's documentation, "Extended thinking", "Adaptive thinking" and "Effort".
 */
export interface Thinking {
  readonly thinks: boolean
  readonly members: object
  /** For `output_config`. */
  readonly effort: string | null
  readonly outputTokensMax: number
}

/** Sent where neither the client nor the model's registry entry gives a limit: the least that any model of theirs allows. */
export const outputTokensMaxDefault = 4_096
/** The least that Anthropic takes. */
const budgetTokensMin = 1_024
/** Models up to 4.5 count tokens; later ones decide by themselves and take an effort. */
const countsTokens = /claude-(?:3|(?:opus|sonnet|haiku)-4(?:-[0-5])?(?:$|[-@]\d{8}))/

export function thinkingOf(conversation: Conversation, target: TargetTable, losses: Losses): Thinking {
  const { reasoning, settings, names } = conversation
  const modelMax = target.model.outputTokensMax
  const outputTokensMax = settings.outputTokensMax ?? modelMax ?? outputTokensMaxDefault
  const silent: Thinking = { thinks: false, members: {}, effort: null, outputTokensMax }
  if (reasoning === null) return silent
  if (reasoning.effort === 'none' || (reasoning.effort === null && reasoning.budgetTokens === null)) {
    return reasoning.effort === 'none' ? { ...silent, members: { thinking: { type: 'disabled' } } } : silent
  }
  const obstacle = obstacleOf(conversation)
  if (obstacle !== null) {
    losses.setting(names.reasoning, obstacle)
    return silent
  }
  if (!countsTokens.test(target.upstreamModel)) {
    return { thinks: true, members: { thinking: { type: 'adaptive' } }, effort: effortFor(reasoning), outputTokensMax }
  }
  const wanted = Math.max(budgetTokensMin, reasoning.budgetTokens ?? budgetOfEffort(reasoning.effort ?? 'medium'))
  // Thinking counts against the limit: one that the client did not set makes room for it.
  const limit = settings.outputTokensMax ?? Math.min(modelMax ?? Number.POSITIVE_INFINITY, wanted + outputTokensMax)
  const budget = Math.min(wanted, limit - 1)
  if (budget < budgetTokensMin) {
    losses.setting(names.reasoning, `it needs ${names.outputTokensMax} above ${budgetTokensMin}`)
    return silent
  }
  return {
    thinks: true,
    members: { thinking: { type: 'enabled', budget_tokens: budget } },
    effort: null,
    outputTokensMax: limit,
  }
}

function effortFor({ effort, budgetTokens }: Reasoning): string {
  const words = effort ?? effortOfBudget(budgetTokens ?? 0)
  return words === 'minimal' || words === 'none' ? 'low' : words
}

/** Why it would refuse to think here; null when nothing stands in the way. */
function obstacleOf({ toolChoice, turns }: Conversation): string | null {
  if (toolChoice?.type === 'required' || toolChoice?.type === 'tool') {
    return 'it does not think where a tool call is required'
  }
  // After a tool's result it wants to see its own signed thoughts from before the call, which only its own clients keep.
  const called = turns.findLast((turn) => turn.role === 'assistant')
  if (called?.role !== 'assistant' || !called.parts.some(({ type }) => type === 'tool_call')) return null
  const wasSigned = called.parts.some((part) => part.type === 'reasoning' && (part.redacted !== null || isSigned(part)))
  return wasSigned ? null : 'it thinks on after a tool’s result only with its thoughts from before'
}

/** Signed by its own models. Signatures are base64; with a colon they are another vendor's, under its name. */
export function isSigned({ signature }: ReasoningPart): boolean {
  return signature !== null && signature !== '' && !signature.includes(':')
}
