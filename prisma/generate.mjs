#!/usr/bin/env node
/**
 * Writes the Prisma client (`control-plane/src/database/generated`, git-ignored) when prisma/schema or Prisma's version
 * changed since the last time; does nothing otherwise. Plain JavaScript: it runs before anything is built.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'

const folder = import.meta.dirname
const root = path.dirname(folder)
const generated = path.join(root, 'control-plane', 'src', 'database', 'generated')
const stamp = path.join(root, '.build', 'prisma-client.stamp')

const hash = createHash('sha256').update(createRequire(import.meta.url)('prisma/package.json').version)
for (const name of fs.readdirSync(path.join(folder, 'schema')).sort()) {
  hash.update(`\0${name}\0`).update(fs.readFileSync(path.join(folder, 'schema', name)))
}
const wanted = hash.digest('hex')
const found = fs.existsSync(path.join(generated, 'client.ts')) && fs.existsSync(stamp) && fs.readFileSync(stamp, 'utf8')

if (found !== wanted) {
  console.log('generating the Prisma client …')
  const result = spawnSync(process.execPath, [path.join(folder, 'prisma.mjs'), 'generate'], { encoding: 'utf8' })
  if (result.status !== 0) {
    process.stderr.write(`${result.stdout}${result.stderr}`)
    process.exit(1)
  }
  fs.mkdirSync(path.dirname(stamp), { recursive: true })
  fs.writeFileSync(stamp, wanted)
}
