import type { ServerResponse } from 'node:http'
import { streamCompletion, verifyCompletion, writeCompletion } from './openai-completions.js'
import { embeddingsOf, verifyEmbeddings } from './openai-embeddings.js'
import { responseOf, streamResponse, verifyResponse } from './openai-responses.js'
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
 * OpenAI's chat completions, and with its neighbours its responses, completions and embeddings. Source: OpenAI's API
 * reference ("Create chat completion", "Streaming") and its guide to error codes; shapes as recorded from it.
 */
const apiKey = 'sk-fake-openai'
const chatMembers = [
  ...[
    'model',
    'messages',
    'stream',
    'stream_options',
    'max_completion_tokens',
    'max_tokens',
    'temperature',
    'top_p',
    'n',
  ],
  ...['stop', 'seed', 'frequency_penalty', 'presence_penalty', 'logit_bias', 'logprobs', 'top_logprobs', 'tools'],
  ...['tool_choice', 'parallel_tool_calls', 'response_format', 'reasoning_effort', 'user', 'metadata', 'store'],
  ...['service_tier', 'modalities', 'verbosity', 'prompt_cache_key', 'safety_identifier'],
]
const messageMembers: Readonly<Record<string, readonly string[]>> = {
  system: ['role', 'content', 'name'],
  developer: ['role', 'content', 'name'],
  user: ['role', 'content', 'name'],
  // Clients send back a message as they got it; `annotations` is taken.
  assistant: ['role', 'content', 'name', 'refusal', 'tool_calls', 'annotations', 'audio'],
  tool: ['role', 'content', 'tool_call_id'],
}

const verifiers: Readonly<Record<string, (body: Record<string, unknown>) => string[]>> = {
  '/v1/chat/completions': verifyChat,
  '/v1/completions': verifyCompletion,
  '/v1/responses': verifyResponse,
  '/v1/embeddings': verifyEmbeddings,
}

export class OpenaiFake extends VendorFake {
  readonly kind = 'openai'
  readonly basePath = '/v1'
  readonly secret = apiKey
  #count = 0

  protected verify(request: VendorRequest): readonly string[] {
    const { method, path, headers, body } = request
    const problems: string[] = []
    if (method !== 'POST') problems.push(`${method} is not allowed.`)
    const verifyBody = verifiers[path]
    if (verifyBody === undefined) problems.push(`${path} is not found.`)
    if (headers['authorization'] !== `Bearer ${apiKey}`) problems.push('the bearer is not valid.')
    for (const foreign of ['x-api-key', 'api-key', 'anthropic-version']) {
      if (headers[foreign] !== undefined) problems.push(`${foreign} does not belong here.`)
    }
    if (headers['content-type'] !== 'application/json') problems.push('content-type has to be application/json.')
    if (body === null) return [...problems, 'the body is no JSON object.']
    return [...problems, ...(verifyBody?.(body) ?? [])]
  }

  protected fault({ status, message, retryAfterSeconds }: VendorFault, response: ServerResponse): void {
    const type = status === 429 ? 'requests' : status >= 500 ? 'server_error' : 'invalid_request_error'
    writeJson(
      response,
      status,
      { error: { message, type, param: null, code: status === 429 ? 'rate_limit_exceeded' : null } },
      retryAfterSeconds === undefined ? {} : { 'retry-after': String(retryAfterSeconds) },
    )
  }

  protected async answer(request: VendorRequest, answer: VendorAnswer, response: ServerResponse): Promise<void> {
    const { body, path } = request
    const model = `${String(body?.['model'])}-2026-08-01`
    const name = String(++this.#count).padStart(6, '0')
    const tokens = answer.usage?.input ?? 21
    if (path === '/v1/embeddings') return writeJson(response, 200, embeddingsOf(body, model, tokens))
    if (path === '/v1/responses' && body !== null) {
      const head = { name, model, body }
      if (body['stream'] === true) return streamResponse(answer, head, response)
      return writeJson(response, 200, responseOf(answer, head))
    }
    if (path === '/v1/completions') {
      const head = { id: `cmpl-${name}`, model }
      const usage = usageOf(answer.usage)
      if (body?.['stream'] !== true) return writeCompletion(answer, head, usage, response)
      return streamCompletion(answer, head, wantsUsageIn(body) ? usage : null, response)
    }
    const id = `chatcmpl-${name}`
    if (body?.['stream'] === true) return this.#stream(answer, { id, model, body }, response)
    const toolCalls = (answer.toolCalls ?? []).map(({ id: callId, name, input }) => ({
      ...{ id: callId, type: 'function', function: { name, arguments: JSON.stringify(input) } },
    }))
    const refused = answer.finish === 'refusal'
    writeJson(response, 200, {
      id,
      object: 'chat.completion',
      created: 1_790_000_000,
      model,
      choices: [
        {
          index: 0,
          message: {
            role: 'assistant',
            content: refused ? null : (answer.text ?? null),
            refusal: refused ? (answer.text ?? null) : null,
            ...(toolCalls.length === 0 ? {} : { tool_calls: toolCalls }),
            annotations: [],
          },
          logprobs: null,
          finish_reason: finishReasonOf(answer),
        },
      ],
      usage: usageOf(answer.usage),
      service_tier: 'default',
      system_fingerprint: 'fp_1',
    })
  }

  async #stream(
    answer: VendorAnswer,
    of: { readonly id: string; readonly model: string; readonly body: Record<string, unknown> },
    response: ServerResponse,
  ): Promise<void> {
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' })
    const wantsUsage = wantsUsageIn(of.body)
    const head = { id: of.id, object: 'chat.completion.chunk', created: 1_790_000_000, model: of.model }
    const rest = { service_tier: 'default', system_fingerprint: 'fp_1' }
    const send = async (choices: object[], usage: object | null = null) => {
      const chunk = { ...head, ...rest, choices, ...(wantsUsage ? { usage } : {}) }
      response.write(`data: ${JSON.stringify(chunk)}\n\n`)
      await turn()
    }
    const delta = (value: object, finish: string | null = null) =>
      send([{ index: 0, delta: value, logprobs: null, finish_reason: finish }])
    await delta({ role: 'assistant', content: '', refusal: null })
    for (const [sent, value] of deltasOf(answer).entries()) {
      if (sent === answer.cutAfter) return void response.destroy()
      if (sent === answer.errorAfter) {
        const error = { message: 'The server had an error while processing your request.', type: 'server_error' }
        response.write(`data: ${JSON.stringify({ error })}\n\n`)
        return void response.end()
      }
      await delta(value)
    }
    await delta({}, finishReasonOf(answer))
    if (wantsUsage) await send([], usageOf(answer.usage))
    response.end('data: [DONE]\n\n')
  }
}

function deltasOf(answer: VendorAnswer): object[] {
  const member = answer.finish === 'refusal' ? 'refusal' : 'content'
  const texts = answer.text === undefined ? [] : piecesOf(answer.text).map((text) => ({ [member]: text }))
  const calls = (answer.toolCalls ?? []).flatMap(({ id, name, input }, index) => [
    { tool_calls: [{ index, id, type: 'function', function: { name, arguments: '' } }] },
    ...piecesOf(JSON.stringify(input), 5).map((text) => ({ tool_calls: [{ index, function: { arguments: text } }] })),
  ])
  return [...texts, ...calls]
}

function finishReasonOf({ finish, toolCalls }: VendorAnswer): string {
  if (finish === 'length' || finish === 'content_filter') return finish
  return finish === 'tool_calls' || (toolCalls ?? []).length > 0 ? 'tool_calls' : 'stop'
}

/** Cached tokens are part of the prompt's, reasoning ones of the completion's. */
function usageOf(usage: VendorUsage = { input: 21, output: 9 }) {
  return {
    prompt_tokens: usage.input,
    completion_tokens: usage.output,
    total_tokens: usage.input + usage.output,
    prompt_tokens_details: { cached_tokens: usage.cached ?? 0, audio_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: usage.reasoning ?? 0, audio_tokens: 0 },
  }
}

function wantsUsageIn(body: Record<string, unknown>): boolean {
  return (body['stream_options'] as { include_usage?: boolean } | undefined)?.include_usage === true
}

function verifyChat(body: Record<string, unknown>): string[] {
  const problems = unknownMembers(body, chatMembers, 'body')
  const { stop, response_format: format } = body
  if (typeof body['model'] !== 'string') problems.push('model is required.')
  if (Array.isArray(stop) && stop.length > 4) problems.push('stop: at most 4.')
  if (body['max_tokens'] !== undefined && body['max_completion_tokens'] !== undefined) {
    problems.push('max_tokens and max_completion_tokens cannot both be set.')
  }
  if (body['stream_options'] !== undefined && body['stream'] !== true) problems.push('stream_options need stream.')
  if (body['tool_choice'] !== undefined && body['tools'] === undefined) problems.push('tool_choice needs tools.')
  if (body['parallel_tool_calls'] !== undefined && body['tools'] === undefined) {
    problems.push('parallel_tool_calls needs tools.')
  }
  for (const tool of objectsIn(body['tools'])) {
    problems.push(...unknownMembers(tool, ['type', 'function'], 'tools'))
    problems.push(
      ...unknownMembers(tool['function'], ['name', 'description', 'parameters', 'strict'], 'tools.function'),
    )
  }
  if (format !== undefined) {
    problems.push(...unknownMembers(format, ['type', 'json_schema'], 'response_format'))
    const { type, json_schema: schema } = format as { type?: string; json_schema?: { name?: string } }
    if (type === 'json_schema' && !/^[a-zA-Z0-9_-]{1,64}$/.test(schema?.name ?? '')) {
      problems.push('response_format.json_schema.name is required.')
    }
  }
  return [...problems, ...verifyMessages(body['messages'])]
}

function verifyMessages(messages: unknown): string[] {
  const problems: string[] = []
  let openCalls: string[] = []
  for (const [index, message] of objectsIn(messages).entries()) {
    const at = `messages[${index}]`
    const role = String(message['role'])
    const known = messageMembers[role]
    problems.push(...(known === undefined ? [`${at}.role is not known.`] : unknownMembers(message, known, at)))
    if (role === 'tool') {
      const id = String(message['tool_call_id'])
      if (!openCalls.includes(id)) problems.push(`${at}: tool_call_id ${id} follows no call.`)
      openCalls = openCalls.filter((open) => open !== id)
      continue
    }
    if (openCalls.length > 0) problems.push(`${at}: calls ${openCalls.join(', ')} are not answered.`)
    openCalls = objectsIn(message['tool_calls']).map((call) => String(call['id']))
    if (role === 'assistant' && message['content'] === null && openCalls.length === 0)
      problems.push(`${at} says nothing.`)
    problems.push(...objectsIn(message['content']).flatMap((part) => verifyPart(part, at)))
  }
  return problems
}

function verifyPart(part: Record<string, unknown>, at: string): string[] {
  switch (part['type']) {
    case 'text':
      return unknownMembers(part, ['type', 'text'], at)
    case 'image_url':
      return [
        ...unknownMembers(part, ['type', 'image_url'], at),
        ...unknownMembers(part['image_url'], ['url', 'detail'], `${at}.image_url`),
      ]
    case 'file':
      return unknownMembers(part['file'], ['file_data', 'filename'], `${at}.file`)
    default:
      return [`${at}: a part of type ${String(part['type'])} is not known.`]
  }
}
