import type { Json } from '../../../proto/std/canonical-json.js'

/** A generation as somebody names it. */
export interface GenerationName {
  readonly epoch: number
  readonly generation: number
  /** Hexadecimal. */
  readonly rootHash: string
}

export interface AgentRefusal {
  readonly code: string
  /** Empty: the whole snapshot. */
  readonly section: string
  readonly resource: string
  readonly path: string
  readonly message: string
  /** False: this content is in quarantine for this agent version. */
  readonly retryable: boolean
}

export const attemptOutcomes = ['applied', 'partial', 'refused'] as const
export type AttemptOutcome = (typeof attemptOutcomes)[number]

/**
 * One agent as it is: never one word, always what it should have, what it has, and what became of the last attempt.
 */
export interface AgentView {
  readonly id: string
  readonly name: string
  readonly clusterId: string
  readonly createdAt: Date
  readonly revokedAt: Date | null
  readonly version: string
  readonly connected: boolean
  readonly lastSeenAt: Date | null
  /** Null while its view has no snapshot yet. */
  readonly desired: (GenerationName & { readonly view: string }) | null
  /** Null while it has applied nothing. */
  readonly applied: (GenerationName & { readonly at: Date | null }) | null
  readonly lastAttempt: {
    readonly generation: number
    readonly rootHash: string
    readonly at: Date
    readonly outcome: AttemptOutcome
    readonly refusals: readonly AgentRefusal[]
  } | null
  /** True: what it has is what it should have. */
  readonly inSync: boolean
  readonly spool: { readonly bytes: bigint; readonly bytesMax: bigint; readonly recordCount: bigint }
  readonly inFlightCount: number
  readonly certificateNotAfter: Date | null
  readonly limits: { readonly snapshotBytesMax: bigint; readonly resourcesMax: number }
  readonly targets: readonly { readonly providerId: string; readonly ready: boolean; readonly reason: string }[]
}

export interface Quarantine {
  readonly agentVersion: string
  readonly view: string
  /** Hexadecimal. */
  readonly rootHash: string
  readonly refusals: readonly AgentRefusal[]
  readonly createdAt: Date
  readonly liftedAt: Date | null
  readonly liftedBy: string | null
}

/** A connected agent is heard of at least this often; who was not is shown as gone, whatever its row says. */
export const silentMsMax = 60_000

export function auditAgent(agent: {
  readonly name: string
  readonly clusterId: string
  readonly revokedAt: Date | null
}): Json {
  return { name: agent.name, clusterId: agent.clusterId, revokedAt: agent.revokedAt?.toISOString() ?? null }
}
