import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { systemClock } from '../../proto/std/clock.js'
import { LocalFolder, writeSecretFile } from './local-folder.js'
import { identityOf, isAlive, startTimeOf } from './process-identity.js'

let folder: string

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'local-folder-'))
})

afterEach(() => {
  rmSync(folder, { recursive: true })
})

function sleeper(): number {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { detached: true, stdio: 'ignore' })
  return child.pid ?? 0
}

test('a second start in the same folder is refused while the first lives', () => {
  const first = new LocalFolder(folder)
  first.lock()
  expect(() => new LocalFolder(folder).lock()).toThrow(/already runs in .*kill/)
  first.unlock()
  const second = new LocalFolder(folder)
  second.lock()
  second.unlock()
})

test('the lock of a dead process is taken, also when its number belongs to another process now', () => {
  writeSecretFile(path.join(folder, 'lock'), { name: 'start', pid: process.pid, startedAt: 'another time' })
  const taker = new LocalFolder(folder)
  taker.lock()
  taker.unlock()
  writeFileSync(path.join(folder, 'lock'), '{"name":"sta')
  const next = new LocalFolder(folder)
  next.lock()
  next.unlock()
})

test('leftovers are ended, and nobody else', async () => {
  const left = sleeper()
  const stranger = sleeper()
  try {
    const crashed = new LocalFolder(folder)
    crashed.record('agent', left)
    writeSecretFile(path.join(folder, 'processes.json'), [
      identityOf('agent', left),
      // The number is a stranger's now: the recorded process started at another time.
      { name: 'simulator', pid: stranger, startedAt: 'another time' },
    ])
    const ended = await new LocalFolder(folder).reap(systemClock)
    expect(ended.map(({ name }) => name)).toEqual(['agent'])
    expect(startTimeOf(left)).toBeNull()
    expect(startTimeOf(stranger)).not.toBeNull()
  } finally {
    process.kill(stranger, 'SIGKILL')
  }
})

test('a process is itself and no other', () => {
  const own = identityOf('test', process.pid)
  expect(own && isAlive(own)).toBe(true)
  expect(own && isAlive({ ...own, startedAt: 'x' })).toBe(false)
  expect(identityOf('none', 2 ** 22 + 1)).toBeNull()
})

test('secrets are readable by their owner alone', () => {
  const file = path.join(folder, 'local.json')
  writeSecretFile(file, { adminToken: 'secret' })
  expect(statSync(file).mode & 0o777).toBe(0o600)
})
