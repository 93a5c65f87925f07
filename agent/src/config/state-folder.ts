import { randomBytes } from 'node:crypto'
import fs from 'node:fs/promises'
import path from 'node:path'
import { throwRefusal } from '../../../proto/std/refusal.js'
import { StateBox } from './state-box.js'

/**
 * The agent's folder on disk. One process owns it: two agents on one folder would number their usage alike, so the lock is
 * taken before anything is read. Files are 0600, the folder 0700; a write is temp, fsync, rename, fsync of the folder, so
 * that a crash leaves the old bytes or the new ones, never a mixture.
 */
export class StateFolder {
  readonly path: string
  readonly box: StateBox
  #temporaryCount = 0

  private constructor(folder: string, box: StateBox) {
    this.path = folder
    this.box = box
  }

  /**
   * Takes the folder, making it when absent. `stateKey` is base64 of 32 bytes, or null for a key of the folder's own.
   * Refuses (RefusalError) when another live process holds it or it cannot be written.
   */
  static async open(folder: string, stateKey: string | null): Promise<StateFolder> {
    const absolute = path.resolve(folder)
    try {
      await fs.mkdir(absolute, { recursive: true, mode: 0o700 })
      await takeLock(path.join(absolute, 'lock'))
      await removeTemporaries(absolute)
      const box = new StateBox(stateKey === null ? await ownKey(absolute) : Buffer.from(stateKey, 'base64'))
      return new StateFolder(absolute, box)
    } catch (fault) {
      const code = (fault as NodeJS.ErrnoException).code
      if (code === 'EACCES' || code === 'EROFS' || code === 'ENOTDIR' || code === 'EPERM' || code === 'ENOSPC') {
        throwRefusal(
          'data_folder_unusable',
          `the data folder ${absolute} cannot be used (${code}); make it writable for this user or set SWITCHYARD_AGENT_DATA_DIR`,
        )
      }
      throw fault
    }
  }

  /** Path of a file inside. */
  at(...names: readonly string[]): string {
    return path.join(this.path, ...names)
  }

  /** Null when the file does not exist. */
  async read(name: string): Promise<Buffer | null> {
    return readIfThere(this.at(name))
  }

  /** The opened content, null when there is no such file, `'unreadable'` when this key does not open it. */
  async readSealed(name: string): Promise<Buffer | null | 'unreadable'> {
    const sealed = await this.read(name)
    return sealed === null ? null : (this.box.open(sealed, name) ?? 'unreadable')
  }

  async write(name: string, bytes: Uint8Array): Promise<void> {
    this.#temporaryCount += 1
    await writeDurably(this.at(name), bytes, `${this.#temporaryCount}`)
  }

  async writeSealed(name: string, plaintext: Uint8Array): Promise<void> {
    await this.write(name, this.box.seal(plaintext, name))
  }

  async remove(name: string): Promise<void> {
    await fs.rm(this.at(name), { force: true })
    await syncFolder(path.dirname(this.at(name)))
  }

  async rename(from: string, to: string): Promise<void> {
    await fs.rename(this.at(from), this.at(to))
    await syncFolder(path.dirname(this.at(to)))
  }

  /** Gives the folder back. */
  async close(): Promise<void> {
    await fs.rm(this.at('lock'), { force: true })
  }
}

const temporarySuffix = '.tmp'

async function writeDurably(file: string, bytes: Uint8Array, mark: string): Promise<void> {
  const temporary = `${file}.${mark}${temporarySuffix}`
  const handle = await fs.open(temporary, 'w', 0o600)
  try {
    await handle.writeFile(bytes)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await fs.rename(temporary, file)
  await syncFolder(path.dirname(file))
}

/** Makes new and removed names of a folder survive a power cut. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await fs.open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Null when the file does not exist. */
export async function readIfThere(file: string): Promise<Buffer | null> {
  try {
    return await fs.readFile(file)
  } catch (fault) {
    if ((fault as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw fault
  }
}

/** What a crash between temp and rename left behind. */
async function removeTemporaries(folder: string): Promise<void> {
  for (const name of await fs.readdir(folder)) {
    if (name.endsWith(temporarySuffix)) await fs.rm(path.join(folder, name), { force: true })
  }
}

async function ownKey(folder: string): Promise<Buffer> {
  const file = path.join(folder, 'state.key')
  const kept = await readIfThere(file)
  if (kept !== null) {
    const key = Buffer.from(kept.toString('latin1').trim(), 'base64')
    if (key.length === 32) return key
    throwRefusal(
      'state_key_damaged',
      `${file} is not a key; restore it from a backup, or delete the folder ${folder} and start with a join token`,
    )
  }
  const key = randomBytes(32)
  await writeDurably(file, Buffer.from(`${key.toString('base64')}\n`), 'new')
  return key
}

/** The holder's process id and start time: a later process may get the same id, never the same start. */
async function takeLock(file: string): Promise<void> {
  const mine = `${process.pid} ${await startTimeOf(process.pid)}`
  for (let attempt = 0; attempt < 3; attempt++) {
    if (await linkNew(file, mine)) return
    const [pidText = '', startTime = ''] = ((await readIfThere(file)) ?? Buffer.alloc(0)).toString('latin1').split(' ')
    const pid = Number(pidText)
    if (Number.isSafeInteger(pid) && pid > 0 && isAlive(pid) && (await startTimeOf(pid)) === startTime) {
      throwRefusal(
        'data_folder_taken',
        `another agent (process ${pid}) uses ${path.dirname(file)}; stop it, or give this one its own SWITCHYARD_AGENT_DATA_DIR`,
      )
    }
    await fs.rm(file, { force: true })
  }
  throwRefusal('data_folder_taken', `the lock ${file} is fought over by another agent; give this one its own folder`)
}

/** Makes `file` with its whole content in one step; false when it exists. (An exclusive open would show it empty first.) */
async function linkNew(file: string, content: string): Promise<boolean> {
  const temporary = `${file}.${process.pid}${temporarySuffix}`
  await fs.writeFile(temporary, content, { mode: 0o600 })
  try {
    await fs.link(temporary, file)
    return true
  } catch (fault) {
    if ((fault as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw fault
  } finally {
    await fs.rm(temporary, { force: true })
  }
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (fault) {
    return (fault as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** Field 22 of /proc/<pid>/stat; empty where there is no /proc, and then the process id alone must do. */
export async function startTimeOf(pid: number): Promise<string> {
  try {
    const stat = await fs.readFile(`/proc/${pid}/stat`, 'latin1')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''
  } catch {
    return ''
  }
}
