import type { ReplicaPicker, ShownReplica } from './replica-picker.js'

/**
 * Replicas as the agent's own `/metrics` shows them: what they said of themselves, and what we make of it. Addresses and ids
 * of providers are labels, and so the number of replicas shown is bounded. A number that is not told is not shown: zero would
 * be a lie.
 */
export interface ReplicaGauge {
  /** Without the agent's prefix. */
  readonly name: string
  readonly help: string
  read(): readonly ReplicaNumber[]
}

export interface ReplicaNumber {
  readonly labels: Readonly<Record<(typeof replicaLabels)[number], string>>
  readonly value: number
}

export const replicaLabels = ['provider_id', 'replica'] as const

/** Replicas shown at most: some fifteen series each. */
const shownMax = 256

type Read = (replica: ShownReplica) => number | null

const gauges: readonly (readonly [name: string, help: string, read: Read])[] = [
  ['replica_healthy', '1 where requests may go, 0 where they do not while there is another.', (r) => +r.isHealthy],
  [
    'replica_metrics_understood',
    '1 where the last reading told queue and memory under names that we know.',
    ({ server }) => (server.speech === 'unread' ? null : +(server.speech === 'understood')),
  ],
  ['replica_in_flight_requests', 'Requests of this agent that run there.', ({ server }) => server.inFlightCount],
  ['replica_in_flight_tokens', 'Their prompts in tokens, as guessed.', ({ server }) => server.inFlightTokens],
  [
    'replica_running_requests',
    'Requests of anybody that run there, as it says.',
    ({ server }) => server.lastReading?.metrics.runningCount ?? null,
  ],
  [
    'replica_waiting_requests',
    'Requests of anybody that wait there, as it says.',
    ({ server }) => server.lastReading?.metrics.waitingCount ?? null,
  ],
  [
    'replica_kv_cache_usage_ratio',
    'Key-value memory in use there, 0 to 1.',
    ({ server }) => server.lastReading?.metrics.kvUsageRatio ?? null,
  ],
  [
    'replica_kv_cache_tokens',
    'Tokens that its key-value memory holds.',
    ({ server }) => server.lastReading?.metrics.cacheTokensMax ?? null,
  ],
  [
    'replica_gpu_utilisation_ratio',
    'Mean utilisation of its processors, 0 to 1.',
    ({ server }) => server.lastReading?.metrics.gpuUtilisationRatio ?? null,
  ],
  [
    'replica_prompt_tokens_per_second',
    'Prompt tokens a second, between the last two readings.',
    ({ server }) => server.ratePerSecond('promptTokens'),
  ],
  [
    'replica_generation_tokens_per_second',
    'Generated tokens a second, between the last two readings.',
    ({ server }) => server.ratePerSecond('generationTokens'),
  ],
  [
    'replica_prefix_cache_hit_ratio',
    'Share of prompt tokens found in its prefix cache, between the last two readings.',
    ({ server }) => server.riseRatio('prefixHitTokens', 'prefixQueriedTokens'),
  ],
  [
    'replica_first_token_seconds',
    'Mean time to the first token as it says, between the last two readings.',
    ({ server }) => server.riseRatio('firstTokenSecondsSum', 'firstTokenCount'),
  ],
  [
    'replica_inter_token_seconds',
    'Mean time between two tokens as it says, between the last two readings.',
    ({ server }) => server.riseRatio('interTokenSecondsSum', 'interTokenCount'),
  ],
  [
    'replica_batch_wait_seconds',
    'Mean time that a request waited there for its place in a batch, between the last two readings.',
    ({ server }) => server.riseRatio('queueSecondsSum', 'queueCount'),
  ],
  [
    'replica_prefix_blocks',
    'Blocks of prompts that it is believed to have in its prefix cache.',
    ({ blockCount }) => blockCount,
  ],
]

export function replicaGauges(picker: ReplicaPicker): readonly ReplicaGauge[] {
  return gauges.map(([name, help, read]) => ({
    name,
    help,
    read: () =>
      picker.shown(shownMax).flatMap((replica): ReplicaNumber[] => {
        const value = read(replica)
        const labels = { provider_id: replica.providerId, replica: replica.server.url }
        return value === null ? [] : [{ labels, value }]
      }),
  }))
}
