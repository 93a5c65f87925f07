import { promptClassHeader, promptClassSaid } from '../../../proto/policy/classify-prompt.js'
import { MeasuredPrompt, type PromptFacts, type PromptShape } from '../../../proto/policy/measured-prompt.js'
import type { RequestFacts, RoutedOperation } from '../../../proto/policy/request-facts.js'
import { bothEndsOf } from '../../../proto/policy/text-signs.js'
import { randomUnit } from '../../../proto/std/ids.js'
import { isJsonObject, type JsonObject, objectsOf } from '../conversation/json-object.js'
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
  #prompt: PromptFacts | null
  #draw = -1

  /** `prompt`: what was measured of it already. */
  constructor(
    call: ClientCall,
    operation: RoutedOperation,
    body: RequestBody,
    region: string | undefined,
    prompt: PromptFacts | null = null,
  ) {
    this.#prompt = prompt
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

  /** Whole tokens. What is no count of them is for the vendor to refuse; a decision knows nothing of it. */
  get outputTokensMax(): number | undefined {
    const { fields } = this.#body
    const asked = fields['max_completion_tokens'] ?? fields['max_output_tokens'] ?? fields['max_tokens']
    if (typeof asked !== 'number' || !(asked >= 0)) return undefined
    const tokens = Math.ceil(asked)
    return Number.isSafeInteger(tokens) ? tokens : undefined
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

/** Nesting of parts in turns; deeper is no prompt. */
const depthMax = 5

/** The size of everything that a model will read, and what the user says; for estimates, whatever the door. */
export function promptShape(body: RequestBody): PromptShape {
  return new ShapeOfBody(body)
}

/** A class, and no literal with members spread into it: V8 makes such a one member by member, which costs more than the look. */
class ShapeOfBody implements PromptShape {
  textBytes = 0
  imageCount = 0
  readonly turnCount: number
  readonly toolCount: number
  readonly #turns: readonly unknown[]

  constructor({ prompt, fields }: RequestBody) {
    const turns = Array.isArray(prompt) ? (prompt as readonly unknown[]) : [prompt]
    this.#turns = turns
    this.turnCount = turns.length
    for (const turn of turns) this.#measure(turn, 0)
    const { tools } = fields
    const definitions = tools === undefined ? noTools : objectsOf(tools)
    this.toolCount = definitions.length
    for (const tool of definitions) this.textBytes += Buffer.byteLength(JSON.stringify(tool))
  }

  newestText(): string {
    const turns = this.#turns
    return bothEndsOf(turns.length, (index) => saidByUser(turns[index]))
  }

  /** Counts what is read in turns and their parts: content, what tools were called with, what they gave. */
  #measure(value: unknown, depth: number): void {
    if (typeof value === 'string') {
      this.textBytes += Buffer.byteLength(value)
      return
    }
    if (typeof value !== 'object' || value === null || depth >= depthMax) return
    if (Array.isArray(value)) {
      for (const item of value) this.#measure(item, depth + 1)
      return
    }
    // By name, one by one: asked for in a loop, V8 looks each up anew.
    const { type, content, text, output, input, arguments: given, tool_calls: calls, function: called } = value as Said
    if (typeof type === 'string' && type.includes('image')) {
      this.imageCount += 1
      return
    }
    if (content !== undefined) this.#measure(content, depth + 1)
    if (text !== undefined) this.#measure(text, depth + 1)
    if (output !== undefined) this.#measure(output, depth + 1)
    if (input !== undefined) this.#measure(input, depth + 1)
    if (given !== undefined) this.#measure(given, depth + 1)
    if (calls !== undefined) this.#measure(calls, depth + 1)
    if (called !== undefined) this.#measure(called, depth + 1)
  }
}

interface Said {
  readonly type?: unknown
  readonly content?: unknown
  readonly text?: unknown
  readonly output?: unknown
  readonly input?: unknown
  readonly arguments?: unknown
  readonly tool_calls?: unknown
  readonly function?: unknown
}

const noTools: readonly JsonObject[] = Object.freeze([])

/** What the user says in `turn`: one without a role is a bare text. Empty: somebody else speaks. */
function saidByUser(turn: unknown): string {
  return isJsonObject(turn) && turn['role'] !== 'user' ? '' : textIn(turn, 0)
}

function textIn(value: unknown, depth: number): string {
  if (typeof value === 'string') return value
  if (depth >= depthMax) return ''
  if (Array.isArray(value)) return value.map((item) => textIn(item, depth + 1)).join('\n')
  if (!isJsonObject(value)) return ''
  // Anthropic has what a tool gave stand in a turn of the user's.
  if (value['type'] === 'tool_result') return ''
  return textIn(value['content'] ?? value['text'], depth + 1)
}
