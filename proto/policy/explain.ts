import { isRefusal, type Refusal } from '../std/refusal.js'
import type { Choice, ChoiceRefusalCode, Exclusion } from './choose-target.js'

const reasonWords: Readonly<Record<Exclusion['reason'], string>> = {
  capability_missing: 'its model does not serve this operation',
  region_not_permitted: "its provider's region is not permitted in this environment",
}

/** A choice in words, one sentence per line, for a person who asks why. Same input, same lines. */
export function explainChoice(choice: Choice | Refusal<ChoiceRefusalCode>): readonly string[] {
  if (isRefusal(choice)) return [choice.message]
  return [
    `route ${choice.route.name}: rule ${choice.ruleId} applies`,
    ...choice.excluded.map((one) => `target ${one.target.id} is left out: ${reasonWords[one.reason]}`),
    ...choice.targets.map((target, index) => {
      const { connectMs, firstTokenMs, idleMs, totalMs } = target.deadlines
      return (
        `hop ${index + 1}: ${target.upstreamModel} at ${target.provider.name} ` +
        `(connect ${connectMs} ms, first token ${firstTokenMs} ms, idle ${idleMs} ms, total ${totalMs} ms)`
      )
    }),
    `all hops together: ${choice.route.totalTimeoutMs} ms`,
  ]
}
