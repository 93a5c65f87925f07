import type { Ack } from '../../../proto/gen/switchyard/v1/Ack.js'
import type { AgentMessage } from '../../../proto/gen/switchyard/v1/AgentMessage.js'
import type { SnapshotUpdate__Output } from '../../../proto/gen/switchyard/v1/SnapshotUpdate.js'
import { denySection } from '../../../proto/snapshot/consistency.js'
import { equalHashes } from '../../../proto/snapshot/hash.js'
import { type HeaderFacts, keepSections, type Manifest, manifestOf, rebuild } from '../../../proto/snapshot/manifest.js'
import { type SnapshotRefusal, snapshotRefusal } from '../../../proto/snapshot/snapshot-refusal.js'
import { unreachable } from '../../../proto/std/assert.js'
import type { Pause } from '../../../proto/std/pause.js'
import type { Log } from '../../../proto/std/service.js'
import { type Built, buildTables, type Effect } from './build-tables.js'
import type { TablesHolder } from './decision-tables.js'
import type { LastKnownGood } from './last-known-good.js'
import type { Quarantine } from './quarantine.js'
import { withdrawnSections } from './withdrawn.js'

/**
 * From an update to effect: check, build, swap, keep, answer; always in that order.
 *
 * Checking is `proto/snapshot`: signature over the header as received, order of generations, every hash. Building happens
 * beside what is in effect. The swap is one assignment (and one in each request worker, all awaited), and only after it is
 * last-known-good written and the control plane told, so that *applied* is never said of something that requests do not see. A section that cannot be used keeps what it
 * had while the others advance; above all revocations, which no refusal elsewhere and no limit of size can hold back. Where
 * its successor withdraws a place to which it still sends data, it goes.
 */
export interface ApplierOptions {
  tables: TablesHolder
  store: Pick<LastKnownGood, 'save' | 'load'>
  quarantine: Quarantine
  trust: SnapshotTrust
  limits: ApplyLimits
  pause: Pause
  log: Log
  /**
   * Called with what is to be in effect; it is in this process, is held, kept and said to be applied, once what this returns
   * is settled: when every request worker has swapped. Never rejects.
   */
  onEffect(effect: Effect): Promise<void> | void
}

/** What decides whom a snapshot is believed from; `Identity` is one. */
export interface SnapshotTrust {
  readonly clusterId: string
  readonly signingKeys: ReadonlyMap<string, Uint8Array>
  readonly storedSigningKeys: ReadonlyMap<string, Uint8Array>
}

export interface ApplyLimits {
  /** Bytes of all contents. */
  readonly contentBytesMax: number
  readonly resourcesMax: number
}

export class SnapshotApplier {
  readonly #options: ApplierOptions
  #effect: Effect | null = null
  /** Refusals of the sections that are behind the header in effect. */
  #behind: readonly SnapshotRefusal[] = []
  #unsaved = false
  #saving: Promise<void> | null = null

  constructor(options: ApplierOptions) {
    this.#options = options
  }

  /** What is in effect, or null. */
  get held(): Manifest | null {
    return this.#effect?.manifest ?? null
  }

  get effect(): Effect | null {
    return this.#effect
  }

  /** True while what is in effect is not on the disk. */
  get unsaved(): boolean {
    return this.#unsaved
  }

  /** Puts last-known-good into effect if there is any. Losses are logged and go into the first answer. */
  async loadLastKnownGood(): Promise<void> {
    const { store, trust, pause, log } = this.#options
    const { manifest, losses } = await store.load(trust.storedSigningKeys, trust.clusterId)
    for (const loss of losses) log.warn({ ...loss }, 'a part of last-known-good cannot be used')
    if (manifest === null) {
      this.#behind = losses
      return
    }
    const built = await buildTables({ next: manifest, before: null, skip: new Set(), pause })
    for (const refusal of built.refusals) log.warn({ ...refusal }, 'a section of last-known-good cannot be used')
    this.#behind = [...losses, ...built.refusals]
    await this.#swap(built.effect)
    log.info({ ...factsOf(built.effect.manifest), complete: this.#behind.length === 0 }, 'serving last-known-good')
  }

  /** Applies one update and gives the message that answers it. Never throws for anything an update can contain. */
  async apply(update: SnapshotUpdate__Output): Promise<AgentMessage> {
    const { trust, limits, quarantine, pause, log } = this.#options
    const rebuilt = rebuild({
      held: this.held,
      update,
      keys: trust.signingKeys,
      clusterId: trust.clusterId,
      // Limits come below, where they spare revocations.
      limits: { contentBytesMax: Number.POSITIVE_INFINITY, resourcesMax: Number.POSITIVE_INFINITY },
    })
    switch (rebuilt.outcome) {
      case 'same':
        this.#behind = []
        await this.#save()
        return this.#ack(rebuilt.header, this.#unsaved ? [diskRefusal] : [])
      case 'resync':
        log.info({ ...rebuilt.refusal }, 'the difference does not fit what is held; asking for all of it')
        return { resync: { reason: `${rebuilt.refusal.code}: ${rebuilt.refusal.message}` }, body: 'resync' }
      case 'refused':
        this.#logRefusal(rebuilt.refusal)
        return this.#ack(rebuilt.header, [rebuilt.refusal])
      case 'rebuilt':
        break
      default:
        return unreachable(rebuilt)
    }

    const { header } = rebuilt.manifest
    const limited = withinLimits(rebuilt.manifest, this.held, limits)
    if (limited === null) {
      const refusal = snapshotRefusal('too_large', 'even the revocations alone are beyond the limits of this agent')
      this.#logRefusal(refusal)
      return this.#ack(header, [refusal])
    }
    const rootHash = header.rootHash
    const known = quarantine.get(rootHash)
    const tried = await buildTables({
      next: limited.manifest,
      before: this.#effect,
      skip: new Set(known.map((refusal) => refusal.section)),
      pause,
    })
    const refusals = [...rebuilt.refusals, ...limited.refusals, ...known, ...tried.refusals]
    const behind = new Set(refusals.map((refusal) => refusal.section))
    const withdrawn = withdrawnSections(rebuilt.manifest, this.held, behind)
    const built = withdrawn.size === 0 ? tried : await this.#buildWithout(withdrawn, limited.manifest, behind)
    for (const name of withdrawn) log.warn({ section: name }, 'a section is out of service: what it held was withdrawn')
    for (const refusal of refusals) this.#logRefusal(refusal)
    await quarantine.add(rootHash, tried.refusals).catch((fault) => {
      log.warn({ fault: String(fault) }, 'a quarantine could not be written; the same content will be tried again')
    })
    const advanced = withdrawn.size > 0 || advances(built.effect.manifest, update.header)
    if (refusals.length > 0 && !advanced) return this.#ack(header, refusals)
    this.#behind = refusals
    await this.#swap(built.effect)
    log.info({ ...factsOf(built.effect.manifest), refusalCount: refusals.length }, 'snapshot applied')
    this.#unsaved = true
    await this.#save()
    return this.#ack(header, this.#unsaved ? [...refusals, diskRefusal] : refusals)
  }

  /** Tables for `next` with the sections in `behind` as they are, but for those in `withdrawn`, which are gone. */
  #buildWithout(withdrawn: ReadonlySet<string>, next: Manifest, behind: ReadonlySet<string>): Promise<Built> {
    const sections = next.sections.filter(({ name }) => !withdrawn.has(name))
    return buildTables({
      next: manifestOf(next.header, sections, next.removedSections),
      before: this.#effect,
      skip: new Set([...behind].filter((name) => !withdrawn.has(name))),
      pause: this.#options.pause,
    })
  }

  /** Writes last-known-good if the last try failed. The answer to send when it worked now, else null. */
  async retrySave(): Promise<AgentMessage | null> {
    const manifest = this.held
    if (!this.#unsaved || manifest === null) return null
    await this.#save()
    return this.#unsaved ? null : this.#ack(manifest.header, this.#behind)
  }

  /** Resolves when nothing is being written any more. */
  async stop(): Promise<void> {
    while (this.#saving !== null) await this.#saving
  }

  /** What to say about the state in effect to a control plane that just connected: null when it is as it was signed. */
  standing(): AgentMessage | null {
    const manifest = this.held
    if (this.#behind.length === 0 || manifest === null) return null
    return this.#ack(manifest.header, this.#behind)
  }

  async #swap(effect: Effect): Promise<void> {
    await this.#options.onEffect(effect)
    this.#effect = effect
    this.#options.tables.swap(effect.compiled.tables)
  }

  /** One write at a time: whoever comes while one runs waits for it, and then for its own if that is still needed. */
  async #save(): Promise<void> {
    while (this.#saving !== null) await this.#saving
    const manifest = this.held
    if (!this.#unsaved || manifest === null) return
    this.#saving = this.#write(manifest).finally(() => {
      this.#saving = null
    })
    await this.#saving
  }

  async #write(manifest: Manifest): Promise<void> {
    try {
      await this.#options.store.save(manifest)
      if (this.held === manifest) this.#unsaved = false
    } catch (fault) {
      this.#options.log.warn({ fault: String(fault) }, 'last-known-good could not be written; it will be tried again')
    }
  }

  #logRefusal(refusal: SnapshotRefusal): void {
    // Two contents under one number: a replica lies, or a database was restored without a new epoch. Somebody must look.
    if (refusal.code === 'generation_reused') this.#options.log.error({ ...refusal }, 'a generation came back changed')
    else this.#options.log.warn({ ...refusal }, 'a snapshot was refused, wholly or in part; what was in effect stays')
  }

  #ack(answered: HeaderFacts | null, refusals: readonly SnapshotRefusal[]): AgentMessage {
    const held = this.held
    const inEffect =
      answered !== null &&
      held !== null &&
      equalHashes(held.header.rootHash, answered.rootHash) &&
      held.header.generation === answered.generation
    const ack: Ack = {
      epoch: answered?.epoch ?? 0,
      generation: answered?.generation ?? 0,
      rootHash: answered?.rootHash ?? Buffer.alloc(0),
      outcome: refusals.length === 0 ? 'APPLIED' : inEffect ? 'PARTIAL' : 'REFUSED',
      refusals: refusals.slice(0, refusalsMax).map((refusal) => ({ ...refusal })),
      appliedGeneration: held?.header.generation ?? 0,
      appliedRootHash: held?.rootHash ?? Buffer.alloc(0),
    }
    return { ack, body: 'ack' }
  }
}

const refusalsMax = 100

const diskRefusal = snapshotRefusal('disk_failed', 'in effect, but not yet written to last-known-good')

/** True when at least one section is as the header has it: then its number may be called applied, in part. */
function advances(manifest: Manifest, header: Buffer): boolean {
  return manifest.sections.some(({ proof }) => proof.header.equals(header))
}

/**
 * `next` if this agent takes that much; else what is held with nothing but the deny section advanced; null when even that is
 * too much.
 */
function withinLimits(
  next: Manifest,
  held: Manifest | null,
  limits: ApplyLimits,
): { manifest: Manifest; refusals: readonly SnapshotRefusal[] } | null {
  const excess = excessOf(next, limits)
  if (excess === null) return { manifest: next, refusals: [] }
  const heldHashes = new Map(held?.sections.map((section) => [section.name, section.hash]))
  const refusals = next.sections.flatMap(({ name, hash }) => {
    const before = heldHashes.get(name)
    const changed = before === undefined || !equalHashes(before, hash)
    return changed && name !== denySection ? [snapshotRefusal(excess.code, excess.message, { section: name })] : []
  })
  const manifest = keepSections(next, held, new Set(refusals.map((refusal) => refusal.section)))
  return excessOf(manifest, limits) === null ? { manifest, refusals } : null
}

function excessOf(manifest: Manifest, limits: ApplyLimits) {
  if (manifest.contentBytes > limits.contentBytesMax) {
    return {
      code: 'too_large' as const,
      message: `${manifest.contentBytes} bytes of content; this agent takes ${limits.contentBytesMax}`,
    }
  }
  if (manifest.resourceCount > limits.resourcesMax) {
    return {
      code: 'too_many_resources' as const,
      message: `${manifest.resourceCount} resources; this agent takes ${limits.resourcesMax}`,
    }
  }
  return null
}

function factsOf(manifest: Manifest) {
  const { epoch, generation, view } = manifest.header
  return { epoch, generation, view, resourceCount: manifest.resourceCount, contentBytes: manifest.contentBytes }
}
