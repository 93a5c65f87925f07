import type { TokenUsage } from '../../../proto/policy/price-usage.js'
import type { RouteTable, TargetTable } from '../../../proto/policy/tables.js'
import { isRefusal, refuse } from '../../../proto/std/refusal.js'
import type { Conversation } from '../conversation/conversation.js'
import type { EmbeddingRequest } from '../conversation/embedding.js'
import type { JsonObject } from '../conversation/json-object.js'
import { type Loss, Losses } from '../conversation/losses.js'
import type {
  ChatWire,
  CountWire,
  EmbeddingsWire,
  NativeWire,
  ProviderDialect,
  RequestBody,
  StreamReader,
  UsageDepth,
} from '../providers/provider-dialect.js'
import { TranslatedStream } from '../providers/translated-stream.js'
import { bodyWithParameters, conversationWithParameters, type WithParameters } from './apply-parameters.js'
import type { AnswerContext, ClientCall, ConversationDoor, Door, EmbeddingsDoor } from './ports.js'
import type { RequestRefusal } from './request-refusal.js'

/**
 * How one hop is asked, and how what comes back is read: untouched where the client's wire is the vendor's own, translated
 * through a conversation otherwise. Says no where the vendor cannot do what is asked.
 */
export interface HopPlan {
  readonly path: string
  /** Flat name, value list, without credentials. */
  readonly headers: string[]
  /** Fields left out, for a response header; null for none. */
  readonly dropped: string | null
  /** Fields lowered to what the target gives, likewise. */
  readonly capped: string | null
  /** It goes to an address beside the vendor's API: how it ends tells nothing of the model, nor of the credential. */
  readonly isBeside?: boolean
  body(depth: UsageDepth): Buffer
  /** Null: a whole answer is wanted. */
  streamReader(depth: UsageDepth): StreamReader | null
  /** Null: what came is no answer. */
  readAnswer(bytes: Buffer): PlannedAnswer | null
  /** What the client is told of the vendor's own "no". */
  readRefusal(bytes: Buffer, status: number): string | Buffer
}

export interface PlannedAnswer {
  readonly usage: TokenUsage | null
  readonly model: string | null
  /** For the client. */
  readonly body: Buffer | string
  /** `body` as JSON, where somebody has parsed it already. */
  readonly parsed?: JsonObject | null
}

/** What a request was found to say, once it had to be translated: read at most once. */
export interface ReadOnce {
  conversation: Conversation | RequestRefusal | null
  embedding: EmbeddingRequest | RequestRefusal | null
}

export interface HopQuestion {
  readonly call: ClientCall
  readonly body: RequestBody
  readonly read: ReadOnce
  readonly route: RouteTable
  readonly target: TargetTable
  readonly dialect: ProviderDialect
  readonly requestId: string
}

/** The plan of one hop, or why this target cannot be asked. */
export function planHop(question: HopQuestion): HopPlan | RequestRefusal {
  const { call, body, target, dialect } = question
  const { operation, conversation: door } = call.door
  if (operation !== 'models') {
    const wire = dialect.native[operation]
    if (wire !== undefined && (wire.serves?.(target.provider) ?? true)) {
      const edited = bodyWithParameters(body, operation, target)
      return isRefusal(edited) ? edited : new NativeHop(wire, call, edited, target)
    }
  }
  const { embeddings } = call.door
  if (embeddings !== undefined && dialect.embeddings !== null) {
    return planEmbeddings(question, embeddings, dialect.embeddings)
  }
  if (operation === 'count_tokens' && door !== null && dialect.count?.serves(target.provider)) {
    return planCount(question, door, dialect.count)
  }
  if (door === null || dialect.chat === null || operation === 'count_tokens') {
    return refuse('operation_not_supported', `Providers of kind ${target.provider.kind} do not serve ${operation}.`)
  }
  return planTranslation(question, door, dialect.chat)
}

function planTranslation(question: HopQuestion, door: ConversationDoor, wire: ChatWire): HopPlan | RequestRefusal {
  const { body, read, route, target, dialect } = question
  read.conversation ??= door.read(body)
  const { conversation } = read
  if (isRefusal(conversation)) return conversation
  const depth = dialect.usageDepth(target.provider)
  const edited = conversationWithParameters(conversation, target)
  const hop = new TranslatedHop(question, door, wire, edited, depth)
  const loss = hop.losses.blocking(route.dropsUnsupported)
  if (loss === null) return hop
  // The target's own temperature stands in the way (of a model that thinks): the client did not ask for it.
  if (loss.field === conversation.names.temperature && conversation.settings.temperature === null) {
    const { settings } = edited.value
    const value = { ...edited.value, settings: { ...settings, temperature: null } }
    const plain = new TranslatedHop(question, door, wire, { ...edited, value }, depth)
    const other = plain.losses.blocking(route.dropsUnsupported)
    return other === null ? plain : notExpressible(other, target)
  }
  return notExpressible(loss, target)
}

function planCount(question: HopQuestion, door: ConversationDoor, wire: CountWire): HopPlan | RequestRefusal {
  const { body, read, target } = question
  read.conversation ??= door.read(body)
  const { conversation } = read
  if (isRefusal(conversation)) return conversation
  const losses = new Losses(conversation.losses)
  const bytes = wire.write(conversation, target, losses)
  // Settings change no count; without a picture or a document it would be that of another prompt.
  const loss = losses.blocking(true)
  return loss === null ? new CountHop(question, wire, bytes) : notExpressible(loss, target)
}

function planEmbeddings(question: HopQuestion, door: EmbeddingsDoor, wire: EmbeddingsWire): HopPlan | RequestRefusal {
  const { read } = question
  read.embedding ??= door.read(question.body)
  const request = read.embedding
  if (isRefusal(request)) return request
  const hop = new EmbeddingHop(question, door, wire, request)
  const loss = hop.losses.blocking(question.route.dropsUnsupported)
  return loss === null ? hop : notExpressible(loss, question.target)
}

function notExpressible({ field, reason, weight }: Loss, target: TargetTable): RequestRefusal {
  const why = reason === null ? '' : `: ${reason}`
  const advice =
    weight === 'setting'
      ? 'Leave it out, or have the route drop what a provider cannot express.'
      : 'Use a route to a provider that can.'
  const message = `'${field}' cannot be expressed to a provider of kind ${target.provider.kind}${why}. ${advice}`
  return refuse('unsupported_field', message, { field })
}

class NativeHop implements HopPlan {
  readonly path: string
  readonly headers: string[]
  readonly dropped = null
  readonly capped: string | null
  readonly #wire: NativeWire
  readonly #body: RequestBody
  readonly #target: TargetTable

  constructor(wire: NativeWire, call: ClientCall, edited: WithParameters<RequestBody>, target: TargetTable) {
    const body = edited.value
    this.#wire = wire
    this.#body = body
    this.capped = edited.capped
    this.#target = target
    this.path = wire.path(target, body.stream)
    this.headers = wire.headers(body.stream)
    for (const name of wire.passedHeaders) passHeader(this.headers, name, call.header(name))
  }

  body(depth: UsageDepth): Buffer {
    return this.#wire.body(this.#body, this.#target, depth)
  }

  streamReader(depth: UsageDepth): StreamReader | null {
    const { stream, wantsUsage, wantsContinuousUsage } = this.#body
    return stream ? (this.#wire.streamReader?.({ depth, wantsUsage, wantsContinuousUsage }) ?? null) : null
  }

  readAnswer(bytes: Buffer): PlannedAnswer | null {
    const answer = this.#wire.readAnswer(bytes)
    return answer && { usage: answer.usage, model: answer.model, body: bytes, parsed: answer.parsed ?? null }
  }

  readRefusal(bytes: Buffer): Buffer {
    return bytes
  }
}

/** The client's own value in the place of ours. */
function passHeader(headers: string[], name: string, value: string | undefined): void {
  if (value === undefined) return
  const at = headers.indexOf(name)
  if (at === -1) headers.push(name, value)
  else headers[at + 1] = value
}

class TranslatedHop implements HopPlan {
  readonly path: string
  readonly headers: string[]
  readonly capped: string | null
  losses: Losses
  readonly #question: HopQuestion
  readonly #door: ConversationDoor
  readonly #wire: ChatWire
  readonly #conversation: Conversation
  readonly #context: AnswerContext
  #written: { readonly depth: UsageDepth; readonly bytes: Buffer }

  constructor(
    question: HopQuestion,
    door: ConversationDoor,
    wire: ChatWire,
    edited: WithParameters<Conversation>,
    depth: UsageDepth,
  ) {
    const { call, body, target, requestId } = question
    const conversation = edited.value
    this.capped = edited.capped
    this.#question = question
    this.#door = door
    this.#wire = wire
    this.#conversation = conversation
    this.path = wire.path(target, body.stream)
    this.headers = wire.headers(body.stream)
    this.#context = {
      requestId,
      createdAtSeconds: Math.floor(call.startedAtMs / 1000),
      model: target.upstreamModel,
      wantsUsage: body.wantsUsage,
      body,
    }
    this.losses = new Losses(conversation.losses)
    this.#written = { depth, bytes: wire.write(conversation, target, depth, this.losses) }
  }

  get dropped(): string | null {
    return droppedHeader(this.losses)
  }

  body(depth: UsageDepth): Buffer {
    if (depth !== this.#written.depth) {
      const bytes = this.#wire.write(this.#conversation, this.#question.target, depth, new Losses())
      this.#written = { depth, bytes }
    }
    return this.#written.bytes
  }

  streamReader(): StreamReader | null {
    if (!this.#question.body.stream) return null
    return new TranslatedStream({
      contentType: this.#wire.streamContentType,
      reader: this.#wire.eventReader(this.#conversation),
      writer: this.#door.streamWriter(this.#context),
    })
  }

  readAnswer(bytes: Buffer): PlannedAnswer | null {
    const answer = this.#wire.readAnswer(bytes, this.#conversation)
    const body = answer && this.#door.writeAnswer(answer, this.#context)
    return body === null ? null : { usage: answer?.usage ?? null, model: answer?.model ?? null, body }
  }

  readRefusal(bytes: Buffer, status: number): string {
    return refusalBody(this.#wire.readError(bytes), status, this.#question.call.door)
  }
}

/** Texts to vectors, in a vendor's words. */
class EmbeddingHop implements HopPlan {
  readonly path: string
  readonly headers: string[]
  readonly capped = null
  readonly losses: Losses
  readonly #door: EmbeddingsDoor
  readonly #client: Door
  readonly #wire: EmbeddingsWire
  readonly #request: EmbeddingRequest
  readonly #model: string
  readonly #bytes: Buffer

  constructor({ call, target }: HopQuestion, door: EmbeddingsDoor, wire: EmbeddingsWire, request: EmbeddingRequest) {
    this.#door = door
    this.#client = call.door
    this.#wire = wire
    this.#request = request
    this.#model = target.upstreamModel
    this.path = wire.path(target, false)
    this.headers = wire.headers(false)
    this.losses = new Losses(request.losses)
    this.#bytes = wire.write(request, target, this.losses)
  }

  get dropped(): string | null {
    return droppedHeader(this.losses)
  }

  body(): Buffer {
    return this.#bytes
  }

  streamReader(): null {
    return null
  }

  readAnswer(bytes: Buffer): PlannedAnswer | null {
    const answer = this.#wire.readAnswer(bytes, this.#request)
    if (answer === null) return null
    const body = this.#door.writeAnswer(answer, this.#request, this.#model)
    return { usage: answer.usage, model: answer.model, body }
  }

  readRefusal(bytes: Buffer, status: number): string {
    return refusalBody(this.#wire.readError(bytes), status, this.#client)
  }
}

/** A conversation's tokens, counted by the server that would read it. */
class CountHop implements HopPlan {
  readonly path: string
  readonly headers: string[]
  readonly dropped = null
  readonly capped = null
  readonly isBeside = true
  readonly #door: Door
  readonly #wire: CountWire
  readonly #bytes: Buffer

  constructor({ call, target }: HopQuestion, wire: CountWire, bytes: Buffer) {
    this.#door = call.door
    this.#wire = wire
    this.#bytes = bytes
    this.path = wire.path(target, false)
    this.headers = wire.headers(false)
  }

  body(): Buffer {
    return this.#bytes
  }

  streamReader(): null {
    return null
  }

  /** A count of tokens costs none itself. */
  readAnswer(bytes: Buffer): PlannedAnswer | null {
    const count = this.#wire.readAnswer(bytes)
    return count === null ? null : { usage: null, model: null, body: countBody(count) }
  }

  readRefusal(_bytes: Buffer, status: number): string {
    return refusalBody(null, status, this.#door)
  }
}

/** What a client of `count_tokens` is told, whoever counted. */
export function countBody(count: number): string {
  return JSON.stringify({ input_tokens: count })
}

function refusalBody(message: string | null, status: number, door: Door): string {
  const said = message ?? `The provider refused the request (HTTP ${status}).`
  return door.errorBody(refuse('upstream_rejected', said), status)
}

/** Clients and what stands between take 16 KB of headers, some only 8. */
const droppedLengthMax = 2_048

/** As many as fit, and how many more there are; null for none. */
export function droppedHeader({ all }: Losses): string | null {
  let value = ''
  let named = 0
  for (const { field } of all) {
    const next = named === 0 ? headerField(field) : `, ${headerField(field)}`
    if (value.length + next.length > droppedLengthMax) break
    value += next
    named += 1
  }
  const more = all.length - named + (all.unnamed ?? 0)
  if (named === 0) return null
  return more === 0 ? value : `${value}, ... and ${more} more`
}

/** Fields are the client's own words: only what a header can carry. */
function headerField(field: string): string {
  return field.replace(/[^\x21-\x2b\x2d-\x7e]/g, '?').slice(0, 128)
}
