import type { DecisionTables } from '../../../proto/policy/tables.js'
import type { CacheTurn } from '../cache/cache-turn.js'
import type { StreamRecord } from '../cache/stream-record.js'
import type { TraceContext } from '../telemetry/trace-context.js'
import type { Running } from './admit.js'
import type { Authenticated } from './authenticate.js'
import type { ReadOnce } from './plan-hop.js'
import type { ClientCall, ResponseHead } from './ports.js'
import type { RequestRecord } from './record.js'

/** Why a request ends before it has an answer. */
export type Ending = 'revoked_api_key' | 'agent_draining' | 'client_closed'

/** Whatever runs upstream for a request. */
export interface Cancellable {
  /** Ends it at once: connections to upstreams are closed within this call. */
  cancel(): void
  /** Something of it has begun to reach the client. */
  readonly committed: boolean
}

/** What one authenticated request carries through its steps. */
export class RunningRequest implements Running, ReadOnce {
  slot = -1
  conversation: ReadOnce['conversation'] = null
  embedding: ReadOnce['embedding'] = null
  /** Why it is to end early; set once. */
  ending: Ending | null = null
  upstream: Cancellable | null = null
  /** When it was read whole, on the monotonic clock: what the client took to send it is not the route's time. */
  readUs = 0
  /** Null: the cache has nothing to do with it. */
  cache: CacheTurn | null = null
  /** What the client is sent of a stream that may be kept. */
  sent: StreamRecord | null = null

  constructor(
    readonly call: ClientCall,
    readonly tables: DecisionTables,
    readonly authenticated: Authenticated,
    readonly trace: TraceContext,
    readonly head: ResponseHead,
    readonly record: RequestRecord,
  ) {}

  end(ending: Ending): void {
    if (this.ending !== null) return
    this.ending = ending
    this.cache?.cancel()
    this.upstream?.cancel()
  }
}
