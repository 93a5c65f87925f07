import { describe, expect, test } from 'vitest'
import { VirtualClock } from '../../../proto/std/clock.js'
import { createAgentLog } from './log.js'

function openLog(level = 'info') {
  const lines: Record<string, unknown>[] = []
  const destination = { write: (text: string) => void lines.push(JSON.parse(text) as Record<string, unknown>) }
  return { lines, log: createAgentLog({ level, agentName: 'a-1', clock: new VirtualClock(), destination }) }
}

describe('the log', () => {
  test('is one JSON line with an ISO instant, plane and agent', () => {
    const { lines, log } = openLog()
    log.child({ service: 'x' }).info({ n: 1 }, 'hello')
    expect(lines).toEqual([
      {
        level: 'info',
        timestamp: '2026-01-01T00:00:00.000Z',
        plane: 'agent',
        agent: 'a-1',
        service: 'x',
        n: 1,
        message: 'hello',
      },
    ])
  })

  test('redacts secrets wherever they stand and leaves the caller’s object alone', () => {
    const { lines, log } = openLog()
    const fields = {
      apiKey: 'sk-1',
      headers: { authorization: 'Bearer x', 'api-key': 'y', accept: 'z', list: [{ token: 't' }, 1] },
      Password: 'p',
      tokens_in: 5,
      deep: { a: { b: { c: { d: { secret: 's' } } } } },
    }
    log.warn(fields, 'with secrets')
    const text = JSON.stringify(lines[0])
    for (const secret of ['sk-1', 'Bearer x', '"y"', '"t"', '"p"', '"s"']) expect(text).not.toContain(secret)
    expect(lines[0]).toMatchObject({ tokens_in: 5, headers: { accept: 'z', list: [{ token: '[redacted]' }, 1] } })
    expect(fields.headers.authorization).toBe('Bearer x')
  })

  test('a plain line looks like any other', () => {
    const { lines, log } = openLog()
    log.child({ service: 'request' }).plain(
      (line, route: string) => {
        line.plain('"route":')
        line.json(route)
        line.plain(',"tokens_in":null')
      },
      'a "quoted" one',
      'request',
      Date.UTC(2026, 0, 1),
    )
    expect(lines[0]).toEqual({
      level: 'info',
      timestamp: '2026-01-01T00:00:00.000Z',
      plane: 'agent',
      agent: 'a-1',
      service: 'request',
      route: 'a "quoted" one',
      tokens_in: null,
      message: 'request',
    })
  })

  test('can write to standard output', () => {
    expect(() => createAgentLog({ level: 'silent', agentName: 'a', clock: new VirtualClock() })).not.toThrow()
  })

  test('says nothing below its level', () => {
    const { lines, log } = openLog('warn')
    log.info({}, 'no')
    log.plain((line) => line.plain('"a":1'), null, 'no', 0)
    log.debug({}, 'no')
    expect(lines).toEqual([])
  })
})
