-- Servers that are alike behind one provider. Expands only: without any of its own, a provider is one server as before, and
-- a replica of the release before goes on writing.

ALTER TABLE "Provider"
  ADD COLUMN "replicaUrls" TEXT[] DEFAULT ARRAY[]::TEXT[],
  ADD COLUMN "replicaScrapeMs" INTEGER;
ALTER TABLE "Provider"
  ADD CONSTRAINT "Provider_replicas_are_bounded" CHECK (cardinality("replicaUrls") <= 64),
  ADD CONSTRAINT "Provider_replica_scrape_is_bounded" CHECK ("replicaScrapeMs" BETWEEN 250 AND 60000);
