import type { ServerResponse } from 'node:http'
import type { TargetSpec } from '../agent-door.js'
import { GoogleIdentityFake } from './google-identity-fake.js'
import {
  objectsIn,
  piecesOf,
  turn,
  type VendorAnswer,
  VendorFake,
  type VendorFault,
  type VendorRequest,
  type VendorUsage,
  writeJson,
} from './vendor-fake.js'
import { type EmbeddingMethod, embeddingOf, verifyEmbedding } from './vertex-embeddings.js'
import { type IssuedSignatures, verifyContentRequest } from './vertex-request.js'

/**
 * Vertex AI's `generateContent` and `streamGenerateContent?alt=sse` for Gemini, and `predict` and `embedContent` for
 * embeddings, v1, with the token endpoint and the metadata server that its bearer tokens come from. Sources: Vertex AI's
 * REST reference (v1) and proto; shapes as recorded from it: pretty-printed JSON, events that end with CRLF, `trafficType`
 * alone in the usage of all chunks but the last.
 */
export const vertexProject = 'acme-prod-1'
export const vertexLocation = 'europe-west4'

/** What only Gemini says. */
export interface VertexAnswer extends VendorAnswer {
  /** The prompt is blocked: no candidate at all. */
  readonly blockReason?: string
  /** In the place of the one that `finish` stands for. */
  readonly finishReason?: string
  /** Every chunk tells the tokens up to it, as the Gemini API does. */
  readonly tellsRunningTotals?: boolean
  /** Sent as raw bytes in the middle of the stream. */
  readonly garbage?: string
}

type Part = Record<string, unknown>
type Script = VertexAnswer & { readonly wantsLogprobs: boolean }

export class VertexFake extends VendorFake {
  readonly kind = 'vertex'
  readonly basePath = ''
  readonly identity = new GoogleIdentityFake(this.problems)
  readonly #signatures = new Map<string, string>()
  #count = 0

  override async start(): Promise<this> {
    await this.identity.start()
    return super.start()
  }

  override async stop(): Promise<void> {
    await Promise.all([this.identity.stop(), super.stop()])
  }

  /** The credential of a provider record. */
  get secret(): string {
    return this.identity.serviceAccountText
  }

  /** A target that calls `model` here. */
  target(model = 'gemini-2.5-flash'): TargetSpec {
    return {
      ...{ kind: this.kind, origin: this.origin, basePath: this.basePath, upstreamModel: model },
      ...{ vendorProject: vertexProject, vendorRegion: vertexLocation },
    }
  }

  /** What was said to the model in the last request. */
  get lastContents(): Record<string, unknown>[] {
    return objectsIn(this.lastBody['contents'])
  }

  protected verify({ method, path, headers, body }: VendorRequest): readonly string[] {
    const problems: string[] = []
    if (method !== 'POST') problems.push(`${method} is not allowed.`)
    const called = calledIn(path)
    if (called === null) problems.push(`${path} is not found.`)
    else {
      if (called.project !== vertexProject) problems.push(`the project ${called.project} is not ours.`)
      if (called.location !== vertexLocation) problems.push(`the location ${called.location} is not ours.`)
    }
    const token = /^Bearer (.*)$/.exec(headers['authorization'] ?? '')?.[1] ?? ''
    if (!this.identity.isIssued(token)) problems.push('the bearer token is none that was issued.')
    if (headers['content-type'] !== 'application/json') problems.push('content-type has to be application/json.')
    if (headers['x-api-key'] !== undefined || headers['x-goog-api-key'] !== undefined) problems.push('a key leaks.')
    if (body === null) return [...problems, 'the body is no JSON object.']
    if (called?.embeds) return [...problems, ...verifyEmbedding(body, called.model, called.embeds)]
    return [...problems, ...verifyContentRequest(body, called?.model ?? '', this.#issuedSignatures)]
  }

  protected fault({ status, message, retryAfterSeconds }: VendorFault, response: ServerResponse): void {
    const headers = {
      ...{ 'content-type': 'application/json; charset=UTF-8', vary: 'Origin', server: 'scaffolding on HTTPServer2' },
      ...(retryAfterSeconds === undefined ? {} : { 'retry-after': String(retryAfterSeconds) }),
      ...(status === 401 ? { 'www-authenticate': 'Bearer realm="https://accounts.google.com/"' } : {}),
    }
    writeJson(response, status, errorOf(status, message), headers)
  }

  protected async answer(request: VendorRequest, given: VendorAnswer, response: ServerResponse): Promise<void> {
    const { path, body } = request
    const called = calledIn(path)
    if (called?.embeds) {
      const made = embeddingOf(body ?? {}, called.embeds, given)
      if ('status' in made) return this.fault(made, response)
      return writeJson(response, 200, made, { 'content-type': 'application/json; charset=UTF-8' })
    }
    const wantsLogprobs = JSON.stringify(body?.['generationConfig'] ?? {}).includes('"responseLogprobs":true')
    const script: Script = { ...given, wantsLogprobs }
    const model = called?.model ?? ''
    const head = {
      modelVersion: model,
      createTime: '2026-11-27T10:11:12.131415Z',
      responseId: `aBc-${String(++this.#count).padStart(6, '0')}_Zx9`,
    }
    const parts = this.#partsOf(script, model)
    if (called?.isStream) return this.#stream(script, parts, head, response)
    writeJson(response, 200, wholeOf(script, parts, head), { 'content-type': 'application/json; charset=UTF-8' })
  }

  async #stream(script: Script, parts: Part[], head: object, response: ServerResponse): Promise<void> {
    response.writeHead(200, { 'content-type': 'text/event-stream', vary: 'Origin' })
    const pieces = parts.flatMap(piecesOfPart)
    const said = Math.max(1, pieces.length)
    if (script.blockReason !== undefined) {
      writeEvent(response, wholeOf(script, [], head))
      return void response.end()
    }
    for (const [index, piece] of pieces.entries()) {
      if (script.cutAfter === index) return void response.destroy()
      if (script.errorAfter === index) return endWithError(response)
      if (script.garbage !== undefined && index === 1) response.write(script.garbage)
      const usage = script.tellsRunningTotals
        ? usageMetadata({ ...usageOf(script), output: Math.ceil((usageOf(script).output * (index + 1)) / said) })
        : { trafficType: 'ON_DEMAND' }
      writeEvent(response, {
        candidates: [{ content: { role: 'model', parts: [piece] }, ...logprobsOf(script, piece['text']) }],
        usageMetadata: usage,
        ...head,
      })
      await turn()
    }
    if (script.cutAfter !== undefined) return void response.destroy()
    if (script.errorAfter !== undefined) return endWithError(response)
    const isBlocked = finishReasonOf(script) === 'SAFETY'
    writeEvent(response, {
      candidates: [
        {
          ...(isBlocked ? {} : { content: { role: 'model', parts: [{ text: '' }] } }),
          finishReason: finishReasonOf(script),
        },
      ],
      usageMetadata: usageMetadata(usageOf(script)),
      ...head,
    })
    response.end()
  }

  #partsOf({ reasoning, text, toolCalls = [] }: VertexAnswer, model: string): Part[] {
    const isSigned = /gemini-(?:[3-9]|\d\d)/.test(model)
    return [
      ...(reasoning === undefined ? [] : [{ text: reasoning, thought: true }]),
      ...(text === undefined ? [] : [{ text }]),
      ...toolCalls.map(({ name, input }, index) => {
        const functionCall = { name, args: input }
        return isSigned && index === 0 ? { functionCall, thoughtSignature: this.#sign(functionCall) } : { functionCall }
      }),
    ]
  }

  /** Long, and of characters that are not fit for every place. */
  #sign(functionCall: object): string {
    const content = `CtwBAdHtim/${this.#signatures.size}+${JSON.stringify(functionCall)}${'~?>'.repeat(400)}`
    const signature = Buffer.from(content).toString('base64')
    this.#signatures.set(signature, JSON.stringify(functionCall))
    return signature
  }

  readonly #issuedSignatures: IssuedSignatures = {
    isOf: (signature, functionCall) => this.#signatures.get(signature) === JSON.stringify(functionCall),
  }
}

interface Called {
  readonly project: string
  readonly location: string
  readonly model: string
  readonly isStream: boolean
  /** Null: it talks. */
  readonly embeds: EmbeddingMethod | null
}

function calledIn(path: string): Called | null {
  const match =
    /^\/v1\/projects\/([^/]+)\/locations\/([^/]+)\/(?:publishers\/[a-z]+\/models|endpoints)\/([^/:]+):(.*)$/.exec(path)
  if (match === null) return null
  const [, project = '', location = '', model = '', method] = match
  const called = { project, location, model }
  if (method === 'predict' || method === 'embedContent') return { ...called, isStream: false, embeds: method }
  if (method !== 'generateContent' && method !== 'streamGenerateContent?alt=sse') return null
  return { ...called, isStream: method !== 'generateContent', embeds: null }
}

function wholeOf(script: Script, parts: Part[], head: object): object {
  if (script.blockReason !== undefined) {
    const { output: _none, ...usage } = usageOf(script)
    return {
      promptFeedback: { blockReason: script.blockReason, blockReasonMessage: 'The prompt was blocked.' },
      usageMetadata: { promptTokenCount: usage.input, totalTokenCount: usage.input, trafficType: 'ON_DEMAND' },
      ...head,
    }
  }
  const finishReason = finishReasonOf(script)
  return {
    candidates: [
      {
        ...(parts.length === 0 ? {} : { content: { role: 'model', parts } }),
        finishReason,
        avgLogprobs: -0.21,
        ...logprobsOf(script, script.text),
      },
    ],
    usageMetadata: usageMetadata(usageOf(script)),
    ...head,
  }
}

/** Of a text; one and two alternatives. */
function logprobsOf({ wantsLogprobs }: Script, text: unknown): object {
  if (!wantsLogprobs || typeof text !== 'string') return {}
  const tokens = piecesOf(text, 4)
  return {
    logprobsResult: {
      topCandidates: tokens.map((token) => ({
        candidates: [
          { token, tokenId: 7, logProbability: -0.1 },
          { token: 'other', tokenId: 8, logProbability: -2.5 },
        ],
      })),
      chosenCandidates: tokens.map((token) => ({ token, tokenId: 7, logProbability: -0.1 })),
    },
  }
}

/** A text comes in several chunks, a call in one. */
function piecesOfPart(part: Part): Part[] {
  const { text, ...rest } = part
  return typeof text === 'string' ? piecesOf(text).map((piece) => ({ text: piece, ...rest })) : [part]
}

function finishReasonOf({ finishReason, finish }: VertexAnswer): string {
  if (finishReason !== undefined) return finishReason
  switch (finish) {
    case 'length':
      return 'MAX_TOKENS'
    case 'content_filter':
      return 'SAFETY'
    case 'refusal':
      return 'PROHIBITED_CONTENT'
    default:
      // Also with function calls, and at a stop sequence.
      return 'STOP'
  }
}

function usageOf({ usage }: VendorAnswer): VendorUsage {
  return usage ?? { input: 21, output: 9 }
}

/** Thoughts beside what was said; what came from the cache within the prompt; nothing that is zero. */
function usageMetadata({ input, cached = 0, output, reasoning = 0 }: VendorUsage): object {
  const said = output - reasoning
  return {
    promptTokenCount: input,
    ...(said === 0 ? {} : { candidatesTokenCount: said }),
    totalTokenCount: input + output,
    ...(cached === 0 ? {} : { cachedContentTokenCount: cached }),
    trafficType: 'ON_DEMAND',
    promptTokensDetails: [{ modality: 'TEXT', tokenCount: input }],
    ...(said === 0 ? {} : { candidatesTokensDetails: [{ modality: 'TEXT', tokenCount: said }] }),
    ...(reasoning === 0 ? {} : { thoughtsTokenCount: reasoning }),
  }
}

function writeEvent(response: ServerResponse, value: object): void {
  response.write(`data: ${JSON.stringify(value)}\r\n\r\n`)
}

function endWithError(response: ServerResponse): void {
  writeEvent(response, errorOf(503, 'The model is overloaded. Please try again later.'))
  response.end()
}

function errorOf(code: number, message: string): object {
  const status = statusNames[code] ?? 'UNKNOWN'
  const details = code === 401 ? { details: [{ '@type': errorInfo, reason: 'ACCESS_TOKEN_EXPIRED' }] } : {}
  return { error: { code, message, status, ...details } }
}

const errorInfo = 'type.googleapis.com/google.rpc.ErrorInfo'
const statusNames: Readonly<Record<number, string>> = {
  400: 'INVALID_ARGUMENT',
  401: 'UNAUTHENTICATED',
  403: 'PERMISSION_DENIED',
  404: 'NOT_FOUND',
  429: 'RESOURCE_EXHAUSTED',
  500: 'INTERNAL',
  503: 'UNAVAILABLE',
}
