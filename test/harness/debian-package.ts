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
    download(packages, half)
    for (const file of readdirSync(half).filter((entry) => entry.endsWith('.deb'))) {
      run('dpkg', ['-x', file, '.'], half)
      rmSync(path.join(half, file))
    }
    // Complete or absent: a run that is killed here leaves only a folder that nobody looks at. Another run may have won.
    try {
      renameSync(half, cache)
    } catch (error) {
      if (!existsSync(cache)) throw error
    }
  } finally {
    rmSync(half, { recursive: true, force: true })
  }
  return cache
}

/** Folders of shared libraries inside an unpacked package, for LD_LIBRARY_PATH. */
export function libraryFolders(root: string): string {
  const names = ['x86_64-linux-gnu', 'aarch64-linux-gnu']
  const inside = ['usr/lib', 'lib'].flatMap((place) => names.map((name) => path.join(root, place, name)))
  // Those of one sound library lie a folder deeper.
  return [...inside, ...names.map((name) => path.join(root, 'usr/lib', name, 'pulseaudio'))].join(':')
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

/** With the system's package lists; where there are none (a bare container), with lists of our own, root or not. */
function download(packages: readonly string[], folder: string): void {
  const lists = mkdtempSync(path.join(os.tmpdir(), 'switchyard-test-apt-'))
  const own = [
    ['Dir::State', path.join(lists, 'state')],
    ['Dir::Cache', path.join(lists, 'cache')],
    // As root, apt would drop to an account that cannot reach these folders.
    ['APT::Sandbox::User', os.userInfo().username],
  ].flatMap(([name, value]) => ['-o', `${name}=${value}`])
  try {
    for (const each of ['state/lists/partial', 'cache/archives/partial']) {
      mkdirSync(path.join(lists, each), { recursive: true })
    }
    const sandbox = own.slice(-2)
    try {
      run('apt-get', [...sandbox, 'download', ...packages], folder)
    } catch {
      run('apt-get', [...own, 'update'], folder)
      run('apt-get', [...own, 'download', ...packages], folder)
    }
  } catch (cause) {
    throw new Error(
      `these tests need the Debian packages ${packages.join(', ')}: ${(cause as Error).message}\n` +
        'What to do: on Debian or Ubuntu check that "apt-get update" works, or install the programs yourself ' +
        '(redis-server; for PostgreSQL 15 postgresql-15; chromium); elsewhere put a redis-server 7 on the PATH.',
      { cause },
    )
  } finally {
    rmSync(lists, { recursive: true, force: true })
  }
}

function run(command: string, args: readonly string[], cwd: string): void {
  const result = spawnSync(command, args, { cwd, encoding: 'utf8', timeout: 180_000 })
  if (result.status === 0) return
  const reason = result.error?.message ?? result.stderr.trim().split('\n').at(-1) ?? ''
  throw new Error(
    `"${command} ${args.find((arg) => !arg.startsWith('-') && !arg.includes('=')) ?? ''}" failed: ${reason}`,
  )
}
