import type { ServerResponse } from 'node:http'
import {
  objectsIn,
  piecesOf,
  turn,
  unknownMembers,
  type VendorAnswer,
  VendorFake,
  type VendorFault,
  type VendorRequest,
  type VendorUsage,
  writeJson,
} from './vendor-fake.js'

/**
 * Anthropic's Messages API in both of its versions. Sources: Anthropic's API reference ("Create a Message", "Count tokens",
 * "Errors", "Versions") and documentation ("Streaming Messages", "Migrating to API version 2026-10-21"); shapes as
 * recorded from it.
 */
const versions = ['2023-06-01', '2026-10-21']
const apiKey = 'sk-ant-api03-fake'
const topMembers = [
  ...[
    'model',
    'max_tokens',
    'messages',
    'system',
    'temperature',
    'top_p',
    'top_k',
    'stop_sequences',
    'stream',
    'tools',
  ],
  ...['tool_choice', 'thinking', 'output_config', 'metadata', 'service_tier', 'cache_control'],
]
const countMembers = [
  'model',
  'messages',
  'system',
  'tools',
  'tool_choice',
  'thinking',
  'output_config',
  'cache_control',
]
const blockMembers: Readonly<Record<string, readonly string[]>> = {
  text: ['type', 'text', 'cache_control', 'citations'],
  image: ['type', 'source', 'cache_control'],
  document: ['type', 'source', 'title', 'context', 'citations', 'cache_control'],
  tool_use: ['type', 'id', 'name', 'input', 'cache_control'],
  tool_result: ['type', 'tool_use_id', 'content', 'is_error', 'cache_control'],
  thinking: ['type', 'thinking', 'signature'],
  redacted_thinking: ['type', 'data'],
}

export class AnthropicFake extends VendorFake {
  readonly kind = 'anthropic'
  readonly basePath = '/v1'
  readonly secret = apiKey
  #count = 0

  protected verify(request: VendorRequest): readonly string[] {
    const { method, path, headers, body } = request
    const problems: string[] = []
    if (method !== 'POST') problems.push(`${method} is not allowed.`)
    if (path !== '/v1/messages' && path !== '/v1/messages/count_tokens') problems.push(`${path} is not found.`)
    if (headers['x-api-key'] !== apiKey) problems.push('x-api-key is not valid.')
    if (headers['authorization'] !== undefined) problems.push('authorization does not belong here.')
    const version = String(headers['anthropic-version'])
    if (!versions.includes(version)) problems.push(`anthropic-version: ${version} is not known.`)
    if (headers['content-type'] !== 'application/json') problems.push('content-type has to be application/json.')
    if (body === null) return [...problems, 'the body is no JSON object.']
    return [
      ...problems,
      ...(path.endsWith('count_tokens') ? verifyCount(body) : verifyBody(body)),
      ...verifySampling(body, version),
    ]
  }

  protected fault({ status, message, retryAfterSeconds }: VendorFault, response: ServerResponse): void {
    const requestId = `req_${++this.#count}`
    const error = { type: errorTypes[status] ?? 'api_error', message }
    writeJson(
      response,
      status,
      { type: 'error', error, request_id: requestId },
      {
        'request-id': requestId,
        ...(retryAfterSeconds === undefined ? {} : { 'retry-after': String(retryAfterSeconds) }),
      },
    )
  }

  protected async answer(request: VendorRequest, script: VendorAnswer, response: ServerResponse): Promise<void> {
    const { body, path } = request
    if (path.endsWith('count_tokens')) return writeJson(response, 200, { input_tokens: script.usage?.input ?? 21 })
    const answer = forcedTool(body) === null ? script : { ...script, ...asForced(script, body) }
    const model = `${String(body?.['model'])}`
    const id = `msg_${String(++this.#count).padStart(8, '0')}`
    if (body?.['stream'] === true) return this.#stream(answer, id, model, response)
    writeJson(response, 200, {
      id,
      type: 'message',
      role: 'assistant',
      model,
      content: blocksOf(answer),
      stop_reason: stopReasonOf(answer),
      stop_sequence: answer.stopSequence ?? null,
      stop_details: answer.finish === 'refusal' ? refusalDetails : null,
      usage: usageOf(answer.usage),
    })
  }

  async #stream(answer: VendorAnswer, id: string, model: string, response: ServerResponse): Promise<void> {
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'request-id': `req_${this.#count}` })
    const usage = usageOf(answer.usage)
    const message = {
      id,
      type: 'message',
      role: 'assistant',
      model,
      content: [],
      stop_reason: null,
      stop_sequence: null,
    }
    let sent = 0
    const send = async (type: string, rest: object) => {
      response.write(`event: ${type}\ndata: ${JSON.stringify({ type, ...rest })}\n\n`)
      await turn()
    }
    await send('message_start', { message: { ...message, usage: { ...usage, output_tokens: 1 } } })
    await send('ping', {})
    for (const [index, { start, deltas }] of streamedBlocks(answer).entries()) {
      await send('content_block_start', { index, content_block: start })
      for (const delta of deltas) {
        if (sent === answer.cutAfter) return void response.destroy()
        if (sent === answer.errorAfter) {
          await send('error', { error: { type: 'overloaded_error', message: 'Overloaded' } })
          return void response.end()
        }
        sent += 1
        await send('content_block_delta', { index, delta })
      }
      await send('content_block_stop', { index })
    }
    await send('message_delta', {
      delta: {
        stop_reason: stopReasonOf(answer),
        stop_sequence: answer.stopSequence ?? null,
        ...(answer.finish === 'refusal' ? { stop_details: refusalDetails } : {}),
      },
      usage: { output_tokens: usage.output_tokens, output_tokens_details: usage.output_tokens_details },
    })
    await send('message_stop', {})
    response.end()
  }
}

const refusalDetails = { type: 'refusal', category: 'bio', explanation: 'This is not something to help with.' }
const errorTypes: Readonly<Record<number, string>> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  529: 'overloaded_error',
}

function blocksOf(answer: VendorAnswer): object[] {
  return [
    ...(answer.reasoning === undefined ? [] : [{ type: 'thinking', thinking: answer.reasoning, signature: 'sig-1' }]),
    ...(answer.text === undefined ? [] : [{ type: 'text', text: answer.text, citations: null }]),
    ...(answer.toolCalls ?? []).map(({ id, name, input }) => ({ type: 'tool_use', id, name, input })),
  ]
}

function streamedBlocks(answer: VendorAnswer): { start: object; deltas: object[] }[] {
  const blocks: { start: object; deltas: object[] }[] = []
  if (answer.reasoning !== undefined) {
    const deltas = piecesOf(answer.reasoning).map((thinking) => ({ type: 'thinking_delta', thinking }))
    const start = { type: 'thinking', thinking: '', signature: '' }
    blocks.push({ start, deltas: [...deltas, { type: 'signature_delta', signature: 'sig-1' }] })
  }
  if (answer.text !== undefined) {
    const deltas = piecesOf(answer.text).map((text) => ({ type: 'text_delta', text }))
    blocks.push({ start: { type: 'text', text: '' }, deltas })
  }
  for (const { id, name, input } of answer.toolCalls ?? []) {
    const pieces = piecesOf(JSON.stringify(input), 5).map((partial_json) => ({
      type: 'input_json_delta',
      partial_json,
    }))
    const deltas = [{ type: 'input_json_delta', partial_json: '' }, ...pieces]
    blocks.push({ start: { type: 'tool_use', id, name, input: {} }, deltas })
  }
  return blocks
}

/** Cached and written tokens stand beside the input, not in it. */
function usageOf(usage: VendorUsage = { input: 21, output: 9 }) {
  const { input, output, cached = 0, written = 0, reasoning } = usage
  return {
    input_tokens: input - cached - written,
    cache_creation_input_tokens: written,
    cache_read_input_tokens: cached,
    cache_creation: { ephemeral_5m_input_tokens: written, ephemeral_1h_input_tokens: 0 },
    output_tokens: output,
    output_tokens_details: reasoning === undefined ? null : { thinking_tokens: reasoning },
    service_tier: 'standard',
  }
}

function stopReasonOf({ finish, toolCalls }: VendorAnswer): string {
  switch (finish) {
    case 'length':
      return 'max_tokens'
    case 'stop_sequence':
      return 'stop_sequence'
    case 'refusal':
    case 'content_filter':
      return 'refusal'
    default:
      return finish === 'tool_calls' || (toolCalls ?? []).length > 0 ? 'tool_use' : 'end_turn'
  }
}

/** A model that is made to call a tool calls it: what it would have said as JSON is the tool's input. */
function forcedTool(body: Record<string, unknown> | null): string | null {
  const choice = body?.['tool_choice'] as { type?: string; name?: string } | undefined
  return choice?.type === 'tool' ? (choice.name ?? null) : null
}

function asForced(script: VendorAnswer, body: Record<string, unknown> | null): Partial<VendorAnswer> {
  const name = forcedTool(body)
  if (name === null || script.toolCalls !== undefined) return {}
  const input = JSON.parse(script.text ?? '{}') as object
  return { toolCalls: [{ id: 'toolu_forced', name, input }], text: undefined as unknown as string }
}

function verifyCount(body: Record<string, unknown>): string[] {
  return [...unknownMembers(body, countMembers, 'body'), ...verifyMessages(body)]
}

function verifyBody(body: Record<string, unknown>): string[] {
  const problems = [...unknownMembers(body, topMembers, 'body'), ...verifyMessages(body)]
  const { max_tokens: maxTokens, temperature, thinking, tool_choice: toolChoice, stop_sequences: stops } = body
  if (typeof body['model'] !== 'string') problems.push('model: Field required.')
  if (typeof maxTokens !== 'number' || maxTokens < 1) problems.push('max_tokens: Field required.')
  if (temperature !== undefined && !(Number(temperature) >= 0 && Number(temperature) <= 1)) {
    problems.push('temperature: range: 0..1.')
  }
  problems.push(...verifyText(body['system'], 'system'))
  for (const stop of (stops as string[] | undefined) ?? []) {
    if (stop.trim() === '') problems.push('stop_sequences: each stop sequence must contain non-whitespace.')
  }
  for (const tool of objectsIn(body['tools'])) {
    problems.push(
      ...unknownMembers(tool, ['name', 'description', 'input_schema', 'strict', 'cache_control', 'type'], 'tools'),
    )
    const schema = tool['input_schema'] as { type?: unknown } | undefined
    if (schema?.type !== 'object') problems.push('tools.input_schema.type: Field required to be "object".')
  }
  if (toolChoice !== undefined) {
    const { type } = toolChoice as { type?: string }
    problems.push(...unknownMembers(toolChoice, ['type', 'name', 'disable_parallel_tool_use'], 'tool_choice'))
    if (!['auto', 'any', 'tool', 'none'].includes(String(type))) problems.push(`tool_choice.type: ${type}.`)
    if (type === 'none' && 'disable_parallel_tool_use' in (toolChoice as object)) {
      problems.push('tool_choice.none.disable_parallel_tool_use: Extra inputs are not permitted.')
    }
  }
  if (thinking !== undefined) problems.push(...verifyThinking(thinking as Record<string, unknown>, body))
  if (body['output_config'] !== undefined) {
    problems.push(...unknownMembers(body['output_config'], ['effort', 'format'], 'output_config'))
    const { format } = body['output_config'] as { format?: object }
    if (format !== undefined) problems.push(...unknownMembers(format, ['type', 'schema'], 'output_config.format'))
  }
  if (body['metadata'] !== undefined) problems.push(...unknownMembers(body['metadata'], ['user_id'], 'metadata'))
  return problems
}

/** The newer version has no sampling settings; with the older one newer models take none but the defaults. */
function verifySampling(body: Record<string, unknown>, version: string): string[] {
  const given = ['temperature', 'top_p', 'top_k'].filter((name) => body[name] !== undefined)
  if (version === '2026-10-21') return given.map((name) => `${name}: Extra inputs are not permitted.`)
  const model = String(body['model'])
  const isBoth = given.includes('temperature') && given.includes('top_p')
  if (isBoth && !/claude-(3|(opus|sonnet)-4(-0)?(-\d{8})?$)/.test(model)) {
    return ['`temperature` and `top_p` cannot both be specified for this model. Please use only one.']
  }
  if (/claude-(3|(opus|sonnet|haiku)-4(-[0-6])?(-\d{8})?$)/.test(model)) return []
  return given
    .filter((name) => body[name] !== 1)
    .map((name) => `${name} may only be set to its default for this model.`)
}

function verifyThinking(thinking: Record<string, unknown>, body: Record<string, unknown>): string[] {
  const problems = unknownMembers(thinking, ['type', 'budget_tokens', 'display'], 'thinking')
  if (thinking['type'] === 'disabled') return problems
  if (thinking['type'] === 'enabled') {
    const budget = Number(thinking['budget_tokens'])
    if (!(budget >= 1024)) problems.push('thinking.budget_tokens: at least 1024.')
    if (!(budget < Number(body['max_tokens']))) problems.push('max_tokens must be greater than thinking.budget_tokens.')
  }
  if (body['temperature'] !== undefined && body['temperature'] !== 1)
    problems.push('temperature may only be 1 when thinking.')
  if (body['top_k'] !== undefined) problems.push('top_k must be unset when thinking.')
  const choice = (body['tool_choice'] as { type?: string } | undefined)?.type
  if (choice === 'any' || choice === 'tool')
    problems.push('Thinking may not be enabled when tool_choice forces tool use.')
  return problems
}

/** Only these take instructions in the middle, and only behind a user's turn, before an assistant's or the end. */
const instructedMidway = /^claude-(opus-4-8|(opus|sonnet|haiku|fable)-[5-9])/

function verifyMidway(list: readonly Record<string, unknown>[], index: number, model: string): string[] {
  const at = `messages.${index}`
  if (!instructedMidway.test(model)) return [`${at}: role 'system' is not supported on this model.`]
  const before = list[index - 1]?.['role']
  const after = list[index + 1]?.['role'] ?? 'assistant'
  if (before === undefined) return [`${at}: use the top-level 'system' parameter for the initial system prompt.`]
  return [
    ...(before === 'user' ? [] : [`${at}: a 'system' message must follow a 'user' message.`]),
    ...(after === 'assistant' ? [] : [`${at}: a 'system' message must be last or precede an 'assistant' message.`]),
  ]
}

function verifyMessages({ messages, model }: Record<string, unknown>): string[] {
  const problems: string[] = []
  const list = objectsIn(messages)
  if (list.length === 0) problems.push('messages: at least one message is required.')
  if (list[0]?.['role'] !== 'user') problems.push('messages: first message must use the "user" role.')
  let openCalls: string[] = []
  for (const [index, message] of list.entries()) {
    const at = `messages.${index}`
    problems.push(...unknownMembers(message, ['role', 'content'], at))
    const { role, content } = message
    if (!['user', 'assistant', 'system'].includes(String(role))) problems.push(`${at}.role: ${String(role)}.`)
    if (role === 'system') problems.push(...verifyMidway(list, index, String(model)))
    const results = objectsIn(content).filter((block) => block['type'] === 'tool_result')
    const answered = results.map((block) => String(block['tool_use_id']))
    for (const id of openCalls) if (!answered.includes(id)) problems.push(`${at}: tool_use ${id} without tool_result.`)
    for (const id of answered) if (!openCalls.includes(id)) problems.push(`${at}: unexpected tool_use_id ${id}.`)
    const calls = objectsIn(content).filter((block) => block['type'] === 'tool_use')
    openCalls = calls.map((block) => String(block['id']))
    problems.push(...(typeof content === 'string' ? verifyText(content, at) : verifyBlocks(content, at)))
  }
  return problems
}

function verifyBlocks(content: unknown, at: string): string[] {
  if (!Array.isArray(content) || content.length === 0) return [`${at}.content: at least one block is required.`]
  return objectsIn(content).flatMap((block, index) => {
    const path = `${at}.content.${index}`
    const known = blockMembers[String(block['type'])]
    if (known === undefined) return [`${path}.type: ${String(block['type'])}.`]
    const problems = unknownMembers(block, known, path)
    if (block['type'] === 'text') problems.push(...verifyText(block['text'], path))
    if (block['type'] === 'tool_use' || block['type'] === 'tool_result') {
      const id = String(block['id'] ?? block['tool_use_id'])
      if (!/^[a-zA-Z0-9_-]+$/.test(id)) problems.push(`${path}.id: ${id} does not match ^[a-zA-Z0-9_-]+$.`)
    }
    if (block['type'] === 'tool_result' && Array.isArray(block['content'])) {
      problems.push(...verifyBlocks(block['content'], path))
    }
    if (block['type'] === 'image') problems.push(...verifyImage(block['source'], path))
    return problems
  })
}

function verifyImage(source: unknown, path: string): string[] {
  const { type, media_type: mediaType, data, url } = (source ?? {}) as Record<string, unknown>
  if (type === 'url') return typeof url === 'string' && url.startsWith('https://') ? [] : [`${path}.source.url.`]
  const known = ['image/jpeg', 'image/png', 'image/gif', 'image/webp'].includes(String(mediaType))
  const isBase64 = typeof data === 'string' && /^[A-Za-z0-9+/]+=*$/.test(data)
  return type === 'base64' && known && isBase64 ? [] : [`${path}.source: not an image.`]
}

function verifyText(text: unknown, path: string): string[] {
  if (text === undefined) return []
  if (typeof text === 'string')
    return text.trim() === '' ? [`${path}: text content blocks must contain non-whitespace text.`] : []
  return objectsIn(text).flatMap((block, index) => verifyText(block['text'], `${path}.${index}`))
}
