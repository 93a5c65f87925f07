import type { EnvironmentTable, RouteTable } from '../../../proto/policy/tables.js'
import type { Clock } from '../../../proto/std/clock.js'
import type { ByteMemory } from './byte-memory.js'
import type { Embedder } from './embedder.js'
import type { Flights } from './flights.js'
import type { KeptOrigin } from './kept-answer.js'
import type { MemoryAnswers } from './memory-answers.js'
import type { Purges } from './purges.js'
import type { SharedAnswers } from './shared-answers.js'
import type { RecordSource } from './stream-record.js'
import type { VectorSpaces } from './vector-spaces.js'

/** What every turn works with. */
export interface CacheTools {
  readonly clock: Clock
  readonly limits: CacheLimits
  readonly memory: MemoryAnswers
  readonly spaces: VectorSpaces
  readonly flights: Flights
  readonly purges: Purges
  /** Null: agents do not share. */
  readonly shared: SharedAnswers | null
  /** Null: nobody makes vectors, so nothing is found by meaning. */
  readonly embedder: Embedder | null
  /** Keys of stale answers that somebody makes anew, and until when that is believed (monotonic, microseconds). */
  readonly renewing: Map<string, number>
  readonly counts: CacheCounts
  /** Of answers that nobody has labelled, the last environment's of each route. */
  readonly origins: WeakMap<RouteTable, KeptOrigin>
  /** For answers. */
  readonly bytes: ByteMemory
  /** For streams while they are taken down. */
  readonly records: RecordSource
  /** Memory that a key is written into before it is hashed. */
  readonly scratch: Uint8Array
  /** Looks at a few of the oldest answers. */
  sweep(environment: EnvironmentTable): void
}

export interface CacheLimits {
  /** Of all answers in memory, with what is kept beside them. */
  readonly bytesMax: number
  /** Of one answer; a larger one is not kept. At most `bytesMax`. */
  readonly answerBytesMax: number
  readonly entriesMax: number
  /** Of all vectors. */
  readonly vectorBytesMax: number
}

/** Since the cache began. */
export interface CacheCounts {
  exact: number
  semantic: number
  miss: number
  /** Among `exact`. */
  stale: number
  /** Waited for another one's answer and got it; among `exact` and `semantic`. */
  followed: number
  lastResort: number
  kept: number
  /** Close by meaning, and held back because something that matters differs. */
  guarded: number
  /** A vector was wanted and did not come. */
  vectorMissing: number
}
