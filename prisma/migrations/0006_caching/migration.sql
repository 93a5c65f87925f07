-- What routes keep of their answers, what was purged of it, and what kept answers saved. Expands only: a replica of the
-- release before reads and writes past all of it.

CREATE TABLE "RouteCache" (
    "routeId" TEXT NOT NULL,
    "anyTemperature" BOOLEAN NOT NULL DEFAULT false,
    "sharedBy" TEXT NOT NULL DEFAULT 'environment',
    "ttls" JSONB NOT NULL DEFAULT '{}',
    "ttlSeconds" INTEGER NOT NULL,
    "ageMaxSeconds" INTEGER NOT NULL,
    "staleSeconds" INTEGER NOT NULL DEFAULT 0,
    "shared" BOOLEAN NOT NULL DEFAULT false,
    "semanticThresholdPpm" INTEGER,
    "semanticEmbeddingRoute" TEXT,
    "detailApiKeyIds" TEXT[] DEFAULT ARRAY[]::TEXT[],
    "tags" TEXT[] DEFAULT ARRAY[]::TEXT[],
    "updatedAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "RouteCache_pkey" PRIMARY KEY ("routeId")
);
ALTER TABLE "RouteCache" ADD CONSTRAINT "RouteCache_routeId_fkey"
  FOREIGN KEY ("routeId") REFERENCES "Route"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "RouteCache"
  ADD CONSTRAINT "RouteCache_sharing_exists" CHECK ("sharedBy" IN ('environment', 'team', 'api_key', 'user')),
  ADD CONSTRAINT "RouteCache_ages_count" CHECK (
    "ttlSeconds" >= 0 AND "ageMaxSeconds" BETWEEN 1 AND 2592000 AND "staleSeconds" >= 0),
  ADD CONSTRAINT "RouteCache_meaning_is_whole" CHECK (
    num_nonnulls("semanticThresholdPpm", "semanticEmbeddingRoute") IN (0, 2)),
  ADD CONSTRAINT "RouteCache_threshold_is_a_share" CHECK ("semanticThresholdPpm" BETWEEN 1 AND 1000000),
  ADD CONSTRAINT "RouteCache_lists_are_bounded" CHECK (
    cardinality("detailApiKeyIds") <= 64 AND cardinality("tags") <= 16);

CREATE TABLE "CachePurge" (
    "id" TEXT NOT NULL,
    "environmentId" TEXT NOT NULL,
    "at" TIMESTAMPTZ(3) NOT NULL,
    "routeId" TEXT,
    "promptId" TEXT,
    "promptVersion" TEXT,
    "tag" TEXT,
    "documentId" TEXT,
    "createdBy" TEXT NOT NULL,

    CONSTRAINT "CachePurge_pkey" PRIMARY KEY ("id")
);
CREATE INDEX "CachePurge_environmentId_at_idx" ON "CachePurge"("environmentId", "at");
ALTER TABLE "CachePurge" ADD CONSTRAINT "CachePurge_environmentId_fkey"
  FOREIGN KEY ("environmentId") REFERENCES "Environment"("id") ON DELETE RESTRICT ON UPDATE CASCADE;
ALTER TABLE "CachePurge" ADD CONSTRAINT "CachePurge_version_is_of_a_prompt"
  CHECK ("promptVersion" IS NULL OR "promptId" IS NOT NULL);

ALTER TABLE "UsageRecord"
  ADD COLUMN "savedNanoUsd" BIGINT,
  ADD COLUMN "savedTokensIn" BIGINT,
  ADD COLUMN "savedTokensOut" BIGINT;
-- Not valid, as in 0004: rows that were there have nothing in the new columns. New rows are checked.
ALTER TABLE "UsageRecord" ADD CONSTRAINT "UsageRecord_saved_counts"
  CHECK ("savedNanoUsd" >= 0 AND "savedTokensIn" >= 0 AND "savedTokensOut" >= 0) NOT VALID;
