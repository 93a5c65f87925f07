/** What breaks a rule and may, with the reason. An exception that is no longer needed fails the test. */
export interface Exception {
  readonly rule: string
  /** `*`: wherever it occurs. */
  readonly file: string
  /** The import's target or package, or the forbidden word. */
  readonly subject: string
  readonly reason: string
}

export const exceptions: readonly Exception[] = [
  {
    rule: 'rooms import only what the table of rooms allows',
    file: 'proto/std/ids.ts',
    subject: 'node:crypto',
    reason: 'the one place that draws random numbers',
  },
  {
    rule: 'rooms import only what the table of rooms allows',
    file: 'proto/std/upstream-address.ts',
    subject: 'node:dns',
    reason: 'the one look-up that refuses addresses, for both planes to give to their connections',
  },
  {
    rule: 'rooms import only what the table of rooms allows',
    file: 'proto/std/upstream-address.ts',
    subject: 'node:net',
    reason: 'parses addresses and holds them against lists; opens nothing',
  },
  {
    rule: 'rooms import only what the table of rooms allows',
    file: 'proto/policy/pattern.ts',
    subject: 'node:module',
    reason:
      're2js is loaded with the first pattern: 7 MiB of each process that most never need, and nothing may be awaited',
  },
  {
    rule: 'a room uses another through its service or reader, never its store',
    file: '*',
    subject: 'control-plane/src/audit/audit-store.ts',
    reason: 'every mutation appends its audit entry in its own transaction; appending is all that this store can do',
  },
  {
    rule: 'process.env only in settings',
    file: 'prisma/prisma.config.ts',
    subject: 'process.env',
    reason: "Prisma's command line reads this file; the product never does",
  },
  {
    rule: 'prisma and SQL from stores, readers and database/ only',
    file: 'control-plane/src/jobs/queue-pool.ts',
    subject: 'pg',
    reason: "BullMQ's own tables in its own schema; the record is not touched",
  },
  {
    rule: 'prisma and SQL from stores, readers and database/ only',
    file: 'control-plane/src/snapshots/load-intent.ts',
    subject: 'pg',
    reason: 'reads all intent in one repeatable-read transaction: a reader by another name',
  },
  {
    rule: 'prisma and SQL from stores, readers and database/ only',
    file: 'control-plane/src/tenancy/intent-revision.ts',
    subject: 'control-plane/src/database/generated/client.ts',
    reason: "one statement of lock and bump inside the caller's transaction",
  },
  {
    rule: 'clock, randomness and timers only in proto/std',
    file: 'control-plane/src/access/encryption.ts',
    subject: 'randomBytes',
    reason: 'nonces of AES-GCM: never an argument, or somebody passes one twice',
  },
  {
    rule: 'clock, randomness and timers only in proto/std',
    file: 'agent/src/config/state-box.ts',
    subject: 'randomFillSync',
    reason: 'nonces of AES-GCM: never an argument, or somebody passes one twice',
  },
  {
    rule: 'clock, randomness and timers only in proto/std',
    file: 'agent/src/config/state-folder.ts',
    subject: 'randomBytes',
    reason: 'makes the key of the state folder, once',
  },
  {
    rule: 'clock, randomness and timers only in proto/std',
    file: 'agent/src/config/identity.ts',
    subject: 'randomBytes',
    reason: 'makes the sealing key of the agent, once',
  },
  {
    rule: 'clock, randomness and timers only in proto/std',
    file: 'prisma/migrate.ts',
    subject: 'randomUUID',
    reason: "id of a row in Prisma's own table, in Prisma's own form",
  },
  {
    rule: 'clock, randomness and timers only in proto/std',
    file: 'sdk/wait.ts',
    subject: 'setTimeout',
    reason: 'the SDK works from npm alone and cannot take proto/std; this is its one file that waits',
  },
  {
    rule: 'clock, randomness and timers only in proto/std',
    file: 'sdk/wait.ts',
    subject: 'Math.random',
    reason: 'jitter of retries, for the same reason',
  },
  {
    rule: 'prisma and SQL from stores, readers and database/ only',
    file: 'control-plane/src/fleet/envelopes.ts',
    subject: 'pg',
    reason: 'one question (which credentials a cluster needs), asked where its answer is sealed',
  },
  {
    rule: 'prisma and SQL from stores, readers and database/ only',
    file: 'control-plane/src/fleet/peer-gate.ts',
    subject: 'pg',
    reason: 'one question (who is revoked), polled by the gate itself',
  },
  {
    rule: 'prisma and SQL from stores, readers and database/ only',
    file: 'control-plane/src/usage/batch-service.ts',
    subject: 'pg',
    reason: 'opens the one transaction of a batch, on the pool for set-based SQL',
  },
  {
    rule: 'prisma and SQL from stores, readers and database/ only',
    file: 'control-plane/src/usage/record-sink.ts',
    subject: 'pg',
    reason: 'the type of that transaction, handed to the stores',
  },
  {
    rule: 'a room uses another through its service or reader, never its store',
    file: 'control-plane/src/fleet/config-delivery.ts',
    subject: 'control-plane/src/snapshots/snapshot-store.ts',
    reason: 'serves the stored bytes of snapshots as they are; a service between would only repeat the store',
  },
  {
    rule: 'a room uses another through its service or reader, never its store',
    file: 'control-plane/src/fleet/update-encoder.ts',
    subject: 'control-plane/src/snapshots/snapshot-store.ts',
    reason: 'serves the stored bytes of snapshots as they are; a service between would only repeat the store',
  },
]
