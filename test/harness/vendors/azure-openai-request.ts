import { objectsIn, unknownMembers } from './vendor-fake.js'

/**
 * What Azure OpenAI takes as a request, version by version. Sources: the references of the versions 2024-10-21 (Azure's REST
 * API specifications, `inference.yaml`) and v1 (Microsoft's documentation, "Azure OpenAI - Chat"); "Azure OpenAI API version
 * lifecycle" for what came when.
 */
export const versions = [
  ...['2024-02-01', '2024-05-01-preview', '2024-06-01', '2024-08-01-preview'],
  ...['2024-09-01-preview', '2024-10-21', '2024-12-01-preview', '2025-01-01-preview'],
  ...['2025-03-01-preview', '2025-04-01-preview', 'v1'],
]
/** Members of a chat completion's body by the first date that knows them. */
const chatMembers: Readonly<Record<string, readonly string[]>> = {
  '2024-02-01': [
    ...['messages', 'model', 'data_sources', 'frequency_penalty', 'function_call', 'functions'],
    ...['logit_bias', 'logprobs', 'max_tokens', 'n', 'presence_penalty', 'response_format', 'seed'],
    ...['stop', 'stream', 'temperature', 'tool_choice', 'tools', 'top_logprobs', 'top_p', 'user'],
  ],
  '2024-09-01': ['max_completion_tokens', 'parallel_tool_calls', 'stream_options'],
  '2024-12-01': ['metadata', 'reasoning_effort', 'store', 'user_security_context'],
  '2025-01-01': ['audio', 'modalities', 'prediction'],
  v1: ['prompt_cache_key', 'prompt_cache_retention', 'safety_identifier', 'verbosity'],
}
const embeddingMembers = ['input', 'model', 'user', 'input_type', 'encoding_format', 'dimensions']
const messageMembers: Readonly<Record<string, readonly string[]>> = {
  system: ['role', 'content', 'name'],
  developer: ['role', 'content', 'name'],
  user: ['role', 'content', 'name'],
  assistant: ['role', 'content', 'name', 'refusal', 'tool_calls', 'annotations', 'audio'],
  tool: ['role', 'content', 'tool_call_id'],
}

export function verifyChat(body: Record<string, unknown>, apiVersion: string): string[] {
  const known = Object.entries(chatMembers).flatMap(([date, names]) => (isSince(date, apiVersion) ? names : []))
  const problems = unknownMembers(body, known, 'body').map((problem) => `Unrecognized request argument: ${problem}`)
  const { stop, max_tokens: older, max_completion_tokens: newer, stream_options: options } = body
  if (Array.isArray(stop) && (stop.length > 4 || stop.length === 0)) problems.push('stop: 1 to 4.')
  if (older !== undefined && newer !== undefined) problems.push('max_tokens and max_completion_tokens.')
  if (options !== undefined) {
    problems.push(...unknownMembers(options, ['include_usage', 'include_obfuscation'], 'stream_options'))
    if (body['stream'] !== true) problems.push('stream_options need stream.')
    if (body['data_sources'] !== undefined) {
      problems.push('Validation error at #/stream_options: Extra inputs are not permitted.')
    }
  }
  for (const name of ['tool_choice', 'parallel_tool_calls']) {
    if (body[name] !== undefined && body['tools'] === undefined) problems.push(`${name} needs tools.`)
  }
  for (const tool of objectsIn(body['tools'])) {
    const members = ['name', 'description', 'parameters', ...(isSince('2024-08-01', apiVersion) ? ['strict'] : [])]
    problems.push(...unknownMembers(tool, ['type', 'function'], 'tools'))
    problems.push(...unknownMembers(tool['function'], members, 'tools.function'))
  }
  return [
    ...problems,
    ...verifyFormat(body['response_format'], apiVersion),
    ...verifyMessages(body['messages'], apiVersion),
  ]
}

function verifyFormat(format: unknown, apiVersion: string): string[] {
  if (format === undefined) return []
  const problems = unknownMembers(format, ['type', 'json_schema'], 'response_format')
  const { type, json_schema: schema } = format as { type?: string; json_schema?: Record<string, unknown> }
  if (type !== 'json_schema') return problems
  if (!isSince('2024-08-01', apiVersion)) problems.push("'json_schema' is not one of 'text', 'json_object'.")
  problems.push(...unknownMembers(schema, ['name', 'description', 'schema', 'strict'], 'response_format.json_schema'))
  if (!/^[a-zA-Z0-9_-]{1,64}$/.test(String(schema?.['name'] ?? ''))) problems.push('json_schema.name is required.')
  return problems
}

function verifyMessages(messages: unknown, apiVersion: string): string[] {
  const problems: string[] = objectsIn(messages).length === 0 ? ['messages: at least one.'] : []
  let openCalls: string[] = []
  for (const [index, message] of objectsIn(messages).entries()) {
    const at = `messages[${index}]`
    const role = String(message['role'])
    const known = messageMembers[role]
    problems.push(...(known === undefined ? [`${at}.role is not known.`] : unknownMembers(message, known, at)))
    if (role === 'developer' && !isSince('2024-12-01', apiVersion)) problems.push(`${at}: developer is not known.`)
    if (role === 'tool') {
      const id = String(message['tool_call_id'])
      if (!openCalls.includes(id)) problems.push(`${at}: tool_call_id ${id} follows no call.`)
      openCalls = openCalls.filter((open) => open !== id)
      continue
    }
    if (openCalls.length > 0) problems.push(`${at}: calls ${openCalls.join(', ')} are not answered.`)
    const calls = objectsIn(message['tool_calls'])
    for (const call of calls) {
      problems.push(...unknownMembers(call, ['id', 'type', 'function'], `${at}.tool_calls`))
      problems.push(...unknownMembers(call['function'], ['name', 'arguments'], `${at}.tool_calls.function`))
    }
    openCalls = calls.map((call) => String(call['id']))
    const isSilent = role === 'assistant' ? calls.length === 0 && message['content'] === null : !message['content']
    if (isSilent) problems.push(`${at} says nothing.`)
    problems.push(...objectsIn(message['content']).flatMap((part) => verifyPart(part, at, apiVersion)))
  }
  return problems
}

function verifyPart(part: Record<string, unknown>, at: string, apiVersion: string): string[] {
  switch (part['type']) {
    case 'text':
      return unknownMembers(part, ['type', 'text'], at)
    case 'image_url':
      return [
        ...unknownMembers(part, ['type', 'image_url'], at),
        ...unknownMembers(part['image_url'], ['url', 'detail'], `${at}.image_url`),
      ]
    case 'file':
      if (apiVersion === 'v1') return unknownMembers(part['file'], ['file_data', 'filename'], `${at}.file`)
      return [`Invalid Value: 'file'. This model does not support file content types.`]
    default:
      return [`Invalid Value: '${String(part['type'])}'.`]
  }
}

export function verifyEmbeddings(body: Record<string, unknown>): string[] {
  const problems = unknownMembers(body, embeddingMembers, 'body')
  const { input } = body
  if (typeof input !== 'string' && !Array.isArray(input)) problems.push('input is required.')
  return problems
}

function isSince(date: string, apiVersion: string): boolean {
  return apiVersion === 'v1' || (date !== 'v1' && apiVersion.slice(0, 10) >= date)
}
