-- Rules of routes, what their targets are chosen by, and who may call outside. Expands only: each column may be left out and
-- no rule need be there, so a replica of the release before goes on writing; targets that name no rule are one rule that
-- always applies.

ALTER TABLE "Environment" ADD COLUMN "routingPreference" TEXT NOT NULL DEFAULT 'balanced';
ALTER TABLE "Environment" ADD CONSTRAINT "Environment_routing_preference_exists"
  CHECK ("routingPreference" IN ('cheapest', 'balanced', 'best'));

ALTER TABLE "ApiKey" ADD COLUMN "internalOnly" BOOLEAN NOT NULL DEFAULT false;

ALTER TABLE "Route"
  ADD COLUMN "defaultRouteId" TEXT,
  ADD COLUMN "lastResortCachedAgeMaxSeconds" INTEGER,
  ADD COLUMN "lastResortApology" TEXT,
  ADD COLUMN "lastResortSafeAnswer" TEXT,
  ADD COLUMN "hedgingBudgetPpm" INTEGER,
  ADD COLUMN "hedgingDelayMinMs" INTEGER;
CREATE INDEX "Route_defaultRouteId_idx" ON "Route"("defaultRouteId");
ALTER TABLE "Route" ADD CONSTRAINT "Route_defaultRouteId_fkey"
  FOREIGN KEY ("defaultRouteId") REFERENCES "Route"("id") ON DELETE RESTRICT ON UPDATE CASCADE;
ALTER TABLE "Route"
  ADD CONSTRAINT "Route_is_not_its_own_default" CHECK ("defaultRouteId" <> id),
  ADD CONSTRAINT "Route_last_resort_is_whole" CHECK (
    num_nonnulls("lastResortCachedAgeMaxSeconds", "lastResortApology", "lastResortSafeAnswer") IN (0, 3)),
  ADD CONSTRAINT "Route_last_resort_counts" CHECK ("lastResortCachedAgeMaxSeconds" >= 0),
  ADD CONSTRAINT "Route_hedging_is_whole" CHECK (num_nonnulls("hedgingBudgetPpm", "hedgingDelayMinMs") IN (0, 2)),
  ADD CONSTRAINT "Route_hedging_counts" CHECK ("hedgingBudgetPpm" BETWEEN 1 AND 1000000 AND "hedgingDelayMinMs" >= 0);

CREATE TABLE "RouteRule" (
    "id" TEXT NOT NULL,
    "routeId" TEXT NOT NULL,
    "position" INTEGER NOT NULL,
    "name" TEXT NOT NULL,
    "condition" TEXT,
    "strategy" TEXT NOT NULL DEFAULT 'ordered',
    "stickyBy" TEXT,
    "complexityLowPpm" INTEGER NOT NULL DEFAULT 300000,
    "complexityHighPpm" INTEGER NOT NULL DEFAULT 700000,

    CONSTRAINT "RouteRule_pkey" PRIMARY KEY ("id")
);
CREATE UNIQUE INDEX "RouteRule_routeId_position_key" ON "RouteRule"("routeId", "position");
CREATE UNIQUE INDEX "RouteRule_routeId_name_key" ON "RouteRule"("routeId", "name");
ALTER TABLE "RouteRule" ADD CONSTRAINT "RouteRule_routeId_fkey"
  FOREIGN KEY ("routeId") REFERENCES "Route"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "RouteRule"
  ADD CONSTRAINT "RouteRule_position_counts" CHECK (position >= 0),
  ADD CONSTRAINT "RouteRule_strategy_exists" CHECK (
    strategy IN ('ordered', 'weighted', 'least_latency', 'cheapest', 'preference', 'complexity', 'task')),
  ADD CONSTRAINT "RouteRule_sticky_exists" CHECK ("stickyBy" IN ('user', 'session')),
  ADD CONSTRAINT "RouteRule_thresholds_are_in_order" CHECK (
    0 <= "complexityLowPpm" AND "complexityLowPpm" <= "complexityHighPpm" AND "complexityHighPpm" <= 1000000);

ALTER TABLE "RouteTarget"
  ADD COLUMN "ruleId" TEXT,
  ADD COLUMN "weight" INTEGER NOT NULL DEFAULT 1,
  ADD COLUMN "tier" TEXT,
  ADD COLUMN "tasks" TEXT[] DEFAULT ARRAY[]::TEXT[],
  ADD COLUMN "quality" INTEGER,
  ADD COLUMN "nodePool" TEXT,
  ADD COLUMN "owner" TEXT,
  ADD COLUMN "temperature" DOUBLE PRECISION,
  ADD COLUMN "outputTokensMax" INTEGER,
  ADD COLUMN "breakerFailures" INTEGER,
  ADD COLUMN "breakerOpenMs" INTEGER,
  ADD COLUMN "breakerFailurePpm" INTEGER,
  ADD COLUMN "breakerWindowMs" INTEGER,
  ADD COLUMN "breakerRequestsMin" INTEGER,
  ADD COLUMN "warmUpIntervalMs" INTEGER;
CREATE INDEX "RouteTarget_ruleId_idx" ON "RouteTarget"("ruleId");
ALTER TABLE "RouteTarget" ADD CONSTRAINT "RouteTarget_ruleId_fkey"
  FOREIGN KEY ("ruleId") REFERENCES "RouteRule"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "RouteTarget"
  ADD CONSTRAINT "RouteTarget_weight_counts" CHECK (weight >= 0),
  ADD CONSTRAINT "RouteTarget_tier_exists" CHECK (tier IN ('low', 'medium', 'high')),
  ADD CONSTRAINT "RouteTarget_quality_is_rated" CHECK (quality BETWEEN 1 AND 100),
  ADD CONSTRAINT "RouteTarget_parameters_count" CHECK (temperature >= 0 AND "outputTokensMax" > 0),
  ADD CONSTRAINT "RouteTarget_breaker_is_whole" CHECK (
    num_nonnulls("breakerFailures", "breakerOpenMs", "breakerFailurePpm", "breakerWindowMs", "breakerRequestsMin")
      IN (0, 5)),
  ADD CONSTRAINT "RouteTarget_breaker_counts" CHECK (
    "breakerFailures" > 0 AND "breakerOpenMs" > 0 AND "breakerFailurePpm" BETWEEN 1 AND 1000000
    AND "breakerWindowMs" > 0 AND "breakerRequestsMin" > 0),
  ADD CONSTRAINT "RouteTarget_warm_up_counts" CHECK ("warmUpIntervalMs" > 0);

-- What was there: one rule that always applies, under the id by which readers call the rule of targets that name none.
INSERT INTO "RouteRule" (id, "routeId", position, name)
  SELECT 'rul_' || substr(id, 5), id, 0, 'rule-1' FROM "Route";
UPDATE "RouteTarget" SET "ruleId" = 'rul_' || substr("routeId", 5);
