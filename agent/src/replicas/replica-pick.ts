import {
  explainReplica,
  type ReplicaChoice,
  type ReplicaQuestion,
  requestWeightTokens,
} from '../../../proto/policy/choose-replica.js'
import type { TargetTable } from '../../../proto/policy/tables.js'
import type { Clock } from '../../../proto/std/clock.js'
import { blockCharacters, type Prefix } from './prefix-blocks.js'
import type { Replica, ReplicaGroup } from './replica-registry.js'
import type { ReplicaServer, ReplicaWork } from './replica-server.js'

/** Where one request goes. `end` is to be called on every path, once it is over; a second call changes nothing. */
export interface ReplicaPick {
  /** The same target, at the replica: its provider has the replica's address. */
  readonly target: TargetTable
  /** The target that was picked for. */
  readonly original: TargetTable
  readonly url: string
  /** There are other replicas to try if this one cannot be reached. */
  readonly hasOthers: boolean
  /** Why it is this one: the numbers that were seen, in a sentence. */
  explain(): string
  /** The first word has come. */
  answered(): void
  /** `outcome` as in a record's hops; `usage` where the provider told it. */
  end(outcome: string, usage: PickedUsage | null): void
}

export interface PickedUsage {
  readonly input: number
  /** Null: not told. */
  readonly cachedInput: number | null
}

export interface PickParts {
  readonly target: TargetTable
  readonly original: TargetTable
  readonly group: ReplicaGroup
  readonly replica: Replica
  readonly question: ReplicaQuestion
  readonly choice: ReplicaChoice
  readonly prefix: Prefix
  /** Of the prompt, what the index said was cached. */
  readonly believedTokens: number
  readonly weightTokens: number
  readonly missingTokens: number
  readonly isStream: boolean
  readonly begunUs: number
  readonly clock: Clock
}

/** A request at one of several replicas: counted there from now on, until it ends. */
export class RunningPick implements ReplicaPick, ReplicaWork {
  readonly weightTokens: number
  readonly missingTokens: number
  readonly isStream: boolean
  slot = -1
  readonly #parts: PickParts
  #isAnswered = false
  #isOver = false

  constructor(parts: PickParts) {
    this.#parts = parts
    const { replica, begunUs, weightTokens, missingTokens, isStream } = parts
    this.weightTokens = weightTokens
    this.missingTokens = missingTokens
    this.isStream = isStream
    replica.server.begin(this)
    replica.health.begin(begunUs)
  }

  get target(): TargetTable {
    return this.#parts.target
  }

  get original(): TargetTable {
    return this.#parts.original
  }

  get url(): string {
    return this.#parts.replica.server.url
  }

  get hasOthers(): boolean {
    return this.#parts.group.members.length > 1
  }

  explain(): string {
    const { question, choice, group } = this.#parts
    const names = group.members.map(({ replica }) => replica.server.url)
    return explainReplica(question, choice, names)
  }

  answered(): void {
    if (this.#isAnswered || this.#isOver) return
    this.#isAnswered = true
    const { replica, begunUs } = this.#parts
    replica.server.answer(this)
    replica.health.answer(begunUs)
  }

  end(outcome: string, usage: PickedUsage | null): void {
    if (this.#isOver) return
    this.#isOver = true
    const { replica, begunUs, clock } = this.#parts
    const nowUs = clock.monotonicUs()
    replica.server.end(this)
    replica.health.tell(outcome, begunUs, nowUs)
    // Who answers is there, whatever becomes of the readings.
    if (outcome === 'ok') replica.server.see(nowUs)
    if (usage !== null && usage.input > 0) this.#compare(usage)
  }

  /** What was guessed, with what it was. */
  #compare({ input, cachedInput }: PickedUsage): void {
    const { replica, group, prefix, believedTokens } = this.#parts
    if (cachedInput !== null && believedTokens > 0) replica.kept.add(Math.min(1, cachedInput / believedTokens))
    if (!prefix.isWhole || prefix.characterCount < blockCharacters) return
    group.provider.charactersPerToken.add(
      Math.min(charactersPerTokenMax, Math.max(charactersPerTokenMin, prefix.characterCount / input)),
    )
  }
}

/** Outside of these it is no text: pictures, whose tokens have nothing to do with their bytes. */
const charactersPerTokenMin = 0.5
const charactersPerTokenMax = 16

/**
 * The only address of a provider, of which nobody wants to know what runs there: nothing to choose, nothing to count, and so
 * one for all requests of a target. Most requests are of this kind.
 */
export class OnlyPick implements ReplicaPick {
  readonly target: TargetTable
  readonly original: TargetTable
  readonly url: string
  readonly hasOthers = false

  constructor(target: TargetTable, original: TargetTable, url: string) {
    this.target = target
    this.original = original
    this.url = url
    Object.freeze(this)
  }

  explain(): string {
    return `${this.url} is the only one`
  }

  answered(): void {}

  end(): void {}
}

/** A request at the only address of a provider, which is read, or is one of several to another provider: counted there. */
export class CountedPick implements ReplicaPick, ReplicaWork {
  readonly weightTokens: number
  readonly missingTokens: number
  readonly isStream: boolean
  slot = -1
  readonly #only: OnlyPick
  readonly #server: ReplicaServer
  #isOver = false

  constructor(only: OnlyPick, server: ReplicaServer, promptTokens: number, isStream: boolean) {
    this.#only = only
    this.#server = server
    this.weightTokens = promptTokens + requestWeightTokens
    this.missingTokens = promptTokens
    this.isStream = isStream
    server.begin(this)
  }

  get target(): TargetTable {
    return this.#only.target
  }

  get original(): TargetTable {
    return this.#only.original
  }

  get url(): string {
    return this.#only.url
  }

  get hasOthers(): boolean {
    return false
  }

  explain(): string {
    return this.#only.explain()
  }

  answered(): void {
    if (!this.#isOver) this.#server.answer(this)
  }

  end(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#server.end(this)
  }
}
