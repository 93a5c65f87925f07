import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'

/**
 * Programs of Debian that tests need and nobody has to install: the packages are downloaded by apt and unpacked into a
 * cache folder, without root. Returns the folder that holds `usr/`.
 */
export function unpackDebianPackages(name: string, packages: readonly string[]): string {
  const cache = path.join(cacheFolder(), name)
  if (existsSync(cache)) return cache
  const half = mkdtempSync(path.join(cacheFolder(), `${name}-half-`))
  try {
    run('apt-get', ['download', ...packages], half, packages)
    for (const file of readdirSync(half).filter((entry) => entry.endsWith('.deb'))) {
      run('dpkg', ['-x', file, '.'], half, packages)
      rmSync(path.join(half, file))
    }
    // Complete or absent: a run that is killed here leaves only a folder that nobody looks at.
    if (!existsSync(cache)) renameSync(half, cache)
  } finally {
    rmSync(half, { recursive: true, force: true })
  }
  return cache
}

/** Folders of shared libraries inside an unpacked package, for LD_LIBRARY_PATH. */
export function libraryFolders(root: string): string {
  return ['x86_64-linux-gnu', 'aarch64-linux-gnu'].map((name) => path.join(root, 'usr', 'lib', name)).join(':')
}

/** Kept in `node_modules` when that can be written, so that `npm ci` cleans it; else in the temporary folder. */
function cacheFolder(): string {
  const inside = path.join(import.meta.dirname, '..', '..', 'node_modules')
  const folder = existsSync(inside)
    ? path.join(inside, '.cache', 'switchyard-test')
    : path.join(os.tmpdir(), `switchyard-test-cache-${os.userInfo().uid}`)
  mkdirSync(folder, { recursive: true })
  return folder
}

function run(command: string, args: readonly string[], cwd: string, packages: readonly string[]): void {
  // apt refuses to drop to its own account in a folder that account cannot write; as root it then warns and goes on.
  const result = spawnSync(command, args, { cwd, encoding: 'utf8', timeout: 120_000 })
  if (result.status === 0) return
  const reason = result.error?.message ?? result.stderr.trim().split('\n').at(-1) ?? ''
  throw new Error(
    `these tests need the Debian packages ${packages.join(', ')}, and "${command} ${args[0]}" failed: ${reason}\n` +
      'What to do: on Debian or Ubuntu run "sudo apt-get update" once and test again, or install the programs yourself ' +
      '("sudo apt-get install redis-server"); elsewhere install Redis 7 so that redis-server is on the PATH.',
  )
}
