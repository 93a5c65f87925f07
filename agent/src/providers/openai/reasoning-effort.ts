import { effortOfBudget, type Reasoning, type ReasoningEffort } from '../../conversation/conversation.js'

/**
 * How much to think, as `reasoning_effort`. Every model that has it takes low, medium and high; the words beyond are refused
 * by those that do not know them, so they go to those only that are known to. Sources: OpenAI's API reference, "Create chat
 * completion", `reasoning_effort`, and the pages of its models; vLLM's and Ollama's documentation of the same member.
 */
const takeNone = /(?:^|\/)gpt-(?:5\.[1-9]|[6-9](?!\d))(?!.*-(?:pro|codex|chat))/
const takeMinimal = /(?:^|\/)gpt-5(?:-mini|-nano)?(?:-\d{4}-\d{2}-\d{2})?$/
const takeXhigh = /(?:^|\/)gpt-(?:5\.1-codex-max|5\.[2-9]|[6-9](?!\d))(?!.*-chat)/

/** Null: nothing is to be said, because nothing was, or because the model has no word for not thinking. */
export function effortFor(reasoning: Reasoning | null, upstreamModel: string): ReasoningEffort | null {
  if (reasoning === null) return null
  const effort = reasoning.effort ?? (reasoning.budgetTokens === null ? null : effortOfBudget(reasoning.budgetTokens))
  switch (effort) {
    case 'none':
      return takeNone.test(upstreamModel) ? effort : null
    case 'minimal':
      return takeMinimal.test(upstreamModel) ? effort : 'low'
    case 'xhigh':
    case 'max':
      return takeXhigh.test(upstreamModel) ? 'xhigh' : 'high'
    default:
      return effort
  }
}
