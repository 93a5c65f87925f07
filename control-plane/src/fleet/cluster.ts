import { z } from 'zod'
import type { Json } from '../../../proto/std/canonical-json.js'
import { shapes } from '../access/check-input.js'

export const clusterKinds = ['gpu', 'egress'] as const
export type ClusterKind = (typeof clusterKinds)[number]

/** One inference site in one region of one cloud. What it serves follows from the environments' residency policies. */
export interface Cluster {
  readonly id: string
  readonly name: string
  readonly kind: ClusterKind
  readonly cloud: string
  readonly region: string
  readonly createdAt: Date
}

export const createClusterInput = z.object({
  name: shapes.slug,
  kind: z.enum(clusterKinds, `expected one of ${clusterKinds.join(', ')}`),
  cloud: shapes.slug,
  region: shapes.region,
})

export const createJoinTokenInput = z.object({
  clusterId: shapes.id,
  /** 1 minute to 1 day. */
  lifetimeMinutes: shapes.integer(1, 1440).nullish(),
})

/** A one-time invitation to a cluster. `text` is shown this once; only a hash of its secret is stored. */
export interface JoinToken {
  readonly id: string
  readonly clusterId: string
  readonly expiresAt: Date
  readonly text: string
}

export function auditCluster({ name, kind, cloud, region }: Cluster): Json {
  return { name, kind, cloud, region }
}
