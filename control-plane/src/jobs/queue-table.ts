/** What a job carries. JSON. Small enough that a queue of them is bounded by the intake's credit. */
export interface BatchJob {
  readonly agentId: string
  readonly clusterId: string
  /** A serialized `Batch`, packed (`usage/packed-batch.ts`), or null when this is a drop. */
  readonly batch: string | null
  readonly drop: {
    readonly bootEpoch: number
    readonly lane: number
    readonly firstSequence: number
    readonly lastSequence: number
    readonly reason: string
  } | null
}

/**
 * Every queue there is. A queue is transport: it may forget, and it may deliver twice; what must not be lost is in
 * Postgres or still on an agent's disk.
 */
export const queueTable = {
  /** Usage records on their way into Postgres. */
  usage: { name: 'switchyard-usage', concurrency: 4 },
  /** Spans likewise; apart, so that they never stand before usage. */
  spans: { name: 'switchyard-spans', concurrency: 1 },
} as const satisfies Record<string, QueueFacts>

export interface QueueFacts {
  readonly name: string
  /** Jobs that one process works on at the same time. */
  readonly concurrency: number
}

export type QueueName = keyof typeof queueTable

export interface QueueData {
  usage: BatchJob
  spans: BatchJob
}
