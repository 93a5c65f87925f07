import path from 'node:path'
import { parseArgs } from 'node:util'
import type { Clock } from '../../proto/std/clock.js'
import { RefusalError, throwRefusal } from '../../proto/std/refusal.js'
import type { LocalFile } from '../local/local-file.js'
import { readJsonFile } from '../local/local-folder.js'
import { backUp } from './backup.js'
import { readBackup } from './backup-folder.js'
import { restoreLocally } from './local-restore.js'
import { restore } from './restore.js'

export const help = `Back up, check and restore what Switchyard keeps in PostgreSQL. The page with the whole story:
deploy/runbooks/backup-restore-upgrade.md

  npm run database -- backup --to FOLDER     write a backup; the control plane may go on running
  npm run database -- verify --from FOLDER   read a backup and check every byte against its manifest
  npm run database -- restore --from FOLDER  fill an empty database from a backup
  npm run database -- restore --from FOLDER --local
                                             replace the embedded database of "npm start" (stopped); the old one is kept

Which database: DATABASE_URL; without it, the one in .switchyard/local.json, which "npm start" wrote.

Options
  --to FOLDER       must not exist yet
  --from FOLDER     a folder that "backup" wrote
  --keep-epoch      restore: nothing ran since the backup (a move, an upgrade of PostgreSQL). Without it the epoch rises,
                    so that agents follow the restored state although it is older than theirs
  --local           restore: into the embedded database of "npm start"
  --folder DIR      of the local installation (default .switchyard)

Not in a backup: the keys in SWITCHYARD_WRAP_KEYS, without which sealed credentials cannot be opened. Keep them apart.
`

export interface Surroundings {
  environment: Readonly<Record<string, string | undefined>>
  /** What relative folders are relative to. */
  folder: string
  clock: Clock
  out: (line: string) => void
  complain: (line: string) => void
}

/** Runs one command; the answer is the exit code (0 done, 1 refused or failed, 2 not understood). */
export async function runDatabaseCommand(args: readonly string[], around: Surroundings): Promise<number> {
  let parsed: ReturnType<typeof parse>
  try {
    parsed = parse(args)
  } catch (error) {
    around.complain(`${(error as Error).message}\n\n${help}`)
    return 2
  }
  const { values, positionals } = parsed
  const [command] = positionals
  if (values.help || command === undefined) {
    around.out(help)
    return values.help ? 0 : 2
  }
  try {
    switch (command) {
      case 'backup': {
        const folder = path.resolve(around.folder, required(values.to, '--to'))
        const manifest = await backUp({
          url: databaseUrl(values.folder, around),
          folder,
          clock: around.clock,
          say: around.out,
        })
        const rowCount = manifest.tables.reduce((sum, table) => sum + table.rowCount, 0)
        around.out(`backed up ${rowCount} rows of ${manifest.tables.length} tables to ${folder}`)
        around.out('keep SWITCHYARD_WRAP_KEYS (locally: .switchyard/state.json) safe, and not beside it')
        return 0
      }
      case 'verify': {
        const folder = path.resolve(around.folder, required(values.from, '--from'))
        const manifest = await readBackup(folder)
        const rowCount = manifest.tables.reduce((sum, table) => sum + table.rowCount, 0)
        around.out(`whole: ${rowCount} rows of ${manifest.tables.length} tables, written at ${manifest.createdAt}`)
        return 0
      }
      case 'restore': {
        const folder = path.resolve(around.folder, required(values.from, '--from'))
        const keepEpoch = values['keep-epoch']
        if (values.local) {
          const local = path.resolve(around.folder, values.folder)
          await restoreLocally({ folder: local, backup: folder, keepEpoch, clock: around.clock, say: around.out })
        } else {
          // Never the database that the local file names: that one is full, and in use.
          const url = around.environment['DATABASE_URL']
          if (!url) throwRefusal('bad_input', 'restore needs DATABASE_URL (an empty database), or --local')
          await restore({ url, folder, keepEpoch, say: around.out })
        }
        around.out(`restored from ${folder}`)
        if (!keepEpoch) around.out('the epoch was raised: agents follow the restored state at their next connection')
        return 0
      }
      default:
        around.complain(`there is no command ${command}\n\n${help}`)
        return 2
    }
  } catch (error) {
    around.complain(error instanceof RefusalError ? error.refusal.message : describeFault(error))
    return 1
  }
}

function parse(args: readonly string[]) {
  return parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      to: { type: 'string' },
      from: { type: 'string' },
      folder: { type: 'string', default: '.switchyard' },
      local: { type: 'boolean', default: false },
      'keep-epoch': { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
}

function required(value: string | undefined, option: string): string {
  return value ?? throwRefusal('bad_input', `${option} FOLDER is missing; see npm run database -- --help`)
}

function databaseUrl(folder: string, around: Surroundings): string {
  const url = around.environment['DATABASE_URL']
  if (url) return url
  const file = path.resolve(around.folder, folder, 'local.json')
  const local = readJsonFile<LocalFile>(file)
  if (local) return local.databaseUrl
  return throwRefusal('bad_input', `no database named: set DATABASE_URL, or run "npm start" first (it writes ${file})`)
}

function describeFault(error: unknown): string {
  const { code, message } = error as { code?: string; message?: string }
  if (code === 'ECONNREFUSED') return `the database does not answer (${message}); is it running, and is the URL right?`
  return message ?? String(error)
}
