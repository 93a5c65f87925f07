import { snapshotHeaderCodec } from '../../../proto/gen/codec.js'
import { environmentSection } from '../../../proto/snapshot/consistency.js'
import type { SnapshotRefusal } from '../../../proto/snapshot/snapshot-refusal.js'
import { assert, must } from '../../../proto/std/assert.js'
import { Backoff } from '../../../proto/std/backoff.js'
import type { Clock } from '../../../proto/std/clock.js'
import { randomUnit } from '../../../proto/std/ids.js'
import { type Pause, pauseEvery } from '../../../proto/std/pause.js'
import type { Log, Service } from '../../../proto/std/service.js'
import { Watch } from '../../../proto/std/watch.js'
import type { Bell } from '../tenancy/intent-revision.js'
import {
  type ClusterRow,
  compileCluster,
  compileDeny,
  compileEnvironment,
  type EnvironmentIntent,
  type EnvironmentRow,
  isPlaced,
} from './compile-snapshot.js'
import { type ComposedView, composeInSteps, type HeldBack, type Tombstones } from './compose-view.js'
import type { Intent, IntentPulse, IntentReader } from './load-intent.js'
import type { FailedSection, SectionFailureStore } from './section-failure-store.js'
import {
  type CompiledResource,
  type CompiledSection,
  compilerVersion,
  type StoredSnapshot,
  sliceMs,
  viewOf,
} from './snapshot.js'
import type { SnapshotStore, ViewBase } from './snapshot-store.js'
import { withdrawFrom } from './withdraw.js'

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
 * Two steps, so that nothing delays a revocation. *Prepare* reads and compiles the environments whose revision moved, after
 * a quiet moment (a burst of mutations becomes one generation), beside everything else. *Publish* joins what is prepared
 * with placement and denials as they are now and stores it; it runs when something is prepared and, at once, whenever a
 * revocation was committed. An environment that is being prepared meanwhile keeps what it has; one that cannot work does so
 * too, less what its newest intent has taken away (`withdraw`).
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
  /** What was published last. */
  #done: { deny: number; epoch: number; signingKeyId: string; intent: string | null } = {
    ...{ deny: -1, epoch: -1, signingKeyId: '', intent: null },
  }
  /** The newest change that still waits for quiet. */
  #waiting: { intent: string; firstMs: number; lastMs: number } | null = null
  #preparing: Promise<void> | null = null
  /** Prepared and not yet published; a failed preparation is thrown where it would have been published. */
  #prepared: { intent: string; fresh: boolean } | { fault: unknown } | null = null
  #freshDueMs = Number.NEGATIVE_INFINITY

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
    await this.#preparing
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
    const { clock, pollMs } = this.#options
    const pulse = await this.#options.intent.loadPulse()
    if (pulse.epoch === null || pulse.signingKeyId === null) return pollMs
    const nowMs = clock.monotonicUs() / 1000
    const prepared = this.#takePrepared()
    const isFirst = this.#done.intent === null
    const moved =
      pulse.denyRevision !== this.#done.deny ||
      pulse.epoch !== this.#done.epoch ||
      pulse.signingKeyId !== this.#done.signingKeyId
    // The very first waits for what is prepared: a new view must not begin without its environments.
    if (prepared !== null || (moved && !isFirst)) {
      await this.#publish(pulse.signingKeyId, prepared)
      this.#done = {
        ...{ deny: pulse.denyRevision, epoch: pulse.epoch, signingKeyId: pulse.signingKeyId },
        intent: prepared?.intent ?? this.#done.intent,
      }
    } else await this.#adoptHeads(pulse)
    return Math.min(pollMs, this.#prepareIfDue(pulse, nowMs))
  }

  #takePrepared(): { intent: string; fresh: boolean } | null {
    const prepared = this.#prepared
    this.#prepared = null
    if (prepared === null || 'intent' in prepared) return prepared
    throw prepared.fault
  }

  /** Starts a preparation if it is time for one. Returns in how many milliseconds it may be. */
  #prepareIfDue(pulse: IntentPulse, nowMs: number): number {
    const { quietMs, quietMaxMs, freshMs, pollMs } = this.#options
    if (this.#preparing !== null) return pollMs
    const fresh = this.#freshDueMs <= nowMs
    if (!fresh && pulse.intent === this.#done.intent) {
      this.#waiting = null
      return pollMs
    }
    if (this.#waiting?.intent !== pulse.intent) {
      this.#waiting = { intent: pulse.intent, firstMs: this.#waiting?.firstMs ?? nowMs, lastMs: nowMs }
    }
    const dueMs = Math.min(this.#waiting.lastMs + quietMs, this.#waiting.firstMs + quietMaxMs)
    if (!fresh && nowMs < dueMs) return dueMs - nowMs
    this.#waiting = null
    if (fresh) this.#freshDueMs = nowMs + freshMs
    this.#preparing = this.#prepare(fresh)
      .then(
        () => {
          this.#prepared = { intent: pulse.intent, fresh }
        },
        (fault: unknown) => {
          if (fresh) this.#freshDueMs = Number.NEGATIVE_INFINITY
          this.#prepared = { fault }
        },
      )
      .finally(() => {
        this.#preparing = null
        this.ring()
      })
    return pollMs
  }

  /** Reads and compiles every environment that is not compiled at its revision; all of them when `fresh`. */
  async #prepare(fresh: boolean): Promise<void> {
    const loaded = await this.#options.intent.loadEnvironments(
      ({ id, intentRevision }) => fresh || this.#compiled.get(id)?.revision !== intentRevision,
    )
    const pause = pauseEvery(sliceMs, this.#options.clock)
    const compiled: [string, CompiledEnvironment][] = []
    for (const [id, environment] of loaded) {
      await pause()
      compiled.push([id, compiledOf(environment)])
    }
    for (const [id, environment] of compiled) this.#compiled.set(id, environment)
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

  /** `prepared` null: denials and placement only. */
  async #publish(keyId: string, prepared: { fresh: boolean } | null): Promise<void> {
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const intent = await this.#options.intent.load()
      if (intent === null) return
      let superseded = false
      for (const cluster of intent.clusters) {
        if (!(await this.#publishView(cluster, intent, { keyId, prepared }))) superseded = true
      }
      // Another replica was first. What it read may be newer than what was read here: read again, then compare again.
      if (!superseded) {
        if (prepared !== null) this.#forget(intent)
        return
      }
    }
    throw new Error(`other replicas stored a newer generation ${attemptsMax} times in a row`)
  }

  /** False when another replica was first. */
  async #publishView(
    cluster: ClusterRow,
    intent: Intent,
    { keyId, prepared }: { keyId: string; prepared: { fresh: boolean } | null },
  ): Promise<boolean> {
    const name = viewOf(cluster.id)
    const fresh = prepared?.fresh ?? false
    const view = this.#view(name)
    const base = (fresh ? null : view.base) ?? (await this.#loadBase(name, view))
    const placed = intent.environments.filter((environment) => isPlaced(environment, cluster))
    const failed: FailedSection[] = []
    const environments = new Map<string, CompiledSection | HeldBack | null>(
      placed.map((environment) => {
        const sectionName = environmentSection(environment.tenantId, environment.id)
        const compiled = this.#compiled.get(environment.id)
        if (compiled?.heldBack) {
          const { refusal, intent } = compiled.heldBack
          failed.push({ sectionName, intentRevision: compiled.revision, refusal })
          const heldBack: HeldBack = {
            ...{ name: sectionName, intentRevision: compiled.revision },
            withdrawFrom: (held) => withdrawFrom(sectionName, held, intent),
          }
          return [sectionName, heldBack] as const
        }
        // Perhaps of an earlier revision than the row's by now: still ahead of what is out there, or else not used.
        return [sectionName, compiled?.section ?? null] as const
      }),
    )
    const steps = composeInSteps({
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
    const composed = await inSlices(steps, pauseEvery(sliceMs, this.#options.clock))
    if (prepared !== null) await this.#tellFailures(name, view, failed)
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
      { view: name, epoch: stored.epoch, generation: stored.generation, denyOnly: prepared === null },
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
        'a section keeps its last good content, less what was withdrawn',
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
    this.#options.intent.retain(
      [...this.#compiled.values()].map(({ section, heldBack }) => section?.resources ?? heldBack?.intent.apiKeys ?? []),
    )
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
  /** Null: it is held back. */
  readonly section: CompiledSection | null
  readonly heldBack: { readonly refusal: SnapshotRefusal; readonly intent: EnvironmentIntent } | null
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

function compiledOf(intent: EnvironmentIntent): CompiledEnvironment {
  const result = compileEnvironment(intent)
  const revision = intent.environment.intentRevision
  if ('section' in result) return { revision, section: result.section, heldBack: null }
  return { revision, section: null, heldBack: { refusal: must(result.refusals[0], 'a refusal says why'), intent } }
}

async function inSlices<T>(steps: Generator<void, T, void>, pause: Pause): Promise<T> {
  for (;;) {
    const step = steps.next()
    if (step.done) return step.value
    await pause()
  }
}

function nextTombstones(tombstones: Tombstones, composed: ComposedView): Tombstones {
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
