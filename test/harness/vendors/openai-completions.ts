import type { ServerResponse } from 'node:http'
import { piecesOf, turn, unknownMembers, type VendorAnswer, writeJson } from './vendor-fake.js'

/** OpenAI's older completions. Source: OpenAI's API reference, "Create completion (Legacy)" and "The completion object". */
const members = [
  ...['model', 'prompt', 'best_of', 'echo', 'frequency_penalty', 'logit_bias', 'logprobs', 'max_tokens', 'n', 'user'],
  ...['presence_penalty', 'seed', 'stop', 'stream', 'stream_options', 'suffix', 'temperature', 'top_p'],
]

export function verifyCompletion(body: Record<string, unknown>): string[] {
  const problems = unknownMembers(body, members, 'body')
  const { prompt, stream, stream_options: options } = body
  if (typeof prompt !== 'string' && !Array.isArray(prompt)) problems.push('prompt is required.')
  if (options !== undefined) {
    problems.push(...unknownMembers(options, ['include_usage', 'include_obfuscation'], 'stream_options'))
    if (stream !== true) problems.push('stream_options need stream.')
  }
  return problems
}

export interface CompletionHead {
  readonly id: string
  readonly model: string
}

export function writeCompletion(answer: VendorAnswer, head: CompletionHead, usage: object, to: ServerResponse) {
  const choice = { text: answer.text ?? '', index: 0, logprobs: null, finish_reason: finishOf(answer) }
  writeJson(to, 200, { ...factsOf(head), choices: [choice], usage })
}

/** Chunks look like completions; usage is null in all but the last where it was asked for. */
export async function streamCompletion(
  answer: VendorAnswer,
  head: CompletionHead,
  usage: object | null,
  to: ServerResponse,
): Promise<void> {
  to.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' })
  const send = async (choices: object[], told: object | null = null) => {
    to.write(`data: ${JSON.stringify({ ...factsOf(head), choices, ...(usage === null ? {} : { usage: told }) })}\n\n`)
    await turn()
  }
  const choice = (text: string, finish: string | null) => [{ text, index: 0, logprobs: null, finish_reason: finish }]
  for (const [sent, piece] of piecesOf(answer.text ?? '').entries()) {
    if (sent === answer.cutAfter) return void to.destroy()
    if (sent === answer.errorAfter) {
      const error = { message: 'The server had an error while processing your request.', type: 'server_error' }
      return void to.end(`data: ${JSON.stringify({ error })}\n\n`)
    }
    await send(choice(piece, null))
  }
  await send(choice('', finishOf(answer)))
  if (usage !== null) await send([], usage)
  to.end('data: [DONE]\n\n')
}

function factsOf({ id, model }: CompletionHead): object {
  return { id, object: 'text_completion', created: 1_790_000_000, model, system_fingerprint: 'fp_1' }
}

function finishOf({ finish }: VendorAnswer): string {
  return finish === 'length' || finish === 'content_filter' ? finish : 'stop'
}
