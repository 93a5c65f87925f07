-- Routes whose prompts somebody else measures. Expands only: a replica of the release before reads and writes past it, and
-- leaves the classifier of a route as it is.

ALTER TABLE "Route"
  ADD COLUMN "classifierProviderId" TEXT,
  ADD COLUMN "classifierTimeoutMs" INTEGER;

CREATE INDEX "Route_classifierProviderId_idx" ON "Route"("classifierProviderId");

ALTER TABLE "Route" ADD CONSTRAINT "Route_classifierProviderId_fkey" FOREIGN KEY ("classifierProviderId") REFERENCES "Provider"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

ALTER TABLE "Route"
  ADD CONSTRAINT "Route_classifier_is_whole" CHECK (num_nonnulls("classifierProviderId", "classifierTimeoutMs") IN (0, 2)),
  ADD CONSTRAINT "Route_classifier_waits" CHECK ("classifierTimeoutMs" BETWEEN 5 AND 2000);
