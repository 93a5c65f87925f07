import type { DecisionTables } from '../../../proto/policy/tables.js'
import type { Health } from '../server/health.js'

/** Why requests would not be served right now. */
export class AgentHealth implements Health {
  draining = false
  #sources: HealthSources | null = null

  watch(sources: HealthSources): void {
    this.#sources = sources
  }

  unreadyReason(): string | null {
    if (this.draining) return 'draining'
    if (this.#sources === null) return 'starting'
    const { tables, spool, workers } = this.#sources
    if (tables.current === null) return 'no_configuration'
    if (!spool.accepting) return 'usage_spool_full'
    return workers === undefined ? null : workers.unreadyReason
  }
}

export interface HealthSources {
  readonly tables: { readonly current: DecisionTables | null }
  readonly spool: { readonly accepting: boolean }
  readonly workers?: { readonly unreadyReason: string | null }
}
