import { explainReplica, type ReplicaChoice, type ReplicaQuestion } from '../../../proto/policy/choose-replica.js'
import type { TargetTable } from '../../../proto/policy/tables.js'
import type { Clock } from '../../../proto/std/clock.js'
import { blockCharacters, type Prefix } from './prefix-blocks.js'
import type { Replica, ReplicaGroup } from './replica-registry.js'
import type { ReplicaWork } from './replica-server.js'

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
  /** Null: there was nothing to choose. */
  readonly reason: { readonly question: ReplicaQuestion; readonly choice: ReplicaChoice } | null
  readonly prefix: Prefix
  /** Of the prompt, what the index said was cached. */
  readonly believedTokens: number
  readonly work: ReplicaWork
  readonly begunUs: number
  readonly clock: Clock
}

/** A request at a replica: counted there from now on, until it ends. */
export class RunningPick implements ReplicaPick {
  readonly #parts: PickParts
  #isOver = false

  constructor(parts: PickParts) {
    this.#parts = parts
    const { replica, work, begunUs } = parts
    replica.server.begin(work)
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
    const { reason, group } = this.#parts
    if (reason === null) return `${this.url} is the only one`
    const names = group.members.map(({ replica }) => replica.server.url)
    return explainReplica(reason.question, reason.choice, names)
  }

  answered(): void {
    this.#parts.replica.server.answer(this.#parts.work)
  }

  end(outcome: string, usage: PickedUsage | null): void {
    if (this.#isOver) return
    this.#isOver = true
    const { replica, work, begunUs, clock } = this.#parts
    const nowUs = clock.monotonicUs()
    replica.server.end(work)
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
