import { createRequire } from 'node:module'
import { Worker } from 'node:worker_threads'
import type { Clock } from '../../../proto/std/clock.js'
import type { Log } from '../../../proto/std/service.js'

/**
 * Counts tokens that no provider told: of streams that ended early at an upstream which tells only at the end. Loading the
 * tokenizer takes a quarter of a second and hostile text is quadratic to split, so both happen in a thread of its own,
 * started on first need and gone after a minute without. The o200k vocabulary is an estimate for models with another; the
 * record says `counted`.
 */
export interface TokenCounter {
  /**
   * Tokens of `text`; an estimate from its length when the thread is busy, broken, or takes longer than `withinMs` (10 s
   * unless told otherwise; the first count loads the tokenizer). Never rejects.
   */
  count(text: string, withinMs?: number): Promise<number>
}

const waitMs = 10_000
const idleMs = 60_000
const waitingMax = 256
/** Longest unbroken run given to the tokenizer at once: 256 equal letters take it 0.6 ms, 2,000 take 34 ms. */
const runLengthMax = 256

interface Waiting {
  readonly settle: (count: number | null) => void
}

export class ThreadTokenCounter implements TokenCounter {
  readonly #clock: Clock
  readonly #log: Log
  readonly #waiting = new Map<number, Waiting>()
  #worker: Worker | null = null
  #next = 0
  #cancelIdle: () => void = () => {}

  constructor(options: { clock: Clock; log: Log }) {
    this.#clock = options.clock
    this.#log = options.log
  }

  count(text: string, withinMs = waitMs): Promise<number> {
    if (text === '') return Promise.resolve(0)
    if (this.#waiting.size >= waitingMax) return Promise.resolve(estimateTokens(text))
    return new Promise((resolve) => {
      const id = this.#next++
      const cancel = this.#clock.after(withinMs, () => this.#waiting.get(id)?.settle(null))
      this.#waiting.set(id, {
        settle: (count) => {
          cancel()
          this.#waiting.delete(id)
          if (this.#waiting.size === 0) this.#stopWhenIdle()
          resolve(count ?? estimateTokens(text))
        },
      })
      this.#cancelIdle()
      this.#thread().postMessage({ id, text })
    })
  }

  /** Ends the thread; counts that wait are estimated. */
  async stop(): Promise<void> {
    const worker = this.#worker
    this.#lose()
    await worker?.terminate()
  }

  #thread(): Worker {
    if (this.#worker !== null) return this.#worker
    const tokenizer = createRequire(import.meta.url).resolve('gpt-tokenizer/encoding/o200k_base')
    const worker = new Worker(source, { eval: true, workerData: { tokenizer, runLengthMax } })
    worker.unref()
    worker.on('message', ({ id, count }: { id: number; count: number }) => this.#waiting.get(id)?.settle(count))
    worker.on('error', (fault) => {
      // One that was let go may still break; those who wait now wait for its successor.
      if (this.#worker !== worker) return
      this.#log.warn({ fault: fault.message }, 'the token counter broke; counts are estimated until it is back')
      this.#lose()
    })
    this.#worker = worker
    return worker
  }

  #lose(): void {
    this.#worker = null
    this.#cancelIdle()
    for (const waiting of [...this.#waiting.values()]) waiting.settle(null)
  }

  #stopWhenIdle(): void {
    this.#cancelIdle()
    this.#cancelIdle = this.#clock.after(idleMs, () => void this.stop())
  }
}

/** Four bytes per token, rounded down: a lower bound for prose in most vocabularies. */
export function estimateTokens(text: string): number {
  return Math.floor(Buffer.byteLength(text) / 4)
}

/** Every text of a prompt (`messages` or `input`), for counting; pictures and other parts have none. */
export function promptText(prompt: unknown): string {
  const texts: string[] = []
  gather(prompt, texts, 0)
  return texts.join('\n')
}

function gather(value: unknown, texts: string[], depth: number): void {
  if (typeof value === 'string') texts.push(value)
  else if (Array.isArray(value) && depth < 4) for (const item of value) gather(item, texts, depth + 1)
  else if (typeof value === 'object' && value !== null && depth < 4) {
    const { content, text } = value as { content?: unknown; text?: unknown }
    gather(content ?? text, texts, depth + 1)
  }
}

// Kept as text because the thread runs it as it is: a file of its own would have to exist both as TypeScript and compiled.
const source = `
const { parentPort, workerData } = require('node:worker_threads')
const { countTokens } = require(workerData.tokenizer)
const runs = new RegExp('\\\\S{1,' + workerData.runLengthMax + '}|\\\\s{1,' + workerData.runLengthMax + '}', 'g')
const plain = { allowedSpecial: new Set(), disallowedSpecial: new Set() }
parentPort.on('message', ({ id, text }) => {
  let count = 0
  let batch = ''
  for (const run of text.match(runs) ?? []) {
    if (batch.length > 4096 || (run.length === workerData.runLengthMax && batch !== '')) {
      count += countTokens(batch, plain)
      batch = ''
    }
    batch += run
    if (run.length === workerData.runLengthMax) {
      count += countTokens(batch, plain)
      batch = ''
    }
  }
  parentPort.postMessage({ id, count: count + (batch === '' ? 0 : countTokens(batch, plain)) })
})
`
