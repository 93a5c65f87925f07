import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { systemClock } from '../../proto/std/clock.js'
import { BoundedLog } from './bounded-log.js'
import { startTimeOf } from './process-identity.js'
import { SupervisedProcess, type SupervisedProcessOptions } from './supervised-process.js'

let folder: string
let log: BoundedLog
let pids: number[]
let supervised: SupervisedProcess | null

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'supervised-'))
  log = new BoundedLog(path.join(folder, 'child.log'))
  pids = []
  supervised = null
})

afterEach(async () => {
  await supervised?.stop()
  log.close()
  rmSync(folder, { recursive: true })
})

function supervise(script: string, options: Partial<SupervisedProcessOptions> = {}): SupervisedProcess {
  supervised = new SupervisedProcess({
    name: 'child',
    command: [process.execPath, '-e', script],
    environment: () => ({}),
    folder,
    log,
    clock: systemClock,
    isReady: async () => log.tail(20).some((line) => line.includes('ready')),
    onStart: (pid) => pids.push(pid),
    ...options,
  })
  return supervised
}

async function until(is: () => boolean): Promise<void> {
  for (let tries = 0; !is(); tries++) {
    if (tries > 500) throw new Error('the awaited state did not come')
    await systemClock.sleep(20)
  }
}

const waits = 'console.log("ready"); setInterval(() => {}, 1000)'

test('a child is ready, then gone after stop', async () => {
  const child = supervise(waits)
  await child.run()
  const pid = child.pid ?? 0
  expect(startTimeOf(pid)).not.toBeNull()
  await child.stop()
  expect(startTimeOf(pid)).toBeNull()
})

test('a child that dies unasked is started again', async () => {
  const child = supervise(waits)
  await child.run()
  process.kill(child.pid ?? 0, 'SIGKILL')
  await until(() => pids.length === 2)
  await until(() => startTimeOf(pids[1] ?? 0) !== null)
  expect(startTimeOf(pids[0] ?? 0)).toBeNull()
})

test('a child that dies before it is ready fails the start with its last words', async () => {
  const child = supervise('console.error("the data folder is broken"); process.exit(3)')
  await expect(child.run()).rejects.toThrow(/stopped while starting[\s\S]*the data folder is broken/)
  expect(pids).toHaveLength(1)
})

test('a child that ignores SIGTERM is killed after its deadline, with the children of its group', async () => {
  const child = supervise(
    `process.on('SIGTERM', () => {});
     const { spawn } = require('node:child_process');
     const grandchild = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
     console.log('ready ' + grandchild.pid); setInterval(() => {}, 1000)`,
    { stopTimeoutMs: 200 },
  )
  await child.run()
  const grandchild = Number(log.tail(1)[0]?.split(' ')[1])
  expect(startTimeOf(grandchild)).not.toBeNull()
  await child.stop()
  expect(startTimeOf(pids[0] ?? 0)).toBeNull()
  await until(() => startTimeOf(grandchild) === null)
})

test('a program that does not exist is a refusal, not a crash', async () => {
  const child = supervise('', { command: ['/nowhere/program'] })
  await expect(child.run()).rejects.toThrow(/stopped while starting/)
})

test('the log keeps the newest bytes within its bound', async () => {
  const small = new BoundedLog(path.join(folder, 'small.log'), 100)
  for (let i = 0; i < 50; i++) small.write(`line ${i}\n`)
  expect(small.tail(1)).toEqual(['line 49'])
  small.close()
  expect(readdirSync(folder).filter((name) => name.startsWith('small'))).toEqual(['small.log', 'small.log.1'])
})
