import type { EngineMetrics } from '../../agent/src/replicas/engine-metrics.js'
import { charactersPerToken, type Segment, type TraceRequest } from './replicas-trace.js'

/**
 * One vLLM as far as a chooser can feel it: prefix caching in blocks of 16 tokens, of which those of running requests stay
 * and the others go least recently used first, the last block of a prompt before its first; prompts are computed one after
 * the other, answers all at once. Time is told from outside.
 */
export const engineBlockTokens = 16

export interface EngineOptions {
  readonly cacheTokens: number
  readonly promptTokensPerSecond: number
  readonly answerTokensPerSecond: number
}

export interface EngineJob {
  readonly request: TraceRequest
  readonly promptTokens: number
  readonly onFirstToken: () => void
  readonly onEnd: (cachedTokens: number) => void
}

interface RunningJob extends EngineJob {
  readonly blocks: readonly number[]
  readonly cachedTokens: number
  /** When its prompt is computed, and when its answer is complete. */
  readonly firstTokenUs: number
  readonly endUs: number
  hasBegun: boolean
}

export class SimulatedEngine {
  readonly #options: EngineOptions
  readonly #blocksMax: number
  /** Names of blocks that nobody uses now, the one to go first in front. */
  readonly #free = new Map<number, true>()
  /** Names of blocks in use, by how many. */
  readonly #used = new Map<number, number>()
  /** Blocks without a name: the answers that are being written, and ends of prompts that fill no block. */
  #nameless = 0
  readonly #waiting: EngineJob[] = []
  readonly #running = new Set<RunningJob>()
  #promptsDoneUs = 0
  computedTokens = 0
  cachedTokens = 0
  promptTokens = 0
  generatedTokens = 0

  constructor(options: EngineOptions) {
    this.#options = options
    this.#blocksMax = Math.floor(options.cacheTokens / engineBlockTokens)
  }

  /** Puts a beginning into the cache as if it had been asked for before. */
  warm(segments: readonly Segment[]): void {
    const { names } = blocksOf(segments)
    for (const name of names.toReversed()) {
      this.#free.delete(name)
      this.#makeRoom(1)
      this.#free.set(name, true)
    }
  }

  /** Tokens of the prompt that it would not have to compute. */
  cachedTokensOf(request: TraceRequest): number {
    return this.#cachedBlocks(blocksOf(request.segments).names) * engineBlockTokens
  }

  send(job: EngineJob, nowUs: number): void {
    this.#waiting.push(job)
    this.#admit(nowUs)
  }

  /** When something happens next; infinite: never. */
  get nextUs(): number {
    let nextUs = Number.POSITIVE_INFINITY
    for (const job of this.#running) nextUs = Math.min(nextUs, job.hasBegun ? job.endUs : job.firstTokenUs)
    return nextUs
  }

  /** Lets everything happen that is due. */
  advance(nowUs: number): void {
    for (const job of [...this.#running]) {
      if (!job.hasBegun && job.firstTokenUs <= nowUs) {
        job.hasBegun = true
        job.onFirstToken()
      }
      if (job.endUs <= nowUs) this.#end(job)
    }
    this.#admit(nowUs)
  }

  get metrics(): EngineMetrics {
    const used = this.#used.size + this.#nameless
    return {
      engine: 'vllm',
      runningCount: this.#running.size,
      waitingCount: this.#waiting.length,
      kvUsageRatio: used / this.#blocksMax,
      cacheTokensMax: this.#blocksMax * engineBlockTokens,
      ...{ gpuUtilisationRatio: null, bornSeconds: null },
      counters: {
        ...{ promptTokens: this.promptTokens, generationTokens: this.generatedTokens },
        ...{ prefixQueriedTokens: this.promptTokens, prefixHitTokens: this.cachedTokens },
        ...{ firstTokenSecondsSum: null, firstTokenCount: null, interTokenSecondsSum: null, interTokenCount: null },
        ...{ queueSecondsSum: null, queueCount: null },
      },
    }
  }

  #cachedBlocks(names: readonly number[]): number {
    const missing = names.findIndex((name) => !this.#free.has(name) && !this.#used.has(name))
    return missing === -1 ? names.length : missing
  }

  #admit(nowUs: number): void {
    for (let job = this.#waiting[0]; job !== undefined; job = this.#waiting[0]) {
      const { names } = blocksOf(job.request.segments)
      const cached = this.#cachedBlocks(names)
      // The answer's memory is taken at once: there is no preemption here.
      const nameless = Math.ceil((job.request.answerTokens + engineBlockTokens) / engineBlockTokens)
      const inUse = names.filter((name) => this.#used.has(name)).length
      if (this.#used.size + this.#nameless + names.length - inUse + nameless > this.#blocksMax) return
      this.#waiting.shift()
      this.#start(job, names, cached, nameless, nowUs)
    }
  }

  #start(job: EngineJob, names: readonly number[], cached: number, nameless: number, nowUs: number): void {
    for (const name of names) {
      this.#free.delete(name)
      this.#used.set(name, (this.#used.get(name) ?? 0) + 1)
    }
    this.#nameless += nameless
    this.#makeRoom(0)
    const { promptTokensPerSecond, answerTokensPerSecond } = this.#options
    // The last token is computed always.
    const cachedTokens = Math.min(cached * engineBlockTokens, job.promptTokens - 1)
    const missingTokens = job.promptTokens - cachedTokens
    this.#promptsDoneUs = Math.max(this.#promptsDoneUs, nowUs) + (missingTokens / promptTokensPerSecond) * 1_000_000
    const firstTokenUs = this.#promptsDoneUs
    this.computedTokens += missingTokens
    this.cachedTokens += cachedTokens
    this.promptTokens += job.promptTokens
    this.#running.add({
      ...{ ...job, blocks: names, cachedTokens, firstTokenUs, hasBegun: false },
      endUs: firstTokenUs + (job.request.answerTokens / answerTokensPerSecond) * 1_000_000,
    })
  }

  #end(job: RunningJob): void {
    this.#running.delete(job)
    this.generatedTokens += job.request.answerTokens
    this.#nameless -= Math.ceil((job.request.answerTokens + engineBlockTokens) / engineBlockTokens)
    // What was said is cached like what was asked.
    const { names } = blocksOf([...job.request.segments, job.request.answer])
    for (const name of names.slice(job.blocks.length))
      if (!this.#free.has(name)) this.#used.set(name, (this.#used.get(name) ?? 0) + 1)
    for (const name of names.toReversed()) {
      const users = (this.#used.get(name) ?? 1) - 1
      if (users > 0) this.#used.set(name, users)
      else {
        this.#used.delete(name)
        this.#free.set(name, true)
      }
    }
    job.onEnd(job.cachedTokens)
  }

  /** Forgets the least recently used until there is room for `more`. */
  #makeRoom(more: number): void {
    for (const name of this.#free.keys()) {
      if (this.#free.size + this.#used.size + this.#nameless + more <= this.#blocksMax) return
      this.#free.delete(name)
    }
  }
}

export function tokensOf(segments: readonly Segment[]): number {
  return Math.ceil(segments.reduce((sum, { text }) => sum + text.length, 0) / charactersPerToken)
}

const named = new WeakMap<readonly Segment[], { readonly names: readonly number[] }>()

/**
 * Names of a prompt's full blocks. The segment in which a block ends, and how far into the prompt, tells all that is before
 * it, since a segment always has the same ones before it.
 */
function blocksOf(segments: readonly Segment[]): { readonly names: readonly number[] } {
  const known = named.get(segments)
  if (known !== undefined) return known
  const names: number[] = []
  let characters = 0
  for (const { id, text } of segments) {
    characters += text.length
    const blocks = Math.floor(characters / charactersPerToken / engineBlockTokens)
    while (names.length < blocks) names.push(id * 65_536 + names.length)
  }
  const made = { names }
  named.set(segments, made)
  return made
}
