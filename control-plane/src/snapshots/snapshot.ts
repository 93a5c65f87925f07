import type { DesiredSection, DesiredSnapshot } from '../../../proto/snapshot/manifest.js'

/** The number of what `compile-snapshot` makes from the same rows. Raise it whenever the bytes may differ. */
export const compilerVersion = 4

/** Names stay in `removed` this long; an agent that was away longer starts over (`resync`). */
export const tombstoneDays = 90

/** Of the event loop, before the rest of long work waits for others to have their turn. */
export const sliceMs = 3

export interface CompiledResource {
  /** `<kind>/<id>`. */
  readonly name: string
  readonly hash: Buffer
  readonly content: Buffer
}

/** What intent says a section should hold, before it meets what its view held until now. */
export interface CompiledSection {
  readonly name: string
  readonly intentRevision: number
  /** In name order. */
  readonly resources: readonly CompiledResource[]
}

/** A section as it is stored and served; shared by every view and generation that has this very content. */
export interface StoredSection extends DesiredSection {
  readonly hash: Buffer
  readonly resources: readonly CompiledResource[]
  readonly compilerVersion: number
}

/** The newest of a view is what its agents should have. Rows never change; two replicas hold the same bytes. */
export interface StoredSnapshot extends DesiredSnapshot {
  readonly view: string
  readonly epoch: number
  readonly generation: number
  readonly rootHash: Buffer
  readonly header: Buffer
  readonly signature: Buffer
  readonly sections: readonly StoredSection[]
  readonly createdAt: Date
}

/** The one arm there is until rollouts split a cluster's agents. */
export const mainArm = 'main'

/** What an agent of `clusterId` should follow. */
export function viewOf(clusterId: string, arm: string = mainArm): string {
  return `${clusterId}/${arm}`
}

export function clusterOfView(view: string): string {
  return view.slice(0, view.indexOf('/'))
}
