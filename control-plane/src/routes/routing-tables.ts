import { compileTables, isCompiled } from '../../../proto/policy/compile-tables.js'
import type { EnvironmentTable } from '../../../proto/policy/tables.js'
import type { NamedResource } from '../../../proto/snapshot/consistency.js'
import { must } from '../../../proto/std/assert.js'
import { type Clock, systemClock } from '../../../proto/std/clock.js'
import { pauseEvery } from '../../../proto/std/pause.js'
import { throwRefusal } from '../../../proto/std/refusal.js'
import { compileEnvironment, decodedResource } from '../snapshots/compile-snapshot.js'
import type { IntentReader } from '../snapshots/load-intent.js'
import { sliceMs } from '../snapshots/snapshot.js'
import type { EnvironmentOfRoute } from './route-reader.js'

/** What agents decide by, made of intent as it is now. */
export interface RoutingNow {
  readonly environment: EnvironmentTable
  /** Of the intent it was made of. */
  readonly intentRevision: bigint
}

/** Environments whose tables are kept: who tries rules asks about one many times over, and a suite a thousand times. */
export const keptEnvironmentsMax = 16

interface Kept {
  /** That was asked for; tables may be of a newer one, if it came while they were made. */
  intentRevision: bigint
  readonly now: Promise<RoutingNow>
}

/**
 * An environment's decision tables from its intent, by the very compilers that agents' tables come from: what is explained
 * is what would be enforced, once agents have applied this revision.
 *
 * Kept by environment and intent revision, which every change of what they are made of raises, the least recently asked for
 * given up first. Who asks while tables are made waits for the same. They are made in slices: of an environment with
 * hundreds of routes they take longer than other requests should wait.
 */
export class RoutingTables {
  readonly #intent: Pick<IntentReader, 'loadWithoutKeys'>
  readonly #clock: Clock
  /** By environment, the most recently asked for last. */
  readonly #kept = new Map<string, Kept>()

  /** `clock`: for slices of long work; default: the system's. */
  constructor(intent: Pick<IntentReader, 'loadWithoutKeys'>, clock: Clock = systemClock) {
    this.#intent = intent
    this.#clock = clock
  }

  /**
   * Of `environment` as it was just read, or newer. Refuses `conflict` when it is archived or its intent does not compile,
   * with the reason.
   */
  load({ id, active, intentRevision }: EnvironmentOfRoute): Promise<RoutingNow> {
    if (!active) return refuseArchived()
    const known = this.#kept.get(id)
    this.#kept.delete(id)
    const kept = known?.intentRevision === intentRevision ? known : this.#make(id, intentRevision)
    this.#kept.set(id, kept)
    if (this.#kept.size > keptEnvironmentsMax) {
      for (const eldest of this.#kept.keys()) {
        this.#kept.delete(eldest)
        break
      }
    }
    return kept.now
  }

  #make(id: string, intentRevision: bigint): Kept {
    const kept: Kept = { intentRevision, now: this.#compile(id) }
    kept.now.then(
      (now) => {
        kept.intentRevision = now.intentRevision
      },
      // A refusal is no tables, and a database that was away may be back.
      () => {
        if (this.#kept.get(id) === kept) this.#kept.delete(id)
      },
    )
    return kept
  }

  async #compile(environmentId: string): Promise<RoutingNow> {
    const intent = await this.#intent.loadWithoutKeys(environmentId)
    if (intent === null) return refuseArchived()
    const pause = pauseEvery(sliceMs, this.#clock)
    const result = compileEnvironment(intent)
    if ('refusals' in result) {
      const [flaw] = result.refusals
      const where = `${flaw?.resource ?? ''} ${flaw?.path ?? ''}`.trim()
      return throwRefusal(
        'conflict',
        `the environment does not compile, so agents keep what they have: ${where}: ${flaw?.message}`,
      )
    }
    const { name, resources } = result.section
    const changed: NamedResource[] = []
    for (const resource of resources) {
      await pause()
      changed.push(decodedResource(name, resource))
    }
    await pause()
    const compiled = compileTables({ epoch: 1, generation: 1, rootHash: '' }, [{ name, changed }])
    if (!isCompiled(compiled)) throw new Error(`${name} was checked and does not compile: ${compiled[0]?.message}`)
    const environment = must(compiled.tables.environments.get(name), 'the section holds its environment')
    return { environment, intentRevision: BigInt(intent.environment.intentRevision) }
  }
}

async function refuseArchived(): Promise<never> {
  return throwRefusal('conflict', 'the environment is archived', { field: 'input.environmentId' })
}
