import type { TargetTable } from '../../../../proto/policy/tables.js'
import type { Conversation, Tool, Turn } from '../../conversation/conversation.js'
import type { Losses } from '../../conversation/losses.js'
import { wantsThought } from '../../conversation/wants-thought.js'
import { writeChatRequest } from '../openai/write-request.js'
import type { UsageDepth } from '../provider-dialect.js'
import { isUndated, knows } from './api-version.js'

/**
 * A conversation as OpenAI's request, without what the provider's API version does not know yet. Sources: Microsoft's
 * documentation, "Azure OpenAI API version lifecycle", and the references of the versions 2024-10-21 (which has no `file`
 * parts) and v1.
 */
export function writeAzureRequest(
  conversation: Conversation,
  target: TargetTable,
  depth: UsageDepth,
  losses: Losses,
): Buffer {
  const { apiVersion } = target.provider
  const { settings } = conversation
  const known = knownTo(apiVersion, conversation, losses)
  if (settings.outputTokensMax === null || knows(apiVersion, 'completionTokens')) {
    return writeChatRequest(known, target, depth, losses)
  }
  const rest = writeChatRequest({ ...known, settings: { ...settings, outputTokensMax: null } }, target, depth, losses)
  // The older name, as a new first member: the rest is an object that is never empty.
  return Buffer.concat([Buffer.from(`{"max_tokens":${settings.outputTokensMax},`), rest.subarray(1)])
}

function knownTo(apiVersion: string, conversation: Conversation, losses: Losses): Conversation {
  const { names, answerFormat, parallelToolCalls, reasoning } = conversation
  const reason = `API version ${apiVersion} does not know it`
  const hasSchemas = knows(apiVersion, 'structuredOutputs')
  const hasParallel = knows(apiVersion, 'parallelToolCalls')
  const hasReasoning = knows(apiVersion, 'reasoningEffort')
  if (!hasSchemas && answerFormat?.type === 'schema') losses.content(names.answerFormat, reason)
  if (!hasParallel && parallelToolCalls === false) losses.setting(names.parallelToolCalls, reason)
  if (!hasReasoning && wantsThought(reasoning)) losses.setting(names.reasoning, reason)
  return {
    ...conversation,
    turns: isUndated(apiVersion) ? conversation.turns : conversation.turns.map((turn) => withoutFiles(turn, losses)),
    tools: hasSchemas ? conversation.tools : conversation.tools.map((tool) => withoutStrict(tool, reason, losses)),
    answerFormat: !hasSchemas && answerFormat?.type === 'schema' ? null : answerFormat,
    parallelToolCalls: hasParallel ? parallelToolCalls : null,
    reasoning: hasReasoning ? reasoning : null,
  }
}

function withoutFiles(turn: Turn, losses: Losses): Turn {
  if (turn.role !== 'user') return turn
  const files = turn.parts.filter((part) => part.type === 'document')
  for (const file of files) losses.content(file.at, 'only API version v1 takes documents')
  return files.length === 0 ? turn : { ...turn, parts: turn.parts.filter((part) => part.type !== 'document') }
}

function withoutStrict(tool: Tool, reason: string, losses: Losses): Tool {
  if (tool.strict === true) losses.setting(`${tool.at}.strict`, reason)
  return { ...tool, strict: null }
}
