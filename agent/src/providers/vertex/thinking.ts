import type { TargetTable } from '../../../../proto/policy/tables.js'
import {
  budgetOfEffort,
  type Conversation,
  effortOfBudget,
  type Reasoning,
  type ReasoningEffort,
} from '../../conversation/conversation.js'
import type { Losses } from '../../conversation/losses.js'
import { generationOf } from './gemini-generation.js'

/**
 * How much a model is to think, in the measure that it knows: none before 2.5, tokens in 2.5, levels from 3 on, where the
 * two measures exclude each other. Who asks for thinking is shown it. Source: Google Cloud's documentation, "Thinking".
 */
export function thinkingConfigOf({ reasoning, names }: Conversation, target: TargetTable, losses: Losses): object {
  if (reasoning === null || (reasoning.effort === null && reasoning.budgetTokens === null)) return {}
  const generation = generationOf(target.upstreamModel)
  const isOff = reasoning.effort === 'none' || (reasoning.effort === null && reasoning.budgetTokens === 0)
  if (generation < 2.5) {
    if (!isOff) losses.setting(names.reasoning, 'models before Gemini 2.5 do not think')
    return {}
  }
  if (isOff && !canBeOff(target.upstreamModel)) losses.setting(names.reasoning, 'this model always thinks')
  const amount =
    generation < 3
      ? { thinkingBudget: budgetFor(reasoning, isOff, target.upstreamModel) }
      : { thinkingLevel: levelFor(reasoning, target.upstreamModel) }
  return { thinkingConfig: { ...amount, ...(isOff ? {} : { includeThoughts: true }) } }
}

/** Of the thinking models only the smaller ones of 2.5. */
function canBeOff(upstreamModel: string): boolean {
  return generationOf(upstreamModel) < 3 && !isPro(upstreamModel)
}

function isPro(upstreamModel: string): boolean {
  return upstreamModel.includes('-pro')
}

function budgetFor({ effort, budgetTokens }: Reasoning, isOff: boolean, upstreamModel: string): number {
  if (isOff && !isPro(upstreamModel)) return 0
  const { min, max } = budgetsOf(upstreamModel)
  return Math.min(max, Math.max(min, budgetTokens ?? budgetOfEffort(effort ?? 'medium')))
}

function budgetsOf(upstreamModel: string): { readonly min: number; readonly max: number } {
  if (isPro(upstreamModel)) return { min: 128, max: 32_768 }
  return { min: upstreamModel.includes('-flash-lite') ? 512 : 1, max: 24_576 }
}

/** The Flash models up to 3.6; every other one has LOW for its least. */
const hasMinimal = /gemini-3(?:\.[0-6])?-flash/

function levelFor({ effort, budgetTokens }: Reasoning, upstreamModel: string): string {
  const words: ReasoningEffort = effort ?? effortOfBudget(budgetTokens ?? 0)
  switch (words) {
    case 'none':
    case 'minimal':
      return hasMinimal.test(upstreamModel) ? 'MINIMAL' : 'LOW'
    case 'low':
      return 'LOW'
    case 'medium':
      return 'MEDIUM'
    default:
      return 'HIGH'
  }
}
