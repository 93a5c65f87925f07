import { tokensOf } from './simulator-text.js'

/** What the simulator says no with, in OpenAI's words. */
export interface ApiError {
  readonly status: number
  readonly message: string
  readonly type: string
  readonly param: string | null
  readonly code: string | null
}

export interface SimulatedModel {
  readonly id: string
  readonly kind: 'chat' | 'embeddings'
  readonly contextTokensMax: number
}

export interface ChatRequest {
  /** Which API was asked, and so how the answer looks: messages, or a text that is continued. */
  readonly form: 'chat' | 'text'
  readonly model: SimulatedModel
  readonly stream: boolean
  readonly includeUsage: boolean
  /** vLLM's extension: a usage member in every chunk. */
  readonly continuousUsage: boolean
  readonly promptTokens: number
  readonly outputTokensMax: number | null
  /** vLLM's extension: generate until `outputTokensMax`. */
  readonly ignoreEnd: boolean
  readonly stop: readonly string[]
  /** The words depend on this text and the simulator's seed alone. */
  readonly seedText: string
  /** The call to answer with instead of text. */
  readonly toolCall: { readonly name: string; readonly schema: unknown; readonly named: boolean } | null
  /** A schema the text has to follow; `{}` for any JSON object. */
  readonly jsonSchema: unknown
}

export interface EmbeddingsRequest {
  readonly model: SimulatedModel
  readonly inputs: readonly string[]
  readonly promptTokens: number
  readonly dimensions: number
  readonly base64: boolean
}

export function isApiError(value: object): value is ApiError {
  return 'status' in value
}

export function apiError(
  status: number,
  message: string,
  extra: { type?: string; param?: string; code?: string } = {},
): ApiError {
  const type = extra.type ?? (status >= 500 ? 'server_error' : 'invalid_request_error')
  return { status, message, type, param: extra.param ?? null, code: extra.code ?? null }
}

const roles = ['system', 'developer', 'user', 'assistant', 'tool', 'function']
const dimensionsDefault = 256

/** The chat request in `body`, or the error that OpenAI and vLLM would answer. Members nobody knows are ignored. */
export function parseChat(body: unknown, models: readonly SimulatedModel[]): ChatRequest | ApiError {
  if (!isObject(body)) return apiError(400, 'We could not parse the JSON body of your request: expected an object.')
  const model = findModel(body, models, 'chat')
  if (isApiError(model)) return model
  const messages = body['messages']
  if (messages === undefined) return missing('messages')
  if (!Array.isArray(messages)) return wrong('messages', 'expected an array of messages')
  if (messages.length === 0) return wrong('messages', 'expected an array with at least one message')
  const said = countPrompt(messages, body['tools'])
  if (typeof said !== 'number') return said
  const promptTokens = said + generationPromptTokens
  const generation = parseGeneration(body, ['max_completion_tokens', 'max_tokens'])
  if (isApiError(generation)) return generation
  const toolCall = chooseTool(body)
  if (toolCall !== null && isApiError(toolCall)) return toolCall
  const tooLong = checkLength(model, promptTokens, generation.outputTokensMax, 'messages')
  if (tooLong) return tooLong
  return {
    form: 'chat',
    model,
    promptTokens,
    ...generation,
    seedText: JSON.stringify([model.id, body['seed'] ?? null, messages]),
    toolCall,
    jsonSchema: jsonSchemaOf(body['response_format']),
  }
}

/** What a template says last: that it is the assistant's turn. */
const generationPromptTokens = 3

function countPrompt(messages: readonly unknown[], tools: unknown): number | ApiError {
  let tokenCount = 0
  for (const [index, message] of messages.entries()) {
    const counted = countMessage(message, `messages[${index}]`)
    if (typeof counted !== 'number') return counted
    tokenCount += counted
  }
  if (Array.isArray(tools) && tools.length > 0) tokenCount += tokensOf(JSON.stringify(tools)).length
  return tokenCount
}

/**
 * The tokens that vLLM's `/tokenize` is asked for in `body`, of a prompt or of messages, or the error that vLLM would answer.
 * Without a model it is the first one. A prompt beyond the model's context is tokenized all the same.
 */
export function parseTokenize(
  body: unknown,
  models: readonly SimulatedModel[],
): { readonly model: SimulatedModel; readonly tokens: readonly string[] } | ApiError {
  if (!isObject(body)) return apiError(400, 'We could not parse the JSON body of your request: expected an object.')
  const id = body['model'] ?? models[0]?.id
  const model = models.find((candidate) => candidate.id === id)
  if (model === undefined) {
    return apiError(404, `The model \`${String(id)}\` does not exist.`, { param: 'model', code: 'model_not_found' })
  }
  const { prompt, messages } = body
  if (typeof prompt === 'string') return { model, tokens: tokensOf(prompt) }
  if (!Array.isArray(messages)) return missing('prompt')
  const generates = body['add_generation_prompt'] ?? true
  if (typeof generates !== 'boolean') return wrong('add_generation_prompt', 'expected a boolean')
  if (generates && body['continue_final_message'] === true) {
    return apiError(400, 'Cannot set both `continue_final_message` and `add_generation_prompt` to True.')
  }
  const said = countPrompt(messages, body['tools'])
  if (typeof said !== 'number') return said
  const length = said + (generates ? generationPromptTokens : 0)
  return { model, tokens: Array.from({ length }, (_, index) => `${index} ${JSON.stringify(messages)}`) }
}

/** What OpenAI and vLLM generate where nobody says how much. */
const completionTokensDefault = 16

/** The request of the older API for texts in `body`, or the error that vLLM would answer. */
export function parseCompletion(body: unknown, models: readonly SimulatedModel[]): ChatRequest | ApiError {
  if (!isObject(body)) return apiError(400, 'We could not parse the JSON body of your request: expected an object.')
  const model = findModel(body, models, 'chat')
  if (isApiError(model)) return model
  const { prompt } = body
  if (prompt === undefined || prompt === null) return missing('prompt')
  const prompts = prompt === '' ? [{ text: '', tokenCount: 1 }] : inputsOf(prompt)
  if (prompts?.length !== 1) return wrong('prompt', 'the simulator continues one text: expected a string or its tokens')
  for (const name of ['suffix', 'echo']) {
    if ((body[name] ?? false) !== false) return wrong(name, 'the simulator has no such thing')
  }
  const generation = parseGeneration(body, ['max_tokens'])
  if (isApiError(generation)) return generation
  const promptTokens = prompts[0]?.tokenCount ?? 1
  const outputTokensMax = generation.outputTokensMax ?? completionTokensDefault
  const tooLong = checkLength(model, promptTokens, outputTokensMax, 'prompt')
  if (tooLong) return tooLong
  return {
    form: 'text',
    model,
    promptTokens,
    ...generation,
    outputTokensMax,
    seedText: JSON.stringify([model.id, body['seed'] ?? null, prompts[0]?.text]),
    toolCall: null,
    jsonSchema: null,
  }
}

type Generation = Pick<
  ChatRequest,
  'stream' | 'includeUsage' | 'continuousUsage' | 'outputTokensMax' | 'ignoreEnd' | 'stop'
>

/** How to generate and to answer, which both APIs say alike. The first of `maxNames` that is there is the limit. */
function parseGeneration(body: Record<string, unknown>, maxNames: readonly string[]): Generation | ApiError {
  const stream = body['stream'] ?? false
  if (typeof stream !== 'boolean') return wrong('stream', 'expected a boolean')
  const streamOptions = body['stream_options'] ?? null
  if (streamOptions !== null && !isObject(streamOptions)) return wrong('stream_options', 'expected an object')
  if (streamOptions !== null && !stream)
    return wrong('stream_options', "'stream_options' is only allowed when 'stream' is enabled")
  const n = body['n'] ?? 1
  if (n !== 1) return wrong('n', 'the simulator answers with one choice: expected 1')
  for (const [name, min, max] of [
    ['temperature', 0, 2],
    ['top_p', 0, 1],
    ['presence_penalty', -2, 2],
    ['frequency_penalty', -2, 2],
  ] as const) {
    const value = body[name] ?? null
    if (value !== null && (typeof value !== 'number' || value < min || value > max))
      return wrong(name, `expected a number from ${min} to ${max}`)
  }
  const seed = body['seed'] ?? null
  if (seed !== null && !Number.isInteger(seed)) return wrong('seed', 'expected an integer')
  const maxName = maxNames.find((name) => (body[name] ?? null) !== null)
  const outputTokensMax = maxName === undefined ? null : body[maxName]
  if (maxName !== undefined && !(Number.isInteger(outputTokensMax) && Number(outputTokensMax) >= 1))
    return wrong(maxName, 'expected an integer of 1 or more')
  const stop = stopsOf(body['stop'])
  if (!stop) return wrong('stop', 'expected a string or an array of up to 4 strings')
  return {
    stream,
    includeUsage: streamOptions?.['include_usage'] === true,
    continuousUsage: streamOptions?.['continuous_usage_stats'] === true,
    outputTokensMax: outputTokensMax === null ? null : Number(outputTokensMax),
    ignoreEnd: body['ignore_eos'] === true,
    stop,
  }
}

function checkLength(
  model: SimulatedModel,
  promptTokens: number,
  outputTokensMax: number | null,
  param: 'messages' | 'prompt',
): ApiError | null {
  const wanted = outputTokensMax ?? 1
  if (promptTokens + wanted <= model.contextTokensMax) return null
  return apiError(
    400,
    `This model's maximum context length is ${model.contextTokensMax} tokens. However, you requested ${promptTokens + wanted} tokens (${promptTokens} in the ${param}, ${wanted} in the completion). Please reduce the length of the ${param} or completion.`,
    { param, code: 'context_length_exceeded' },
  )
}

/** The embeddings request in `body`, or the error that OpenAI would answer. Token arrays count one token each. */
export function parseEmbeddings(body: unknown, models: readonly SimulatedModel[]): EmbeddingsRequest | ApiError {
  if (!isObject(body)) return apiError(400, 'We could not parse the JSON body of your request: expected an object.')
  const model = findModel(body, models, 'embeddings')
  if (isApiError(model)) return model
  const input = body['input']
  if (input === undefined) return missing('input')
  const inputs = inputsOf(input)
  if (!inputs) return wrong('input', 'expected a non-empty string, an array of up to 2048 strings, or token arrays')
  const dimensions = body['dimensions'] ?? dimensionsDefault
  if (!Number.isInteger(dimensions) || Number(dimensions) < 1 || Number(dimensions) > 4_096)
    return wrong('dimensions', 'expected an integer from 1 to 4096')
  const encoding = body['encoding_format'] ?? 'float'
  if (encoding !== 'float' && encoding !== 'base64') return wrong('encoding_format', "expected 'float' or 'base64'")
  const counts = inputs.map((item) => item.tokenCount)
  const longest = Math.max(...counts)
  if (longest > model.contextTokensMax)
    return apiError(
      400,
      `This model's maximum context length is ${model.contextTokensMax} tokens, however you requested ${longest} tokens. Please reduce your prompt.`,
      { param: 'input', code: 'context_length_exceeded' },
    )
  return {
    model,
    inputs: inputs.map((item) => item.text),
    promptTokens: counts.reduce((sum, count) => sum + count, 0),
    dimensions: Number(dimensions),
    base64: encoding === 'base64',
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function missing(param: string): ApiError {
  return apiError(400, `Missing required parameter: '${param}'.`, { param, code: 'missing_required_parameter' })
}

function wrong(param: string, sentence: string): ApiError {
  return apiError(400, `Invalid value for '${param}': ${sentence}.`, { param, code: 'invalid_value' })
}

function findModel(
  body: Record<string, unknown>,
  models: readonly SimulatedModel[],
  kind: SimulatedModel['kind'],
): SimulatedModel | ApiError {
  const id = body['model']
  if (id === undefined || id === null || id === '')
    return apiError(400, 'you must provide a model parameter', { param: 'model', code: 'missing_required_parameter' })
  const model = models.find((candidate) => candidate.id === id)
  if (!model)
    return apiError(404, `The model \`${String(id)}\` does not exist.`, { param: 'model', code: 'model_not_found' })
  if (model.kind !== kind)
    return apiError(
      400,
      `The model does not support the ${kind === 'chat' ? 'Chat Completions' : 'Embeddings'} API: \`${model.id}\`.`,
      { param: 'model' },
    )
  return model
}

/** Tokens of one message with its template, or why it is none. */
function countMessage(message: unknown, path: string): number | ApiError {
  if (!isObject(message)) return wrong(path, 'expected an object')
  const role = message['role']
  if (typeof role !== 'string' || !roles.includes(role))
    return wrong(`${path}.role`, `expected one of ${roles.join(', ')}`)
  const content = message['content'] ?? null
  let tokenCount = 4
  if (typeof content === 'string') tokenCount += tokensOf(content).length
  else if (Array.isArray(content)) {
    for (const [index, part] of content.entries()) {
      if (!isObject(part) || typeof part['type'] !== 'string')
        return wrong(`${path}.content[${index}]`, 'expected an object with a type')
      // An image costs what OpenAI's low-detail image costs.
      tokenCount += part['type'] === 'text' ? tokensOf(String(part['text'] ?? '')).length : 85
    }
  } else if (content !== null || (role !== 'assistant' && role !== 'function'))
    return wrong(`${path}.content`, 'expected a string or an array of parts')
  if (Array.isArray(message['tool_calls'])) tokenCount += tokensOf(JSON.stringify(message['tool_calls'])).length
  return tokenCount
}

function stopsOf(stop: unknown): readonly string[] | null {
  if (stop === undefined || stop === null) return []
  const list = Array.isArray(stop) ? stop : [stop]
  return list.length <= 4 && list.every((item) => typeof item === 'string') ? list.filter((item) => item !== '') : null
}

/** The function that `tool_choice` demands; null when text is the answer (`auto` answers with text). */
function chooseTool(body: Record<string, unknown>): ChatRequest['toolCall'] | ApiError {
  const tools = body['tools'] ?? null
  const choice = body['tool_choice'] ?? null
  if (tools === null) {
    if (choice === null || choice === 'none') return null
    return wrong('tool_choice', "'tool_choice' is only allowed when 'tools' are specified")
  }
  if (!Array.isArray(tools)) return wrong('tools', 'expected an array')
  const functions = tools.map((tool) => (isObject(tool) && isObject(tool['function']) ? tool['function'] : {}))
  const nameless = functions.findIndex((fn) => typeof fn['name'] !== 'string')
  if (nameless >= 0) return wrong(`tools[${nameless}].function.name`, 'expected a string')
  const demanded = isObject(choice) && isObject(choice['function']) ? choice['function']['name'] : null
  if (demanded === null && choice !== 'required') return null
  const fn = demanded === null ? functions[0] : functions.find((candidate) => candidate['name'] === demanded)
  if (!fn) return wrong('tool_choice', `the function '${String(demanded)}' is not among the tools`)
  return { name: String(fn['name']), schema: fn['parameters'] ?? {}, named: demanded !== null }
}

function jsonSchemaOf(format: unknown): unknown {
  if (!isObject(format)) return null
  if (format['type'] === 'json_object') return { type: 'object', properties: { answer: { type: 'string' } } }
  if (format['type'] !== 'json_schema' || !isObject(format['json_schema'])) return null
  return format['json_schema']['schema'] ?? null
}

function inputsOf(input: unknown): { text: string; tokenCount: number }[] | null {
  const ofText = (text: string) => ({ text, tokenCount: Math.max(1, tokensOf(text).length) })
  const ofIds = (ids: readonly unknown[]) => ({ text: ids.join(' '), tokenCount: ids.length })
  if (typeof input === 'string') return input === '' ? null : [ofText(input)]
  if (!Array.isArray(input) || input.length === 0 || input.length > 2_048) return null
  if (input.every((item) => Number.isInteger(item))) return [ofIds(input)]
  const items = input.map((item) =>
    typeof item === 'string' && item !== ''
      ? ofText(item)
      : Array.isArray(item) && item.length > 0 && item.every((id) => Number.isInteger(id))
        ? ofIds(item)
        : null,
  )
  return items.every((item) => item !== null) ? items : null
}
