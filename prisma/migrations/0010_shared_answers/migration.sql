-- Answers that the agents of a cluster share through the control plane. Expands only. Names and values are made by agents,
-- under a secret that is not here; nothing of a tenant is in the clear.
--
-- Unlogged: what is lost is asked for again, so no write waits for a disk. A crash of Postgres empties both tables together.
-- No foreign key to "Cluster": each answer put would lock a row that enrolment and configuration read.

CREATE UNLOGGED TABLE "SharedAnswer" (
    "clusterId" TEXT NOT NULL,
    "name" BYTEA NOT NULL,
    "value" BYTEA NOT NULL,
    "bornAt" TIMESTAMPTZ(3) NOT NULL,
    "storedAt" TIMESTAMPTZ(3) NOT NULL,
    "expiresAt" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "SharedAnswer_pkey" PRIMARY KEY ("clusterId", "name")
);
CREATE INDEX "SharedAnswer_clusterId_storedAt_idx" ON "SharedAnswer"("clusterId", "storedAt");
CREATE INDEX "SharedAnswer_clusterId_expiresAt_idx" ON "SharedAnswer"("clusterId", "expiresAt");
-- Encrypted bytes do not get shorter.
ALTER TABLE "SharedAnswer" ALTER COLUMN "value" SET STORAGE EXTERNAL;
ALTER TABLE "SharedAnswer"
  ADD CONSTRAINT "SharedAnswer_name_is_a_digest" CHECK (octet_length("name") = 32),
  ADD CONSTRAINT "SharedAnswer_value_is_bounded" CHECK (octet_length("value") BETWEEN 1 AND 1048576);

CREATE UNLOGGED TABLE "SharedAnswerShelf" (
    "clusterId" TEXT NOT NULL,
    "bytes" BIGINT NOT NULL,

    CONSTRAINT "SharedAnswerShelf_pkey" PRIMARY KEY ("clusterId")
);
ALTER TABLE "SharedAnswerShelf" ADD CONSTRAINT "SharedAnswerShelf_bytes_count" CHECK ("bytes" >= 0);
