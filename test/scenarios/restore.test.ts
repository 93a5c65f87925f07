import { rmSync } from 'node:fs'
import path from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { backUp } from '../../deploy/database/backup.js'
import { restore } from '../../deploy/database/restore.js'
import { systemClock } from '../../proto/std/clock.js'
import { eventually } from '../harness/process.js'
import { Stack } from '../harness/stack.js'
import { makeTestFolder } from '../harness/test-folder.js'

/** The runbook deploy/runbooks/backup-restore-upgrade.md, followed word by word on the whole product. */
let stack: Stack
let folder: string

beforeAll(async () => {
  folder = makeTestFolder()
  stack = new Stack({ queue: 'postgres', seed: 7 })
  await stack.start()
}, 180_000)
afterAll(async () => {
  await stack?.stop()
  rmSync(folder, { recursive: true, force: true })
})

async function ask(url: string, sql: string): Promise<string> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return String(Object.values((await client.query(sql)).rows[0] ?? {})[0])
  } finally {
    await client.end()
  }
}

async function chat(count: number): Promise<void> {
  for (let n = 0; n < count; n++) {
    const answer = await fetch(`${stack.agentUrl}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${stack.seed.apiKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: stack.chatRoute, messages: [{ role: 'user', content: 'hello' }] }),
    })
    expect(answer.status).toBe(200)
    await answer.text()
  }
}

async function createKey(name: string): Promise<void> {
  await stack.graphql(`mutation ($input: CreateApiKeyInput!) { createApiKey(input: $input) { intentRevision } }`, {
    input: { environmentId: stack.seed.environmentId, name },
  })
}

const recordCount = (url: string) => ask(url, 'SELECT count(*) FROM "UsageRecord"')
const appliedIs = (url: string, condition: string) =>
  ask(url, `SELECT count(*) FROM "AgentStatus" WHERE ${condition}`).then((count) => count === '1')

test('after a restore agents follow the older state and send again what it lacks', { timeout: 300_000 }, async () => {
  const first = String(stack.database.options.connectionString)
  await chat(3)
  await eventually('three records are stored', async () => (await recordCount(first)) === '3')
  const generation = await ask(first, 'SELECT "appliedGeneration" FROM "AgentStatus"')
  await backUp({ url: first, folder: path.join(folder, 'backup'), clock: systemClock })

  // What the backup does not know: two generations, and usage that the agent believes safely stored.
  await createKey('lost-1')
  await eventually('a newer generation is applied', () => appliedIs(first, `"appliedGeneration" > ${generation}`))
  await createKey('lost-2')
  await eventually('and one more', () => appliedIs(first, `"appliedGeneration" > ${generation} + 1`))
  await chat(4)
  await eventually('seven records are stored', async () => (await recordCount(first)) === '7')

  await stack.controlPlane.end('SIGTERM')
  await chat(2)
  const restored = new URL(first)
  restored.pathname = '/restored'
  await ask(first, 'CREATE DATABASE restored')
  await restore({ url: restored.href, folder: path.join(folder, 'backup') })
  expect(await recordCount(restored.href)).toBe('3')
  stack.controlPlane.setEnvironment({ DATABASE_URL: restored.href })
  stack.controlPlane.start()
  await stack.controlPlaneReady()

  await eventually('the agent follows', () => appliedIs(restored.href, `"appliedEpoch" = 2 AND connected`))
  await eventually('everything it served is stored', async () => (await recordCount(restored.href)) === '9')
  expect(await ask(restored.href, 'SELECT count(*) FROM "DeadLetter"')).toBe('0')
  await chat(1)
  await eventually('and it goes on', async () => (await recordCount(restored.href)) === '10')
})
