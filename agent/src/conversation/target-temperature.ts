import type { TargetTable } from '../../../proto/policy/tables.js'
import type { Conversation } from './conversation.js'
import { isJsonObject, type JsonObject } from './json-object.js'
import { wantsThought } from './wants-thought.js'

/** Whether a target's own temperature is sent, and with which temperature a request therefore goes. */

/** On the client's own wire. Anthropic refuses one to a model that thinks, and beside `top_p`. */
export function takesTemperature(fields: JsonObject, operation: string): boolean {
  if (isGiven(fields['temperature'])) return false
  if (operation !== 'messages') return true
  const { thinking } = fields
  return !isGiven(fields['top_p']) && !(isJsonObject(thinking) && thinking['type'] !== 'disabled')
}

/**
 * On another wire: whether the client left it to the target how freely to choose words. Who gave a `top_p` has said so
 * already, and some models refuse both; 1 says nothing. Claude refuses a temperature while it thinks.
 */
export function leavesTemperature({ settings, reasoning }: Conversation, target: TargetTable): boolean {
  if (settings.topP !== null && settings.topP !== 1) return false
  return !(isClaude(target) && wantsThought(reasoning))
}

function isClaude({ provider, upstreamModel, model }: TargetTable): boolean {
  return provider.kind === 'anthropic' || /claude/.test(upstreamModel + model.upstreamModel)
}

const wordedOperations: ReadonlySet<string> = new Set(['chat_completions', 'completions', 'responses', 'messages'])
/** Members with which some door asks for thinking. */
const thoughtFields = ['thinking', 'reasoning', 'reasoning_effort', 'output_config'] as const

/**
 * The temperature that a body goes to `target` with: the client's own, else the target's where it is sent on the client's
 * wire as well as on any other. Null: the vendor's own, or it depends on what only a translation reads; whoever counts on a
 * temperature of 0 must not take it for one.
 */
export function effectiveTemperature(
  { temperature: asked, fields }: { readonly temperature: number | null; readonly fields: JsonObject },
  operation: string,
  target: TargetTable,
): number | null {
  if (asked !== null) return asked
  const { temperature } = target.parameters
  if (temperature === null || !wordedOperations.has(operation) || !takesTemperature(fields, operation)) return null
  const topP = fields['top_p']
  if (isGiven(topP) && topP !== 1) return null
  return isClaude(target) && thoughtFields.some((name) => isGiven(fields[name])) ? null : temperature
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null
}
