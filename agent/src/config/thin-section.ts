import type { Resource__Output } from '../../../proto/gen/switchyard/v1/Resource.js'
import {
  type CompiledSection,
  type CompileRefusal,
  compileSection,
  type DenyRow,
  isCompiled,
  type SectionChange,
  type SectionCompilation,
} from '../../../proto/policy/compile-tables.js'
import { decodeResource, type NamedResource } from '../../../proto/snapshot/consistency.js'
import { assert } from '../../../proto/std/assert.js'
import type { Pause } from '../../../proto/std/pause.js'
import { ShardedMap } from '../../../proto/std/sharded-map.js'

/**
 * Compiled sections between two changes. Compiling needs environment, providers, models and routes decoded, and decoded they
 * take ten times their bytes: 30 MB with five thousand routes. So a section is kept thin, as tables alone, and what its
 * structure was made of is decoded again, from the bytes that are held anyway, when something of that section changes.
 */
export type Structure = ReadonlyMap<string, Resource__Output>

/** Bytes of a resource by its full name. */
export interface NamedContent {
  readonly name: string
  readonly content: Buffer
}

/** A resource that stands for itself; everything else is structure: it refers to each other. */
export function isSingle({ resource }: NamedResource): boolean {
  return Boolean(resource.apiKey || resource.deny)
}

/** The structure among `contents`, which were decoded before. Consistency has seen to it that names say what kind each is. */
export async function decodeStructure(
  section: string,
  contents: Iterable<NamedContent>,
  pause: Pause,
): Promise<Map<string, Resource__Output>> {
  const structure = new Map<string, Resource__Output>()
  for (const { name, content } of contents) {
    if (name.startsWith('api_key/') || name.startsWith('deny/')) continue
    const resource = decodeResource(content, { section, resource: name })
    assert(!('code' in resource), `resource ${name} was decoded before and is not now`)
    structure.set(name, resource)
    if (structure.size % sliceCount === 0) await pause()
  }
  return structure
}

/** `compileSection` from and to thin sections. `structure` is what `before` was made of. */
export async function compileThin(
  before: CompiledSection | null,
  structure: Structure,
  change: SectionChange,
  pause: Pause,
): Promise<SectionCompilation | readonly CompileRefusal[]> {
  const steps = compileSection(before === null ? null : { ...before, resources: structure }, change)
  for (;;) {
    const step = steps.next()
    if (!step.done) {
      await pause()
      continue
    }
    if (!isCompiled(step.value)) return step.value
    const { section, keys, denials } = step.value
    const denied = section.denials.size === 0 ? noDenials : section.denials
    return { before, section: Object.freeze({ ...section, resources: noStructure, denials: denied }), keys, denials }
  }
}

const sliceCount = 64
const noStructure: Structure = new Map()
/** Shared: a map of nothing has its shards, too. */
const noDenials = ShardedMap.empty<DenyRow>()
