-- How many requests run at a target at once, and how long one waits for a place. Expands only: a replica of the release
-- before reads and writes past it; targets of a route that it writes anew have no limit.

ALTER TABLE "RouteTarget"
  ADD COLUMN "batchSize" INTEGER,
  ADD COLUMN "batchWaitMs" INTEGER NOT NULL DEFAULT 0;

ALTER TABLE "RouteTarget"
  ADD CONSTRAINT "RouteTarget_batch_counts" CHECK ("batchSize" > 0 AND "batchWaitMs" >= 0),
  ADD CONSTRAINT "RouteTarget_waits_for_a_batch" CHECK ("batchWaitMs" = 0 OR "batchSize" IS NOT NULL);
