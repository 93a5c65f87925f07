import type { TargetTable } from '../../../../proto/policy/tables.js'
import type { AnswerFormat, Conversation, Tool } from '../../conversation/conversation.js'
import type { Losses } from '../../conversation/losses.js'
import type { UsageDepth } from '../provider-dialect.js'
import { generationOf } from './gemini-generation.js'
import { thinkingConfigOf } from './thinking.js'
import { contentsOf, textParts } from './write-contents.js'
import { writeSchema } from './write-schema.js'

/**
 * A conversation as the body of `generateContent`. Source: Vertex AI's REST reference (v1),
 * `projects.locations.publishers.models.generateContent`, and Google Cloud's documentation, "Generate content with the
 * Gemini API". Never asks for more than one candidate.
 */
const stopsMax = 5
const int32Max = 2 ** 31 - 1
/** What function names look like to it. */
const functionName = /^[A-Za-z_][A-Za-z0-9_.-]{0,63}$/

export function writeContentRequest(
  conversation: Conversation,
  target: TargetTable,
  _depth: UsageDepth,
  losses: Losses,
): Buffer {
  const generation = generationOf(target.upstreamModel)
  const [first] = conversation.turns
  if (first?.role === 'assistant' && first.parts.some(({ type }) => type === 'tool_call')) {
    losses.content(first.at, 'a function is called in answer to a user for it')
  }
  // Labels are for Google's bills: an end user's id has no place there.
  if (conversation.user !== null) losses.hint(conversation.names.user)
  const config = {
    ...samplingOf(conversation, losses),
    ...formatOf(conversation, generation, losses),
    ...thinkingConfigOf(conversation, target, losses),
  }
  return Buffer.from(
    JSON.stringify({
      contents: contentsOf(conversation, generation, losses),
      ...systemOf(conversation, losses),
      ...toolsOf(conversation, losses),
      ...(Object.keys(config).length === 0 ? {} : { generationConfig: config }),
    }),
  )
}

function systemOf({ system, turns }: Conversation, losses: Losses): object {
  const later = turns.filter((turn) => turn.role === 'system')
  for (const { at } of later)
    losses.setting(at, 'its instructions stand before the conversation; moved to the beginning')
  const parts = textParts([...system, ...later.flatMap(({ parts }) => parts)])
  return parts.length === 0 ? {} : { systemInstruction: { parts } }
}

function samplingOf({ settings, names }: Conversation, losses: Losses): object {
  const { outputTokensMax, temperature, topP, topK, stop, seed, logprobs } = settings
  if (stop.length > stopsMax) losses.setting(names.stop, `it takes at most ${stopsMax}`)
  if (outputTokensMax === 0) losses.setting(names.outputTokensMax, 'its least is 1')
  const fitsSeed = seed !== null && seed >= -int32Max - 1 && seed <= int32Max
  if (seed !== null && !fitsSeed) losses.setting(names.seed, 'its seeds have 32 bits')
  return {
    ...(outputTokensMax === null ? {} : { maxOutputTokens: Math.max(1, outputTokensMax) }),
    ...(temperature === null ? {} : { temperature }),
    ...(topP === null ? {} : { topP }),
    // vLLM's -1 and its 0 mean all of them, as leaving it out does.
    ...(topK === null || topK <= 0 ? {} : { topK }),
    ...(stop.length === 0 ? {} : { stopSequences: stop.slice(0, stopsMax) }),
    ...(fitsSeed ? { seed } : {}),
    ...penaltyOf('frequencyPenalty', settings.frequencyPenalty, names.frequencyPenalty, losses),
    ...penaltyOf('presencePenalty', settings.presencePenalty, names.presencePenalty, losses),
    ...(logprobs === null ? {} : { responseLogprobs: true, ...(logprobs === 0 ? {} : { logprobs }) }),
  }
}

/** 0 is what leaving it out means; not every model knows the member. */
function penaltyOf(member: string, penalty: number | null, field: string, losses: Losses): object {
  if (penalty === null || penalty === 0) return {}
  if (penalty >= 2) losses.setting(field, 'its highest is below 2')
  return { [member]: Math.min(1.99, penalty) }
}

function formatOf(conversation: Conversation, generation: number, losses: Losses): object {
  const { answerFormat, tools, names } = conversation
  if (answerFormat === null) return {}
  if (tools.length > 0 && generation < 3) {
    losses.content(names.answerFormat, 'before Gemini 3, JSON cannot be asked for beside tools')
  }
  return { responseMimeType: 'application/json', ...schemaOf(answerFormat, names.answerFormat, losses) }
}

function schemaOf(format: AnswerFormat, field: string, losses: Losses): object {
  if (format.type === 'json') return {}
  const { description, strict } = format
  const { schema, passedOver } = writeSchema(format.schema)
  if (strict === true && passedOver !== null) losses.setting(field, `it holds no answer to '${passedOver}'`)
  return { responseJsonSchema: { ...(description === null ? {} : { description }), ...schema } }
}

function toolsOf(conversation: Conversation, losses: Losses): object {
  const { tools, parallelToolCalls, names } = conversation
  if (tools.length === 0) return {}
  if (parallelToolCalls === false)
    losses.setting(names.parallelToolCalls, 'it calls as many tools at a time as it likes')
  const config = functionCallingConfigOf(conversation)
  return {
    tools: [{ functionDeclarations: tools.map((tool) => declarationOf(tool, losses)) }],
    ...(config === null ? {} : { toolConfig: { functionCallingConfig: config } }),
  }
}

function functionCallingConfigOf({ tools, toolChoice }: Conversation): object | null {
  switch (toolChoice?.type) {
    case 'tool':
      return { mode: 'ANY', allowedFunctionNames: [toolChoice.name] }
    case 'required':
      return { mode: 'ANY' }
    case 'none':
      return { mode: 'NONE' }
    default:
      // Only VALIDATED guarantees that arguments fit where the model may also just talk.
      if (tools.some(({ strict }) => strict === true)) return { mode: 'VALIDATED' }
      return toolChoice === null ? null : { mode: 'AUTO' }
  }
}

function declarationOf({ at, name, description, parameters, strict }: Tool, losses: Losses): object {
  if (!functionName.test(name)) {
    losses.content(
      at,
      'its function names begin with a letter or _ and have at most 64 characters of A-Z a-z 0-9 _ . -',
    )
  }
  const written = parameters === null ? null : writeSchema(parameters)
  if (strict === true && written !== null && written.passedOver !== null) {
    losses.setting(at, `it holds no arguments to '${written.passedOver}'`)
  }
  return {
    name,
    ...(description === null ? {} : { description }),
    ...(written === null ? {} : { parametersJsonSchema: written.schema }),
  }
}
