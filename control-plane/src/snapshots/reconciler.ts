import { snapshotHeaderCodec } from '../../../proto/gen/codec.js'
import { environmentSection } from '../../../proto/snapshot/consistency.js'
import type { SnapshotRefusal } from '../../../proto/snapshot/snapshot-refusal.js'
import { assert, must } from '../../../proto/std/assert.js'
import { Backoff } from '../../../proto/std/backoff.js'
import type { Clock } from '../../../proto/std/clock.js'
import { randomUnit } from '../../../proto/std/ids.js'
import type { Log, Service } from '../../../proto/std/service.js'
import { Watch } from '../../../proto/std/watch.js'
import type { Bell } from '../tenancy/intent-revision.js'
import {
  type ClusterRow,
  compileCluster,
  compileDeny,
  compileEnvironment,
  type EnvironmentRow,
  isPlaced,
} from './compile-snapshot.js'
import { composeView, type Tombstones } from './compose-view.js'
import type { Intent, IntentPulse, IntentReader } from './load-intent.js'
import type { FailedSection, SectionFailureStore } from './section-failure-store.js'
import {
  type CompiledResource,
  type CompiledSection,
  compilerVersion,
  type StoredSnapshot,
  viewOf,
} from './snapshot.js'
import type { SnapshotStore, ViewBase } from './snapshot-store.js'

/** Signs what a view gets. Implemented where the keys are. */
export interface SnapshotSigner {
  /** How the key of that id signs a header. */
  open(keyId: string): Promise<(header: Uint8Array) => Buffer>
}

export interface ReconcilerOptions {
  readonly intent: IntentReader
  readonly store: SnapshotStore
  readonly failures: SectionFailureStore
  readonly signer: SnapshotSigner
  readonly clock: Clock
  readonly log: Log
  /** Between two looks at the revisions, when no bell rings. */
  readonly pollMs: number
  /** An ordinary change waits until nothing more came for this long… */
  readonly quietMs?: number
  /** …but never longer than this. */
  readonly quietMaxMs?: number
  /** Between two passes that read everything afresh, whatever the revisions say. */
  readonly freshMs?: number
  readonly compilerVersion?: number
}

/**
 * Makes the snapshots follow intent. It takes no input: whatever wakes it, it compares the revisions in Postgres with those
 * it last compiled, so a lost bell, a restart, a restored database or a second replica changes nothing. Every replica runs
 * one; the first to insert a generation wins and the others serve the stored bytes.
 *
 * Two kinds of pass. *Deny*: revocations and placement only, at once; environments keep what they have, so nothing that is
 * wrong with one of them can hold a revocation back. *All*: whatever moved, after a quiet moment, so that a burst of
 * mutations becomes one generation.
 */
export class Reconciler implements Service, Bell {
  readonly name = 'snapshot-reconciler'
  readonly #options: Required<ReconcilerOptions>
  readonly #log: Log
  readonly #views = new Map<string, View>()
  readonly #compiled = new Map<string, CompiledEnvironment>()
  readonly #stopping = new AbortController()
  /** Aborted by a ring; a new one hangs before each look, so that no ring is lost. */
  #bell = new AbortController()
  #loop: Promise<void> | null = null
  #done = { deny: -1, intent: '', epoch: -1, signingKeyId: '' as string | null, freshAtMs: Number.NEGATIVE_INFINITY }
  /** While an ordinary change waits for quiet. */
  #waiting: { intent: string; firstMs: number; lastMs: number } | null = null

  constructor(options: ReconcilerOptions) {
    this.#options = { quietMs: 100, quietMaxMs: 2000, freshMs: 300_000, compilerVersion, ...options }
    assert(this.#options.quietMs <= this.#options.quietMaxMs, 'reconciler: quietMs <= quietMaxMs')
    this.#log = options.log.child({ service: this.name })
  }

  /** Wakes it. Call after a commit; it costs nothing and may be called as often as one likes. */
  ring(): void {
    this.#bell.abort()
  }

  /** The newest snapshot of a view; null until there is one. One slot: a slow reader skips to the newest. */
  desired(view: string): Watch<StoredSnapshot | null> {
    return this.#view(view).desired
  }

  async run(): Promise<void> {
    this.#loop ??= this.#reconcileUntilStopped()
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new Error('stopped'))
    await this.#loop
    for (const view of this.#views.values()) view.desired.close()
  }

  async #reconcileUntilStopped(): Promise<void> {
    const { signal } = this.#stopping
    const backoff = new Backoff({ minMs: this.#options.pollMs, maxMs: 10_000 }, randomUnit)
    while (!signal.aborted) {
      this.#bell = new AbortController()
      try {
        const waitMs = await this.#round()
        backoff.reset()
        await this.#sleep(waitMs, this.#bell.signal)
      } catch (error) {
        this.#log[backoff.logLevel](
          { err: error, attempt: backoff.attempt },
          'snapshots could not be reconciled; trying again',
        )
        await this.#sleep(backoff.nextMs())
      }
    }
  }

  /** One look at the revisions and whatever follows from it. Returns how long it may sleep. */
  async #round(): Promise<number> {
    const { intent, clock, quietMs, quietMaxMs, pollMs, freshMs } = this.#options
    const pulse = await intent.loadPulse()
    if (pulse.epoch === null || pulse.signingKeyId === null) return pollMs
    const { epoch, signingKeyId, denyRevision } = pulse
    const nowMs = clock.monotonicUs() / 1000

    const fresh = this.#done.freshAtMs + freshMs <= nowMs
    if (fresh || epoch !== this.#done.epoch || signingKeyId !== this.#done.signingKeyId) {
      await this.#pass('all', fresh, signingKeyId)
      this.#waiting = null
      this.#done = {
        deny: denyRevision,
        intent: pulse.intent,
        epoch,
        signingKeyId,
        freshAtMs: fresh ? nowMs : this.#done.freshAtMs,
      }
      return pollMs
    }
    if (denyRevision !== this.#done.deny) {
      await this.#pass('deny', false, signingKeyId)
      this.#done.deny = denyRevision
    }
    if (pulse.intent === this.#done.intent) {
      this.#waiting = null
      await this.#adoptHeads(pulse)
      return pollMs
    }
    if (this.#waiting === null) this.#waiting = { intent: pulse.intent, firstMs: nowMs, lastMs: nowMs }
    else if (this.#waiting.intent !== pulse.intent) {
      this.#waiting = { ...this.#waiting, intent: pulse.intent, lastMs: nowMs }
    }
    const dueMs = Math.min(this.#waiting.lastMs + quietMs, this.#waiting.firstMs + quietMaxMs)
    if (nowMs < dueMs) return Math.min(pollMs, dueMs - nowMs)
    await this.#pass('all', false, signingKeyId)
    this.#done.intent = pulse.intent
    this.#waiting = null
    return pollMs
  }

  /** Serves what another replica stored. */
  async #adoptHeads(pulse: IntentPulse): Promise<void> {
    for (const [name, head] of pulse.heads) {
      const view = this.#view(name)
      const newest = view.base?.newest
      if (newest?.epoch === head.epoch && newest.generation === head.generation) continue
      await this.#loadBase(name, view)
    }
  }

  async #pass(kind: 'deny' | 'all', fresh: boolean, keyId: string): Promise<void> {
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const intent = await this.#options.intent.load(
        (environment) =>
          kind === 'all' && (fresh || this.#compiled.get(environment.id)?.revision !== environment.intentRevision),
      )
      if (intent === null) return
      this.#compile(intent)
      let superseded = false
      for (const cluster of intent.clusters) {
        if (!(await this.#reconcileView(cluster, intent, { kind, fresh, keyId }))) superseded = true
      }
      // Another replica was first. What it read may be newer than what was read here: read again, then compare again.
      if (!superseded) {
        if (kind === 'all') this.#forget(intent)
        return
      }
    }
    throw new Error(`other replicas stored a newer generation ${attemptsMax} times in a row`)
  }

  #compile(intent: Intent): void {
    for (const [id, environment] of intent.loaded) {
      const result = compileEnvironment(environment)
      this.#compiled.set(id, {
        revision: environment.environment.intentRevision,
        ...('section' in result
          ? { section: result.section, refusal: null }
          : { section: null, refusal: must(result.refusals[0], 'a refused section says why') }),
      })
    }
  }

  /** False when another replica was first. */
  async #reconcileView(
    cluster: ClusterRow,
    intent: Intent,
    { kind, fresh, keyId }: { kind: 'deny' | 'all'; fresh: boolean; keyId: string },
  ): Promise<boolean> {
    const name = viewOf(cluster.id)
    const view = this.#view(name)
    const base = (fresh ? null : view.base) ?? (await this.#loadBase(name, view))
    const placed = intent.environments.filter((environment) => isPlaced(environment, cluster))
    const failed: FailedSection[] = []
    const environments = new Map(
      placed.map((environment) => {
        const sectionName = environmentSection(environment.tenantId, environment.id)
        const compiled = this.#compiled.get(environment.id)
        if (compiled?.refusal) {
          failed.push({ sectionName, intentRevision: compiled.revision, refusal: compiled.refusal })
        }
        const isCurrent = compiled?.revision === environment.intentRevision
        return [sectionName, isCurrent ? compiled.section : null] as const
      }),
    )
    const composed = composeView({
      base: base.newest,
      tombstones: base.tombstones,
      intent: {
        cluster: compileCluster(cluster),
        deny: compileDeny(deniedFor(intent, cluster, base.newest), intent.denyRevision),
        environments,
      },
      compilerVersion: this.#options.compilerVersion,
      fresh,
    })
    if (kind === 'all') await this.#tellFailures(name, view, failed)
    const unchanged = base.newest?.rootHash.equals(composed.rootHash) && view.keyId === keyId
    if (base.newest !== null && unchanged && base.newest.epoch === intent.epoch) return true

    const sign = await this.#options.signer.open(keyId)
    const stored = await this.#options.store.insertIfNewest({
      ...{ view: name, epoch: intent.epoch, base: base.newest, composed },
      sign: (generation) => {
        const facts = { epoch: intent.epoch, view: name, generation, rootHash: composed.rootHash, keyId }
        const header = Buffer.from(snapshotHeaderCodec.encode(facts))
        return { header, signature: sign(header) }
      },
    })
    if (stored === null) {
      await this.#loadBase(name, view)
      return false
    }
    this.#setBase(view, { newest: stored, tombstones: nextTombstones(base.tombstones, composed) })
    this.#log.info(
      { view: name, epoch: stored.epoch, generation: stored.generation, pass: kind, sections: stored.sections.length },
      'stored a new generation',
    )
    return true
  }

  async #tellFailures(name: string, view: View, failed: readonly FailedSection[]): Promise<void> {
    const told = JSON.stringify(failed)
    if (view.toldFailures === told) return
    await this.#options.failures.replace(name, failed)
    view.toldFailures = told
    for (const { sectionName, refusal } of failed) {
      this.#log.warn(
        { view: name, section: sectionName, code: refusal.code, path: refusal.path },
        'a section keeps its last good content',
      )
    }
  }

  async #loadBase(name: string, view: View): Promise<ViewBase> {
    const base = await this.#options.store.loadBase(name)
    this.#setBase(view, base)
    return base
  }

  #setBase(view: View, base: ViewBase): void {
    const before = view.base?.newest
    view.base = base
    view.keyId = base.newest === null ? '' : snapshotHeaderCodec.decode(base.newest.header).keyId
    if (base.newest?.generation !== before?.generation || base.newest?.epoch !== before?.epoch) {
      view.desired.set(base.newest)
    }
  }

  #view(name: string): View {
    let view = this.#views.get(name)
    if (view === undefined) {
      view = { desired: new Watch<StoredSnapshot | null>(null), base: null, keyId: '', toldFailures: null }
      this.#views.set(name, view)
    }
    return view
  }

  #forget(intent: Intent): void {
    const served = new Set(intent.environments.filter((environment) => !environment.archived).map(({ id }) => id))
    for (const id of this.#compiled.keys()) if (!served.has(id)) this.#compiled.delete(id)
    this.#options.intent.retain([...this.#compiled.values()].map(({ section }) => section?.resources ?? []))
  }

  async #sleep(ms: number, bell?: AbortSignal): Promise<void> {
    const done = new AbortController()
    const end = () => done.abort()
    const signals = bell === undefined ? [this.#stopping.signal] : [this.#stopping.signal, bell]
    if (signals.some((signal) => signal.aborted)) return
    for (const signal of signals) signal.addEventListener('abort', end, { once: true })
    await this.#options.clock.sleep(ms, done.signal).catch(() => {})
    for (const signal of signals) signal.removeEventListener('abort', end)
  }
}

/** Replicas that insert at the same moment take turns; more than this in a row is a fault. */
const attemptsMax = 10

interface View {
  readonly desired: Watch<StoredSnapshot | null>
  base: ViewBase | null
  /** Key that signed the newest. */
  keyId: string
  toldFailures: string | null
}

interface CompiledEnvironment {
  readonly revision: number
  /** Null: `refusal` says why. */
  readonly section: CompiledSection | null
  readonly refusal: SnapshotRefusal | null
}

/**
 * Denials that concern a view: of every environment whose policy names its region, archived ones included, and of every one
 * whose section is still out there.
 */
function deniedFor(intent: Intent, cluster: ClusterRow, newest: StoredSnapshot | null): CompiledResource[] {
  const served = new Set(newest?.sections.map((section) => section.name))
  const concerned = (environment: EnvironmentRow) =>
    environment.permittedRegions.includes(cluster.region) ||
    served.has(environmentSection(environment.tenantId, environment.id))
  return intent.environments.filter(concerned).flatMap((environment) => intent.denied.get(environment.id) ?? [])
}

function nextTombstones(tombstones: Tombstones, composed: ReturnType<typeof composeView>): Tombstones {
  if (composed.buried.length === 0 && composed.revived.length === 0) return tombstones
  const next = new Map([...tombstones].map(([section, names]) => [section, new Set(names)]))
  for (const { sectionName, resourceName } of composed.buried) {
    const names = next.get(sectionName)
    if (names === undefined) next.set(sectionName, new Set([resourceName]))
    else names.add(resourceName)
  }
  for (const { sectionName, resourceName } of composed.revived) next.get(sectionName)?.delete(resourceName)
  return next
}
