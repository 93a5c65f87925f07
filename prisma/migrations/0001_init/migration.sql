-- CreateSchema
CREATE SCHEMA IF NOT EXISTS "public";

-- CreateTable
CREATE TABLE "ApiKey" (
    "id" TEXT NOT NULL,
    "tenantId" TEXT NOT NULL,
    "environmentId" TEXT NOT NULL,
    "teamId" TEXT,
    "name" TEXT NOT NULL,
    "prefix" TEXT NOT NULL,
    "secretHash" BYTEA NOT NULL,
    "allowedRoutes" TEXT[],
    "inFlightMax" INTEGER NOT NULL,
    "requestsPerMinuteMax" INTEGER NOT NULL,
    "expiresAt" TIMESTAMPTZ(3),
    "revokedAt" TIMESTAMPTZ(3),
    "abortOnRevoke" BOOLEAN NOT NULL DEFAULT false,
    "rotatedFromId" TEXT,
    "createdBy" TEXT NOT NULL,
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "rowVersion" INTEGER NOT NULL DEFAULT 1,

    CONSTRAINT "ApiKey_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "AuditEntry" (
    "id" TEXT NOT NULL,
    "tenantId" TEXT,
    "actor" TEXT NOT NULL,
    "actorKind" TEXT NOT NULL,
    "action" TEXT NOT NULL,
    "subjectKind" TEXT NOT NULL,
    "subjectId" TEXT NOT NULL,
    "before" JSONB,
    "after" JSONB,
    "requestId" TEXT NOT NULL,
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "AuditEntry_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "Cluster" (
    "id" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "kind" TEXT NOT NULL,
    "cloud" TEXT NOT NULL,
    "region" TEXT NOT NULL,
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "Cluster_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "JoinToken" (
    "id" TEXT NOT NULL,
    "clusterId" TEXT NOT NULL,
    "tokenHash" BYTEA NOT NULL,
    "expiresAt" TIMESTAMPTZ(3) NOT NULL,
    "usedAt" TIMESTAMPTZ(3),
    "usedByAgentId" TEXT,
    "createdBy" TEXT NOT NULL,
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "JoinToken_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "Agent" (
    "id" TEXT NOT NULL,
    "clusterId" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "sealingPublicKey" BYTEA NOT NULL,
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "revokedAt" TIMESTAMPTZ(3),

    CONSTRAINT "Agent_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "AgentCertificate" (
    "serial" TEXT NOT NULL,
    "agentId" TEXT NOT NULL,
    "notBefore" TIMESTAMPTZ(3) NOT NULL,
    "notAfter" TIMESTAMPTZ(3) NOT NULL,
    "revokedAt" TIMESTAMPTZ(3),
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "AgentCertificate_pkey" PRIMARY KEY ("serial")
);

-- CreateTable
CREATE TABLE "AgentStatus" (
    "agentId" TEXT NOT NULL,
    "desiredView" TEXT NOT NULL,
    "appliedEpoch" BIGINT NOT NULL DEFAULT 0,
    "appliedGeneration" BIGINT NOT NULL DEFAULT 0,
    "appliedRootHash" BYTEA,
    "appliedAt" TIMESTAMPTZ(3),
    "attemptedGeneration" BIGINT,
    "attemptedRootHash" BYTEA,
    "attemptedAt" TIMESTAMPTZ(3),
    "attemptOutcome" TEXT,
    "attemptRefusals" JSONB,
    "version" TEXT NOT NULL DEFAULT '',
    "bootEpoch" BIGINT NOT NULL DEFAULT 0,
    "connected" BOOLEAN NOT NULL DEFAULT false,
    "lastSeenAt" TIMESTAMPTZ(3),
    "spoolBytes" BIGINT NOT NULL DEFAULT 0,
    "spoolBytesMax" BIGINT NOT NULL DEFAULT 0,
    "spoolRecordCount" BIGINT NOT NULL DEFAULT 0,
    "inFlightCount" INTEGER NOT NULL DEFAULT 0,
    "certificateNotAfter" TIMESTAMPTZ(3),
    "targets" JSONB,
    "snapshotBytesMax" BIGINT NOT NULL DEFAULT 0,
    "resourcesMax" INTEGER NOT NULL DEFAULT 0,
    "protocolVersion" INTEGER NOT NULL DEFAULT 0,
    "streamId" TEXT,

    CONSTRAINT "AgentStatus_pkey" PRIMARY KEY ("agentId")
);

-- CreateTable
CREATE TABLE "Quarantine" (
    "agentVersion" TEXT NOT NULL,
    "rootHash" BYTEA NOT NULL,
    "view" TEXT NOT NULL,
    "refusals" JSONB NOT NULL,
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "liftedAt" TIMESTAMPTZ(3),
    "liftedBy" TEXT,

    CONSTRAINT "Quarantine_pkey" PRIMARY KEY ("agentVersion","view","rootHash")
);

-- CreateTable
CREATE TABLE "Installation" (
    "id" TEXT NOT NULL,
    "epoch" BIGINT NOT NULL DEFAULT 1,
    "caKey" BYTEA NOT NULL,
    "caKeyWrapId" TEXT NOT NULL,
    "caCertificate" BYTEA NOT NULL,
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "Installation_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "SigningKey" (
    "id" TEXT NOT NULL,
    "publicKey" BYTEA NOT NULL,
    "privateKey" BYTEA NOT NULL,
    "wrapKeyId" TEXT NOT NULL,
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "retiredAt" TIMESTAMPTZ(3),

    CONSTRAINT "SigningKey_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "Model" (
    "id" TEXT NOT NULL,
    "tenantId" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "upstreamModel" TEXT NOT NULL,
    "capabilities" TEXT[],
    "contextTokensMax" INTEGER NOT NULL DEFAULT 0,
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "archivedAt" TIMESTAMPTZ(3),
    "rowVersion" INTEGER NOT NULL DEFAULT 1,

    CONSTRAINT "Model_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "ModelPrice" (
    "modelId" TEXT NOT NULL,
    "version" INTEGER NOT NULL,
    "inputNanoUsdPerMillion" BIGINT NOT NULL,
    "cachedInputNanoUsdPerMillion" BIGINT NOT NULL,
    "outputNanoUsdPerMillion" BIGINT NOT NULL,
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "ModelPrice_pkey" PRIMARY KEY ("modelId","version")
);

-- CreateTable
CREATE TABLE "Provider" (
    "id" TEXT NOT NULL,
    "tenantId" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "kind" TEXT NOT NULL,
    "baseUrl" TEXT NOT NULL,
    "region" TEXT NOT NULL,
    "connectionsMax" INTEGER NOT NULL DEFAULT 256,
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "archivedAt" TIMESTAMPTZ(3),
    "rowVersion" INTEGER NOT NULL DEFAULT 1,

    CONSTRAINT "Provider_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "Credential" (
    "id" TEXT NOT NULL,
    "version" INTEGER NOT NULL,
    "providerId" TEXT NOT NULL,
    "ciphertext" BYTEA,
    "wrapKeyId" TEXT,
    "reference" TEXT,
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "retiredAt" TIMESTAMPTZ(3),

    CONSTRAINT "Credential_pkey" PRIMARY KEY ("id","version")
);

-- CreateTable
CREATE TABLE "Route" (
    "id" TEXT NOT NULL,
    "tenantId" TEXT NOT NULL,
    "environmentId" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "totalTimeoutMs" INTEGER NOT NULL,
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "rowVersion" INTEGER NOT NULL DEFAULT 1,

    CONSTRAINT "Route_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "RouteTarget" (
    "id" TEXT NOT NULL,
    "routeId" TEXT NOT NULL,
    "position" INTEGER NOT NULL,
    "providerId" TEXT NOT NULL,
    "modelId" TEXT NOT NULL,
    "upstreamModel" TEXT,
    "connectTimeoutMs" INTEGER NOT NULL,
    "firstTokenTimeoutMs" INTEGER NOT NULL,
    "idleTimeoutMs" INTEGER NOT NULL,
    "totalTimeoutMs" INTEGER NOT NULL,

    CONSTRAINT "RouteTarget_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "Snapshot" (
    "view" TEXT NOT NULL,
    "epoch" BIGINT NOT NULL,
    "generation" BIGINT NOT NULL,
    "rootHash" BYTEA NOT NULL,
    "header" BYTEA NOT NULL,
    "signature" BYTEA NOT NULL,
    "sections" JSONB NOT NULL,
    "removedSections" TEXT[],
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "Snapshot_pkey" PRIMARY KEY ("view","epoch","generation")
);

-- CreateTable
CREATE TABLE "SnapshotSection" (
    "hash" BYTEA NOT NULL,
    "name" TEXT NOT NULL,
    "intentRevision" BIGINT NOT NULL,
    "resources" JSONB NOT NULL,
    "removed" TEXT[],
    "compilerVersion" INTEGER NOT NULL DEFAULT 1,
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "SnapshotSection_pkey" PRIMARY KEY ("hash")
);

-- CreateTable
CREATE TABLE "SnapshotResource" (
    "hash" BYTEA NOT NULL,
    "content" BYTEA NOT NULL,

    CONSTRAINT "SnapshotResource_pkey" PRIMARY KEY ("hash")
);

-- CreateTable
CREATE TABLE "Tombstone" (
    "view" TEXT NOT NULL,
    "sectionName" TEXT NOT NULL,
    "resourceName" TEXT NOT NULL,
    "removedAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "Tombstone_pkey" PRIMARY KEY ("view","sectionName","resourceName")
);

-- CreateTable
CREATE TABLE "SectionFailure" (
    "view" TEXT NOT NULL,
    "sectionName" TEXT NOT NULL,
    "tenantId" TEXT,
    "environmentId" TEXT,
    "intentRevision" BIGINT NOT NULL,
    "code" TEXT NOT NULL,
    "path" TEXT NOT NULL,
    "message" TEXT NOT NULL,
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "SectionFailure_pkey" PRIMARY KEY ("view","sectionName")
);

-- CreateTable
CREATE TABLE "DenyRevision" (
    "id" INTEGER NOT NULL DEFAULT 1,
    "revision" BIGINT NOT NULL DEFAULT 0,

    CONSTRAINT "DenyRevision_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "Tenant" (
    "id" TEXT NOT NULL,
    "slug" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "archivedAt" TIMESTAMPTZ(3),

    CONSTRAINT "Tenant_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "Team" (
    "id" TEXT NOT NULL,
    "tenantId" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "Team_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "Environment" (
    "id" TEXT NOT NULL,
    "tenantId" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "permittedRegions" TEXT[],
    "intentRevision" BIGINT NOT NULL DEFAULT 0,
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "archivedAt" TIMESTAMPTZ(3),

    CONSTRAINT "Environment_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "Member" (
    "id" TEXT NOT NULL,
    "tenantId" TEXT NOT NULL,
    "subject" TEXT NOT NULL,
    "email" TEXT,
    "displayName" TEXT NOT NULL,
    "roles" TEXT[],
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "disabledAt" TIMESTAMPTZ(3),

    CONSTRAINT "Member_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "TraceSpan" (
    "agentId" TEXT NOT NULL,
    "bootEpoch" BIGINT NOT NULL,
    "lane" INTEGER NOT NULL,
    "sequence" BIGINT NOT NULL,
    "traceId" TEXT NOT NULL,
    "spanId" TEXT NOT NULL,
    "parentSpanId" TEXT,
    "name" TEXT NOT NULL,
    "kind" INTEGER NOT NULL,
    "startedAt" TIMESTAMPTZ(6) NOT NULL,
    "endedAt" TIMESTAMPTZ(6) NOT NULL,
    "status" TEXT NOT NULL,
    "attributes" JSONB NOT NULL,
    "tenantId" TEXT NOT NULL,
    "environmentId" TEXT NOT NULL,
    "storedAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "TraceSpan_pkey" PRIMARY KEY ("agentId","bootEpoch","lane","sequence")
);

-- CreateTable
CREATE TABLE "UsageRecord" (
    "agentId" TEXT NOT NULL,
    "bootEpoch" BIGINT NOT NULL,
    "lane" INTEGER NOT NULL,
    "sequence" BIGINT NOT NULL,
    "requestId" TEXT NOT NULL,
    "traceId" TEXT NOT NULL,
    "spanId" TEXT NOT NULL DEFAULT '',
    "startedAt" TIMESTAMPTZ(3) NOT NULL,
    "tenantId" TEXT NOT NULL,
    "environmentId" TEXT NOT NULL,
    "apiKeyId" TEXT NOT NULL,
    "teamId" TEXT,
    "userId" TEXT NOT NULL,
    "operation" TEXT NOT NULL,
    "routeId" TEXT,
    "routeName" TEXT,
    "providerId" TEXT,
    "modelId" TEXT,
    "requestedModel" TEXT NOT NULL,
    "actualModel" TEXT,
    "clusterId" TEXT NOT NULL,
    "region" TEXT NOT NULL,
    "tokensIn" BIGINT,
    "tokensOut" BIGINT,
    "tokensInCached" BIGINT,
    "tokensOutReasoning" BIGINT,
    "usageSource" TEXT NOT NULL,
    "costNanoUsd" BIGINT,
    "priceVersion" INTEGER,
    "latencyUs" BIGINT NOT NULL,
    "providerLatencyUs" BIGINT NOT NULL,
    "guardrailLatencyUs" BIGINT NOT NULL,
    "firstTokenUs" BIGINT,
    "status" TEXT NOT NULL,
    "code" TEXT,
    "httpStatus" INTEGER NOT NULL,
    "fallbackUsed" BOOLEAN NOT NULL,
    "hops" JSONB NOT NULL,
    "stream" BOOLEAN NOT NULL,
    "temperature" DOUBLE PRECISION,
    "promptId" TEXT,
    "promptVersion" TEXT,
    "guardrailResult" TEXT,
    "groundingScore" DOUBLE PRECISION,
    "cacheHit" TEXT,
    "snapshotGeneration" BIGINT NOT NULL,
    "contentHash" BYTEA NOT NULL,
    "storedAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "UsageRecord_pkey" PRIMARY KEY ("agentId","bootEpoch","lane","sequence")
);

-- CreateTable
CREATE TABLE "SpoolLane" (
    "agentId" TEXT NOT NULL,
    "bootEpoch" BIGINT NOT NULL,
    "lane" INTEGER NOT NULL,
    "class" TEXT NOT NULL,
    "nextSequence" BIGINT NOT NULL DEFAULT 0,
    "ranges" int8multirange NOT NULL DEFAULT '{}'::int8multirange,
    "updatedAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "SpoolLane_pkey" PRIMARY KEY ("agentId","bootEpoch","lane","class")
);

-- CreateTable
CREATE TABLE "SpoolDrop" (
    "agentId" TEXT NOT NULL,
    "bootEpoch" BIGINT NOT NULL,
    "lane" INTEGER NOT NULL,
    "class" TEXT NOT NULL,
    "firstSequence" BIGINT NOT NULL,
    "lastSequence" BIGINT NOT NULL,
    "missingCount" BIGINT NOT NULL DEFAULT 0,
    "reason" TEXT NOT NULL,
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "SpoolDrop_pkey" PRIMARY KEY ("agentId","bootEpoch","lane","class","firstSequence")
);

-- CreateTable
CREATE TABLE "DeadLetter" (
    "id" BIGSERIAL NOT NULL,
    "agentId" TEXT NOT NULL,
    "bootEpoch" BIGINT NOT NULL,
    "lane" INTEGER NOT NULL,
    "class" TEXT NOT NULL,
    "sequence" BIGINT NOT NULL,
    "code" TEXT NOT NULL,
    "message" TEXT NOT NULL,
    "payload" BYTEA NOT NULL,
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "DeadLetter_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "RollupMark" (
    "id" BIGSERIAL NOT NULL,
    "granularity" TEXT NOT NULL,
    "bucketAt" TIMESTAMPTZ(3) NOT NULL,
    "tenantId" TEXT NOT NULL,

    CONSTRAINT "RollupMark_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "UsageRollup" (
    "granularity" TEXT NOT NULL,
    "bucketAt" TIMESTAMPTZ(3) NOT NULL,
    "tenantId" TEXT NOT NULL,
    "environmentId" TEXT NOT NULL,
    "apiKeyId" TEXT NOT NULL,
    "teamId" TEXT NOT NULL,
    "routeName" TEXT NOT NULL,
    "providerId" TEXT NOT NULL,
    "actualModel" TEXT NOT NULL,
    "clusterId" TEXT NOT NULL,
    "region" TEXT NOT NULL,
    "requestCount" BIGINT NOT NULL,
    "refusedCount" BIGINT NOT NULL,
    "failedCount" BIGINT NOT NULL,
    "fallbackCount" BIGINT NOT NULL,
    "unpricedCount" BIGINT NOT NULL,
    "tokensIn" BIGINT NOT NULL,
    "tokensOut" BIGINT NOT NULL,
    "tokensInCached" BIGINT NOT NULL,
    "tokensOutReasoning" BIGINT NOT NULL,
    "costNanoUsd" BIGINT NOT NULL,
    "latencyUs" BIGINT NOT NULL,
    "computedAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "UsageRollup_pkey" PRIMARY KEY ("granularity","bucketAt","tenantId","environmentId","apiKeyId","teamId","routeName","providerId","actualModel","clusterId","region")
);

-- CreateIndex
CREATE UNIQUE INDEX "ApiKey_secretHash_key" ON "ApiKey"("secretHash");

-- CreateIndex
CREATE INDEX "ApiKey_environmentId_idx" ON "ApiKey"("environmentId");

-- CreateIndex
CREATE INDEX "ApiKey_tenantId_createdAt_id_idx" ON "ApiKey"("tenantId", "createdAt", "id");

-- CreateIndex
CREATE INDEX "AuditEntry_tenantId_createdAt_id_idx" ON "AuditEntry"("tenantId", "createdAt", "id");

-- CreateIndex
CREATE INDEX "AuditEntry_subjectKind_subjectId_idx" ON "AuditEntry"("subjectKind", "subjectId");

-- CreateIndex
CREATE UNIQUE INDEX "Cluster_name_key" ON "Cluster"("name");

-- CreateIndex
CREATE UNIQUE INDEX "JoinToken_tokenHash_key" ON "JoinToken"("tokenHash");

-- CreateIndex
CREATE INDEX "AgentCertificate_agentId_idx" ON "AgentCertificate"("agentId");

-- CreateIndex
CREATE UNIQUE INDEX "Model_tenantId_name_key" ON "Model"("tenantId", "name");

-- CreateIndex
CREATE UNIQUE INDEX "Provider_tenantId_name_key" ON "Provider"("tenantId", "name");

-- CreateIndex
CREATE INDEX "Credential_providerId_idx" ON "Credential"("providerId");

-- CreateIndex
CREATE UNIQUE INDEX "Route_environmentId_name_key" ON "Route"("environmentId", "name");

-- CreateIndex
CREATE UNIQUE INDEX "RouteTarget_routeId_position_key" ON "RouteTarget"("routeId", "position");

-- CreateIndex
CREATE UNIQUE INDEX "Tenant_slug_key" ON "Tenant"("slug");

-- CreateIndex
CREATE UNIQUE INDEX "Team_tenantId_name_key" ON "Team"("tenantId", "name");

-- CreateIndex
CREATE UNIQUE INDEX "Environment_tenantId_name_key" ON "Environment"("tenantId", "name");

-- CreateIndex
CREATE UNIQUE INDEX "Member_tenantId_subject_key" ON "Member"("tenantId", "subject");

-- CreateIndex
CREATE INDEX "TraceSpan_traceId_idx" ON "TraceSpan"("traceId");

-- CreateIndex
CREATE INDEX "UsageRecord_tenantId_startedAt_agentId_bootEpoch_lane_seque_idx" ON "UsageRecord"("tenantId", "startedAt", "agentId", "bootEpoch", "lane", "sequence");

-- CreateIndex
CREATE INDEX "UsageRecord_requestId_idx" ON "UsageRecord"("requestId");

-- CreateIndex
CREATE INDEX "UsageRecord_traceId_idx" ON "UsageRecord"("traceId");

-- CreateIndex
CREATE UNIQUE INDEX "DeadLetter_agentId_bootEpoch_lane_class_sequence_code_key" ON "DeadLetter"("agentId", "bootEpoch", "lane", "class", "sequence", "code");

-- CreateIndex
CREATE INDEX "RollupMark_granularity_bucketAt_tenantId_idx" ON "RollupMark"("granularity", "bucketAt", "tenantId");

-- CreateIndex
CREATE INDEX "UsageRollup_tenantId_granularity_bucketAt_idx" ON "UsageRollup"("tenantId", "granularity", "bucketAt");

-- AddForeignKey
ALTER TABLE "ApiKey" ADD CONSTRAINT "ApiKey_tenantId_fkey" FOREIGN KEY ("tenantId") REFERENCES "Tenant"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "ApiKey" ADD CONSTRAINT "ApiKey_environmentId_fkey" FOREIGN KEY ("environmentId") REFERENCES "Environment"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "ApiKey" ADD CONSTRAINT "ApiKey_teamId_fkey" FOREIGN KEY ("teamId") REFERENCES "Team"("id") ON DELETE SET NULL ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "JoinToken" ADD CONSTRAINT "JoinToken_clusterId_fkey" FOREIGN KEY ("clusterId") REFERENCES "Cluster"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "Agent" ADD CONSTRAINT "Agent_clusterId_fkey" FOREIGN KEY ("clusterId") REFERENCES "Cluster"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "AgentCertificate" ADD CONSTRAINT "AgentCertificate_agentId_fkey" FOREIGN KEY ("agentId") REFERENCES "Agent"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "AgentStatus" ADD CONSTRAINT "AgentStatus_agentId_fkey" FOREIGN KEY ("agentId") REFERENCES "Agent"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "Model" ADD CONSTRAINT "Model_tenantId_fkey" FOREIGN KEY ("tenantId") REFERENCES "Tenant"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "ModelPrice" ADD CONSTRAINT "ModelPrice_modelId_fkey" FOREIGN KEY ("modelId") REFERENCES "Model"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "Provider" ADD CONSTRAINT "Provider_tenantId_fkey" FOREIGN KEY ("tenantId") REFERENCES "Tenant"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "Credential" ADD CONSTRAINT "Credential_providerId_fkey" FOREIGN KEY ("providerId") REFERENCES "Provider"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "Route" ADD CONSTRAINT "Route_tenantId_fkey" FOREIGN KEY ("tenantId") REFERENCES "Tenant"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "Route" ADD CONSTRAINT "Route_environmentId_fkey" FOREIGN KEY ("environmentId") REFERENCES "Environment"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "RouteTarget" ADD CONSTRAINT "RouteTarget_routeId_fkey" FOREIGN KEY ("routeId") REFERENCES "Route"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "RouteTarget" ADD CONSTRAINT "RouteTarget_providerId_fkey" FOREIGN KEY ("providerId") REFERENCES "Provider"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "RouteTarget" ADD CONSTRAINT "RouteTarget_modelId_fkey" FOREIGN KEY ("modelId") REFERENCES "Model"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "Team" ADD CONSTRAINT "Team_tenantId_fkey" FOREIGN KEY ("tenantId") REFERENCES "Tenant"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "Environment" ADD CONSTRAINT "Environment_tenantId_fkey" FOREIGN KEY ("tenantId") REFERENCES "Tenant"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "Member" ADD CONSTRAINT "Member_tenantId_fkey" FOREIGN KEY ("tenantId") REFERENCES "Tenant"("id") ON DELETE RESTRICT ON UPDATE CASCADE;


