import { type buildConnector, type Dispatcher, Pool } from 'undici'
import type { ProviderTable } from '../../../proto/policy/tables.js'
import type { Clock } from '../../../proto/std/clock.js'
import {
  ForbiddenAddressError,
  guardedLookup,
  hostOf,
  isForbiddenAddress,
} from '../../../proto/std/upstream-address.js'
import type { UsageDepth } from '../providers/provider-dialect.js'

/** A hop's own deadline is sooner; this one ends what nobody waits for any more. */
const connectTimeoutMs = 30_000
/** Below the 5 s after which Node's servers close silently, and most others later. */
const keepAliveMs = 4_000
/** Head of an upstream's answer. */
const headBytesMax = 64 * 1024
/** A pool without requests for this long may belong to a provider that is gone; it holds no connection any more. */
const unusedUs = 600_000_000
/** Where a provider names no number. */
const connectionsMaxDefault = 256
/** Pools are looked through for unused ones each time another one is opened beyond this many. */
const poolsMark = 64

/** Where calls to a provider go. */
export interface Upstream {
  readonly pool: Pick<Dispatcher, 'dispatch'>
  /** Every connection that may be opened is in use, so a call that waits waits for us. */
  readonly full: boolean
  /** What this server is asked to tell about tokens; lowered when it refuses to be asked. Null: not yet asked. */
  usageDepth: UsageDepth | null
  /** Why nobody could say who we are to it, as told last; null once somebody could. */
  authorizationFault: string | null
}

export interface UpstreamSource {
  of(provider: ProviderTable): Upstream
}

class PooledUpstream implements Upstream {
  usageDepth: UsageDepth | null = null
  authorizationFault: string | null = null
  lastUsedUs = 0
  readonly #connectionsMax: number

  constructor(
    readonly providerId: string,
    readonly pool: Pool,
    connectionsMax: number,
  ) {
    this.#connectionsMax = connectionsMax
  }

  get full(): boolean {
    const { connected, free } = this.pool.stats
    return connected >= this.#connectionsMax && free === 0
  }
}

/**
 * Connections to upstreams: one pool per provider, so that the slow requests of one tenant cannot take the connections of
 * another one to the same server. Opened on first use, closed when long unused; a request that still runs there finishes
 * first.
 */
export class Upstreams implements UpstreamSource {
  readonly #byKey = new Map<string, PooledUpstream>()
  readonly #byProvider = new WeakMap<ProviderTable, PooledUpstream>()

  readonly #clock: Clock

  constructor(clock: Clock) {
    this.#clock = clock
  }

  of(provider: ProviderTable): Upstream & { readonly pool: Pool } {
    const known = this.#byProvider.get(provider)
    const upstream = known !== undefined && !known.pool.closed ? known : this.#find(provider)
    upstream.lastUsedUs = this.#clock.monotonicUs()
    return upstream
  }

  #find(provider: ProviderTable): PooledUpstream {
    const key = keyOf(provider)
    let upstream = this.#byKey.get(key)
    if (upstream === undefined) {
      if (this.#byKey.size >= poolsMark) this.#closeUnused()
      const connectionsMax = provider.connectionsMax > 0 ? provider.connectionsMax : connectionsMaxDefault
      upstream = new PooledUpstream(provider.id, openPool(provider, connectionsMax), connectionsMax)
      this.#byKey.set(key, upstream)
    }
    this.#byProvider.set(provider, upstream)
    return upstream
  }

  #closeUnused(): void {
    const nowUs = this.#clock.monotonicUs()
    for (const [key, upstream] of this.#byKey) {
      if (nowUs - upstream.lastUsedUs < unusedUs) continue
      this.#byKey.delete(key)
      void upstream.pool.close()
    }
  }

  get connectionCount(): number {
    let count = 0
    for (const { pool } of this.#byKey.values()) count += pool.stats.connected
    return count
  }

  get queuedCount(): number {
    let count = 0
    for (const { pool } of this.#byKey.values()) count += pool.stats.queued
    return count
  }

  /** Requests that run or wait at upstreams now; none once every answer has been read or given up. */
  get busyCount(): number {
    let count = 0
    for (const { pool } of this.#byKey.values()) count += pool.stats.size
    return count
  }

  /** Requests that wait for a connection, pool by pool. */
  *queues(): Iterable<readonly [providerId: string, queuedCount: number]> {
    for (const { providerId, pool } of this.#byKey.values()) yield [providerId, pool.stats.queued]
  }

  /** Ends every connection at once. */
  async stop(): Promise<void> {
    const upstreams = [...this.#byKey.values()]
    this.#byKey.clear()
    await Promise.all(upstreams.map(({ pool }) => pool.destroy()))
  }
}

function keyOf(provider: ProviderTable): string {
  return `${provider.id} ${provider.origin} ${provider.connectionsMax}`
}

/** A name can point anywhere by the time it is called, so every connection asks again. */
const lookup = guardedLookup(isForbiddenAddress)

const refuseToConnect: buildConnector.connector = (_options, callback) => callback(new ForbiddenAddressError(), null)

function openPool(provider: ProviderTable, connectionsMax: number): Pool {
  return new Pool(provider.origin, {
    connections: connectionsMax,
    pipelining: 1,
    connect: isForbiddenAddress(hostOf(provider.origin)) ? refuseToConnect : { timeout: connectTimeoutMs, lookup },
    keepAliveTimeout: keepAliveMs,
    headersTimeout: 0,
    bodyTimeout: 0,
    maxHeaderSize: headBytesMax,
  })
}
