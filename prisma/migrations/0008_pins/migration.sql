-- Keys that may decide something of the routing by header, and where they did. Expands only: a replica of the release before
-- reads and writes past it; keys that it rotates may not.

ALTER TABLE "ApiKey" ADD COLUMN "mayPin" BOOLEAN NOT NULL DEFAULT false;

-- Without an index: making one reads every record and would keep usage waiting. Questions go along (tenant, startedAt), and
-- who asks of too long a time is told to narrow it.
ALTER TABLE "UsageRecord" ADD COLUMN "routingOverride" TEXT;
