import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { systemClock } from '../../../proto/std/clock.js'
import { RefusalError } from '../../../proto/std/refusal.js'
import { KeptLog, temporaryFolder } from '../config/config-fixture.js'
import { isAlive, StateFolder } from '../config/state-folder.js'
import { outliveWorkers, WorkerRegistry } from './worker-registry.js'

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let state: StateFolder
let log: KeptLog
const children: ReturnType<typeof spawn>[] = []

beforeEach(async () => {
  folder = await temporaryFolder()
  state = await StateFolder.open(folder.path, null)
  log = new KeptLog()
})
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  await state.close()
  await folder.remove()
})

/** A process that ignores what asks it to end. */
function startProcess() {
  const child = spawn(process.execPath, ['-e', 'process.on("SIGTERM",()=>{});setInterval(()=>{},1e6)'])
  children.push(child)
  if (child.pid === undefined) throw new Error('no process')
  return { pid: child.pid, ended: once(child, 'exit') }
}

it('a worker of an earlier life that still runs is ended before anybody reads its lanes', async () => {
  const { pid, ended } = startProcess()
  await new WorkerRegistry(state).add(pid)
  await outliveWorkers(state, systemClock, log)
  await ended
  expect(isAlive(pid)).toBe(false)
  expect(log.at('warn')).toEqual(['a request worker of an earlier life still runs; it is killed'])
  expect(await state.read('workers')).toBeNull()
})

it('one that ended is not waited for, and a list of nobody is none', async () => {
  const registry = new WorkerRegistry(state)
  const { pid } = startProcess()
  await Promise.all([registry.add(pid), registry.remove(pid)])
  await registry.add(2 ** 22 + 1)
  await outliveWorkers(state, systemClock, log)
  expect(isAlive(pid)).toBe(true)
  expect(log.at('warn')).toEqual([])
  await outliveWorkers(state, systemClock, log)
})

it('a process that got the number of one later is left alone', async () => {
  const { pid } = startProcess()
  await writeFile(path.join(folder.path, 'workers'), JSON.stringify([{ pid, startTime: '1' }]))
  await outliveWorkers(state, systemClock, log)
  expect(isAlive(pid)).toBe(true)
})

it('one that cannot be told from another process stops the start, with what to do', async () => {
  const { pid } = startProcess()
  await writeFile(path.join(folder.path, 'workers'), JSON.stringify([{ pid, startTime: '' }]))
  await expect(outliveWorkers(state, hurried, log)).rejects.toThrow(RefusalError)
  await expect(outliveWorkers(state, hurried, log)).rejects.toThrow(`process ${pid}`)
  expect(isAlive(pid)).toBe(true)
})

it.each([['nonsense'], ['{}'], ['[{"pid":"x"}]']])('a list that says %s names nobody', async (text) => {
  await writeFile(path.join(folder.path, 'workers'), text)
  await outliveWorkers(state, systemClock, log)
})

/** Waits cost nothing. */
let elapsedUs = 0
const hurried = {
  ...systemClock,
  monotonicUs: () => elapsedUs,
  sleep: async (ms: number) => {
    elapsedUs += ms * 1000
  },
}
