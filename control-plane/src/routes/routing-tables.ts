import { compileTables, isCompiled } from '../../../proto/policy/compile-tables.js'
import type { EnvironmentTable } from '../../../proto/policy/tables.js'
import { must } from '../../../proto/std/assert.js'
import { throwRefusal } from '../../../proto/std/refusal.js'
import { compileEnvironment, decodedResource } from '../snapshots/compile-snapshot.js'
import type { IntentReader } from '../snapshots/load-intent.js'

/** What agents decide by, made of intent as it is now. */
export interface RoutingNow {
  readonly environment: EnvironmentTable
  /** Of the intent it was made of. */
  readonly intentRevision: bigint
}

/**
 * An environment's decision tables from its intent, by the very compilers that agents' tables come from: what is explained
 * is what would be enforced, once agents have applied this revision.
 */
export class RoutingTables {
  readonly #intent: Pick<IntentReader, 'loadWithoutKeys'>

  constructor(intent: Pick<IntentReader, 'loadWithoutKeys'>) {
    this.#intent = intent
  }

  /** Refuses `conflict` when the environment is archived or its intent does not compile, with the reason. */
  async load(environmentId: string): Promise<RoutingNow> {
    const intent = await this.#intent.loadWithoutKeys(environmentId)
    if (intent === null)
      return throwRefusal('conflict', 'the environment is archived', { field: 'input.environmentId' })
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
    const compiled = compileTables({ epoch: 1, generation: 1, rootHash: '' }, [
      { name, changed: resources.map((resource) => decodedResource(name, resource)) },
    ])
    if (!isCompiled(compiled)) throw new Error(`${name} was checked and does not compile: ${compiled[0]?.message}`)
    const environment = must(compiled.tables.environments.get(name), 'the section holds its environment')
    return { environment, intentRevision: BigInt(intent.environment.intentRevision) }
  }
}
