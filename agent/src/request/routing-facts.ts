import { promptClassHeader, promptClassSaid } from '../../../proto/policy/classify-prompt.js'
import { MeasuredPrompt, type PromptFacts, type PromptShape } from '../../../proto/policy/measured-prompt.js'
import type { RequestFacts, RoutedOperation } from '../../../proto/policy/request-facts.js'
import { randomUnit } from '../../../proto/std/ids.js'
import { isJsonObject, objectsOf } from '../conversation/json-object.js'
import type { RequestBody } from '../providers/provider-dialect.js'
import type { ClientCall } from './ports.js'

/**
 * What routing may know of a request. Everything is read when a rule first asks for it, so that a route whose rules ask for
 * nothing costs an object.
 */
export class RoutingFacts implements RequestFacts {
  readonly operation: RoutedOperation
  readonly model: string
  readonly stream: boolean
  readonly nowMs: number
  readonly bodyBytes: number
  readonly region: string | undefined
  readonly #call: ClientCall
  readonly #body: RequestBody
  #prompt: PromptFacts | null = null
  #draw = -1

  constructor(call: ClientCall, operation: RoutedOperation, body: RequestBody, region: string | undefined) {
    this.operation = operation
    this.model = body.model
    this.stream = body.stream
    this.nowMs = call.startedAtMs
    this.bodyBytes = body.bytes.length
    this.region = region
    this.#call = call
    this.#body = body
  }

  get userId(): string | undefined {
    return this.#body.user ?? this.#call.header('x-switchyard-user')
  }

  get sessionId(): string | undefined {
    return this.#call.header('x-switchyard-session')
  }

  /** The same for as long as the request lasts. */
  get draw(): number {
    if (this.#draw < 0) this.#draw = randomUnit()
    return this.#draw
  }

  get outputTokensMax(): number | undefined {
    const { fields } = this.#body
    const asked = fields['max_completion_tokens'] ?? fields['max_output_tokens'] ?? fields['max_tokens']
    return typeof asked === 'number' && asked >= 0 ? asked : undefined
  }

  get prompt(): PromptFacts {
    this.#prompt ??= new MeasuredPrompt(
      () => promptShape(this.#body),
      promptClassSaid(this.#call.header(promptClassHeader)),
    )
    return this.#prompt
  }

  header(name: string): string | undefined {
    return this.#call.header(name)
  }
}

/** Of the newest turns of the user so much text is looked at. */
const textCharactersMax = 16 * 1024
/** Nesting of parts in turns; deeper is no prompt. */
const depthMax = 5

/** The size of everything that a model will read, and what the user said last; for estimates, whatever the door. */
export function promptShape(body: RequestBody): PromptShape {
  const turns = Array.isArray(body.prompt) ? body.prompt : [body.prompt]
  const size = { textBytes: 0, imageCount: 0 }
  for (const turn of turns) measure(turn, size, 0)
  const tools = objectsOf(body.fields['tools'])
  for (const tool of tools) size.textBytes += Buffer.byteLength(JSON.stringify(tool))
  return { ...size, turnCount: turns.length, toolCount: tools.length, text: newestText(turns) }
}

function measure(value: unknown, size: { textBytes: number; imageCount: number }, depth: number): void {
  if (typeof value === 'string') size.textBytes += Buffer.byteLength(value)
  else if (Array.isArray(value)) {
    if (depth < depthMax) for (const item of value) measure(item, size, depth + 1)
  } else if (isJsonObject(value) && depth < depthMax) {
    const type = value['type']
    if (typeof type === 'string' && type.includes('image')) size.imageCount += 1
    else for (const name of said) measure(value[name], size, depth + 1)
  }
}

/** Members of turns and their parts that hold what is read: content, what tools were called with, what they gave. */
const said = ['content', 'text', 'output', 'input', 'arguments', 'tool_calls', 'function'] as const

/** From the newest turn back, as long as they are the user's or there is room; in the order in which they were said. */
function newestText(turns: readonly unknown[]): string {
  const texts: string[] = []
  let length = 0
  for (let at = turns.length - 1; at >= 0 && length < textCharactersMax; at--) {
    const turn = turns[at]
    if (isJsonObject(turn) && turn['role'] !== undefined && turn['role'] !== 'user') continue
    const text = textIn(turn, 0)
    if (text === '') continue
    texts.push(text.length > textCharactersMax - length ? text.slice(length - textCharactersMax) : text)
    length += text.length
  }
  return texts.reverse().join('\n')
}

function textIn(value: unknown, depth: number): string {
  if (typeof value === 'string') return value
  if (depth >= depthMax) return ''
  if (Array.isArray(value)) return value.map((item) => textIn(item, depth + 1)).join('\n')
  return isJsonObject(value) ? textIn(value['content'] ?? value['text'], depth + 1) : ''
}
