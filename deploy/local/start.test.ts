import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Writable } from 'node:stream'
import { expect, test } from 'vitest'
import { systemClock } from '../../proto/std/clock.js'
import { LocalFolder } from './local-folder.js'
import { LocalInstallation } from './local-installation.js'
import { runLocally } from './main.js'
import { Progress } from './progress.js'

const script = path.join(import.meta.dirname, 'start.mjs')

function start(args: readonly string[], environment: Record<string, string> = {}) {
  const { OPENAI_API_KEY: _, ...inherited } = process.env
  return spawnSync(process.execPath, args, { encoding: 'utf8', env: { ...inherited, ...environment } })
}

test.each([
  [['--port-base', 'abc'], /^switchyard: --port-base is "abc": expected a number from 1024 to 65528\n$/],
  [['--port-base', '65530'], /expected a number from 1024 to 65528\n$/],
  [['--speed', '3'], /^switchyard: Unknown option '--speed'; see npm start -- --help\n$/],
  [['extra'], /^switchyard: Unexpected argument 'extra'.*; see npm start -- --help\n$/],
  [['--upstream', 'somewhere'], /expected openai or a URL such as http:\/\/127\.0\.0\.1:8000\/v1\n$/],
  [['--upstream'], /^switchyard: Option '--upstream <value>' argument missing; see npm start -- --help\n$/],
  [
    ['--upstream', 'openai'],
    /^switchyard: --upstream openai needs your key: OPENAI_API_KEY=sk-… npm start -- --upstream openai\n$/,
  ],
])('%j is refused in one line, before anything is installed or started', (args, words) => {
  const { status, stderr, stdout } = start([script, ...args])
  expect(stderr).toMatch(words)
  expect(stderr.trim().split('\n')).toHaveLength(1)
  expect([status, stdout]).toEqual([1, ''])
})

test('an empty key of OpenAI is none', () => {
  const { status, stderr } = start([script, '--upstream', 'openai'], { OPENAI_API_KEY: '' })
  expect([status, stderr]).toEqual([1, expect.stringContaining('needs your key: OPENAI_API_KEY=sk-…')])
})

test('a Node that is too old is told so in one line', () => {
  const older = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '18.20.4' } })`
  const { status, stderr } = start(['--import', `data:text/javascript,${encodeURIComponent(older)}`, script])
  expect(stderr).toMatch(/^switchyard: Node\.js 18\.20\.4 is too old; install 20\.19 or newer .*\n$/)
  expect(status).toBe(1)
})

test('help has examples and needs nothing', () => {
  const { status, stdout } = start([script, '--help'])
  expect(stdout).toMatch(/--upstream[\s\S]*--port-base[\s\S]*Examples/)
  expect(status).toBe(0)
})

function silence(): NodeJS.WriteStream {
  return new Writable({ write: (_chunk, _encoding, done) => done() }) as unknown as NodeJS.WriteStream
}

test.each([
  ['data without the keys that it is sealed under', null],
  ['keys in a file that is torn', '{"version":1,"adminTo'],
])('%s: one line with the way out', async (_, state) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'start-'))
  try {
    mkdirSync(path.join(folder, 'postgres', 'data'), { recursive: true })
    if (state !== null) writeFileSync(path.join(folder, 'state.json'), state)
    const installation = new LocalInstallation({
      options: { root: folder, folder, portBase: 64_100, fresh: false, upstream: null, model: null },
      folder: new LocalFolder(folder),
      environment: {},
      clock: systemClock,
      progress: new Progress(silence(), systemClock),
    })
    await expect(installation.start()).rejects.toThrow(
      /missing or broken; put it back, or begin anew: npm start -- --fresh$/,
    )
    await installation.stop()
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('--fresh with a database of your own is refused: it would not be fresh', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'start-'))
  try {
    const installation = new LocalInstallation({
      options: { root: folder, folder, portBase: 64_100, fresh: true, upstream: null, model: null },
      folder: new LocalFolder(folder),
      environment: { DATABASE_URL: 'postgresql://127.0.0.1:1/none' },
      clock: systemClock,
      progress: new Progress(silence(), systemClock),
    })
    await expect(installation.start()).rejects.toThrow(/--fresh does not touch the database/)
    await installation.stop()
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('a start that was refused the folder leaves the facts of the one that has it', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'start-'))
  const owner = new LocalFolder(folder)
  owner.lock()
  try {
    writeFileSync(owner.localFile, '{}')
    const options = { root: folder, folder, portBase: 64_100, fresh: false, upstream: null, model: null }
    expect(await runLocally(options)).toBe(1)
    expect(existsSync(owner.localFile)).toBe(true)
  } finally {
    owner.unlock()
    rmSync(folder, { recursive: true })
  }
})
