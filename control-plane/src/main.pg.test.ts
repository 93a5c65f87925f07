import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type TestDatabase, testDatabase } from '../../test/harness/postgres.js'
import { repositoryFolder } from '../../test/harness/repository-folder.js'

const script = path.join(repositoryFolder(), '.build/control-plane/src/main.js')
const [oldKey, youngKey] = ['old', 'young'].map((id) => `${id}:${randomBytes(32).toString('base64')}`) as [
  string,
  string,
]
let database: TestDatabase

beforeAll(async () => {
  database = await testDatabase()
})
afterAll(() => database?.drop())

/** The command as a user runs it. `until` ends the wait early: the text that output must hold. */
function run(args: string[], environment: Record<string, string>) {
  const child = spawn(process.execPath, [script, ...args], { env: { PATH: process.env['PATH'] ?? '', ...environment } })
  let output = ''
  let wake = () => {}
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (text) => {
      output += text
      wake()
    })
  }
  const ended = once(child, 'exit').then(([code]) => Number(code))
  const until = async (text: string) => {
    while (!output.includes(text)) {
      if (child.exitCode !== null) throw new Error(`ended before it said ${text}:\n${output}`)
      await Promise.race([new Promise<void>((resolve) => (wake = resolve)), ended])
    }
  }
  return { child, ended, until, output: () => output }
}

const variables = (more: Record<string, string> = {}) => ({
  DATABASE_URL: database.url,
  SWITCHYARD_WRAP_KEYS: oldKey,
  SWITCHYARD_ADMIN_TOKEN: 'an-admin-token-of-at-least-32-characters',
  ...{
    SWITCHYARD_HTTP_PORT: '0',
    SWITCHYARD_METRICS_PORT: '0',
    SWITCHYARD_FLEET_PORT: '0',
    SWITCHYARD_ENROL_PORT: '0',
  },
  ...more,
})

describe('the command', () => {
  test('prints every setting', async () => {
    const { ended, output } = run(['--help'], {})
    expect(await ended).toBe(0)
    expect(output()).toContain('rotate-keys')
    expect(output()).toContain('SWITCHYARD_JWT_JWKS_URL')
  })

  test.each<[string, string[], Record<string, string>, string]>([
    ['no settings', [], {}, 'DATABASE_URL is required'],
    [
      'a bad one',
      [],
      { SWITCHYARD_HTTP_PORT: 'http' },
      'SWITCHYARD_HTTP_PORT is "http": expected an integer from 0 to 65535',
    ],
    ['an unknown command', ['serve'], {}, 'unknown command serve'],
    [
      'a misspelt one that is required',
      [],
      { SWITCHYARD_WRAP_KEY: oldKey },
      'SWITCHYARD_WRAP_KEY is not a setting and has no effect: did you mean SWITCHYARD_WRAP_KEYS?',
    ],
  ])('refuses %s', async (_, args, environment, sentence) => {
    const { ended, output } = run(args, environment)
    expect(await ended).toBe(64)
    expect(output()).toContain(sentence)
    expect(output()).not.toContain('    at ')
  })

  test.each<[string, () => Record<string, string>, RegExp]>([
    [
      'a database that does not answer',
      () => ({ DATABASE_URL: 'postgresql://x@127.0.0.1:1/x', SWITCHYARD_DATABASE_WAIT_MS: '0' }),
      /could not start: the database .* cannot be reached .* is DATABASE_URL right\?/,
    ],
    [
      'a taken gRPC port',
      () => ({ SWITCHYARD_FLEET_PORT: new URL(database.url).port }),
      /could not start: port \d+ is taken: end what listens there, or set SWITCHYARD_FLEET_PORT to another/,
    ],
  ])('%s is one line with what to do, and no stack', async (_, more, sentence) => {
    const refused = run([], variables({ ...more(), SWITCHYARD_HTTP_PROT: '1' }))
    expect(await refused.ended).toBe(1)
    const lines = refused.output().trim().split('\n')
    expect(lines.filter((line) => line.includes('"level":"error"'))).toEqual([expect.stringMatching(sentence)])
    expect(refused.output()).not.toContain('    at ')
    expect(refused.output()).not.toContain('"stack"')
    expect(lines.filter((line) => line.includes('"level":"warn"'))).toEqual([
      expect.stringContaining(
        'SWITCHYARD_HTTP_PROT is not a setting and has no effect: did you mean SWITCHYARD_HTTP_PORT?',
      ),
    ])
  })

  test('rotate-keys without a database is one line as well', async () => {
    const refused = run(['rotate-keys'], variables({ DATABASE_URL: 'postgresql://x@127.0.0.1:1/x' }))
    expect(await refused.ended).toBe(1)
    expect(refused.output()).toMatch(/^switchyard control plane: the database cannot be reached.*\n$/)
  })

  test('serves, exports its traces when asked to, and stops cleanly on SIGTERM', async () => {
    const received: string[] = []
    let wake = () => {}
    const collector = createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        received.push(`${request.url} ${Buffer.concat(chunks).toString('latin1')}`)
        response.end()
        wake()
      })
    }).listen(0, '127.0.0.1')
    await once(collector, 'listening')
    const endpoint = `http://127.0.0.1:${(collector.address() as AddressInfo).port}`
    const plane = run([], variables({ SWITCHYARD_OTLP_ENDPOINT: endpoint }))
    await plane.until('"message":"ready"')
    const lines = plane.output().trim().split('\n')
    const { http } = JSON.parse(lines.find((line) => line.includes('"ready"')) ?? '{}')
    const answer = await fetch(`${http}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ query: 'query Traced { __typename }' }),
    })
    expect(await answer.json()).toEqual({ data: { __typename: 'Query' } })
    plane.child.kill('SIGTERM')
    expect(await plane.ended).toBe(0)
    for (const line of plane.output().trim().split('\n')) expect(JSON.parse(line)).toHaveProperty('timestamp')
    // The last spans are flushed on the way out.
    while (!received.some((body) => body.startsWith('/v1/traces') && body.includes('query Traced'))) {
      await new Promise<void>((resolve) => (wake = resolve))
    }
    collector.close()
  })

  test('rotate-keys seals anew beside a control plane that serves, which then starts with the new key alone', async () => {
    const serving = run([], variables({ SWITCHYARD_WRAP_KEYS: `${oldKey},${youngKey}` }))
    await serving.until('"message":"ready"')
    const rotation = run(['rotate-keys'], variables({ SWITCHYARD_WRAP_KEYS: `${youngKey},${oldKey}` }))
    expect(await rotation.ended, rotation.output()).toBe(0)
    expect(rotation.output()).toContain('certificate authority keys: 1 sealed anew')
    expect(rotation.output()).toContain('key young: 2 secrets (active)')
    serving.child.kill('SIGINT')
    expect(await serving.ended).toBe(0)
    const renewed = run([], variables({ SWITCHYARD_WRAP_KEYS: youngKey }))
    await renewed.until('"message":"ready"')
    renewed.child.kill('SIGTERM')
    expect(await renewed.ended).toBe(0)
    const left = run([], variables())
    expect(await left.ended).toBe(1)
    expect(left.output()).toMatch(/could not start: .* wrap key young, .*: put it back into the list/)
    expect(left.output()).not.toContain('"stack"')
  })
})
