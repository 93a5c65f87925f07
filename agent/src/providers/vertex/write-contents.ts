import type {
  AssistantTurn,
  Conversation,
  DocumentPart,
  ImagePart,
  TextPart,
  ToolResultPart,
  UrlSource,
  UserPart,
  UserTurn,
} from '../../conversation/conversation.js'
import { parseJsonObject } from '../../conversation/json-object.js'
import type { Losses } from '../../conversation/losses.js'
import { signatureOf, unsignedCall } from './thought-signature.js'

/**
 * The turns of a conversation as Gemini's `contents`. Source: Vertex AI's REST reference, `Content`, `Part`,
 * `FunctionCall`, `FunctionResponse`; Google Cloud's documentation, "Image understanding", "Document understanding" and
 * "Introduction to function calling".
 *
 * Calls have no ids on this wire (v1 refuses the member), so results are matched by name and order: they stand in the
 * order of their calls, in a content of their own right behind them, and what the user says beside them follows in the
 * next one.
 */
interface Content {
  readonly role: 'user' | 'model'
  readonly parts: readonly object[]
}

interface Call {
  readonly name: string
  /** Place among all calls of the conversation. */
  readonly order: number
}

const imageTypes: ReadonlySet<string> = new Set(['image/png', 'image/jpeg', 'image/webp', 'image/heic', 'image/heif'])
const documentTypes: ReadonlySet<string> = new Set(['application/pdf', 'text/plain'])
const typeByExtension: ReadonlyMap<string, string> = new Map([
  ['png', 'image/png'],
  ['jpg', 'image/jpeg'],
  ['jpeg', 'image/jpeg'],
  ['webp', 'image/webp'],
  ['heic', 'image/heic'],
  ['heif', 'image/heif'],
])

/** Turns of the system are not among them: instructions stand before all contents. */
export function contentsOf({ turns }: Conversation, generation: number, losses: Losses): Content[] {
  return new ContentsWriter(generation, losses).write(turns)
}

class ContentsWriter {
  readonly #generation: number
  readonly #losses: Losses
  /** By id; of two that share one the later counts. */
  readonly #calls = new Map<string, Call>()
  #callCount = 0

  constructor(generation: number, losses: Losses) {
    this.#generation = generation
    this.#losses = losses
  }

  write(turns: Conversation['turns']): Content[] {
    const contents = turns.flatMap((turn): Content[] => {
      switch (turn.role) {
        case 'assistant':
          return [{ role: 'model', parts: this.#saidParts(turn) }]
        case 'user':
          return [
            { role: 'user', parts: this.#resultParts(turn) },
            { role: 'user', parts: turn.parts.flatMap((part) => this.#askedParts(part)) },
          ]
        default:
          return []
      }
    })
    return contents.filter(({ parts }) => parts.length > 0)
  }

  #saidParts({ parts }: AssistantTurn): object[] {
    const written: object[] = []
    /** Of the call that comes next. */
    let signature: string | null = null
    let signatureAt = ''
    let isFirstCall = true
    for (const part of parts) {
      switch (part.type) {
        case 'text':
          written.push({ text: part.text })
          break
        case 'reasoning':
          // Without our mark: thoughts of another vendor's model, or only a summary.
          if (signatureOf(part) === null) {
            this.#losses.hint(part.at)
            break
          }
          signature = signatureOf(part)
          signatureAt = part.at
          break
        case 'tool_call':
          this.#calls.set(part.id, { name: part.name, order: this.#callCount++ })
          if (isFirstCall && this.#generation >= 3) signature ??= unsignedCall
          written.push({
            functionCall: { name: part.name, args: parseJsonObject(part.argumentsText) ?? {} },
            ...(signature === null ? {} : { thoughtSignature: signature }),
          })
          signature = null
          isFirstCall = false
      }
    }
    // A signature whose call the client left out signs nothing.
    if (signature !== null) this.#losses.hint(signatureAt)
    return written
  }

  #resultParts({ parts }: UserTurn): object[] {
    return parts
      .filter((part) => part.type === 'tool_result')
      .map((part) => ({ part, call: this.#calls.get(part.callId) }))
      .sort((a, b) => (a.call?.order ?? 0) - (b.call?.order ?? 0))
      .flatMap(({ part, call }) => {
        if (call !== undefined) return [this.#resultPart(part, call.name)]
        this.#losses.content(
          part.at,
          'it answers no call of this conversation, and a result is known by its call’s name',
        )
        return []
      })
  }

  #resultPart({ parts, isError }: ToolResultPart, name: string): object {
    const texts = parts.flatMap((part) => (part.type === 'text' ? [part.text] : []))
    const output = texts.length > 1 ? texts : (texts[0] ?? '')
    const media = parts.flatMap((part) => (part.type === 'image' ? this.#resultImage(part) : []))
    return {
      functionResponse: {
        name,
        response: isError ? { error: output } : { output },
        ...(media.length === 0 ? {} : { parts: media }),
      },
    }
  }

  #resultImage(image: ImagePart): object[] {
    if (this.#generation >= 3) return this.#media(image)
    this.#losses.content(image.at, 'a function’s response has no images before Gemini 3')
    return []
  }

  #askedParts(part: UserPart): object[] {
    switch (part.type) {
      case 'text':
        return [{ text: part.text }]
      case 'image':
        return this.#media(part).map((media) => ({ ...media, ...this.#resolutionOf(part) }))
      case 'document':
        if (part.name !== null) this.#losses.hint(`${part.at}.name`)
        return this.#document(part)
      case 'tool_result':
        return []
    }
  }

  #media({ at, source }: ImagePart): object[] {
    if (source.kind === 'url') return this.#file(at, source, typeOfUrl(source.url))
    const mimeType = source.mediaType === 'image/jpg' ? 'image/jpeg' : source.mediaType
    if (imageTypes.has(mimeType)) return [{ inlineData: { mimeType, data: source.data } }]
    this.#losses.content(at, `images of type ${mimeType} are not known to it`)
    return []
  }

  #document({ at, source }: DocumentPart): object[] {
    if (source.kind === 'url') return this.#file(at, source, 'application/pdf')
    const { mediaType, data } = source
    if (documentTypes.has(mediaType)) return [{ inlineData: { mimeType: mediaType, data } }]
    this.#losses.content(at, `documents of type ${mediaType} are not known to it`)
    return []
  }

  /**
   * It fetches public web files, and wants to be told what they are. Cloud Storage's (`gs://`) it reads in the name of the
   * provider's credential, which may see more than whoever asks: they are not sent.
   */
  #file(at: string, { url }: UrlSource, mimeType: string | null): object[] {
    if (!/^https?:\/\//i.test(url)) {
      this.#losses.content(at, 'files are sent as bytes or as public web addresses')
      return []
    }
    if (mimeType !== null) return [{ fileData: { mimeType, fileUri: url } }]
    const known = [...typeByExtension.keys()].join(', ')
    this.#losses.content(at, `it wants an image’s type, which this URL does not tell by its end (${known})`)
    return []
  }

  #resolutionOf({ at, detail }: ImagePart): object {
    if (detail === null || detail === 'auto') return {}
    const level = this.#generation >= 3 ? levelByDetail.get(detail) : undefined
    if (level !== undefined) return { mediaResolution: { level } }
    this.#losses.hint(`${at}.detail`)
    return {}
  }
}

const levelByDetail: ReadonlyMap<string, string> = new Map([
  ['low', 'MEDIA_RESOLUTION_LOW'],
  ['high', 'MEDIA_RESOLUTION_HIGH'],
  ['original', 'MEDIA_RESOLUTION_ULTRA_HIGH'],
])

/** By the extension of its path, whatever the query says. */
function typeOfUrl(url: string): string | null {
  const extension = /\.([a-z0-9]+)$/i.exec(url.split(/[?#]/, 1)[0] ?? '')?.[1]?.toLowerCase() ?? ''
  return typeByExtension.get(extension) ?? null
}

/** Instructions, each a part: Gemini reads parts as paragraphs. */
export function textParts(parts: readonly TextPart[]): object[] {
  return parts.map(({ text }) => ({ text }))
}
