import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
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
    endProcessesIn(folder)
    try {
      rmSync(folder, { recursive: true, force: true })
    } catch {
      // Somebody else's, or being swept by another run.
    }
  }
}

/** Known by where they work or what they were started with; where there is no /proc they stay until the next restart. */
function endProcessesIn(folder: string): void {
  const numbers = process.platform === 'linux' ? readdirSync('/proc').filter((name) => /^\d+$/.test(name)) : []
  for (const number of numbers) {
    try {
      const place = readlinkSync(`/proc/${number}/cwd`)
      const command = readFileSync(`/proc/${number}/cmdline`, 'utf8')
      if (place.startsWith(`${folder}/`) || command.includes(`${folder}/`)) process.kill(Number(number), 'SIGKILL')
    } catch {
      // Gone meanwhile, or not ours to look at.
    }
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as { code?: string }).code === 'EPERM'
  }
}
