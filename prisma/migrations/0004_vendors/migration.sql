-- Vendors with a wire of their own: what their requests need, what they charge for, and what becomes of a setting that one
-- of them has no word for. Expands only: each column may be left out, so a replica of the release before goes on writing.

ALTER TABLE "Provider"
  ADD COLUMN "apiVersion" TEXT,
  ADD COLUMN "vendorRegion" TEXT,
  ADD COLUMN "vendorProject" TEXT,
  ADD COLUMN "external" BOOLEAN NOT NULL DEFAULT true,
  ADD COLUMN "slaAvailabilityPpm" INTEGER,
  ADD COLUMN "slaNote" TEXT,
  ADD COLUMN "vendorRequestsPerMinute" INTEGER,
  ADD COLUMN "vendorTokensPerMinute" INTEGER;
-- Those that were there before: by their kind, as a new one that does not say. Nobody decides by it yet.
UPDATE "Provider" SET "external" = false WHERE kind IN ('vllm', 'ollama', 'openai-compatible');
ALTER TABLE "Provider"
  ADD CONSTRAINT "Provider_availability_is_a_share" CHECK ("slaAvailabilityPpm" BETWEEN 0 AND 1000000),
  ADD CONSTRAINT "Provider_vendor_limits_are_positive"
    CHECK ("vendorRequestsPerMinute" > 0 AND "vendorTokensPerMinute" > 0);

ALTER TABLE "Model" ADD COLUMN "outputTokensMax" INTEGER NOT NULL DEFAULT 0;
ALTER TABLE "Model" ADD CONSTRAINT "Model_output_counts" CHECK ("outputTokensMax" >= 0);
ALTER TABLE "ModelPrice" ADD COLUMN "cacheWriteInputNanoUsdPerMillion" BIGINT;
ALTER TABLE "ModelPrice"
  ADD CONSTRAINT "ModelPrice_cache_write_counts" CHECK ("cacheWriteInputNanoUsdPerMillion" >= 0);

ALTER TABLE "Route" ADD COLUMN "unsupportedSettings" TEXT NOT NULL DEFAULT 'refuse';
ALTER TABLE "Route"
  ADD CONSTRAINT "Route_unsupported_settings_exist" CHECK ("unsupportedSettings" IN ('refuse', 'drop'));

ALTER TABLE "UsageRecord" ADD COLUMN "tokensInCacheWrite" BIGINT;
ALTER TABLE "UsageRollup" ADD COLUMN "tokensInCacheWrite" BIGINT NOT NULL DEFAULT 0;
-- Not valid: rows that were there have nothing in the new column, and reading hundreds of millions of them to say so would
-- keep usage waiting. New rows are checked.
ALTER TABLE "UsageRecord"
  ADD CONSTRAINT "UsageRecord_cache_write_counts" CHECK ("tokensInCacheWrite" >= 0) NOT VALID;
ALTER TABLE "UsageRollup"
  ADD CONSTRAINT "UsageRollup_cache_write_counts" CHECK ("tokensInCacheWrite" >= 0) NOT VALID;
