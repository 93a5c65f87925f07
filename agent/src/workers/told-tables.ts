import {
  type CompiledSnapshot,
  type CompileRefusal,
  isCompiled,
  joinTables,
  type SectionCompilation,
} from '../../../proto/policy/compile-tables.js'
import { decodeResource, type NamedResource } from '../../../proto/snapshot/consistency.js'
import { assert } from '../../../proto/std/assert.js'
import type { Pause } from '../../../proto/std/pause.js'
import type { TablesHolder } from '../config/decision-tables.js'
import { compileThin, decodeStructure, isSingle } from '../config/thin-section.js'
import type { SectionParcel, TablesParcel } from './tables-parcel.js'

/**
 * A request worker's decision tables, made of what the primary tells. Nothing is checked again: the primary compiled these
 * bytes with this code, so whatever does not fit is a fault of ours, and the worker ends rather than serve by half a
 * configuration.
 *
 * Between changes sections are thin (`config/thin-section`); what their structure is made of is kept as the bytes that came,
 * and those of keys and denials not at all.
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
    const kept = this.#structure.get(name) ?? new Map<string, Buffer>()
    this.#structure.set(name, kept)
    const changed: NamedResource[] = []
    for (const [resourceName, content] of contents) {
      const resource = decodeResource(content, { section: name, resource: resourceName })
      assert(!('code' in resource), `resource ${resourceName} was decoded before and is not now`)
      changed.push({ name: resourceName, resource })
      if (changed.length % sliceCount === 0) await this.#pause()
    }
    const before = this.#compiled?.sections.get(name) ?? null
    const isOfKeys = changed.every(isSingle) && !gone.some((each) => kept.has(each))
    const bytes = [...kept].map(([each, content]) => ({ name: each, content }))
    const structure = await decodeStructure(name, isOfKeys ? [] : bytes, this.#pause)
    const compilation = fitting(await compileThin(before, structure, { name, changed, gone }, this.#pause))
    for (const each of gone) kept.delete(each)
    for (const resource of changed) {
      // A copy: what came lies in one piece with keys, which would all be kept with it.
      if (!isSingle(resource)) kept.set(resource.name, Buffer.from(contents.get(resource.name) ?? []))
    }
    return compilation
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

function fitting<T extends object>(result: T | readonly CompileRefusal[]): T {
  if (isCompiled(result)) return result
  const first = result[0]
  throw new Error(`a configuration that the primary applied does not fit: ${first?.code} ${first?.resource}`)
}
