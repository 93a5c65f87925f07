import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'

const prefix = 'switchyard-test-run-'

/** A private folder under the system's temporary one, named after the process that owns it. */
export function makeTestFolder(): string {
  return mkdtempSync(path.join(os.tmpdir(), `${prefix}${process.pid}-`))
}

/**
 * Ends the servers and removes the folders of test runs that were killed before they could. A run whose process lives is
 * left alone, whoever started it.
 */
export function sweepDeadTestFolders(): void {
  for (const name of readdirSync(os.tmpdir())) {
    const owner = name.startsWith(prefix) ? Number(name.slice(prefix.length).split('-')[0]) : Number.NaN
    if (!Number.isInteger(owner) || isAlive(owner)) continue
    const folder = path.join(os.tmpdir(), name)
    try {
      for (const file of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
        if (path.basename(file) === 'postmaster.pid') endServerOf(path.join(folder, file), folder)
      }
      rmSync(folder, { recursive: true, force: true })
    } catch {
      // Somebody else's, or being swept by another run.
    }
  }
}

function endServerOf(lock: string, folder: string): void {
  const pid = Number(readFileSync(lock, 'utf8').split('\n')[0])
  if (!Number.isInteger(pid) || pid <= 1 || !isAlive(pid)) return
  // Only a process that was started on this very folder: the number may be somebody else's by now.
  const command = process.platform === 'linux' ? readFileSync(`/proc/${pid}/cmdline`, 'utf8') : ''
  if (command.includes(folder)) process.kill(pid, 'SIGQUIT')
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as { code?: string }).code === 'EPERM'
  }
}
