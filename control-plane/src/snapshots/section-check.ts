import { type CompileRefusal, compileSection, finish, isCompiled } from '../../../proto/policy/compile-tables.js'
import { checkSection, type NamedResource } from '../../../proto/snapshot/consistency.js'
import { type SnapshotRefusal, snapshotRefusal } from '../../../proto/snapshot/snapshot-refusal.js'

/**
 * Everything that would keep agents from applying a section, in the order in which they ask: whether it makes sense by
 * itself, then whether tables can be made of it (strategies, conditions, thresholds). Whoever signs asks both, so that what
 * is signed is not refused. Pure.
 */
export function findSectionFlaws(section: string, resources: readonly NamedResource[]): readonly SnapshotRefusal[] {
  const flaws = checkSection(section, resources)
  if (flaws.length > 0) return flaws
  const compiled = finish(compileSection(null, { name: section, changed: resources, gone: [] }))
  return isCompiled(compiled) ? [] : compiled.map(asSnapshotRefusal)
}

function asSnapshotRefusal(refusal: CompileRefusal): SnapshotRefusal {
  return snapshotRefusal(refusal.code, refusal.message, refusal)
}
