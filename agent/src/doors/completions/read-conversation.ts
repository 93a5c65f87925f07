import type { Refusal } from '../../../../proto/std/refusal.js'
import type { Conversation, FieldNames, Settings } from '../../conversation/conversation.js'
import { type FieldRefusalCode, Fields, readStrictly } from '../../conversation/fields.js'
import { Losses } from '../../conversation/losses.js'
import type { RequestBody } from '../../providers/provider-dialect.js'

/**
 * A completion request's body as a conversation of one turn: what a user says, instead of a text that is continued. Source:
 * OpenAI's API reference, "Create completion (Legacy)".
 */
const completionFieldNames: FieldNames = Object.freeze({
  // This API has no word for these, so nobody can have given them.
  system: 'prompt',
  tools: 'tools',
  toolChoice: 'tool_choice',
  parallelToolCalls: 'parallel_tool_calls',
  answerFormat: 'response_format',
  topK: 'top_k',
  reasoning: 'reasoning_effort',
  outputTokensMax: 'max_tokens',
  temperature: 'temperature',
  topP: 'top_p',
  stop: 'stop',
  seed: 'seed',
  frequencyPenalty: 'frequency_penalty',
  presencePenalty: 'presence_penalty',
  logprobs: 'logprobs',
  user: 'user',
})

/** What a completion has where nobody gives a limit, at OpenAI and at vLLM. */
const outputTokensDefault = 16

export function readCompletionConversation(body: RequestBody): Conversation | Refusal<FieldRefusalCode> {
  return readStrictly(() => read(new Fields(body.fields, '')))
}

function read(fields: Fields): Conversation {
  const losses = new Losses()
  const text = readPrompt(fields, losses)
  if (text === '') throw fields.invalid('prompt', 'it is empty')
  if (fields.has('suffix')) losses.content('suffix', 'it continues a text, and does not fill a gap')
  fields.skip('suffix')
  if (fields.boolean('echo') === true) losses.content('echo', 'it answers without repeating what it was asked')
  for (const name of ['n', 'best_of']) {
    if ((fields.integer(name, 1) ?? 1) > 1) losses.content(name, 'it gives one answer at a time')
  }
  const bias = fields.json('logit_bias')
  if (bias !== null && Object.keys(bias).length > 0) losses.setting('logit_bias')
  const conversation = {
    system: [],
    turns: [{ role: 'user' as const, at: 'prompt', parts: [{ type: 'text' as const, at: 'prompt', text }] }],
    tools: [],
    toolChoice: null,
    parallelToolCalls: null,
    answerFormat: null,
    settings: readSettings(fields),
    reasoning: null,
    user: fields.text('user'),
    stream: fields.boolean('stream') ?? false,
    names: completionFieldNames,
  }
  fields.skip('model', 'stream_options')
  fields.loseUnread(losses)
  return { ...conversation, losses: losses.all }
}

/** The one text; where there is none, something that stands for it, and a loss. */
function readPrompt(fields: Fields, losses: Losses): string {
  if (fields.isText('prompt')) return fields.text('prompt') ?? ''
  const [first, second] = fields.array('prompt')
  if (typeof first !== 'string') losses.content('prompt', 'tokens are those of one model')
  else if (second !== undefined) losses.content('prompt', 'it takes one text at a time')
  return typeof first === 'string' ? first : 'tokens'
}

function readSettings(fields: Fields): Settings {
  return {
    outputTokensMax: fields.integer('max_tokens', 1) ?? outputTokensDefault,
    temperature: fields.number('temperature', 0, 2),
    topP: fields.number('top_p', 0, 1),
    topK: fields.integer('top_k', -1),
    stop: fields.isText('stop') ? [fields.requiredText('stop')] : fields.texts('stop'),
    seed: fields.integer('seed', Number.MIN_SAFE_INTEGER),
    frequencyPenalty: fields.number('frequency_penalty', -2, 2),
    presencePenalty: fields.number('presence_penalty', -2, 2),
    logprobs: fields.integer('logprobs', 0, 20),
  }
}
