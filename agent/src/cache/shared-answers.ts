import { createHmac, hkdfSync } from 'node:crypto'
import type { Clock } from '../../../proto/std/clock.js'
import { StateBox } from '../config/state-box.js'
import { isJsonObject, parseJsonObject } from '../conversation/json-object.js'
import type { KeptAnswer, KeptOrigin } from './kept-answer.js'
import { ownCopy } from './stream-record.js'

/** A store that several agents reach. Its promises are few: it may be away, slow, emptied, or read by somebody else. */
export interface SharedStore {
  /** A longer value it does not take; without it, any. */
  readonly valueBytesMax?: number
  /** `name`: 32 bytes in base64url. Null: not there, or longer than `bytesMax`, of which no more is read. Settles within seconds; may reject. */
  get(name: string, bytesMax: number): Promise<Buffer | null>
  /** Nothing where what is there was born later. Settles within seconds, when it is stored or lost; may reject. */
  put(name: string, bytes: Buffer, options: { readonly seconds: number; readonly bornAtMs: number }): Promise<void>
}

export interface SharedAnswersOptions {
  readonly store: SharedStore
  /** 32 bytes, the same for every agent that shares. */
  readonly secret: Uint8Array
  readonly clock: Clock
  readonly bytesMax: number
}

/** A look-up that takes longer counts as a miss: asking the model is the slower of the two, but it is always there. */
export const sharedDeadlineMs = 5
/** Looks under way; beyond it answers are not looked for. */
const getsMax = 256
/** Answers that are on their way to the store; beyond it they are not given to it. One of any length always may. */
const putsMax = 64
const putBytesMax = 16 * 1024 * 1024
/** Of a sealed answer beside the answer's own bytes: a question of 4,096 characters, labels, ids. */
const headBytesMax = 64 * 1024

/**
 * Kept answers in a store outside the process. What the store sees is a name that says nothing (an HMAC of the key) and
 * bytes that only agents with the same secret can read; a stored answer that was copied under another name does not open.
 */
export class SharedAnswers {
  readonly #options: SharedAnswersOptions
  readonly #nameKey: Buffer
  readonly #box: StateBox
  #getCount = 0
  #putCount = 0
  #putBytes = 0
  lateCount = 0
  failedCount = 0
  skippedCount = 0
  unreadableCount = 0

  constructor(options: SharedAnswersOptions) {
    this.#options = options
    this.#nameKey = derive(options.secret, 'switchyard cache name')
    this.#box = new StateBox(derive(options.secret, 'switchyard cache content'))
  }

  /** Of what is on its way to the store. */
  get putBytes(): number {
    return this.#putBytes
  }

  /** Never rejects. */
  async get(key: string): Promise<KeptAnswer | null> {
    const sealed = await this.#ask(this.#nameOf(key))
    if (sealed === null) return null
    const opened = this.#box.open(sealed, key)
    const kept = opened && decodeAnswer(opened)
    if (kept === null) this.unreadableCount += 1
    return kept
  }

  /** In the background. */
  put(key: string, kept: KeptAnswer): void {
    const bytes = kept.bytes.length + headBytesMax
    const isFull = this.#putCount >= putsMax || this.#putBytes + bytes > putBytesMax
    if (isFull && this.#putCount > 0) {
      this.skippedCount += 1
      return
    }
    const sealed = this.#box.seal(encodeAnswer(kept), key)
    if (sealed.length > this.#sealedBytesMax) {
      this.skippedCount += 1
      return
    }
    this.#putCount += 1
    this.#putBytes += bytes
    this.#options.store
      .put(this.#nameOf(key), sealed, { seconds: kept.keptSeconds, bornAtMs: kept.bornAtMs })
      .catch(() => {
        this.failedCount += 1
      })
      .finally(() => {
        this.#putCount -= 1
        this.#putBytes -= bytes
      })
  }

  get #sealedBytesMax(): number {
    const { bytesMax, store } = this.#options
    return Math.min(bytesMax + headBytesMax, store.valueBytesMax ?? Number.POSITIVE_INFINITY)
  }

  #ask(name: string): Promise<Buffer | null> {
    if (this.#getCount >= getsMax) {
      this.skippedCount += 1
      return Promise.resolve(null)
    }
    this.#getCount += 1
    return new Promise((resolve) => {
      const cancel = this.#options.clock.after(sharedDeadlineMs, () => {
        this.lateCount += 1
        resolve(null)
      })
      this.#options.store
        .get(name, this.#sealedBytesMax)
        .then(resolve, () => {
          this.failedCount += 1
          resolve(null)
        })
        .finally(() => {
          cancel()
          this.#getCount -= 1
        })
    })
  }

  #nameOf(key: string): string {
    return createHmac('sha256', this.#nameKey).update(key).digest('base64url')
  }
}

function derive(secret: Uint8Array, purpose: string): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, '', purpose, 32))
}

/** Length of a JSON head (four bytes, little-endian), the head, the bytes of the answer. */
export function encodeAnswer({ bytes, ...head }: KeptAnswer): Buffer {
  const text = Buffer.from(JSON.stringify(head))
  const length = Buffer.alloc(4)
  length.writeUInt32LE(text.length)
  return Buffer.concat([length, text, bytes])
}

/** Null for what another release wrote, and we cannot read. */
export function decodeAnswer(encoded: Buffer): KeptAnswer | null {
  if (encoded.length < 4) return null
  const end = 4 + encoded.readUInt32LE(0)
  const head = end > encoded.length ? null : parseJsonObject(encoded.toString('utf8', 4, end))
  if (head === null) return null
  // Of its own: a view would keep the head, and what else lies around it, for as long as the answer.
  const bytes = ownCopy([encoded.subarray(end)], encoded.length - end)
  const { stream, tailAt, usage, model, modelId, dropped, capped, bornAtMs, classes } = head
  const { keptSeconds, origin, question } = head
  const isSound =
    typeof stream === 'boolean' &&
    typeof tailAt === 'number' &&
    tailAt >= 0 &&
    tailAt <= bytes.length &&
    typeof bornAtMs === 'number' &&
    typeof keptSeconds === 'number' &&
    typeof modelId === 'string' &&
    isTexts(classes) &&
    isOrigin(origin)
  if (!isSound) return null
  return {
    ...{ stream, bytes, tailAt, modelId, bornAtMs, classes, keptSeconds, origin },
    usage: isUsage(usage) ? usage : null,
    ...{ model: textOrNull(model), dropped: textOrNull(dropped), capped: textOrNull(capped) },
    question: textOrNull(question),
  }
}

function textOrNull(value: unknown): string | null {
  return typeof value === 'string' ? value : null
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((member) => typeof member === 'string')
}

function isOrigin(value: unknown): value is KeptOrigin {
  return (
    isJsonObject(value) &&
    typeof value['tenantId'] === 'string' &&
    typeof value['environmentId'] === 'string' &&
    typeof value['routeId'] === 'string' &&
    isTexts(value['tags']) &&
    isTexts(value['documents'])
  )
}

function isUsage(value: unknown): value is NonNullable<KeptAnswer['usage']> {
  return isJsonObject(value) && Number.isSafeInteger(value['input']) && Number.isSafeInteger(value['output'])
}
