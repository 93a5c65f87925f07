import type { ServerResponse } from 'node:http'
import { crc32 } from 'node:zlib'
import { systemClock } from '../../../proto/std/clock.js'
import { type AwsKeys, verifySignature } from './aws-signature.js'
import { embeddingModelOf, invokeHeaders, verifyInvoke } from './bedrock-embeddings.js'
import { verifyConverse } from './bedrock-request.js'
import {
  piecesOf,
  turn,
  type VendorAnswer,
  VendorFake,
  type VendorFault,
  type VendorRequest,
  type VendorUsage,
  writeJson,
} from './vendor-fake.js'

/**
 * AWS Bedrock's Converse and ConverseStream, and for embeddings its InvokeModel, in one region. Sources: AWS's Bedrock API
 * reference ("Converse", "ConverseStream", "InvokeModel"), user guide ("Troubleshooting Amazon Bedrock API Error Codes"),
 * "Event stream encoding"; shapes, the order of members and the padding `p` of streamed events as recorded from it.
 */
const operationPattern = /^\/model\/([^/?]+)\/(converse|converse-stream|invoke)$/
const modelPattern =
  /^(?:arn:aws(?:-[^:]+)?:bedrock:[a-z0-9-]{1,20}:(?:[0-9]{12})?:[a-z-]+\/[a-zA-Z0-9-:.]+|[a-zA-Z0-9-:.]+)$/

export class BedrockFake extends VendorFake {
  readonly kind = 'bedrock'
  readonly basePath = ''
  readonly region = 'eu-central-1'
  readonly accessKeyId = 'AKIAFAKEFAKEFAKEFAKE'
  /** By access key id: those that do not expire, and whatever STS gives out. */
  readonly keys = new Map<string, AwsKeys>([
    ['AKIAFAKEFAKEFAKEFAKE', { secretAccessKey: 'fake/secret+key/of/40/characters/in/all0', sessionToken: null }],
  ])
  nowMs = () => systemClock.nowMs()
  #count = 0

  /** A provider's secret. */
  get secret(): string {
    const { accessKeyId } = this
    return JSON.stringify({ accessKeyId, secretAccessKey: this.keys.get(accessKeyId)?.secretAccessKey })
  }

  protected verify(request: VendorRequest): readonly string[] {
    const { method, path, headers, body } = request
    const problems: string[] = []
    if (method !== 'POST') problems.push(`${method} is not allowed.`)
    const [, label = '', operation] = operationPattern.exec(path) ?? []
    const modelId = decodeURIComponent(label)
    if (operation === undefined) problems.push(`${path} is not found.`)
    if (/[^A-Za-z0-9\-._~%]/.test(label)) problems.push(`${label} is not encoded.`)
    if (!modelPattern.test(modelId)) problems.push(`The provided model identifier is invalid: ${modelId}.`)
    if (headers['content-type'] !== 'application/json') problems.push('content-type has to be application/json.')
    const accepts = operation === 'converse-stream' ? 'application/vnd.amazon.eventstream' : 'application/json'
    if (headers['accept'] !== accepts) problems.push(`accept is ${String(headers['accept'])}.`)
    for (const name of ['x-api-key', 'api-key', 'anthropic-version']) {
      if (headers[name] !== undefined) problems.push(`${name} does not belong here.`)
    }
    const signature = this.#verifySignature(request)
    if (signature !== 'unknown') problems.push(...signature)
    if (body === null) return [...problems, 'the body is no JSON object.']
    return [...problems, ...(operation === 'invoke' ? verifyInvoke : verifyConverse)(modelId, body)]
  }

  protected fault({ status, message, retryAfterSeconds }: VendorFault, response: ServerResponse): void {
    writeJson(
      response,
      status,
      { message },
      {
        'x-amzn-requestid': this.#requestId(),
        'x-amzn-errortype': `${errorTypes[status] ?? 'InternalServerException'}:http://internal.amazon.com/coral/`,
        ...(retryAfterSeconds === undefined ? {} : { 'retry-after': String(retryAfterSeconds) }),
      },
    )
  }

  protected async answer(request: VendorRequest, script: VendorAnswer, response: ServerResponse): Promise<void> {
    if (this.#verifySignature(request) === 'unknown') {
      return this.fault({ status: 403, message: 'The security token included in the request is invalid.' }, response)
    }
    const invoked = /^\/model\/([^/]+)\/invoke$/.exec(request.path)?.[1]
    if (invoked !== undefined) {
      const model = embeddingModelOf(decodeURIComponent(invoked))
      const headers = { ...invokeHeaders(script), 'x-amzn-requestid': this.#requestId() }
      return writeJson(response, 200, model?.answer(request.body ?? {}, script), headers)
    }
    const answer = asForced(script, request.body)
    if (request.path.endsWith('-stream')) return this.#stream(answer, request.body, response)
    writeJson(
      response,
      200,
      {
        ...ownFieldsOf(answer, request.body),
        metrics: { latencyMs: 421 },
        output: { message: { content: blocksOf(answer), role: 'assistant' } },
        stopReason: stopReasonOf(answer),
        usage: usageOf(answer.usage),
      },
      { 'x-amzn-requestid': this.#requestId() },
    )
  }

  #verifySignature(request: VendorRequest): readonly string[] | 'unknown' {
    const { region, keys } = this
    return verifySignature(request, {
      ...{ region, service: 'bedrock', nowMs: this.nowMs() },
      keysOf: (accessKeyId) => keys.get(accessKeyId) ?? null,
    })
  }

  #requestId(): string {
    return `5f0c3a1e-0000-4000-8000-${String(++this.#count).padStart(12, '0')}`
  }

  async #stream(answer: VendorAnswer, body: Record<string, unknown> | null, response: ServerResponse): Promise<void> {
    response.writeHead(200, {
      'content-type': 'application/vnd.amazon.eventstream',
      'x-amzn-requestid': this.#requestId(),
    })
    response.flushHeaders()
    let sentCount = 0
    for (const event of eventsOf(answer, body)) {
      if (event.type === 'contentBlockDelta') {
        if (sentCount === answer.cutAfter) return void response.destroy()
        if (sentCount === answer.errorAfter) {
          const message = 'The system encountered an unexpected error during processing. Try your request again.'
          await sendInPackets(
            exceptionFrame('modelStreamErrorException', { message, originalStatusCode: 500 }),
            response,
          )
          return void response.end()
        }
        sentCount += 1
      }
      await sendInPackets(eventFrame(event.type, event.fields), response)
    }
    response.end()
  }
}

/** Cut where no message ends, so that whoever reads has to put them together. */
async function sendInPackets(frame: Buffer, response: ServerResponse): Promise<void> {
  const cut = 1 + ((frame.length * 7) % (frame.length - 1))
  for (const packet of [frame.subarray(0, cut), frame.subarray(cut)]) {
    response.write(packet)
    await turn()
  }
}

const errorTypes: Readonly<Record<number, string>> = {
  400: 'ValidationException',
  401: 'AccessDeniedException',
  403: 'AccessDeniedException',
  404: 'ResourceNotFoundException',
  408: 'ModelTimeoutException',
  424: 'ModelErrorException',
  429: 'ThrottlingException',
  503: 'ServiceUnavailableException',
}

interface StreamEvent {
  readonly type: string
  readonly fields: object
}

/** What a stream consists of, in order. */
export function eventsOf(answer: VendorAnswer, body: Record<string, unknown> | null = null): StreamEvent[] {
  const blocks: { start?: object; deltas: object[] }[] = []
  if (answer.reasoning !== undefined) {
    const deltas = piecesOf(answer.reasoning).map((text) => ({ reasoningContent: { text } }))
    blocks.push({ deltas: [...deltas, { reasoningContent: { signature: 'c2lnbmVk' } }] })
  }
  if (answer.text !== undefined) blocks.push({ deltas: piecesOf(answer.text).map((text) => ({ text })) })
  for (const { id, name, input } of answer.toolCalls ?? []) {
    const written = JSON.stringify(input)
    const pieces = written === '{}' ? [''] : ['', ...piecesOf(written, 9)]
    blocks.push({
      start: { toolUse: { name, toolUseId: id } },
      deltas: pieces.map((piece) => ({ toolUse: { input: piece } })),
    })
  }
  return [
    { type: 'messageStart', fields: { role: 'assistant' } },
    ...blocks.flatMap(({ start, deltas }, contentBlockIndex) => [
      ...(start === undefined ? [] : [{ type: 'contentBlockStart', fields: { contentBlockIndex, start } }]),
      ...deltas.map((delta) => ({ type: 'contentBlockDelta', fields: { contentBlockIndex, delta } })),
      { type: 'contentBlockStop', fields: { contentBlockIndex } },
    ]),
    { type: 'messageStop', fields: { ...ownFieldsOf(answer, body), stopReason: stopReasonOf(answer) } },
    { type: 'metadata', fields: { metrics: { latencyMs: 421 }, usage: usageOf(answer.usage) } },
  ]
}

/** A message of the stream: its fields, and the padding that hides how long they are. */
export function eventFrame(type: string, fields: object): Buffer {
  const payload = JSON.stringify({
    ...fields,
    p: 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMN'.slice(0, 4 + (type.length % 30)),
  })
  return frameOf({ ':event-type': type, ':content-type': 'application/json', ':message-type': 'event' }, payload)
}

export function exceptionFrame(type: string, fields: object): Buffer {
  return frameOf(
    { ':exception-type': type, ':content-type': 'application/json', ':message-type': 'exception' },
    JSON.stringify(fields),
  )
}

export function frameOf(headers: Readonly<Record<string, string>>, payload: string): Buffer {
  const encoded = Buffer.concat(
    Object.entries(headers).flatMap(([name, value]) => {
      const bytes = Buffer.from(value)
      // 7 is the type of a text.
      const size = Buffer.from([7, bytes.length >> 8, bytes.length & 255])
      return [Buffer.from([name.length]), Buffer.from(name), size, bytes]
    }),
  )
  const body = Buffer.from(payload)
  const frame = Buffer.alloc(16 + encoded.length + body.length)
  frame.writeUInt32BE(frame.length, 0)
  frame.writeUInt32BE(encoded.length, 4)
  frame.writeUInt32BE(crc32(frame.subarray(0, 8)), 8)
  encoded.copy(frame, 12)
  body.copy(frame, 12 + encoded.length)
  frame.writeUInt32BE(crc32(frame.subarray(0, frame.length - 4)), frame.length - 4)
  return frame
}

function blocksOf({ reasoning, text, toolCalls }: VendorAnswer): object[] {
  return [
    ...(reasoning === undefined
      ? []
      : [{ reasoningContent: { reasoningText: { signature: 'c2lnbmVk', text: reasoning } } }]),
    ...(text === undefined ? [] : [{ text }]),
    ...(toolCalls ?? []).map(({ id, name, input }) => ({ toolUse: { input, name, toolUseId: id } })),
  ]
}

/** Parts of the input stand side by side, and the total is of all. */
function usageOf({ input, output, cached = 0, written = 0 }: VendorUsage = { input: 21, output: 9 }) {
  return {
    ...{ cacheReadInputTokenCount: cached, cacheReadInputTokens: cached },
    ...{ cacheWriteInputTokenCount: written, cacheWriteInputTokens: written },
    ...{
      inputTokens: input - cached - written,
      outputTokens: output,
      serverToolUsage: {},
      totalTokens: input + output,
    },
  }
}

function stopReasonOf({ finish, toolCalls }: VendorAnswer): string {
  switch (finish) {
    case 'length':
      return 'max_tokens'
    case 'stop_sequence':
      return 'stop_sequence'
    case 'content_filter':
      return 'content_filtered'
    case 'refusal':
      return 'guardrail_intervened'
    default:
      return finish === 'tool_calls' || (toolCalls ?? []).length > 0 ? 'tool_use' : 'end_turn'
  }
}

/** What was asked for by its path in the model's own answer. */
function ownFieldsOf(answer: VendorAnswer, body: Record<string, unknown> | null): object {
  const asked = body?.['additionalModelResponseFieldPaths']
  if (!Array.isArray(asked) || !asked.includes('/stop_sequence')) return {}
  return { additionalModelResponseFields: { stop_sequence: answer.stopSequence ?? null } }
}

/** A model that is made to call a certain tool calls it: what it would have said as JSON is the tool's input. */
function asForced(script: VendorAnswer, body: Record<string, unknown> | null): VendorAnswer {
  const config = body?.['toolConfig'] as { toolChoice?: { tool?: { name: string } } } | undefined
  const name = config?.toolChoice?.tool?.name
  if (name === undefined || script.toolCalls !== undefined) return script
  const { text, ...rest } = script
  return { ...rest, toolCalls: [{ id: 'tooluse_forced', name, input: JSON.parse(text ?? '{}') as object }] }
}
