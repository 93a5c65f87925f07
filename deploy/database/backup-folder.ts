import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open, readFile, stat } from 'node:fs/promises'
import path from 'node:path'
import { throwRefusal } from '../../proto/std/refusal.js'

/**
 * A backup is a folder: `manifest.json` and one file per table, the rows as PostgreSQL's own text form of COPY (the same
 * in every major and on every machine), compressed. The manifest is written last, so a folder without one is no backup.
 */
export interface Manifest {
  readonly format: 1
  readonly createdAt: string
  /** For people; a backup of any major restores into any other that Switchyard runs on. */
  readonly postgresVersion: string
  /** What the database had applied, in order; the data is filled in at exactly this point. */
  readonly migrations: readonly { readonly name: string; readonly checksum: string }[]
  /** Parents before children: restored in this order, every foreign key holds at every step. */
  readonly tables: readonly TableFile[]
  readonly sequences: readonly { readonly name: string; readonly value: string; readonly called: boolean }[]
}

export interface TableFile {
  readonly name: string
  readonly columns: readonly string[]
  readonly file: string
  readonly rowCount: number
  /** Of the file as it lies there. */
  readonly bytes: number
  readonly sha256: string
}

export const manifestName = 'manifest.json'

/** The manifest of a whole and untouched backup; refuses anything else and names the file. */
export async function readBackup(folder: string): Promise<Manifest> {
  const text = await readFile(path.join(folder, manifestName), 'utf8').catch(() => null)
  if (text === null) throwRefusal('bad_input', `${folder} is no backup: it has no ${manifestName}`)
  const manifest = parseManifest(text, folder)
  for (const table of manifest.tables) {
    const file = path.join(folder, table.file)
    const found = await stat(file).catch(() => null)
    if (!found) throwRefusal('bad_input', `the backup is broken: ${file} is missing`)
    if (found.size !== table.bytes || (await sha256Of(file)) !== table.sha256) {
      throwRefusal('bad_input', `the backup is broken: ${file} is not what was written`)
    }
  }
  return manifest
}

function parseManifest(text: string, folder: string): Manifest {
  let manifest: Partial<Manifest>
  try {
    manifest = JSON.parse(text) as Partial<Manifest>
  } catch {
    return throwRefusal('bad_input', `the backup is broken: ${path.join(folder, manifestName)} is not JSON`)
  }
  if (manifest.format !== 1) {
    throwRefusal(
      'bad_input',
      `the backup in ${folder} has format ${String(manifest.format)} and this release reads format 1; use the release that wrote it`,
    )
  }
  return manifest as Manifest
}

async function sha256Of(file: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer)
  return hash.digest('hex')
}

/** Makes what was written to a file or into a folder survive a power cut. */
export async function flush(fileOrFolder: string): Promise<void> {
  const handle = await open(fileOrFolder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

export function quoted(identifier: string): string {
  return `"${identifier.replaceAll('"', '""')}"`
}
