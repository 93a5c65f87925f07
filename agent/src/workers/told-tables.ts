import type { Resource__Output } from '../../../proto/gen/switchyard/v1/Resource.js'
import {
  type CompiledSnapshot,
  type CompileRefusal,
  compileSection,
  type DenyRow,
  isCompiled,
  joinTables,
  type SectionCompilation,
} from '../../../proto/policy/compile-tables.js'
import { decodeResource, type NamedResource } from '../../../proto/snapshot/consistency.js'
import { assert } from '../../../proto/std/assert.js'
import type { Pause } from '../../../proto/std/pause.js'
import { ShardedMap } from '../../../proto/std/sharded-map.js'
import type { TablesHolder } from '../config/decision-tables.js'
import type { SectionParcel, TablesParcel } from './tables-parcel.js'

/**
 * A request worker's decision tables, made of what the primary tells. Nothing is checked again: the primary compiled these
 * bytes with this code, so whatever does not fit is a fault of ours, and the worker ends rather than serve by half a
 * configuration.
 *
 * Between changes only tables are kept. What compiling needs besides (environment, providers, models and routes, decoded) is
 * kept as the bytes that came, a tenth of the size, and decoded again when something of that section changes; for a changed
 * key or denial it is not needed. With five thousand routes that is 30 MB less in each worker.
 */
export class ToldTables {
  readonly #tables: Pick<TablesHolder, 'swap'>
  readonly #pause: Pause
  #compiled: CompiledSnapshot | null = null
  /** By section and name: what its structure is made of, as it came. */
  readonly #structure = new Map<string, Map<string, Buffer>>()
  /** Of the change whose last piece has not come yet. */
  #coming = new Map<string, { changed: Map<string, Buffer>; gone: string[] }>()
  #gone: string[] = []

  constructor(tables: Pick<TablesHolder, 'swap'>, pause: Pause) {
    this.#tables = tables
    this.#pause = pause
  }

  /** One piece at a time and in order. True when with it a change took effect. Throws when it does not fit. */
  async take(parcel: TablesParcel): Promise<boolean> {
    for (const section of parcel.sections) this.#keep(section)
    this.#gone.push(...parcel.goneSections)
    if (parcel.header === null) return false
    const compilations: SectionCompilation[] = []
    for (const [name, { changed, gone }] of this.#coming) compilations.push(await this.#compile(name, changed, gone))
    const joined = await this.#run(
      joinTables({ header: parcel.header, before: this.#compiled, compilations, gone: this.#gone }),
    )
    for (const name of this.#gone) this.#structure.delete(name)
    this.#compiled = fitting(joined)
    this.#coming = new Map()
    this.#gone = []
    this.#tables.swap(this.#compiled.tables)
    return true
  }

  #keep({ name, changed, lengths, content, gone }: SectionParcel): void {
    const section = this.#coming.get(name) ?? { changed: new Map<string, Buffer>(), gone: [] }
    this.#coming.set(name, section)
    section.gone.push(...gone)
    // What the codec slices out of a `Buffer` is one, too; of other bytes it is not.
    const bytes = Buffer.from(content.buffer, content.byteOffset, content.byteLength)
    let at = 0
    for (const [index, resourceName] of changed.entries()) {
      const end = at + (lengths[index] ?? 0)
      section.changed.set(resourceName, bytes.subarray(at, end))
      at = end
    }
  }

  async #compile(
    name: string,
    contents: ReadonlyMap<string, Buffer>,
    gone: readonly string[],
  ): Promise<SectionCompilation> {
    const structure = this.#structure.get(name) ?? new Map<string, Buffer>()
    this.#structure.set(name, structure)
    const changed = await this.#decode(name, contents)
    const isStructure = ({ resource }: NamedResource) => !resource.apiKey && !resource.deny
    const before = this.#compiled?.sections.get(name) ?? null
    const needsStructure = before === null || gone.some((each) => structure.has(each)) || changed.some(isStructure)
    const whole =
      before === null || !needsStructure
        ? before
        : {
            ...before,
            resources: new Map((await this.#decode(name, structure)).map((one) => [one.name, one.resource])),
          }
    const { section, keys, denials } = fitting(await this.#run(compileSection(whole, { name, changed, gone })))
    for (const each of gone) structure.delete(each)
    for (const resource of changed) {
      // A copy: what came lies in one piece with keys, which would all be kept with it.
      if (isStructure(resource)) structure.set(resource.name, Buffer.from(contents.get(resource.name) ?? []))
    }
    // A map of nothing has its shards, too.
    const denied = section.denials.size === 0 ? noDenials : section.denials
    return { before, section: Object.freeze({ ...section, resources: nothing, denials: denied }), keys, denials }
  }

  async #decode(section: string, contents: ReadonlyMap<string, Buffer>): Promise<NamedResource[]> {
    const resources: NamedResource[] = []
    for (const [name, content] of contents) {
      const resource = decodeResource(content, { section, resource: name })
      assert(!('code' in resource), `resource ${name} was decoded before and is not now`)
      resources.push({ name, resource })
      if (resources.length % sliceCount === 0) await this.#pause()
    }
    return resources
  }

  async #run<T>(steps: Generator<void, T, void>): Promise<T> {
    for (;;) {
      const step = steps.next()
      if (step.done) return step.value
      await this.#pause()
    }
  }
}

const sliceCount = 64
const nothing: ReadonlyMap<string, Resource__Output> = new Map()
const noDenials = ShardedMap.empty<DenyRow>()

function fitting<T extends object>(result: T | readonly CompileRefusal[]): T {
  if (isCompiled(result)) return result
  const first = result[0]
  throw new Error(`a configuration that the primary applied does not fit: ${first?.code} ${first?.resource}`)
}
