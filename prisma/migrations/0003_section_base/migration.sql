-- A section of ten thousand keys is stored again with each key that changes: from now on as a difference to an earlier one.
ALTER TABLE "SnapshotSection" ADD COLUMN "baseHash" BYTEA, ADD COLUMN "gone" TEXT[];
