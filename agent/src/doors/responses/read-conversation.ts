import type { Refusal } from '../../../../proto/std/refusal.js'
import {
  type AnswerFormat,
  type Conversation,
  type FieldNames,
  type Reasoning,
  reasoningEfforts,
  type Settings,
} from '../../conversation/conversation.js'
import { type FieldRefusalCode, Fields, readStrictly } from '../../conversation/fields.js'
import { Losses } from '../../conversation/losses.js'
import type { RequestBody } from '../../providers/provider-dialect.js'
import { readInput } from './read-input.js'
import { readTools } from './read-tools.js'

/** A response request's body as a conversation. Source: OpenAI's API reference, "Create a model response". */
const responseFieldNames: FieldNames = Object.freeze({
  system: 'instructions',
  tools: 'tools',
  toolChoice: 'tool_choice',
  parallelToolCalls: 'parallel_tool_calls',
  answerFormat: 'text.format',
  outputTokensMax: 'max_output_tokens',
  temperature: 'temperature',
  topP: 'top_p',
  // The Responses API has no word for these, so nobody can have given them.
  topK: 'top_k',
  stop: 'stop',
  seed: 'seed',
  frequencyPenalty: 'frequency_penalty',
  presencePenalty: 'presence_penalty',
  logprobs: 'top_logprobs',
  reasoning: 'reasoning.effort',
  user: 'user',
})

/** Change nothing of an answer: who pays how, what is cached, how often OpenAI's own tools may run (none do). */
const hints = [
  ...['service_tier', 'prompt_cache_key', 'prompt_cache_retention', 'prompt_cache_options', 'max_tool_calls', 'image'],
] as const

export function readResponseConversation(body: RequestBody): Conversation | Refusal<FieldRefusalCode> {
  return readStrictly(() => read(new Fields(body.fields, '')))
}

function read(fields: Fields): Conversation {
  const losses = new Losses()
  const { system, turns } = readInput(fields, losses)
  if (turns.isEmpty) throw fields.invalid('input', 'it needs a message of a user or an assistant, or what a tool gave')
  for (const name of hints) {
    if (fields.has(name)) losses.hint(name)
    fields.skip(name)
  }
  // A check that somebody asked for is not left out.
  if (fields.has('moderation')) losses.content('moderation')
  fields.skip('moderation')
  if (fields.option('truncation', ['auto', 'disabled']) === 'auto') losses.setting('truncation')
  readStreamOptions(fields, losses)
  // Stands in the answer again, and nobody keeps it.
  fields.json('metadata')
  const safetyIdentifier = fields.text('safety_identifier')
  const text = fields.object('text')
  const conversation = {
    system,
    turns: turns.finish(),
    ...readTools(fields, losses),
    parallelToolCalls: fields.boolean('parallel_tool_calls'),
    answerFormat: readAnswerFormat(text),
    settings: readSettings(fields, losses),
    reasoning: readReasoning(fields, losses),
    user: fields.text('user') ?? safetyIdentifier,
    stream: fields.boolean('stream') ?? false,
    names: namesOf(fields),
  }
  const verbosity = text?.option('verbosity', ['low', 'medium', 'high']) ?? null
  if (verbosity === 'low' || verbosity === 'high') losses.setting('text.verbosity')
  // Those that ask for memory were refused where they do.
  fields.skip('model', 'background', 'store')
  fields.loseUnread(losses)
  return { ...conversation, losses: losses.all }
}

/** Two members have two names each: what is refused is named as it was given. */
function namesOf(fields: Fields): FieldNames {
  return {
    ...responseFieldNames,
    logprobs: fields.has('top_logprobs') ? 'top_logprobs' : 'include',
    user: fields.has('user') ? 'user' : 'safety_identifier',
  }
}

function readStreamOptions(fields: Fields, losses: Losses): void {
  const options = fields.object('stream_options')
  if (options?.boolean('include_obfuscation') === true) losses.hint('stream_options.include_obfuscation')
}

function readAnswerFormat(text: Fields | null): AnswerFormat | null {
  const format = text?.object('format') ?? null
  if (format === null) return null
  switch (format.option('type', ['text', 'json_object', 'json_schema'])) {
    case 'json_object':
      return { type: 'json' }
    case 'json_schema': {
      const name = format.requiredText('name')
      const description = format.text('description')
      const schema = format.json('schema')
      const strict = format.boolean('strict')
      if (schema === null) throw format.invalid('schema', 'expected an object')
      return { type: 'schema', name, description, schema, strict }
    }
    default:
      return null
  }
}

function readSettings(fields: Fields, losses: Losses): Settings {
  const include = fields.texts('include')
  // What is left is about tools that run at OpenAI, and about thoughts, which are always given back.
  const others = include.filter((name) => name !== 'message.output_text.logprobs' && !name.startsWith('reasoning.'))
  if (others.length > 0) losses.hint('include')
  const top = fields.integer('top_logprobs', 0, 20)
  const wantsLogprobs = include.includes('message.output_text.logprobs') || (top ?? 0) > 0
  return {
    outputTokensMax: fields.integer('max_output_tokens', 1),
    temperature: fields.number('temperature', 0, 2),
    topP: fields.number('top_p', 0, 1),
    topK: null,
    stop: [],
    seed: null,
    frequencyPenalty: null,
    presencePenalty: null,
    logprobs: wantsLogprobs ? (top ?? 0) : null,
  }
}

function readReasoning(fields: Fields, losses: Losses): Reasoning | null {
  const reasoning = fields.object('reasoning')
  if (reasoning === null) return null
  // What the model shows of its thoughts is shown; a summary is only another place for it (`write-stream`).
  reasoning.option('summary', ['auto', 'concise', 'detailed'])
  reasoning.option('generate_summary', ['auto', 'concise', 'detailed'])
  const mode = reasoning.text('mode')
  if (mode !== null && mode !== 'standard') losses.setting(reasoning.path('mode'))
  const effort = reasoning.option('effort', reasoningEfforts)
  return effort === null ? null : { effort, budgetTokens: null }
}
