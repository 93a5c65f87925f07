import { z } from 'zod'
import { ageSecondsMax, isLabel, labelShape, labelsMax, purgesMax } from '../../../proto/policy/cache-policy.js'
import { shapes } from '../access/check-input.js'

/** Kept answers from before `at` that fit are not given any more; a null member fits everything. */
export interface CachePurge {
  readonly id: string
  readonly environmentId: string
  readonly at: Date
  readonly routeId: string | null
  readonly promptId: string | null
  readonly promptVersion: string | null
  readonly tag: string | null
  readonly documentId: string | null
  readonly createdBy: string
}

/** What was purged, and the intent revisions from which on agents follow it. */
export interface CachePurgeChange {
  readonly at: Date
  readonly purges: readonly CachePurge[]
  /** By environment. */
  readonly intentRevisions: ReadonlyMap<string, bigint>
}

export type PurgeScope = Omit<CachePurge, 'id' | 'environmentId' | 'at' | 'createdBy'>

const label = z.string().refine(isLabel, `expected ${labelShape}`)
/** No answer is kept as a prompt's before there are prompts: a purge by one would say that it purged, and do nothing. */
const notYet = z.string().refine(() => false, 'there are no prompts yet: purge by route, tag or document')

export const purgeCacheInput = z.object({
  tenantId: shapes.id.nullish(),
  environmentId: shapes.id.nullish(),
  routeId: shapes.id.nullish(),
  promptId: notYet.nullish(),
  promptVersion: notYet.nullish(),
  tag: label.nullish(),
  documentIds: z
    .array(label)
    .min(1, 'expected at least one document, or leave it out')
    .max(labelsMax, `expected at most ${labelsMax} documents`)
    .nullish(),
})

/** What the input names, one scope for each document. */
export function scopesOf(input: z.output<typeof purgeCacheInput>): readonly PurgeScope[] {
  const { routeId = null, promptId = null, promptVersion = null, tag = null, documentIds } = input
  const documents: readonly (string | null)[] = documentIds == null ? [null] : [...new Set(documentIds)].sort()
  return documents.map((documentId) => ({ routeId, promptId, promptVersion, tag, documentId }))
}

/**
 * The purges that an environment has afterwards. Those older than any answer that may be given are left out. One that fits
 * everything takes the place of all before it. Where there are more than an environment's section holds, the older half
 * becomes one that fits everything, as of the newest of them: more is purged than was asked, never less.
 */
export function afterPurge(
  before: readonly CachePurge[],
  added: readonly CachePurge[],
  now: Date,
): readonly CachePurge[] {
  const spentMs = now.getTime() - ageSecondsMax * 1_000 - spentMarginMs
  const all = [...before, ...added].filter(({ at }) => at.getTime() > spentMs).sort(inOrder)
  const last = all.findLastIndex(fitsAll)
  const needed = last === -1 ? all : all.slice(last)
  if (needed.length <= purgesMax) return needed
  const folded = needed.slice(0, needed.length - purgesMax / 2)
  const newest = folded.at(-1)
  return newest === undefined ? needed : [{ ...newest, ...everything }, ...needed.slice(folded.length)]
}

/** Agents let a purge reach a little further than its instant. */
const spentMarginMs = 60_000
const everything: PurgeScope = Object.freeze({
  ...{ routeId: null, promptId: null, promptVersion: null, tag: null, documentId: null },
})

function fitsAll(purge: CachePurge): boolean {
  return (
    purge.routeId === null &&
    purge.promptId === null &&
    purge.promptVersion === null &&
    purge.tag === null &&
    purge.documentId === null
  )
}

/** By instant, then id. */
function inOrder(a: CachePurge, b: CachePurge): number {
  return a.at.getTime() - b.at.getTime() || (a.id < b.id ? -1 : 1)
}

/** What the audit trail keeps of it. */
export function auditPurge({ id, environmentId, at, createdBy, ...scope }: CachePurge) {
  return Object.fromEntries(Object.entries(scope).filter(([, value]) => value !== null))
}
