import type { Reasoning } from './conversation.js'

/** Whether the client asked for thinking. Not to think is what models do anyhow that cannot be told how much. */
export function wantsThought(reasoning: Reasoning | null): boolean {
  return reasoning !== null && reasoning.effort !== 'none' && reasoning.budgetTokens !== 0
}
