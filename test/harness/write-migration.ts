import { readdirSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { startTestPostgres } from './postgres.js'
import { runPrisma } from './prisma.js'
import { repositoryFolder } from './repository-folder.js'

/**
 * `npm run migration`: writes 0001_init from prisma/schema. Only until the first release; from then on a change of the
 * schema is a new folder, `npm run migration -- <name>`, which holds what leads from the newest migration to the schema.
 */
const folder = path.join(repositoryFolder(), 'prisma', 'migrations')
const name = process.argv[2]
const server = await startTestPostgres({ migrated: name !== undefined })
try {
  const from = name === undefined ? ['--from-empty'] : ['--from-config-datasource']
  const { url } = name === undefined ? server : await server.database()
  const { code, stdout, stderr } = await runPrisma(url, [
    'migrate',
    'diff',
    ...from,
    '--to-schema',
    'schema',
    '--script',
  ])
  if (code !== 0) throw new Error(stderr.trim())
  const target = path.join(folder, name === undefined ? '0001_init' : nextName(name))
  await mkdir(target, { recursive: true })
  await writeFile(path.join(target, 'migration.sql'), stdout)
  console.log(`wrote ${path.relative(process.cwd(), target)}/migration.sql (${stdout.split('\n').length} lines)`)
} finally {
  await server.stop()
}

function nextName(text: string): string {
  const last = readdirSync(folder)
    .map((entry) => Number(/^\d{4}/.exec(entry)?.[0] ?? 0))
    .reduce((a, b) => Math.max(a, b), 0)
  return `${String(last + 1).padStart(4, '0')}_${text.toLowerCase().replaceAll(/[^a-z0-9]+/g, '_')}`
}
