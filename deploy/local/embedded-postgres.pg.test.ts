import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../proto/std/clock.js'
import { freePort } from '../../test/harness/free-port.js'
import { makeTestFolder } from '../../test/harness/test-folder.js'
import {
  type EmbeddedPostgres,
  type EmbeddedPostgresOptions,
  removeEmbeddedPostgres,
  setAsideEmbeddedPostgres,
  startEmbeddedPostgres,
} from './embedded-postgres.js'

const isRoot = process.getuid?.() === 0

let folder: string
let options: EmbeddedPostgresOptions
let started: EmbeddedPostgres[]

beforeEach(async () => {
  folder = makeTestFolder()
  chmodSync(folder, 0o711)
  options = {
    folder: path.join(folder, 'postgres'),
    port: await freePort(),
    clock: systemClock,
    outOfReachFolder: path.join(folder, 'moved'),
  }
  started = []
})
afterEach(async () => {
  for (const server of started) await server.stop()
  rmSync(folder, { recursive: true, force: true })
})

async function start(extra: Partial<EmbeddedPostgresOptions> = {}): Promise<EmbeddedPostgres> {
  const server = await startEmbeddedPostgres({ ...options, ...extra })
  started.push(server)
  return server
}

async function ask(url: string, sql: string): Promise<string> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return String(Object.values((await client.query(sql)).rows[0] ?? {})[0])
  } finally {
    await client.end()
  }
}

const refused = (code: string) => ({ refusal: { code } })

describe('the embedded PostgreSQL', () => {
  test('keeps its data behind a password, over stop and kill, and says who runs on it', async () => {
    const first = await start()
    await ask(first.url(), `CREATE TABLE kept AS SELECT 'yes' AS answer`)
    expect(await ask(first.url(), `SHOW unix_socket_directories`)).toBe('')
    expect(await ask(first.url(), `SHOW listen_addresses`)).toBe('127.0.0.1')
    expect(statSync(path.join(options.folder, 'data')).mode & 0o777).toBe(0o700)
    expect(statSync(path.join(options.folder, 'password')).mode & 0o777).toBe(0o600)
    const wrong = new URL(first.url())
    wrong.password = 'guess'
    await expect(ask(wrong.href, 'SELECT 1')).rejects.toMatchObject({ code: '28P01' })
    wrong.password = ''
    await expect(ask(wrong.href, 'SELECT 1')).rejects.toThrow()
    await expect(start({ port: await freePort() })).rejects.toMatchObject(refused('data_in_use'))
    await first.stop()

    const second = await start()
    process.kill(second.pid, 'SIGKILL')
    await second.exited

    const third = await start()
    expect(await ask(third.url(), 'SELECT answer FROM kept')).toBe('yes')
    await third.stop()
    expect(existsSync(path.join(options.folder, 'data', 'postmaster.pid'))).toBe(false)
  })

  test('is not held up by a lock whose process number belongs to somebody else now', async () => {
    const first = await start()
    process.kill(first.pid, 'SIGKILL')
    await first.exited
    const lock = path.join(options.folder, 'data', 'postmaster.pid')
    writeFileSync(lock, readFileSync(lock, 'utf8').replace(/^\d+/, String(process.pid)))
    await start()
  })

  test('refuses a taken port, in one line, and leaves nothing running', async () => {
    const other = await start()
    const attempt = startEmbeddedPostgres({ ...options, folder: path.join(folder, 'second') })
    await expect(attempt).rejects.toMatchObject(refused('port_taken'))
    await expect(attempt).rejects.toThrow(/^port \d+ on 127\.0\.0\.1 is taken: .*--port-base/)
    expect(await ask(other.url(), 'SELECT 1')).toBe('1')
    expect(existsSync(path.join(folder, 'second', 'data', 'postmaster.pid'))).toBe(false)
  })

  test('refuses data of another major and names the page with the way out', async () => {
    await (await start()).stop()
    const version = path.join(options.folder, 'data', 'PG_VERSION')
    writeFileSync(version, '15\n')
    await expect(start()).rejects.toMatchObject(refused('other_major'))
    await expect(start()).rejects.toThrow(/written by PostgreSQL 15.*backup-restore-upgrade\.md/)
  })

  test('refuses a broken folder, whatever is missing, with the way out', async () => {
    await (await start()).stop()
    for (const missing of ['data/PG_VERSION', 'data/global/pg_control', 'password']) {
      const file = path.join(options.folder, missing)
      renameSync(file, `${file}.away`)
      await expect(start()).rejects.toMatchObject(refused('data_broken'))
      await expect(start()).rejects.toThrow(/restore a backup .* or begin anew/)
      renameSync(`${file}.away`, file)
    }
    await start()
  })

  test('a first start that was cut short is begun again', async () => {
    await (await start()).stop()
    renameSync(path.join(options.folder, 'data'), path.join(options.folder, 'data.new'))
    rmSync(path.join(options.folder, 'data.new', 'PG_VERSION'))
    expect(await ask((await start()).url(), 'SELECT 1')).toBe('1')
  })

  test('can be set aside and removed', async () => {
    await (await start()).stop()
    const aside = path.join(folder, 'aside')
    expect(await setAsideEmbeddedPostgres(options.folder, aside, options.outOfReachFolder)).toBe(true)
    expect(await setAsideEmbeddedPostgres(options.folder, aside, options.outOfReachFolder)).toBe(false)
    await start()
    await expect(setAsideEmbeddedPostgres(options.folder, `${aside}2`, options.outOfReachFolder)).rejects.toMatchObject(
      refused('data_in_use'),
    )
    await started.at(-1)?.stop()
    await start({ folder: aside })
    await started.at(-1)?.stop()
    await removeEmbeddedPostgres(options.folder, options.outOfReachFolder)
    expect(existsSync(options.folder)).toBe(false)
  })

  test.skipIf(!isRoot)(
    'runs as another account where root may not make namespaces, and moves out of its way',
    async () => {
      // As in a container: the clone lies where only root can go, /var/lib does not.
      chmodSync(folder, 0o711)
      mkdirSync(path.join(folder, 'private'), { mode: 0o700 })
      options.folder = path.join(folder, 'private', 'postgres')
      const server = await start({ namespaces: false })
      expect(existsSync(path.join(options.folder, 'data'))).toBe(false)
      expect(server.account).toMatch(/^uid \d+$/)
      await ask(server.url(), `CREATE TABLE kept AS SELECT 'yes' AS answer`)
      await server.stop()
      // Once moved, it stays: a later start that could run in place finds the same data.
      const again = await start()
      expect(await ask(again.url(), 'SELECT answer FROM kept')).toBe('yes')
      await again.stop()
      await removeEmbeddedPostgres(options.folder, options.outOfReachFolder)
    },
  )
})
