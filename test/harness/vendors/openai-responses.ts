import type { ServerResponse } from 'node:http'
import { objectsIn, piecesOf, turn, unknownMembers, type VendorAnswer, type VendorUsage } from './vendor-fake.js'

/**
 * OpenAI's Responses API for an account that keeps nothing, which Azure's v1 has too. Sources: OpenAI's API reference,
 * "Create a model response", "The response object" and "Streaming events"; shapes as recorded from it.
 */
type Fields = Record<string, unknown>

const topMembers = [
  ...['model', 'input', 'instructions', 'stream', 'stream_options', 'store', 'max_output_tokens', 'temperature'],
  ...['top_p', 'top_logprobs', 'tools', 'tool_choice', 'parallel_tool_calls', 'max_tool_calls', 'text', 'reasoning'],
  ...['include', 'metadata', 'user', 'safety_identifier', 'prompt_cache_key', 'prompt_cache_retention', 'service_tier'],
  ...['truncation', 'background', 'previous_response_id', 'conversation', 'prompt'],
]
const itemMembers: Readonly<Record<string, readonly string[]>> = {
  message: ['type', 'id', 'status', 'role', 'content', 'phase'],
  function_call: ['type', 'id', 'status', 'call_id', 'name', 'arguments'],
  function_call_output: ['type', 'id', 'status', 'call_id', 'output'],
  reasoning: ['type', 'id', 'status', 'summary', 'content', 'encrypted_content'],
}
const partMembers: Readonly<Record<string, readonly string[]>> = {
  input_text: ['type', 'text'],
  input_image: ['type', 'image_url', 'file_id', 'detail'],
  input_file: ['type', 'file_data', 'file_id', 'file_url', 'filename'],
  output_text: ['type', 'text', 'annotations', 'logprobs'],
  refusal: ['type', 'refusal'],
}
const formatMembers: Readonly<Record<string, readonly string[]>> = {
  text: ['type'],
  json_object: ['type'],
  json_schema: ['type', 'name', 'description', 'schema', 'strict'],
}

export function verifyResponse(body: Fields): string[] {
  const problems = unknownMembers(body, topMembers, 'body').map((problem) => `Unknown parameter: ${problem}`)
  const { model, input, store, text, stream_options: options } = body
  if (typeof model !== 'string') problems.push("Missing required parameter: 'model'.")
  // Who is not told otherwise keeps it.
  if (store !== false) problems.push('this account keeps no responses: store has to be false.')
  for (const name of ['previous_response_id', 'conversation', 'prompt']) {
    if (body[name] !== undefined && body[name] !== null) problems.push(`${name}: nothing of that name is kept.`)
  }
  if (options !== undefined) problems.push(...unknownMembers(options, ['include_obfuscation'], 'stream_options'))
  if (typeof input !== 'string') problems.push(...verifyItems(input))
  for (const tool of objectsIn(body['tools'])) {
    problems.push(...unknownMembers(tool, ['type', 'name', 'description', 'parameters', 'strict'], 'tools'))
    if (tool['type'] === 'function' && typeof tool['name'] !== 'string') problems.push('tools: a name is required.')
    if (tool['strict'] === true) problems.push(...verifyStrict(tool['parameters'], `tools.${String(tool['name'])}`))
  }
  if (text !== undefined && text !== null) problems.push(...verifyText(text))
  if (isFields(body['reasoning'])) {
    problems.push(...unknownMembers(body['reasoning'], ['effort', 'summary', 'generate_summary'], 'reasoning'))
  }
  return problems
}

function verifyText(text: unknown): string[] {
  const problems = unknownMembers(text, ['format', 'verbosity'], 'text')
  const { format } = text as { format?: Fields }
  if (format === undefined) return problems
  const known = formatMembers[String(format['type'])]
  if (known === undefined) return [...problems, `text.format.type: ${String(format['type'])}.`]
  problems.push(...unknownMembers(format, known, 'text.format'))
  if (format['type'] !== 'json_schema') return problems
  if (!/^[a-zA-Z0-9_-]{1,64}$/.test(String(format['name'] ?? ''))) problems.push('text.format.name is required.')
  if (format['strict'] === true) problems.push(...verifyStrict(format['schema'], 'text.format.schema'))
  return problems
}

/** A schema that the model is held to. */
function verifyStrict(schema: unknown, at: string): string[] {
  if (!isFields(schema)) return [`${at}: a schema is required.`]
  const { type, properties, required, additionalProperties } = schema
  if (type !== 'object') return []
  const names = Object.keys((properties ?? {}) as Fields)
  return [
    ...(additionalProperties === false ? [] : [`${at}: 'additionalProperties' is required to be false.`]),
    ...names.filter((name) => !(required as string[] | undefined)?.includes(name)).map((name) => `${at}: ${name}.`),
  ]
}

function verifyItems(input: unknown): string[] {
  if (!Array.isArray(input) || input.length === 0) return ["Missing required parameter: 'input'."]
  const problems: string[] = []
  const open = new Set<string>()
  for (const [index, item] of objectsIn(input).entries()) {
    const at = `input[${index}]`
    const type = String(item['type'] ?? 'message')
    const known = itemMembers[type]
    if (known === undefined) {
      problems.push(`Invalid value: '${type}' (${at}.type).`)
      continue
    }
    problems.push(...unknownMembers(item, known, at))
    const callId = String(item['call_id'])
    if (type === 'function_call') open.add(callId)
    if (type === 'function_call_output' && !open.delete(callId)) {
      problems.push(`No tool call found for function call output with call_id ${callId}.`)
    }
    if (type === 'reasoning' && typeof item['encrypted_content'] !== 'string') {
      problems.push(`Item '${String(item['id'])}' not found. Items are not persisted when 'store' is set to false.`)
    }
    if (type === 'message') problems.push(...verifyMessage(item, at))
  }
  for (const callId of open) problems.push(`No tool output found for function call ${callId}.`)
  return problems
}

function verifyMessage({ role, content }: Fields, at: string): string[] {
  if (!['user', 'assistant', 'system', 'developer'].includes(String(role))) return [`${at}.role: ${String(role)}.`]
  if (typeof content === 'string') return []
  const allowed = role === 'assistant' ? ['output_text', 'refusal'] : ['input_text', 'input_image', 'input_file']
  return objectsIn(content).flatMap((part, index) => {
    const type = String(part['type'])
    const path = `${at}.content[${index}]`
    if (!allowed.includes(type))
      return [`Invalid value: '${type}'. Supported values are: ${allowed.join(', ')} (${path}).`]
    return unknownMembers(part, partMembers[type] ?? [], path)
  })
}

export interface ResponseHead {
  /** What its ids are made of. */
  readonly name: string
  readonly model: string
  readonly body: Fields
}

/** The whole object. */
export function responseOf(answer: VendorAnswer, head: ResponseHead): object {
  const reason = incompleteReasonOf(answer)
  return {
    ...openResponse(head),
    status: reason === null ? 'completed' : 'incomplete',
    incomplete_details: reason === null ? null : { reason },
    output: itemsOf(answer, head).map(({ item }) => item),
    usage: usageOf(answer.usage),
  }
}

/** As it stands before anything was said. */
function openResponse({ name, model, body }: ResponseHead): Fields {
  const { reasoning, text, tools } = body
  return {
    ...{ id: `resp_${name}`, object: 'response', created_at: 1_790_000_000, status: 'in_progress', background: false },
    ...{ error: null, incomplete_details: null, instructions: body['instructions'] ?? null },
    ...{ max_output_tokens: body['max_output_tokens'] ?? null, max_tool_calls: null, model, output: [] },
    ...{ parallel_tool_calls: body['parallel_tool_calls'] ?? true, previous_response_id: null, prompt_cache_key: null },
    reasoning: { effort: null, summary: null, ...(isFields(reasoning) ? reasoning : {}) },
    ...{ safety_identifier: null, service_tier: 'default', store: false, temperature: body['temperature'] ?? 1 },
    text: { format: { type: 'text' }, verbosity: 'medium', ...(isFields(text) ? text : {}) },
    ...{ tool_choice: body['tool_choice'] ?? 'auto', tools: tools ?? [], top_logprobs: 0, top_p: body['top_p'] ?? 1 },
    ...{ truncation: 'disabled', usage: null, user: null, metadata: body['metadata'] ?? {} },
  }
}

interface Item {
  readonly item: Fields
  /** As it is announced. */
  readonly begun: Fields
  /** Between the announcement and the end; `isPiece`: something is said. */
  readonly events: readonly { readonly type: string; readonly rest: object; readonly isPiece: boolean }[]
}

function itemsOf(answer: VendorAnswer, head: ResponseHead): Item[] {
  const { text, reasoning, toolCalls = [] } = answer
  return [
    ...(reasoning === undefined ? [] : [reasoningItem(reasoning, head)]),
    ...(text === undefined ? [] : [messageItem(text, answer, head)]),
    ...toolCalls.map((call, index) => callItem(call, index, answer, head)),
  ]
}

function reasoningItem(reasoning: string, { name, body }: ResponseHead): Item {
  const id = `rs_${name}`
  const include = (body['include'] ?? []) as string[]
  const wantsSummary = isFields(body['reasoning']) && (body['reasoning']['summary'] ?? null) !== null
  const encrypted = include.includes('reasoning.encrypted_content') ? { encrypted_content: 'gAAAAABfake==' } : {}
  const part = { type: 'summary_text', text: reasoning }
  const at = { item_id: id, summary_index: 0 }
  const events = [
    event('response.reasoning_summary_part.added', { ...at, part: { ...part, text: '' } }),
    ...piecesOf(reasoning).map((delta) => piece('response.reasoning_summary_text.delta', { ...at, delta })),
    event('response.reasoning_summary_text.done', { ...at, text: reasoning }),
    event('response.reasoning_summary_part.done', { ...at, part }),
  ]
  return {
    item: { id, type: 'reasoning', ...encrypted, summary: wantsSummary ? [part] : [] },
    begun: { id, type: 'reasoning', ...encrypted, summary: [] },
    events: wantsSummary ? events : [],
  }
}

function messageItem(text: string, answer: VendorAnswer, { name }: ResponseHead): Item {
  const id = `msg_${name}`
  const isRefusal = answer.finish === 'refusal'
  const part = (said: string) =>
    isRefusal ? { type: 'refusal', refusal: said } : { type: 'output_text', annotations: [], logprobs: [], text: said }
  const at = { item_id: id, content_index: 0 }
  const message = { id, type: 'message', status: statusOf(answer), content: [part(text)], role: 'assistant' }
  const delta = (said: string) =>
    isRefusal
      ? piece('response.refusal.delta', { ...at, delta: said })
      : piece('response.output_text.delta', { ...at, delta: said, logprobs: [], obfuscation: 'x7Gh' })
  return {
    item: message,
    begun: { ...message, status: 'in_progress', content: [] },
    events: [
      event('response.content_part.added', { ...at, part: part('') }),
      ...piecesOf(text).map(delta),
      isRefusal
        ? event('response.refusal.done', { ...at, refusal: text })
        : event('response.output_text.done', { ...at, text, logprobs: [] }),
      event('response.content_part.done', { ...at, part: part(text) }),
    ],
  }
}

function callItem(
  { id: callId, name: called, input }: NonNullable<VendorAnswer['toolCalls']>[number],
  index: number,
  answer: VendorAnswer,
  { name }: ResponseHead,
): Item {
  const id = `fc_${name}_${index}`
  const written = JSON.stringify(input)
  const item = {
    id,
    type: 'function_call',
    status: statusOf(answer),
    arguments: written,
    call_id: callId,
    name: called,
  }
  return {
    item,
    begun: { ...item, status: 'in_progress', arguments: '' },
    events: [
      ...piecesOf(written, 5).map((delta) =>
        piece('response.function_call_arguments.delta', { item_id: id, delta, obfuscation: 'a' }),
      ),
      event('response.function_call_arguments.done', { item_id: id, arguments: written, name: called }),
    ],
  }
}

const event = (type: string, rest: object) => ({ type, rest, isPiece: false })
const piece = (type: string, rest: object) => ({ type, rest, isPiece: true })

/** The whole sequence, numbered. */
export async function streamResponse(answer: VendorAnswer, head: ResponseHead, to: ServerResponse): Promise<void> {
  to.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' })
  let number = 0
  let saidCount = 0
  const send = async (type: string, rest: object) => {
    to.write(`event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: number++, ...rest })}\n\n`)
    await turn()
  }
  await send('response.created', { response: openResponse(head) })
  await send('response.in_progress', { response: openResponse(head) })
  for (const [index, { item, begun, events }] of itemsOf(answer, head).entries()) {
    await send('response.output_item.added', { output_index: index, item: begun })
    for (const { type, rest, isPiece } of events) {
      if (isPiece && saidCount === answer.cutAfter) return void to.destroy()
      if (isPiece && saidCount === answer.errorAfter) {
        const message = 'The server had an error while processing your request.'
        await send('error', { error: { type: 'server_error', code: 'server_error', message, param: null } })
        return void to.end()
      }
      if (isPiece) saidCount += 1
      await send(type, { output_index: index, ...rest })
    }
    await send('response.output_item.done', { output_index: index, item })
  }
  const isWhole = incompleteReasonOf(answer) === null
  await send(isWhole ? 'response.completed' : 'response.incomplete', { response: responseOf(answer, head) })
  to.end()
}

function statusOf(answer: VendorAnswer): string {
  return incompleteReasonOf(answer) === null ? 'completed' : 'incomplete'
}

function incompleteReasonOf({ finish }: VendorAnswer): string | null {
  if (finish === 'length') return 'max_output_tokens'
  return finish === 'content_filter' ? finish : null
}

function usageOf({ input, output, cached = 0, written = 0, reasoning = 0 }: VendorUsage = { input: 21, output: 9 }) {
  return {
    input_tokens: input,
    input_tokens_details: { cached_tokens: cached, cache_write_tokens: written },
    output_tokens: output,
    output_tokens_details: { reasoning_tokens: reasoning },
    total_tokens: input + output,
  }
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
