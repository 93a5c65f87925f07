import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import OpenAI from 'openai'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { LocalFile } from '../../deploy/local/local-file.js'
import { type ProcessIdentity, startTimeOf } from '../../deploy/local/process-identity.js'
import { Simulator } from '../../deploy/local/simulator.js'
import { createClient, type UsageRecordFieldsFragment } from '../../sdk/client.js'
import { eventually } from '../harness/process.js'
import { repositoryFolder } from '../harness/repository-folder.js'

/**
 * What a new user does: start everything with one command, ask through the agent with the official client, see the usage,
 * stop, start again. In a data folder and on ports of its own.
 */
const root = repositoryFolder()
let folder: string
let portBase: number

interface Started {
  child: ChildProcess
  output: () => string
  exitCode: Promise<number | null>
}

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'switchyard-start-'))
  portBase = await freePortBase()
})

const started: Started[] = []
const stopLater: (() => Promise<void>)[] = []

afterAll(async () => {
  for (const { child, exitCode } of started) {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGINT')
    await exitCode
  }
  for (const stop of stopLater) await stop()
  rmSync(folder, { recursive: true, force: true })
})

function start(...args: string[]): Started {
  const command = [
    path.join(root, 'deploy/local/start.mjs'),
    '--folder',
    folder,
    '--port-base',
    String(portBase),
    ...args,
  ]
  const { DATABASE_URL: _, REDIS_URL: __, ...environment } = process.env
  const child = spawn(process.execPath, command, {
    cwd: root,
    env: { ...environment, UPSTREAM_API_KEY: 'upstream-key' },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  const exitCode = new Promise<number | null>((resolve) => child.once('close', (code) => resolve(code)))
  const one = { child, output: () => output, exitCode }
  started.push(one)
  return one
}

async function ready(one: Started): Promise<LocalFile> {
  const shown = eventually('npm start shows its screen', () => one.output().includes('Switchyard runs.'), 150_000)
  const ended = one.exitCode.then((code) => {
    throw new Error(`npm start ended with ${code}:\n${one.output()}`)
  })
  await Promise.race([shown, ended])
  return JSON.parse(readFileSync(path.join(folder, 'local.json'), 'utf8'))
}

async function freePortBase(): Promise<number> {
  for (let tries = 0; tries < 100; tries++) {
    const base = randomInt(20_000, 29_990)
    const free = await Promise.all(Array.from({ length: 8 }, (_, i) => isFree(base + i)))
    if (free.every(Boolean)) return base
  }
  throw new Error('no eight free ports in a row')
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = net.createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}

function recordedProcesses(): ProcessIdentity[] {
  return JSON.parse(readFileSync(path.join(folder, 'processes.json'), 'utf8'))
}

async function usageOf(facts: LocalFile, requestId: string): Promise<UsageRecordFieldsFragment> {
  const client = createClient({ url: facts.graphqlUrl, token: facts.adminToken })
  return eventually(`the usage of ${requestId}`, async () => {
    const { usageRecord } = await client.usageRecord({ requestId, tenantId: facts.tenantId })
    return usageRecord
  })
}

let first: LocalFile
let firstRequestId: string

test('one command from nothing to an answer through the agent, with its usage', async () => {
  const one = start()
  first = await ready(one)
  expect(statSync(path.join(folder, 'local.json')).mode & 0o777).toBe(0o600)
  expect(one.output()).toContain(first.apiKey)
  expect(one.output()).not.toContain(first.adminToken)
  expect(Object.keys(first.pids).sort()).toEqual(['agent', 'control-plane', 'postgres', 'simulator', 'start'])

  const openai = new OpenAI({ baseURL: `${first.agentUrl}/v1`, apiKey: first.apiKey, maxRetries: 0 })
  const messages = [{ role: 'user' as const, content: 'Hello' }]
  const plain = await openai.chat.completions.create({ model: first.route, messages, user: 'ada' }).withResponse()
  firstRequestId = plain.response.headers.get('x-request-id') ?? ''
  expect(plain.data.choices[0]?.message.content?.length).toBeGreaterThan(0)

  const stream = await openai.chat.completions.create({ model: first.route, messages, stream: true }).withResponse()
  let words = ''
  for await (const chunk of stream.data) words += chunk.choices[0]?.delta.content ?? ''
  expect(words).toBe(plain.data.choices[0]?.message.content)

  const record = await usageOf(first, firstRequestId)
  expect(record).toMatchObject({
    status: 'OK',
    userId: 'ada',
    stream: false,
    routeName: first.route,
    tokensIn: plain.data.usage?.prompt_tokens,
    tokensOut: plain.data.usage?.completion_tokens,
    usageSource: 'provider',
    traceId: expect.stringMatching(/^[0-9a-f]{32}$/),
    snapshotGeneration: expect.stringMatching(/^[1-9]/),
  })
  expect(record.latencyMs).toBeGreaterThan(0)
  // The simulator's price in the demo: 0.15 and 0.60 dollars a million.
  const nanoUsd = 150n * BigInt(record.tokensIn ?? 0) + 600n * BigInt(record.tokensOut ?? 0)
  expect(record.costNanoUsd).toBe(String(nanoUsd))
  const streamed = await usageOf(first, stream.response.headers.get('x-request-id') ?? '')
  expect(streamed).toMatchObject({ stream: true, status: 'OK', userId: 'anonymous', tokensOut: record.tokensOut })
})

test('the command line finds the installation by its file', () => {
  const cli = path.join(root, '.build/sdk/cli/main.js')
  const named = ['--url', first.graphqlUrl, '--token', first.adminToken, '--json']
  const status = JSON.parse(execFileSync(process.execPath, [cli, ...named, 'status'], { encoding: 'utf8' }))
  expect(status.viewer.subject).toBe('bootstrap')
  const usage = JSON.parse(
    execFileSync(process.execPath, [cli, ...named, 'usage', '--last', '5'], { encoding: 'utf8' }),
  )
  expect(usage.map(({ requestId }: { requestId: string }) => requestId)).toContain(firstRequestId)
})

test('a second start in the same folder is refused in one line', async () => {
  const second = start()
  expect(await second.exitCode).toBe(1)
  expect(second.output().trim()).toMatch(
    /^switchyard: Switchyard already runs in .* press Ctrl-C there, or run: kill \d+$/,
  )
})

test('Ctrl-C leaves no process, no lock and no open port', async () => {
  const [one] = started
  const processes = recordedProcesses()
  expect(processes).toHaveLength(4)
  one?.child.kill('SIGINT')
  expect(await one?.exitCode).toBe(0)
  for (const { name, pid, startedAt } of processes) expect([name, startTimeOf(pid)]).not.toEqual([name, startedAt])
  expect(existsSync(path.join(folder, 'lock'))).toBe(false)
  expect(existsSync(path.join(folder, 'local.json'))).toBe(false)
  for (let i = 0; i < 8; i++) expect([portBase + i, await isFree(portBase + i)]).toEqual([portBase + i, true])
})

test('a taken port is one line that says how to go elsewhere', async () => {
  const squatter = net.createServer()
  await new Promise<void>((resolve) => squatter.listen(portBase + 4, '127.0.0.1', resolve))
  try {
    const refused = start()
    expect(await refused.exitCode).toBe(1)
    expect(refused.output().trim()).toMatch(
      new RegExp(`^switchyard: port ${portBase + 4} \\(agent\\) is taken .* npm start -- --port-base \\d+$`),
    )
  } finally {
    await new Promise((resolve) => squatter.close(resolve))
  }
})

test('starting again keeps the data and the key; what a killed start left is ended; another upstream answers', async () => {
  const again = start()
  const facts = await ready(again)
  expect(facts.apiKey).toBe(first.apiKey)
  expect(facts.tenantId).toBe(first.tenantId)
  expect((await usageOf(facts, firstRequestId)).requestId).toBe(firstRequestId)

  const left = recordedProcesses()
  again.child.kill('SIGKILL')
  await again.exitCode
  const upstream = new Simulator({ port: 0, apiKey: 'upstream-key', behaviour: { outputTokens: 7 } })
  await upstream.start()
  stopLater.push(() => upstream.stop())
  const third = start('--upstream', `${upstream.url}/v1`, '--model', 'simulator-large')
  const afterKill = await ready(third)
  expect(third.output()).toContain('ended what an earlier start had left')
  for (const { name, pid, startedAt } of left) expect([name, startTimeOf(pid)]).not.toEqual([name, startedAt])
  const openai = new OpenAI({ baseURL: `${afterKill.agentUrl}/v1`, apiKey: first.apiKey, maxRetries: 0 })
  const answer = await openai.chat.completions.create({
    model: first.route,
    messages: [{ role: 'user', content: 'Hi' }],
  })
  expect(answer).toMatchObject({ model: 'simulator-large', usage: { completion_tokens: 7 } })
  expect(upstream.accepted()).toMatchObject([{ model: 'simulator-large', finished: true }])
  expect(afterKill.simulatorUrl).toBeNull()
  // No route of the demo leads to the simulator, which is not there: the upstream serves it, or it is gone.
  const { data: models } = await openai.models.list()
  expect(models.map(({ id }) => id).sort()).toEqual(['chat', 'chat-large'])
  third.child.kill('SIGTERM')
  expect(await third.exitCode).toBe(0)
})
