-- What Prisma's schema language cannot say. Written by hand; 0001_init beside it is generated.

-- One row each: the installation, and the revision that all deny sections follow.
ALTER TABLE "DenyRevision"
  ADD CONSTRAINT "DenyRevision_one_row" CHECK (id = 1),
  ADD CONSTRAINT "DenyRevision_revision_counts_up" CHECK (revision >= 0);
INSERT INTO "DenyRevision" (id, revision) VALUES (1, 0);
CREATE UNIQUE INDEX "Installation_one_row" ON "Installation" ((true));
ALTER TABLE "Installation" ADD CONSTRAINT "Installation_epoch_counts_up" CHECK (epoch >= 1);

-- A credential is sealed here or named for the agent to find; never both, never neither.
ALTER TABLE "Credential"
  ADD CONSTRAINT "Credential_sealed_or_named" CHECK (num_nonnulls(ciphertext, reference) = 1),
  ADD CONSTRAINT "Credential_sealed_under_a_key" CHECK ((ciphertext IS NULL) = ("wrapKeyId" IS NULL)),
  ADD CONSTRAINT "Credential_version_counts_up" CHECK (version >= 1);

-- SHA-256, whole.
ALTER TABLE "ApiKey"
  ADD CONSTRAINT "ApiKey_hash_is_sha256" CHECK (octet_length("secretHash") = 32),
  ADD CONSTRAINT "ApiKey_caps_are_positive" CHECK ("inFlightMax" > 0 AND "requestsPerMinuteMax" > 0);
ALTER TABLE "JoinToken" ADD CONSTRAINT "JoinToken_hash_is_sha256" CHECK (octet_length("tokenHash") = 32);
ALTER TABLE "Snapshot"
  ADD CONSTRAINT "Snapshot_hash_is_sha256" CHECK (octet_length("rootHash") = 32),
  ADD CONSTRAINT "Snapshot_numbers_count_up" CHECK (epoch >= 1 AND generation >= 1);
ALTER TABLE "SnapshotSection" ADD CONSTRAINT "SnapshotSection_hash_is_sha256" CHECK (octet_length(hash) = 32);
ALTER TABLE "SnapshotResource" ADD CONSTRAINT "SnapshotResource_hash_is_sha256" CHECK (octet_length(hash) = 32);

-- Closed sets. (A provider's kind is not one: it grows with each room that speaks to another.)
ALTER TABLE "Member" ADD CONSTRAINT "Member_roles_exist"
  CHECK (roles <@ ARRAY['platform-admin', 'tenant-admin', 'developer', 'viewer']);
ALTER TABLE "Cluster" ADD CONSTRAINT "Cluster_kind_exists" CHECK (kind IN ('gpu', 'egress'));
ALTER TABLE "AgentStatus" ADD CONSTRAINT "AgentStatus_outcome_exists"
  CHECK ("attemptOutcome" IN ('applied', 'partial', 'refused'));
ALTER TABLE "SpoolLane" ADD CONSTRAINT "SpoolLane_class_exists" CHECK (class IN ('usage', 'spans'));
ALTER TABLE "UsageRollup" ADD CONSTRAINT "UsageRollup_granularity_exists" CHECK (granularity IN ('minute', 'hour'));

ALTER TABLE "Environment" ADD CONSTRAINT "Environment_revision_counts_up" CHECK ("intentRevision" >= 0);
ALTER TABLE "Route" ADD CONSTRAINT "Route_deadline_is_positive" CHECK ("totalTimeoutMs" > 0);
ALTER TABLE "RouteTarget"
  ADD CONSTRAINT "RouteTarget_position_counts" CHECK (position >= 0),
  ADD CONSTRAINT "RouteTarget_deadlines_are_positive"
    CHECK ("connectTimeoutMs" > 0 AND "firstTokenTimeoutMs" > 0 AND "idleTimeoutMs" > 0 AND "totalTimeoutMs" > 0);
ALTER TABLE "ModelPrice" ADD CONSTRAINT "ModelPrice_counts" CHECK (
  version >= 1 AND "inputNanoUsdPerMillion" >= 0 AND "cachedInputNanoUsdPerMillion" >= 0
  AND "outputNanoUsdPerMillion" >= 0
);

-- Evidence only ever counts up from nothing. Null (not known) passes.
ALTER TABLE "UsageRecord" ADD CONSTRAINT "UsageRecord_counts" CHECK (
  sequence >= 0 AND "tokensIn" >= 0 AND "tokensOut" >= 0 AND "tokensInCached" >= 0 AND "tokensOutReasoning" >= 0
  AND "costNanoUsd" >= 0 AND "latencyUs" >= 0 AND "providerLatencyUs" >= 0 AND "guardrailLatencyUs" >= 0
  AND "firstTokenUs" >= 0
);
ALTER TABLE "UsageRollup" ADD CONSTRAINT "UsageRollup_counts" CHECK (
  "requestCount" >= 0 AND "refusedCount" >= 0 AND "failedCount" >= 0 AND "fallbackCount" >= 0 AND "unpricedCount" >= 0
  AND "tokensIn" >= 0 AND "tokensOut" >= 0 AND "tokensInCached" >= 0 AND "tokensOutReasoning" >= 0
  AND "costNanoUsd" >= 0 AND "latencyUs" >= 0
);
ALTER TABLE "SpoolLane" ADD CONSTRAINT "SpoolLane_counts" CHECK ("nextSequence" >= 0);
ALTER TABLE "SpoolDrop" ADD CONSTRAINT "SpoolDrop_is_a_range"
  CHECK ("firstSequence" >= 0 AND "lastSequence" >= "firstSequence");

-- Rows that are updated all day: room on their page keeps the update on it (HOT), so indexes are left alone.
ALTER TABLE "Environment" SET (fillfactor = 70);
ALTER TABLE "AgentStatus" SET (fillfactor = 50);
ALTER TABLE "SpoolLane" SET (fillfactor = 50);
ALTER TABLE "DenyRevision" SET (fillfactor = 50);
-- A queue in a table: as many deletes as inserts, so it is swept by count and not by share of its size.
ALTER TABLE "RollupMark" SET (
  autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_insert_scale_factor = 0,
  autovacuum_vacuum_insert_threshold = 50000
);
