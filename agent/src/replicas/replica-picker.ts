import {
  chooseReplica,
  type ReplicaFacts,
  type ReplicaQuestion,
  requestWeightTokens,
} from '../../../proto/policy/choose-replica.js'
import { PrefixHash, prefixKeyWords } from '../../../proto/policy/prefix-hash.js'
import type { ProviderTable, TargetTable } from '../../../proto/policy/tables.js'

import { assert, must } from '../../../proto/std/assert.js'
import type { Clock } from '../../../proto/std/clock.js'
import { randomSecret } from '../../../proto/std/ids.js'
import { blockCharacters, blocksMax, type Prefix, PrefixBlocks } from './prefix-blocks.js'
import { type Salt, saltOf } from './prefix-index.js'
import type { LearnedPrefix } from './prefix-outbox.js'
import { tellPrompt } from './prompt-text.js'
import { CountedPick, OnlyPick, type ReplicaPick, RunningPick } from './replica-pick.js'
import {
  type ProviderReplicas,
  type Replica,
  type ReplicaGroup,
  type ReplicaMember,
  ReplicaRegistry,
  type ReplicaRegistryOptions,
  scrapeMsDefault,
  type WatchedServer,
} from './replica-registry.js'
import type { ReplicaServer, ServerLoad } from './replica-server.js'

/**
 * Which of a provider's replicas serves a request. The decision is `proto/policy/choose-replica`; this gathers its facts:
 * beginnings of prompts that were sent where, what runs there, what the servers said last.
 *
 * A request goes into the index when it is picked, not when it is answered: whoever comes right behind it with the same
 * beginning should stand in the same place.
 */
export interface ReplicaPickerOptions extends ReplicaRegistryOptions {
  readonly clock: Clock
  /** `prefixKeyWords` random words; the same in all request workers of an agent. */
  readonly key: Uint32Array
  /** Hears of every prompt that was sent somewhere, for the other request workers: each `learn`s what the others did. */
  readonly onLearned?: (learned: LearnedPrefix) => void
}

export interface ReplicaRequest {
  readonly target: TargetTable
  readonly environmentId: string
  /** `embeddings` have no beginning worth looking for. */
  readonly operation: string
  readonly body: PromptBody
  /** Picked before for the same request: to be left out now, if there is any other. */
  readonly failed: ReplicaPick | null
}

/** A client's body as the doors parse it; the same object for every pick of one request. */
export interface PromptBody {
  readonly bytes: { readonly length: number }
  readonly fields: Readonly<Record<string, unknown>>
  readonly stream: boolean
}

/** What is known of one replica now, for the operator. */
export interface ShownReplica {
  readonly providerId: string
  readonly server: ReplicaServer
  readonly isHealthy: boolean
  readonly blockCount: number
}

/** What an agent has where its settings say nothing else. */
export const replicaDefaults: ReplicaRegistryOptions = Object.freeze({
  indexBytesMax: 64 * 1024 * 1024,
  cacheTokensAssumed: 500_000,
})

/** A key that nobody else has. */
export function newPrefixKey(): Uint32Array {
  return new Uint32Array(new Uint8Array(randomSecret(prefixKeyWords * 4)).buffer)
}

/** Readings in a row that find nobody, after which a replica is left out. */
export const silentReadingsMax = 3
/** A reading this many intervals old is worth nothing. */
const staleIntervals = 3

export class ReplicaPicker {
  readonly #clock: Clock
  readonly #registry: ReplicaRegistry
  readonly #blocks: PrefixBlocks
  readonly #saltHash: PrefixHash
  readonly #salts = new WeakMap<TargetTable, { readonly environmentId: string; readonly salt: Salt }>()
  readonly #only = new WeakMap<TargetTable, OnlyTarget>()
  readonly #prefixes = new WeakMap<PromptBody, Prefix>()
  readonly #onLearned: ((learned: LearnedPrefix) => void) | undefined

  constructor(options: ReplicaPickerOptions) {
    assert(options.key.length === prefixKeyWords, `a key of prefixes has ${prefixKeyWords} words`)
    this.#clock = options.clock
    this.#onLearned = options.onLearned
    this.#registry = new ReplicaRegistry(options)
    this.#blocks = new PrefixBlocks(options.key)
    this.#saltHash = new PrefixHash(options.key)
  }

  /** Bytes of all that is believed of caches. */
  get indexBytes(): number {
    return this.#registry.indexBytes
  }

  /** Forgets replicas of providers that are in effect no more; gives the servers that are to be read. */
  retain(providers: Iterable<ProviderTable>): readonly WatchedServer[] {
    return this.#registry.retain(providers)
  }

  /** Synchronous; costs half a millisecond for a prompt of 100,000 tokens, once per body, and nothing where there is no choice. */
  pick(request: ReplicaRequest): ReplicaPick {
    if (request.target.provider.replicas.length > 1) return this.#pickOne(request)
    const { pick, counted, provider } = this.#onlyOf(request.target)
    if (counted === null) return pick
    const { body } = request
    return new CountedPick(pick, counted, body.bytes.length / provider.charactersPerToken.value, body.stream)
  }

  #pickOne({ target, environmentId, operation, body, failed }: ReplicaRequest): ReplicaPick {
    const nowUs = this.#clock.monotonicUs()
    const group = this.#registry.groupOf(target.provider)
    const { provider, members } = group
    const prefix = operation === 'embeddings' ? nothingOf(body) : this.#prefixOf(body)
    const salt = this.#saltOf(target, environmentId)
    const question = this.#question(group, prefix, salt, failed, nowUs)
    const choice = chooseReplica(question)
    const member = must(members[choice.index], 'a replica that was asked about is chosen')
    const { replica } = member
    const { promptTokens } = question
    const believedTokens = this.#believedTokens(group, replica, prefix, salt)
    const missingTokens = promptTokens - believedTokens * replica.beliefRatio
    // Only what is new anywhere takes a turn: else conversations of as many turns as there are replicas all begin at one.
    if (believedTokens === 0) provider.turn += 1
    provider.lastPickedUs = nowUs
    provider.promptTokens.add(promptTokens)
    provider.missingTokens.add(missingTokens)
    if (prefix.blockCount > 0) {
      this.#registry.learn(provider, replica, prefix, salt)
      this.#onLearned?.({ providerId: provider.id, url: replica.server.url, names: prefix.names, salt })
    }
    return new RunningPick({
      target: targetAt(member, target),
      original: target,
      group,
      replica,
      question,
      choice,
      prefix,
      believedTokens,
      weightTokens: promptTokens + requestWeightTokens,
      missingTokens,
      isStream: body.stream,
      begunUs: nowUs,
      clock: this.#clock,
    })
  }

  /** Found again for every request of the target, until what is in effect changes. */
  #onlyOf(target: TargetTable): OnlyTarget {
    const { version } = this.#registry
    const known = this.#only.get(target)
    if (known !== undefined && known.version === version) return known
    const { provider, members } = this.#registry.groupOf(target.provider)
    const member = must(members[0], 'a provider has a server')
    const { server } = member.replica
    const pick = new OnlyPick(targetAt(member, target), target, server.url)
    const made = { version, provider, pick, counted: server.isCounted ? server : null }
    this.#only.set(target, made)
    return made
  }

  /** What another request worker told. Harmless where the provider or the replica is not in effect here (yet). */
  learn({ providerId, url, names, salt }: LearnedPrefix): void {
    const known = this.#registry.find(providerId, url)
    if (known === null) return
    known.provider.lastPickedUs = this.#clock.monotonicUs()
    const prefix = { characterCount: 0, isWhole: false, names, blockCount: Math.min(blocksMax, names.length >>> 1) }
    this.#registry.learn(known.provider, known.replica, prefix, salt)
  }

  /** What the other request workers have running at a server. Harmless where nobody names it here (yet). */
  hearPeers(load: ServerLoad): void {
    this.#registry.serverAt(load[0])?.hearPeers(load)
  }

  /** Replicas of providers in effect, at most `countMax`; not those that are alone and not read, of which nothing is known. */
  shown(countMax: number): readonly ShownReplica[] {
    const nowUs = this.#clock.monotonicUs()
    const shown: ShownReplica[] = []
    for (const { id, byUrl } of this.#registry.providers) {
      for (const replica of byUrl.values()) {
        if (shown.length >= countMax) return shown
        const { server, index } = replica
        if (!server.isCounted) continue
        shown.push({ providerId: id, server, isHealthy: isHealthy(replica, nowUs), blockCount: index.size })
      }
    }
    return shown
  }

  #question(
    group: ReplicaGroup,
    prefix: Prefix,
    salt: Salt,
    failed: ReplicaPick | null,
    nowUs: number,
  ): ReplicaQuestion {
    const { provider, members, scrapeMs } = group
    const staleUs = (staleIntervals * scrapeMs + scrapeMsDefault) * 1000
    return {
      promptTokens: prefix.characterCount / provider.charactersPerToken.value,
      replicas: members.map(({ replica }): ReplicaFacts => {
        this.#registry.followRestarts(replica)
        const { server } = replica
        const reading = server.reading(nowUs, staleUs)
        const othersTokens = (reading?.othersCount ?? 0) * (provider.promptTokens.value + requestWeightTokens)
        return {
          healthy: server.url !== failed?.url && isHealthy(replica, nowUs),
          cachedTokens: this.#believedTokens(group, replica, prefix, salt) * replica.beliefRatio,
          loadTokens: server.agentTokens + othersTokens,
          queuedTokens:
            server.agentUnansweredTokens + (reading?.othersWaitingCount ?? 0) * provider.missingTokens.value,
          kvUsageRatio: reading?.metrics.kvUsageRatio ?? null,
        }
      }),
      turn: provider.turn,
    }
  }

  #believedTokens({ provider }: ReplicaGroup, { index }: Replica, prefix: Prefix, salt: Salt): number {
    return (index.match(prefix, salt) * blockCharacters) / provider.charactersPerToken.value
  }

  /** Told once per request, whatever number of targets is tried. */
  #prefixOf(body: PromptBody): Prefix {
    const known = this.#prefixes.get(body)
    if (known !== undefined) return known
    this.#blocks.begin()
    tellPrompt(body.fields, this.#blocks)
    const told = this.#blocks.end()
    // What was not looked at counts by its bytes.
    const prefix = told.isWhole ? told : { ...told, characterCount: Math.max(told.characterCount, body.bytes.length) }
    this.#prefixes.set(body, prefix)
    return prefix
  }

  #saltOf(target: TargetTable, environmentId: string): Salt {
    const known = this.#salts.get(target)
    if (known?.environmentId === environmentId) return known.salt
    const salt = saltOf(this.#saltHash, `${environmentId} ${target.upstreamModel}`)
    this.#salts.set(target, { environmentId, salt })
    return salt
  }
}

/** A target whose provider has one address. */
interface OnlyTarget {
  /** Of the registry, when it was made. */
  readonly version: number
  readonly provider: ProviderReplicas
  readonly pick: OnlyPick
  /** Null: what runs there is not counted. */
  readonly counted: ReplicaServer | null
}

function isHealthy({ server, health }: Replica, nowUs: number): boolean {
  return server.silentCount < silentReadingsMax && health.isHealthy(nowUs, server.heardUs)
}

const noNames = new Uint32Array(0)

function nothingOf(body: PromptBody): Prefix {
  return { characterCount: body.bytes.length, isWhole: false, names: noNames, blockCount: 0 }
}

function targetAt({ table, targets }: ReplicaMember, target: TargetTable): TargetTable {
  if (table === target.provider) return target
  const known = targets.get(target)
  if (known !== undefined) return known
  const made = Object.freeze({ ...target, provider: table })
  targets.set(target, made)
  return made
}
