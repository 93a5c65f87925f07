/**
 * Where an environment's intent has come to in one cluster that serves it: what its tenant may know of the fleet. A change
 * is in effect there when `appliedRevision` is at least the revision that its mutation returned.
 */
export interface EnvironmentDelivery {
  readonly environmentId: string
  readonly clusterId: string
  readonly clusterName: string
  readonly region: string
  /** In the newest snapshot of the cluster; null: in none yet. */
  readonly desiredRevision: bigint | null
  /** The lowest among its agents; null: there are none, or one of them has none yet. */
  readonly appliedRevision: bigint | null
  /** Not revoked. */
  readonly agentCount: number
  /** Of those, how many have the environment's newest intent. */
  readonly upToDateCount: number
  /** What keeps the newest intent out of the snapshot; null: nothing. */
  readonly failure: DeliveryFailure | null
}

export interface DeliveryFailure {
  readonly intentRevision: bigint
  readonly code: string
  /** `<resource> <field>`, for example `route/rte_… rules[0].targets[1].modelId`. */
  readonly path: string
  readonly message: string
  readonly since: Date
}
