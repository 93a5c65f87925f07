import type { TargetTable } from '../../../../proto/policy/tables.js'
import type { Conversation } from '../../conversation/conversation.js'
import type { Losses } from '../../conversation/losses.js'
import { thinkingOf } from '../anthropic/thinking.js'
import type { UsageDepth } from '../provider-dialect.js'
import { featuresOf, type ModelFeatures } from './model-features.js'
import { toolConfigOf } from './tool-config.js'
import { writeTurns } from './write-messages.js'

/**
 * A conversation as a Converse request's body; ConverseStream takes the same. What only Claude has goes where Converse has
 * a place for what one model has. Source: AWS's Bedrock API reference, "Converse"; user guide, "Anthropic Claude Messages
 * API" for `top_k`, `thinking` and `stop_sequence`.
 */
export function writeConverseRequest(
  conversation: Conversation,
  target: TargetTable,
  _depth: UsageDepth,
  losses: Losses,
): Buffer {
  const features = featuresOf(target)
  const { settings, names } = conversation
  for (const [value, name] of [
    [settings.seed, names.seed],
    [settings.logprobs, names.logprobs],
    [settings.frequencyPenalty || null, names.frequencyPenalty],
    [settings.presencePenalty || null, names.presencePenalty],
  ] as const) {
    if (value !== null) losses.setting(name)
  }
  const { system, messages } = writeTurns(conversation, features, losses)
  const thinking = thinkingFor(conversation, target, features, losses)
  const sampling = samplingOf(conversation, features, thinking.thinks, losses)
  const stopSequences = stopsOf(conversation, features, losses)
  return Buffer.from(
    JSON.stringify({
      messages,
      ...(system.length === 0 ? {} : { system }),
      ...filled('inferenceConfig', {
        // Left out, it is as much as the model can, thinking included.
        ...(settings.outputTokensMax === null ? {} : { maxTokens: settings.outputTokensMax }),
        ...sampling.common,
        ...(stopSequences.length === 0 ? {} : { stopSequences }),
      }),
      ...toolConfigOf(conversation, features, thinking.thinks, losses),
      ...filled('additionalModelRequestFields', { ...sampling.own, ...thinking.members }),
      // Converse itself does not tell which one it was.
      ...(features.isClaude && stopSequences.length > 0
        ? { additionalModelResponseFieldPaths: ['/stop_sequence'] }
        : {}),
      ...metadataOf(conversation, losses),
      ...filled('outputConfig', {
        ...textFormatOf(conversation, features),
        ...(thinking.effort === null ? {} : { effort: thinking.effort }),
      }),
    }),
  )
}

/** The member, or none where it would be empty. */
function filled(name: string, members: object): object {
  return Object.keys(members).length === 0 ? {} : { [name]: members }
}

interface ClaudeThinking {
  readonly thinks: boolean
  readonly members: object
  readonly effort: string | null
}

const silent: ClaudeThinking = Object.freeze({ thinks: false, members: Object.freeze({}), effort: null })

function thinkingFor(
  conversation: Conversation,
  target: TargetTable,
  { isClaude, modelId }: ModelFeatures,
  losses: Losses,
): ClaudeThinking {
  const { reasoning, names } = conversation
  if (isClaude) return thinkingOf(conversation, { ...target, upstreamModel: modelId }, losses)
  const isWanted =
    reasoning !== null && reasoning.effort !== 'none' && (reasoning.effort ?? reasoning.budgetTokens) !== null
  if (isWanted) losses.setting(names.reasoning, 'only Claude can be told here how much to think')
  return silent
}

/** In words that all models have, and in Claude's own. */
function samplingOf(
  { settings, names }: Conversation,
  { isClaude, takesSampling, takesOneSampling }: ModelFeatures,
  thinks: boolean,
  losses: Losses,
): { readonly common: object; readonly own: object } {
  const { temperature, topP } = settings
  // vLLM's -1 and its 0 mean all of them, as leaving it out does.
  const topK = settings.topK === null || settings.topK <= 0 ? null : settings.topK
  if (isClaude && (thinks || !takesSampling)) {
    const reason = thinks ? 'it cannot be set while the model thinks' : 'newer models have no such setting'
    // 1 is what leaving it out means.
    if (temperature !== null && temperature !== 1) losses.setting(names.temperature, reason)
    if (topP !== null && topP !== 1) losses.setting(names.topP, reason)
    if (topK !== null) losses.setting(names.topK, reason)
    return { common: {}, own: {} }
  }
  if (temperature !== null && temperature > 1) losses.setting(names.temperature, 'its highest is 1')
  if (topK !== null && !isClaude) losses.setting(names.topK, 'only Claude has it here')
  // OpenAI's clients like to send defaults; 1 is what leaving either out means to Claude.
  const isSent = (value: number | null): value is number => value !== null && !(isClaude && value === 1)
  const isEither = takesOneSampling && isSent(temperature) && isSent(topP)
  if (isEither) losses.setting(names.topP, 'this model takes no temperature beside it')
  return {
    common: {
      ...(isSent(temperature) ? { temperature: Math.min(1, temperature) } : {}),
      ...(isSent(topP) && !isEither ? { topP } : {}),
    },
    own: topK !== null && isClaude ? { top_k: topK } : {},
  }
}

function stopsOf({ settings, names }: Conversation, { isClaude }: ModelFeatures, losses: Losses): readonly string[] {
  if (!isClaude) return settings.stop
  const stops = settings.stop.filter((stop) => stop.trim() !== '')
  if (stops.length < settings.stop.length) losses.setting(names.stop, 'a stop sequence of white space is none for it')
  return stops
}

/** What Bedrock takes as a value of `requestMetadata`, which stands in its logs of invocations beside the request. */
const metadataPattern = /^[a-zA-Z0-9\s:_@$#=/+,\-.]{1,256}$/

function metadataOf({ user, names }: Conversation, losses: Losses): object {
  if (user === null) return {}
  if (metadataPattern.test(user)) return { requestMetadata: { user } }
  losses.hint(names.user)
  return {}
}

function textFormatOf({ answerFormat }: Conversation, { takesSchemas }: ModelFeatures): object {
  if (answerFormat?.type !== 'schema' || !takesSchemas) return {}
  const { name, description, schema } = answerFormat
  const jsonSchema = { schema: JSON.stringify(schema), name, ...(description ? { description } : {}) }
  return { textFormat: { type: 'json_schema', structure: { jsonSchema } } }
}
