import { expect, test } from 'vitest'
import { VirtualClock } from '../../../proto/std/clock.js'
import type { ClientCall } from '../request/ports.js'
import { bodyOf, CacheWorld, chat, policyOf } from './cache-fixture.js'
import { QuietCall } from './quiet-call.js'

test('the same request once more: for the cache, in the name of the same key, as a request of its own', async () => {
  const clock = new VirtualClock()
  await clock.advance(5_000)
  const headers: Record<string, string> = {
    ...{ authorization: 'Bearer k', 'x-request-id': 'theirs', 'x-switchyard-cache': 'on', 'x-switchyard-user': 'ada' },
  }
  const body = bodyOf(chat('Why?', { temperature: 1 }))
  const original = { door: 'door', parameter: null, header: (name: string) => headers[name] }
  const call = new QuietCall(original, body, clock)
  expect(
    ['authorization', 'x-request-id', 'x-switchyard-cache', 'x-switchyard-user'].map((name) => call.header(name)),
  ).toEqual([...['Bearer k', undefined, 'refresh', 'ada']])
  expect(await call.readBody()).toBe(body)
  expect([call.startedUs, call.startedAtMs]).toEqual([5_000_000, clock.nowMs()])
  expect(call.write()).toBe(true)
})

test('it fits where a client’s call does', () => {
  const fits = (call: QuietCall<ClientCall['door']>): ClientCall => call
  expect(fits).toBeTypeOf('function')
})

test('what it makes is what the stale answer’s key gives from then on', async () => {
  const world = new CacheWorld()
  const asked = { body: chat('Weather now?', { temperature: 1 }), policy: policyOf({ staleSeconds: 600 }) }
  const on = { ...asked, headers: { 'x-switchyard-cache': 'on' } }
  await world.ask(on, 'old')
  await world.clock.advance(3_700_000)
  const turn = world.consult(on)
  expect((await turn?.look())?.renews).toBe(true)
  const call = new QuietCall(
    { door: null, parameter: null, header: (name) => on.headers[name as 'x-switchyard-cache'] },
    bodyOf(on.body),
    world.clock,
  )
  const header = call.header('x-switchyard-cache') ?? ''
  expect(await world.ask({ ...asked, headers: { 'x-switchyard-cache': header } }, 'new')).toBe('made: new')
  expect(await world.ask(on)).toBe('exact: new')
})
