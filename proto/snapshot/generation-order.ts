import { equalHashes } from './hash.js'

/** What decides the order of two snapshots. */
export interface GenerationFacts {
  readonly epoch: number
  readonly view: string
  readonly generation: number
  /** The root the header signs. */
  readonly rootHash: Uint8Array
}

/**
 * - `first`: nothing is held.
 * - `newer_epoch`: an operator opened a new epoch after a restore; the generation may be anything.
 * - `older_epoch`: from before such a restore. Refuse.
 * - `other_view`: the agent was moved to another arm; numbers of different views say nothing about each other.
 * - `newer`: a higher generation of the same view and epoch.
 * - `same_and_equal`: what is held already.
 * - `same_number_other_hash`: two contents claim one number. Refuse, keep the old, raise an alarm: a replica lies or a
 *   database was restored without a new epoch.
 * - `older`: a replay or a stale replica. Refuse; going back is a new generation with old content.
 */
export type GenerationOrder =
  | 'first'
  | 'newer_epoch'
  | 'older_epoch'
  | 'other_view'
  | 'newer'
  | 'same_and_equal'
  | 'same_number_other_hash'
  | 'older'

/** Where `offered` stands against `held` (the header last accepted, whether or not every section of it was). */
export function orderOfGeneration(held: GenerationFacts | null, offered: GenerationFacts): GenerationOrder {
  if (held === null) return 'first'
  if (offered.epoch > held.epoch) return 'newer_epoch'
  if (offered.epoch < held.epoch) return 'older_epoch'
  if (offered.view !== held.view) return 'other_view'
  if (offered.generation > held.generation) return 'newer'
  if (offered.generation < held.generation) return 'older'
  return equalHashes(offered.rootHash, held.rootHash) ? 'same_and_equal' : 'same_number_other_hash'
}
