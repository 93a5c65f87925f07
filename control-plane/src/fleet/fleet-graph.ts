import { Field, ID, InputType, Int, ObjectType, registerEnumType } from 'type-graphql'
import { Access } from '../api/access-rule.js'
import { connectionType } from '../api/connection.js'
import { BigIntString, DateTime } from '../api/scalars.js'
import type { AgentView, AttemptOutcome, Quarantine } from './agent-status.js'
import type { ClusterKind } from './cluster.js'

export const ClusterKindGraph = { GPU: 'gpu', EGRESS: 'egress' } as const satisfies Record<string, ClusterKind>
registerEnumType(ClusterKindGraph, {
  name: 'ClusterKind',
  description: "GPU: beside its own inference servers. EGRESS: a cloud region's way out.",
})

@Access('fleet.read')
@ObjectType('Cluster', { description: 'One inference site in one region of one cloud, with one or more agents.' })
export class ClusterGraph {
  @Field(() => ID)
  id!: string

  @Field(() => String)
  name!: string

  @Field(() => ClusterKindGraph)
  kind!: ClusterKind

  @Field(() => String)
  cloud!: string

  @Field(() => String, { description: 'Environments that permit it are served here.' })
  region!: string

  @Field(() => DateTime)
  createdAt!: Date
}

export const ClusterConnection = connectionType('Cluster', () => ClusterGraph, 'fleet.read')

@Access('fleet.read')
@ObjectType('DesiredGeneration', { description: 'What an agent should have.' })
export class DesiredGenerationGraph {
  @Field(() => String, { description: 'Cluster and arm of a rollout.' })
  view!: string

  @Field(() => BigIntString)
  epoch!: number

  @Field(() => BigIntString)
  generation!: number

  @Field(() => String, { description: 'SHA-256, hexadecimal.' })
  rootHash!: string
}

@Access('fleet.read')
@ObjectType('AppliedGeneration', { description: 'What is in effect at an agent.' })
export class AppliedGenerationGraph {
  @Field(() => BigIntString)
  epoch!: number

  @Field(() => BigIntString)
  generation!: number

  @Field(() => String, { description: 'SHA-256, hexadecimal.' })
  rootHash!: string

  @Field(() => DateTime, { nullable: true })
  at!: Date | null
}

@Access('fleet.read')
@ObjectType('SnapshotRefusal', { description: 'Why an agent did not apply a configuration, or a section of one.' })
export class SnapshotRefusalGraph {
  @Field(() => String, { description: 'From a closed set, for example signature_invalid or generation_reused.' })
  code!: string

  @Field(() => String, { nullable: true, description: 'Null: the whole configuration.' })
  section!: string | null

  @Field(() => String, { nullable: true })
  resource!: string | null

  @Field(() => String, { nullable: true, description: 'Field inside the resource.' })
  path!: string | null

  @Field(() => String)
  message!: string

  @Field(() => Boolean, { description: 'False: in quarantine for this version of the agent.' })
  retryable!: boolean
}

export const AttemptOutcomeGraph = {
  APPLIED: 'applied',
  PARTIAL: 'partial',
  REFUSED: 'refused',
} as const satisfies Record<string, AttemptOutcome>
registerEnumType(AttemptOutcomeGraph, { name: 'AttemptOutcome' })

@Access('fleet.read')
@ObjectType('ApplyAttempt', { description: 'What became of the last configuration that an agent tried.' })
export class ApplyAttemptGraph {
  @Field(() => BigIntString)
  generation!: number

  @Field(() => String, { description: 'SHA-256, hexadecimal.' })
  rootHash!: string

  @Field(() => DateTime)
  at!: Date

  @Field(() => AttemptOutcomeGraph)
  outcome!: AttemptOutcome

  @Field(() => [SnapshotRefusalGraph])
  refusals!: readonly SnapshotRefusalGraph[]
}

@Access('fleet.read')
@ObjectType('AgentSpool', { description: 'What an agent has recorded and not yet seen stored.' })
export class AgentSpoolGraph {
  @Field(() => BigIntString)
  bytes!: bigint

  @Field(() => BigIntString, { description: 'When full, the agent refuses requests rather than lose their records.' })
  bytesMax!: bigint

  @Field(() => BigIntString)
  recordCount!: bigint
}

@Access('fleet.read')
@ObjectType('AgentLimits', { description: 'What an agent takes at most.' })
export class AgentLimitsGraph {
  @Field(() => BigIntString)
  snapshotBytesMax!: bigint

  @Field(() => Int)
  resourcesMax!: number
}

@Access('fleet.read')
@ObjectType('AgentTarget', { description: 'Whether an agent can use a provider.' })
export class AgentTargetGraph {
  @Field(() => ID)
  providerId!: string

  @Field(() => Boolean)
  ready!: boolean

  @Field(() => String, { description: 'ok, credential_missing, credential_unreadable or credential_rejected.' })
  reason!: string
}

@Access('fleet.read')
@ObjectType('Agent', { description: 'What it should have, what it has, and what became of the last attempt.' })
export class AgentGraph {
  @Field(() => ID)
  id!: string

  @Field(() => String)
  name!: string

  @Field(() => ID)
  clusterId!: string

  @Field(() => DateTime)
  createdAt!: Date

  @Field(() => DateTime, { nullable: true })
  revokedAt!: Date | null

  @Field(() => String, { nullable: true, description: 'Null until it was heard of for the first time.' })
  version!: string | null

  @Field(() => Boolean)
  connected!: boolean

  @Field(() => DateTime, { nullable: true })
  lastSeenAt!: Date | null

  @Field(() => DesiredGenerationGraph, { nullable: true })
  desired!: DesiredGenerationGraph | null

  @Field(() => AppliedGenerationGraph, { nullable: true })
  applied!: AppliedGenerationGraph | null

  @Field(() => ApplyAttemptGraph, { nullable: true })
  lastAttempt!: ApplyAttemptGraph | null

  @Field(() => Boolean, { description: 'It has what it should have.' })
  inSync!: boolean

  @Field(() => AgentSpoolGraph)
  spool!: AgentSpoolGraph

  @Field(() => Int)
  inFlightCount!: number

  @Field(() => DateTime, {
    nullable: true,
    description: 'Until when its certificate is good; renewed at half of its life.',
  })
  certificateNotAfter!: Date | null

  @Field(() => AgentLimitsGraph)
  limits!: AgentLimitsGraph

  @Field(() => [AgentTargetGraph])
  targets!: readonly AgentTargetGraph[]
}

export const AgentConnection = connectionType('Agent', () => AgentGraph, 'fleet.read')

@Access('fleet.read')
@ObjectType('Quarantine', { description: 'Content that an agent version refused for good; not offered to it again.' })
export class QuarantineGraph {
  @Field(() => String)
  agentVersion!: string

  @Field(() => String)
  view!: string

  @Field(() => String, { description: 'SHA-256, hexadecimal.' })
  rootHash!: string

  @Field(() => [SnapshotRefusalGraph])
  refusals!: readonly SnapshotRefusalGraph[]

  @Field(() => DateTime)
  createdAt!: Date

  @Field(() => DateTime, { nullable: true })
  liftedAt!: Date | null

  @Field(() => String, { nullable: true, description: 'Subject of the token that lifted it.' })
  liftedBy!: string | null
}

@InputType()
export class AgentFilterInput {
  @Field(() => ID, { nullable: true })
  clusterId?: string | null

  @Field(() => Boolean, { nullable: true, description: 'Revoked ones too.' })
  includeRevoked?: boolean | null
}

@InputType()
export class CreateClusterInput {
  @Field(() => String, { description: '1 to 63 lower-case letters, digits and dashes.' })
  name!: string

  @Field(() => ClusterKindGraph)
  kind!: ClusterKind

  @Field(() => String, { description: 'For example aws, gcp, azure or local.' })
  cloud!: string

  @Field(() => String, { description: 'For example eu-central-1.' })
  region!: string
}

@InputType()
export class CreateJoinTokenInput {
  @Field(() => ID)
  clusterId!: string

  @Field(() => Int, { nullable: true, description: '1 to 1440; 10 when left out.' })
  lifetimeMinutes?: number | null
}

@InputType()
export class LiftQuarantineInput {
  @Field(() => String)
  agentVersion!: string

  @Field(() => String)
  view!: string

  @Field(() => String, { description: '64 hexadecimal characters.' })
  rootHash!: string
}

@Access('fleet.write')
@ObjectType()
export class ClusterPayload {
  @Field(() => ClusterGraph)
  cluster!: ClusterGraph
}

@Access('fleet.write')
@ObjectType()
export class JoinTokenPayload {
  @Field(() => ID)
  id!: string

  @Field(() => ID)
  clusterId!: string

  @Field(() => DateTime)
  expiresAt!: Date

  @Field(() => String, {
    description: 'For SWITCHYARD_JOIN_TOKEN of one agent. It is shown this once and kept nowhere.',
  })
  secret!: string
}

@Access('fleet.write')
@ObjectType()
export class AgentPayload {
  @Field(() => AgentGraph)
  agent!: AgentGraph
}

@Access('fleet.write')
@ObjectType()
export class QuarantinePayload {
  @Field(() => QuarantineGraph)
  quarantine!: QuarantineGraph
}

@Access('fleet.write')
@ObjectType()
export class NewEpochPayload {
  @Field(() => BigIntString)
  epoch!: number
}

@Access('fleet.write')
@ObjectType()
export class SigningKeyPayload {
  @Field(() => ID)
  keyId!: string
}

export function agentGraph(agent: AgentView): AgentGraph {
  const { lastAttempt } = agent
  return {
    ...agent,
    version: agent.version || null,
    lastAttempt: lastAttempt && { ...lastAttempt, refusals: lastAttempt.refusals.map(snapshotRefusalGraph) },
  }
}

export function quarantineGraph(quarantine: Quarantine): QuarantineGraph {
  return { ...quarantine, refusals: quarantine.refusals.map(snapshotRefusalGraph) }
}

function snapshotRefusalGraph(refusal: Quarantine['refusals'][number]): SnapshotRefusalGraph {
  const { section, resource, path } = refusal
  return { ...refusal, section: section || null, resource: resource || null, path: path || null }
}
