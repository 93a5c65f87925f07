#!/usr/bin/env node
/**
 * Prisma's command line with the stand-in schema engine and nothing that calls home: `node prisma/prisma.mjs migrate
 * status`. Run from anywhere; DATABASE_URL names the database where a command needs one.
 */
import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import path from 'node:path'

const folder = import.meta.dirname
const cli = path.join(path.dirname(createRequire(import.meta.url).resolve('prisma/package.json')), 'build/index.js')
const result = spawnSync(
  process.execPath,
  [cli, ...process.argv.slice(2), '--config', path.join(folder, 'prisma.config.ts')],
  {
    cwd: folder,
    stdio: 'inherit',
    env: {
      ...process.env,
      PRISMA_SCHEMA_ENGINE_BINARY: path.join(folder, 'schema-engine.mjs'),
      CHECKPOINT_DISABLE: '1',
      PRISMA_HIDE_UPDATE_MESSAGE: '1',
    },
  },
)
if (result.error) throw result.error
process.exit(result.status ?? 1)
