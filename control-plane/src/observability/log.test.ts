import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { makeApiKeyText } from '../../../proto/policy/api-key-text.js'
import { VirtualClock } from '../../../proto/std/clock.js'
import type { Log } from '../../../proto/std/service.js'
import { createLog } from './log.js'

function logged(write: (log: Log) => void): { lines: string[]; entries: Record<string, unknown>[] } {
  const lines: string[] = []
  const log = createLog({ level: 'debug', clock: new VirtualClock(), write: (line) => lines.push(line) })
  write(log)
  return { lines, entries: lines.map((line) => JSON.parse(line)) }
}

describe('a log line', () => {
  test('is one line of JSON with an ISO instant, a level, a message and the fields', () => {
    const { lines, entries } = logged((log) =>
      log.info({ count: 3, big: 12n, text: 'two\nlines' }, 'something happened'),
    )
    expect(lines).toHaveLength(1)
    expect(lines[0]?.trimEnd()).not.toContain('\n')
    expect(entries[0]).toEqual({
      ...{ level: 'info', timestamp: '2026-01-01T00:00:00.000Z', plane: 'control-plane' },
      ...{ count: 3, big: '12', text: 'two\nlines', message: 'something happened' },
    })
  })

  test('of a child carries the fields of its parent', () => {
    const { entries } = logged((log) => log.child({ service: 'api', token: 'x' }).warn({ a: 1 }, 'm'))
    expect(entries[0]).toMatchObject({ level: 'warn', service: 'api', token: '[redacted]', a: 1 })
  })

  test('holds no secret, wherever it hides', () => {
    const apiKey = makeApiKeyText('production', randomBytes(32).toString('base64url'))
    const secrets = {
      apiKey,
      jwt: `eyJhbGciOiJIUzI1NiJ9.${randomBytes(12).toString('base64url')}.${randomBytes(12).toString('base64url')}`,
      joinSecret: randomBytes(24).toString('base64url'),
      password: randomBytes(8).toString('hex'),
      provider: `sk-proj-${randomBytes(20).toString('base64url')}`,
      plain: randomBytes(12).toString('hex'),
    }
    const hiding = {
      authorization: `Bearer ${secrets.plain}`,
      headers: { Cookie: secrets.plain, 'x-api-key': secrets.plain, host: 'localhost' },
      input: { credential: { secret: secrets.plain }, clientSecret: secrets.plain, privateKey: secrets.plain },
      url: `postgresql://postgres:${secrets.password}@127.0.0.1:5432/db`,
      note: `key ${secrets.apiKey} and ${secrets.jwt} and sjt_jtk_1.${secrets.joinSecret}.aa`,
      list: [secrets.provider, { adminToken: secrets.plain }],
      bytes: Buffer.from(secrets.plain),
      fault: new Error(`wrong header Bearer ${secrets.plain}`, { cause: new Error(`sent ${secrets.apiKey}`) }),
    }
    const { lines } = logged((log) => {
      log.error(hiding, `refused ${secrets.apiKey}`)
      log.child(hiding).info({}, 'child')
    })
    for (const line of lines) for (const secret of Object.values(secrets)) expect(line).not.toContain(secret)
    expect(lines[0]).toContain(apiKey.slice(0, 18))
    expect(lines[0]).toContain('127.0.0.1:5432')
  })

  test('names things that only look like secrets', () => {
    const fields = {
      apiKeyId: 'key_1',
      credentialId: 'crd_1',
      wrapKeyId: 'k1',
      tokenCount: 3,
      tokensIn: 4,
      keyPrefix: 'sy_a',
    }
    expect(logged((log) => log.info(fields, 'm')).entries[0]).toMatchObject(fields)
  })

  test('is bounded, and survives what refers to itself', () => {
    const loop: Record<string, unknown> = { text: 'x'.repeat(100_000), many: Array.from({ length: 10_000 }, () => 1) }
    loop['self'] = loop
    const { lines } = logged((log) => log.info(loop, 'm'))
    expect(lines[0]?.length).toBeLessThan(100_000)
  })
})
