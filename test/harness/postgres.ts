import { randomBytes } from 'node:crypto'
import { chmodSync, rmSync } from 'node:fs'
import path from 'node:path'
import pg from 'pg'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../deploy/local/embedded-postgres.js'
import { migrate } from '../../prisma/migrate.js'
import { systemClock } from '../../proto/std/clock.js'
import { freePort } from './free-port.js'
import { postgres15Folder } from './postgres15.js'
import { makeTestFolder } from './test-folder.js'

/**
 * One PostgreSQL per test run and one migrated database per caller, cloned from a template (about 50 ms). The server of
 * a run gives up durability for speed; a test that kills Postgres starts its own, durable one.
 */
export interface TestDatabase {
  readonly url: string
  /** Ends its sessions and drops it. The server takes what nobody dropped with it. */
  drop(): Promise<void>
}

export interface TestPostgres {
  readonly url: string
  readonly major: number
  readonly port: number
  /** Changes with `restart`. */
  readonly pid: number
  /** A fresh database with every migration applied. */
  database(): Promise<TestDatabase>
  /** SIGKILL to the postmaster; returns when it is gone. */
  kill(): Promise<void>
  /** Starts again on the same data and port. */
  restart(): Promise<void>
  /** Stops the server and removes its data. */
  stop(): Promise<void>
}

export interface TestPostgresOptions {
  /** Survives `kill` and tells the truth about commit times; default false. */
  durable?: boolean
  /** 15 (the oldest tested, from Debian) or 18 (the one from npm); default: SWITCHYARD_TEST_POSTGRES, else 18. */
  major?: 15 | 18
  port?: number
  /** False: an empty server, without the template that `database` clones. */
  migrated?: boolean
}

const templateName = 'switchyard_template'
/** How the run's server reaches the workers; set by the global set-up. */
const urlVariable = 'SWITCHYARD_TEST_POSTGRES_URL'

const fastSettings = { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' }
const commonSettings = {
  deadlock_timeout: '100ms',
  max_connections: '400',
  shared_buffers: '64MB',
  max_wal_size: '256MB',
}

/** A fresh migrated database on the run's server; the test file drops it when it is done. */
export async function testDatabase(): Promise<TestDatabase> {
  return createDatabase(runUrl(), templateName)
}

/** The same without a table in it. */
export async function emptyDatabase(): Promise<TestDatabase> {
  return createDatabase(runUrl(), 'template0')
}

function runUrl(): string {
  const url = process.env[urlVariable]
  if (url) return url
  throw new Error(
    'no test Postgres: a file that calls testDatabase() ends in .pg.test.ts, .redis.test.ts or lies in test/paths or test/scenarios',
  )
}

/** A server of one's own: for benches and simulations, and for tests that kill it. */
export async function startTestPostgres(options: TestPostgresOptions = {}): Promise<TestPostgres> {
  const major = options.major ?? (process.env['SWITCHYARD_TEST_POSTGRES'] === '15' ? 15 : 18)
  const folder = makeTestFolder()
  // A root without namespaces runs the server as another account, which must get through.
  chmodSync(folder, 0o711)
  const port = options.port ?? (await freePort())
  const start = async (): Promise<EmbeddedPostgres> =>
    startEmbeddedPostgres({
      folder: path.join(folder, 'postgres'),
      port,
      clock: systemClock,
      settings: { ...commonSettings, ...(options.durable ? {} : fastSettings) },
      ...(major === 15 ? { binFolder: postgres15Folder() } : {}),
    })
  let server = await start()
  try {
    if (options.migrated !== false) await makeTemplate(server.url())
  } catch (error) {
    await server.stop()
    throw error
  }
  return {
    url: server.url(),
    major: server.major,
    port,
    get pid() {
      return server.pid
    },
    database: () => createDatabase(server.url(), templateName),
    kill: async () => {
      process.kill(server.pid, 'SIGKILL')
      await server.exited
    },
    restart: async () => {
      server = await start()
    },
    stop: async () => {
      await server.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Starts the run's server once, whichever project asks first, and tells the workers; returns its end. */
export async function provideTestPostgres(): Promise<() => Promise<void>> {
  if (process.env[urlVariable]) return async () => {}
  const server = await startTestPostgres()
  process.env[urlVariable] = server.url
  return async () => {
    delete process.env[urlVariable]
    await server.stop()
  }
}

async function makeTemplate(url: string): Promise<void> {
  await withClient(url, (client) => client.query(`CREATE DATABASE ${templateName}`))
  await migrate({ url: databaseUrl(url, templateName), log: { info: () => {} } })
}

async function createDatabase(url: string, template: string): Promise<TestDatabase> {
  const name = `test_${randomBytes(6).toString('hex')}`
  await withClient(url, (client) => client.query(`CREATE DATABASE ${name} TEMPLATE ${template}`))
  return {
    url: databaseUrl(url, name),
    drop: () =>
      withClient(url, async (client) => void (await client.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`))),
  }
}

function databaseUrl(url: string, name: string): string {
  const parsed = new URL(url)
  parsed.pathname = `/${name}`
  return parsed.href
}

async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => {})
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end().catch(() => {})
  }
}
