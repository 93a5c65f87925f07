import type { Resource__Output } from '../../../proto/gen/switchyard/v1/Resource.js'
import {
  type CompiledSnapshot,
  type CompileRefusal,
  compileSection,
  isCompiled,
  joinTables,
  type SectionCompilation,
} from '../../../proto/policy/compile-tables.js'
import { decodeResource } from '../../../proto/snapshot/consistency.js'
import { assert } from '../../../proto/std/assert.js'
import type { Pause } from '../../../proto/std/pause.js'
import type { TablesHolder } from '../config/decision-tables.js'
import type { SectionParcel, TablesParcel } from './tables-parcel.js'

/**
 * A request worker's decision tables, made of what the primary tells. Bytes are decoded as they come and dropped; what stays
 * is what compiling needs for the next change. Nothing is checked again: the primary compiled these bytes with this code, so
 * whatever does not fit is a fault of ours, and the worker ends rather than serve by half a configuration.
 */
export class ToldTables {
  readonly #tables: Pick<TablesHolder, 'swap'>
  readonly #pause: Pause
  #compiled: CompiledSnapshot | null = null
  /** Of the change whose last piece has not come yet. */
  #coming = new Map<string, { changed: { name: string; resource: Resource__Output }[]; gone: string[] }>()
  #gone: string[] = []

  constructor(tables: Pick<TablesHolder, 'swap'>, pause: Pause) {
    this.#tables = tables
    this.#pause = pause
  }

  /** One piece at a time and in order. True when with it a change took effect. Throws when it does not fit. */
  async take(parcel: TablesParcel): Promise<boolean> {
    for (const section of parcel.sections) await this.#decode(section)
    this.#gone.push(...parcel.goneSections)
    if (parcel.header === null) return false
    const compilations: SectionCompilation[] = []
    for (const [name, { changed, gone }] of this.#coming) {
      const before = this.#compiled?.sections.get(name) ?? null
      compilations.push(fitting(await this.#run(compileSection(before, { name, changed, gone }))))
    }
    const joined = await this.#run(
      joinTables({ header: parcel.header, before: this.#compiled, compilations, gone: this.#gone }),
    )
    this.#compiled = fitting(joined)
    this.#coming = new Map()
    this.#gone = []
    this.#tables.swap(this.#compiled.tables)
    return true
  }

  async #decode({ name, changed, lengths, content, gone }: SectionParcel): Promise<void> {
    let section = this.#coming.get(name)
    if (section === undefined) {
      section = { changed: [], gone: [] }
      this.#coming.set(name, section)
    }
    section.gone.push(...gone)
    // What the codec slices out of a `Buffer` is one, too; of other bytes it is not.
    const bytes = Buffer.from(content.buffer, content.byteOffset, content.byteLength)
    let at = 0
    for (const [index, resourceName] of changed.entries()) {
      const end = at + (lengths[index] ?? 0)
      const resource = decodeResource(bytes.subarray(at, end), { section: name, resource: resourceName })
      assert(!('code' in resource), `resource ${resourceName} was decoded before and is not now`)
      section.changed.push({ name: resourceName, resource })
      at = end
      if (index % sliceCount === 0) await this.#pause()
    }
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
