import type { ServerResponse } from 'node:http'
import { verifyChat, verifyEmbeddings, versions } from './azure-openai-request.js'
import type { EntraFake } from './entra-fake.js'
import { embeddingsOf } from './openai-embeddings.js'
import { responseOf, streamResponse, verifyResponse } from './openai-responses.js'
import {
  piecesOf,
  plainAnswer,
  turn,
  type VendorAnswer,
  VendorFake,
  type VendorFault,
  type VendorRequest,
  type VendorUsage,
  writeJson,
} from './vendor-fake.js'

/**
 * Azure OpenAI's chat completions and embeddings, of one API version, and the responses of v1. Sources: Microsoft's
 * documentation, "Azure OpenAI REST API reference", "Content filter streaming", "Content filtering annotations" and "Use the
 * Azure OpenAI Responses API"; shapes, their order included, as recorded from the service.
 */
type Operation = 'chat/completions' | 'embeddings' | 'responses'

const foreignHeaders = ['x-api-key', 'anthropic-version', 'x-goog-api-key', 'x-goog-user-project', 'x-amz-date']

/** What the filter says to a prompt it does not let through. */
export const filteredPrompt: VendorFault = {
  status: 400,
  message:
    "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please modify your prompt and retry. To learn more about our content filtering policies please read our documentation: https://go.microsoft.com/fwlink/?linkid=2198766",
}

export interface AzureOpenaiFakeOptions {
  readonly apiVersion?: string
  /** Tokens that it takes besides its key. */
  readonly entra?: EntraFake
  /** The deployment's content filter runs beside the model, and tells what it found in chunks of its own. */
  readonly filtersBeside?: boolean
}

export class AzureOpenaiFake extends VendorFake {
  readonly kind = 'azure-openai'
  readonly basePath = ''
  readonly secret = '3f9c0de1fakefakefakefakefake0001'
  readonly deployment = 'gpt-4o eu/1'
  readonly apiVersion: string
  readonly #entra: EntraFake | null
  readonly #filtersBeside: boolean
  #count = 0

  constructor({ apiVersion = '2024-10-21', entra, filtersBeside = false }: AzureOpenaiFakeOptions = {}) {
    super()
    if (!versions.includes(apiVersion)) throw new Error(`there is no API version ${apiVersion}`)
    this.apiVersion = apiVersion
    this.#entra = entra ?? null
    this.#filtersBeside = filtersBeside
  }

  protected verify(request: VendorRequest): readonly string[] {
    const { method, path, headers, body } = request
    const problems: string[] = []
    if (method !== 'POST') problems.push(`${method} is not allowed.`)
    const operation = this.#operationAt(path)
    if (operation === null) problems.push(`${path} is not found.`)
    const shown = ['api-key', 'authorization'].filter((name) => headers[name] !== undefined)
    if (shown.length !== 1) problems.push(`shown: ${shown.join(' and ') || 'nothing'}.`)
    for (const name of foreignHeaders) if (headers[name] !== undefined) problems.push(`${name} does not belong here.`)
    if (headers['content-type'] !== 'application/json') problems.push('content-type has to be application/json.')
    if (body === null) return [...problems, 'the body is no JSON object.']
    if (typeof body['model'] !== 'string') problems.push('model is required.')
    if (operation === 'embeddings') return [...problems, ...verifyEmbeddings(body)]
    return [...problems, ...(operation === 'responses' ? verifyResponse(body) : verifyChat(body, this.apiVersion))]
  }

  protected fault(fault: VendorFault, response: ServerResponse): void {
    const { status, message, retryAfterSeconds } = fault
    writeJson(response, status, fault === filteredPrompt ? filteredBody : { error: errorOf(status, message) }, {
      'apim-request-id': '5a1b2c3d-0000-4000-8000-00000000000a',
      'x-ms-region': 'Sweden Central',
      ...(retryAfterSeconds === undefined
        ? {}
        : { 'retry-after': String(retryAfterSeconds), 'retry-after-ms': String(retryAfterSeconds * 1000) }),
    })
  }

  protected async answer(request: VendorRequest, answer: VendorAnswer, response: ServerResponse): Promise<void> {
    const { body, path, headers } = request
    if (!this.#isKnown(headers['api-key'], headers['authorization'])) return this.#refuseCaller(headers, response)
    if (this.#deploymentIn(request) !== this.deployment) {
      const message =
        'The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, please wait a moment and try again.'
      return this.fault({ status: 404, message }, response)
    }
    const operation = this.#operationAt(path)
    if (operation === 'embeddings') {
      const tokens = answer === plainAnswer ? 5 : (answer.usage?.input ?? 5)
      return writeJson(response, 200, embeddingsOf(body, 'text-embedding-3-small', tokens))
    }
    if (operation === 'responses' && body !== null) {
      const head = { name: String(++this.#count).padStart(6, '0'), model: actualModel, body }
      if (body['stream'] === true) return streamResponse(answer, head, response)
      return writeJson(response, 200, responseOf(answer, head))
    }
    const id = `chatcmpl-${String(++this.#count).padStart(6, '0')}`
    if (body?.['stream'] === true) return this.#stream(answer, id, body, response)
    writeJson(response, 200, {
      choices: [
        {
          content_filter_results: answer.finish === 'content_filter' ? violent : safe,
          finish_reason: finishReasonOf(answer),
          ...{ index: 0, logprobs: null, message: messageOf(answer) },
        },
      ],
      ...{ created: 1_790_000_000, id, model: actualModel, object: 'chat.completion' },
      prompt_filter_results: promptFilterResults,
      system_fingerprint: 'fp_ee1d74bde0',
      usage: usageOf(answer.usage),
    })
  }

  async #stream(
    answer: VendorAnswer,
    id: string,
    body: Record<string, unknown>,
    response: ServerResponse,
  ): Promise<void> {
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'x-ms-region': 'Sweden Central' })
    const options = body['stream_options'] as { include_usage?: boolean } | undefined
    const wantsUsage = options?.include_usage === true
    const send = async (chunk: object, usage: object | null = null) => {
      response.write(`data: ${JSON.stringify({ ...chunk, ...(wantsUsage ? { usage } : {}) })}\n\n`)
      await turn()
    }
    const nameless = { created: 0, id: '', model: '', object: '' }
    const named = { created: 1_790_000_000, id, model: actualModel, object: 'chat.completion.chunk' }
    const rest = { ...named, system_fingerprint: 'fp_ee1d74bde0' }
    const results = this.#filtersBeside ? {} : { content_filter_results: safe }
    const delta = (value: object, filtered: object = results) =>
      send({ choices: [{ ...filtered, delta: value, finish_reason: null, index: 0, logprobs: null }], ...rest })
    const annotate = async (finish: string | null, found: object) => {
      const offsets = { check_offset: 44, end_offset: 198, start_offset: 44 }
      const choice = { content_filter_offsets: offsets, content_filter_results: found, finish_reason: finish, index: 0 }
      if (this.#filtersBeside) await send({ choices: [choice], ...nameless })
    }
    await send({ choices: [], ...nameless, prompt_filter_results: promptFilterResults })
    await delta({ content: '', refusal: null, role: 'assistant' }, { content_filter_results: {} })
    for (const [sent, value] of deltasOf(answer).entries()) {
      if (sent === answer.cutAfter) return void response.destroy()
      if (sent === answer.errorAfter) {
        const error = { message: 'The server had an error while processing your request.', type: 'server_error' }
        response.write(`data: ${JSON.stringify({ error })}\n\n`)
        return void response.end()
      }
      await delta(value)
      if (sent % 4 === 3) await annotate(null, safe)
    }
    if (this.#filtersBeside && answer.finish === 'content_filter') await annotate('content_filter', violent)
    else {
      const finish = { delta: {}, finish_reason: finishReasonOf(answer), index: 0, logprobs: null }
      await send({ choices: [{ content_filter_results: {}, ...finish }], ...rest })
      await annotate(null, safe)
    }
    if (wantsUsage) await send({ choices: [], ...rest }, usageOf(answer.usage))
    response.end('data: [DONE]\n\n')
  }

  #operationAt(path: string): Operation | null {
    const pattern =
      this.apiVersion === 'v1'
        ? /^\/openai\/v1\/(chat\/completions|embeddings|responses)$/
        : /^\/openai\/deployments\/[^/?]+\/(chat\/completions|embeddings)\?api-version=([^&]+)$/
    const [, operation, version] = pattern.exec(path) ?? []
    const isVersion = this.apiVersion === 'v1' || version === this.apiVersion
    return isVersion ? ((operation as Operation | undefined) ?? null) : null
  }

  #deploymentIn({ path, body }: VendorRequest): string {
    if (this.apiVersion === 'v1') return String(body?.['model'])
    return decodeURIComponent(path.split('/')[3] ?? '')
  }

  #isKnown(key: unknown, authorization: unknown): boolean {
    if (key !== undefined) return key === this.secret
    const [scheme, token = ''] = String(authorization).split(' ')
    return scheme === 'Bearer' && this.#entra?.issued(token) === true
  }

  #refuseCaller(headers: VendorRequest['headers'], response: ServerResponse) {
    if (headers['api-key'] === undefined) {
      const message =
        'Unauthorized. Access token is missing, invalid, audience is incorrect (https://cognitiveservices.azure.com), or have expired.'
      return writeJson(response, 401, { statusCode: 401, message })
    }
    const message =
      'Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an active subscription and use a correct regional API endpoint for your resource.'
    this.fault({ status: 401, message }, response)
  }
}

const actualModel = 'gpt-4o-2024-11-20'
const mild = { filtered: false, severity: 'safe' }
const undetected = { detected: false, filtered: false }
const safe = { hate: mild, self_harm: mild, sexual: mild, violence: mild }
const violent = { ...safe, violence: { filtered: true, severity: 'high' } }
const promptFilterResults = [{ prompt_index: 0, content_filter_results: { ...safe, jailbreak: undetected } }]
const filteredBody = {
  error: {
    ...{ message: filteredPrompt.message, type: null, param: 'prompt', code: 'content_filter', status: 400 },
    innererror: { code: 'ResponsibleAIPolicyViolation', content_filter_result: { ...violent, jailbreak: undetected } },
  },
}

/** What the gateway says has a code; what the model's server says is as OpenAI says it. */
function errorOf(status: number, message: string): object {
  if (status === 404) return { code: 'DeploymentNotFound', message }
  if (status === 403) return { code: 'PermissionDenied', message }
  if (status === 401 || status === 429) return { code: String(status), message }
  if (status >= 500) return { code: 'InternalServerError', message }
  return { message, type: 'invalid_request_error', param: null, code: null }
}

function messageOf(answer: VendorAnswer): object {
  const isRefused = answer.finish === 'refusal'
  const calls = (answer.toolCalls ?? []).map(({ id, name, input }) => ({
    ...{ function: { arguments: JSON.stringify(input), name }, id, type: 'function' },
  }))
  // A filtered completion has no content at all.
  if (answer.finish === 'content_filter') return { role: 'assistant' }
  return {
    annotations: [],
    content: isRefused ? null : (answer.text ?? null),
    refusal: isRefused ? (answer.text ?? null) : null,
    role: 'assistant',
    ...(calls.length === 0 ? {} : { tool_calls: calls }),
  }
}

function deltasOf(answer: VendorAnswer): object[] {
  const member = answer.finish === 'refusal' ? 'refusal' : 'content'
  const texts = answer.text === undefined ? [] : piecesOf(answer.text).map((text) => ({ [member]: text }))
  const calls = (answer.toolCalls ?? []).flatMap(({ id, name, input }, index) => [
    { content: null, tool_calls: [{ function: { arguments: '', name }, id, index, type: 'function' }] },
    ...piecesOf(JSON.stringify(input), 5).map((text) => ({ tool_calls: [{ function: { arguments: text }, index }] })),
  ])
  return [...texts, ...calls]
}

function finishReasonOf({ finish, toolCalls }: VendorAnswer): string {
  if (finish === 'length' || finish === 'content_filter') return finish
  return finish === 'tool_calls' || (toolCalls ?? []).length > 0 ? 'tool_calls' : 'stop'
}

/** Cached tokens are part of the prompt's, reasoning ones of the completion's. */
function usageOf({ input, output, cached = 0, reasoning = 0 }: VendorUsage = { input: 21, output: 9 }): object {
  return {
    completion_tokens: output,
    completion_tokens_details: {
      ...{ accepted_prediction_tokens: 0, audio_tokens: 0, reasoning_tokens: reasoning, rejected_prediction_tokens: 0 },
    },
    prompt_tokens: input,
    prompt_tokens_details: { audio_tokens: 0, cached_tokens: cached },
    total_tokens: input + output,
  }
}
