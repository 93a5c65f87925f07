import { describe, expect, test } from 'vitest'
import { sketchRoute } from '../../../proto/policy/table-fixture.js'
import type { CachePurgeTable } from '../../../proto/policy/tables.js'
import { isRefusal } from '../../../proto/std/refusal.js'
import { AccessTokens } from '../providers/access-tokens.js'
import { Dialects } from '../providers/dialects.js'
import { TokenClient } from '../providers/token-client.js'
import {
  type Asked,
  answerOf,
  CacheWorld,
  chat,
  chunk,
  done,
  policyOf,
  questionOf,
  target,
  told,
} from './cache-fixture.js'
import { shownHeaders } from './cache-turn.js'
import { clockSkewMs } from './purges.js'

const france = 'What is the capital of France?'

describe('a request and the same once more', () => {
  test('the second gets what the first was given, with its age', async () => {
    const world = new CacheWorld()
    expect(await world.ask()).toBe('made: Paris.')
    await world.clock.advance(12_345)
    const hit = await world.consult()?.look()
    expect(hit).toMatchObject({ kind: 'exact', ageSeconds: 12, renews: false })
    expect(hit?.headers).toEqual(['x-switchyard-cache', 'exact', 'age', '12'])
    expect(hit?.kept.bytes.toString()).toBe(answerOf('Paris.'))
    expect(hit?.kept).toMatchObject({ usage: told.usage, model: 'm-2026', modelId: 'mdl_a' })
    // 10 tokens in at 1 USD per thousand, 5 out at 2: as today's price says.
    expect(hit?.savedNanoUsd).toBe(20_000)
    expect(world.cache.counts).toMatchObject({ exact: 1, miss: 1, kept: 1 })
  })

  test('a miss says so, and costs no waiting', () => {
    const turn = new CacheWorld().consult()
    expect(turn?.look()).toBeNull()
    expect(turn?.missHeaders).toEqual(['x-switchyard-cache', 'miss'])
  })

  test('a stream comes back as a stream, to the byte, with its terminal event apart', async () => {
    const world = new CacheWorld()
    const asked = { body: chat(france, { stream: true }) }
    const turn = world.consult(asked)
    expect(turn?.look()).toBeNull()
    const record = turn?.startRecord()
    const memory = Buffer.from(chunk({ content: 'Par' }))
    record?.add(memory)
    memory.fill(0)
    record?.add(Buffer.from(chunk({ content: 'is.' }) + chunk({}, 'stop')))
    if (record) turn?.keepStream(target(), record, Buffer.from(done), told)
    const kept = (await world.consult(asked)?.look())?.kept
    const before = chunk({ content: 'Par' }) + chunk({ content: 'is.' }) + chunk({}, 'stop')
    expect(kept?.bytes.toString('utf8', 0, kept.tailAt)).toBe(before)
    expect(kept?.bytes.toString('utf8', kept.tailAt)).toBe(done)
    expect(kept?.usage).toEqual(told.usage)
  })

  test('a whole answer serves no stream, nor the other way round', async () => {
    const world = new CacheWorld()
    await world.ask({ body: chat(france) })
    expect(await world.ask({ body: chat(france, { stream: true }) }, 'streamed')).toBe('made: streamed')
    expect(await world.ask({ body: chat(france) })).toBe('exact: Paris.')
  })

  test('hints of the client do not matter, and nothing else is a hint', async () => {
    const world = new CacheWorld()
    await world.ask({ body: chat(france, { user: 'ada', prompt_cache_key: 'k' }) })
    expect(await world.ask({ body: chat(france, { user: 'bob', prompt_cache_key: 'j' }) })).toBe('exact: Paris.')
    for (const more of [{ metadata: { a: 1 } }, { seed: 1 }, { unheard_of: true }, { service_tier: 'flex' }]) {
      expect(await world.ask({ body: chat(france, { user: 'ada', prompt_cache_key: 'k', ...more }) })).toMatch(/^made/)
    }
  })

  test('of the Responses API everything counts: its answers repeat what was asked', async () => {
    const world = new CacheWorld()
    const of = (user: string): Asked => ({
      operation: 'responses',
      body: { model: 'fast', temperature: 0, input: france, user },
    })
    const turn = world.consult(of('ada'))
    const text = { type: 'message', content: [{ type: 'output_text', text: 'Paris.' }] }
    turn?.keepWhole(target(), JSON.stringify({ status: 'completed', output: [text], user: 'ada' }), told)
    expect((await world.consult(of('ada'))?.look())?.kind).toBe('exact')
    expect(world.consult(of('bob'))?.look()).toBeNull()
  })

  test('the same words in other bytes are another request: a vendor may read them otherwise', async () => {
    const world = new CacheWorld()
    const twice = `{"model":"fast","temperature":0,"messages":[{"role":"user","content":"poison","content":"${france}"}]}`
    await world.ask({ body: twice }, 'poisoned')
    expect(await world.ask({ body: chat(france) })).toBe('made: Paris.')
    // Beyond what a number holds.
    await world.ask({
      body: '{"model":"fast","temperature":0,"seed":9007199254740993,"messages":[{"role":"user","content":"x"}]}',
    })
    const other = '{"model":"fast","temperature":0,"seed":9007199254740992,"messages":[{"role":"user","content":"x"}]}'
    expect(await world.ask({ body: other }, 'new')).toBe('made: new')
  })

  test('a hint given twice keeps the cache out of it', () => {
    const body =
      '{"model":"fast","temperature":0,"user":"a","us\\u0065r":"b","messages":[{"role":"user","content":"x"}]}'
    expect(new CacheWorld().consult({ body })).toBeNull()
  })
})

describe('what has nothing to do with the cache', () => {
  test.each<[string, Asked]>([
    ['a route without a policy', { policy: null }],
    ['a temperature above 0', { body: chat(france, { temperature: 0.7 }) }],
    ['no temperature', { body: { model: 'fast', messages: [{ role: 'user', content: france }] } }],
    ['a client that wants none', { headers: { 'x-switchyard-cache': 'off' } }],
    ['an exchange that the vendor is to keep', { body: chat(france, { store: true }) }],
    ['tokens counted', { operation: 'count_tokens' }],
    ['a body beyond the bound', { body: chat('x'.repeat(1024 * 1024)) }],
    ['per user, of nobody', { policy: policyOf({ sharedBy: 'user' }) }],
  ])('%s', (_name, asked) => expect(new CacheWorld().consult(asked)).toBeNull())

  test('a temperature that the target sets where the client gave none counts', () => {
    const body = { model: 'fast', messages: [{ role: 'user', content: france }] }
    const targets = [target('a', { parameters: { temperature: 0, outputTokensMax: null } })]
    expect(new CacheWorld().consult({ body, targets })?.gives).toBe(true)
    // It is not sent beside what says the same otherwise, or to who thinks.
    const thinking = { type: 'enabled', budget_tokens: 2_000 }
    expect(new CacheWorld().consult({ body: { ...body, top_p: 0.5 }, targets })).toBeNull()
    expect(new CacheWorld().consult({ operation: 'messages', body: { ...body, thinking }, targets })).toBeNull()
  })

  test('a word or label that is none is refused by the header’s name', () => {
    const world = new CacheWorld()
    const refusalOf = (headers: Record<string, string>) => world.cache.consult(questionOf({ headers }, world.clock))
    for (const name of ['x-switchyard-cache', 'x-switchyard-cache-tags', 'x-switchyard-cache-documents']) {
      const refusal = refusalOf({ [name]: '§' })
      expect(isRefusal(refusal) && refusal.field).toBe(name)
    }
  })
})

describe('what the client says', () => {
  test('on: kept and given at any temperature; without it, neither', async () => {
    const world = new CacheWorld()
    const body = chat(france, { temperature: 1 })
    const headers = { 'x-switchyard-cache': 'on' }
    expect(await world.ask({ body, headers })).toBe('made: Paris.')
    expect(await world.ask({ body, headers })).toBe('exact: Paris.')
    expect(await world.ask({ body })).toBe('aside: Paris.')
  })

  test('an answer to an older request does not take the place of a newer one’s', async () => {
    const world = new CacheWorld()
    const slow = world.consult()
    await world.clock.advance(1_000)
    await world.ask({ headers: { 'x-switchyard-cache': 'refresh' } }, 'new')
    slow?.keepWhole(target(), answerOf('old'), told)
    expect(await world.ask()).toBe('exact: new')
  })

  test('labels are kept in memory of their own', async () => {
    const world = new CacheWorld()
    const tags = `${'a'.repeat(40)},${'b'.repeat(40)}`
    const labelled = {
      headers: { 'x-switchyard-cache-tags': tags },
      policy: policyOf({ tags: ['shop', 'a'.repeat(40)] }),
    }
    await world.ask(labelled)
    const kept = (await world.consult(labelled)?.look())?.kept
    expect(kept?.origin.tags).toEqual(['shop', 'a'.repeat(40), 'b'.repeat(40)])
  })

  test('refresh: a new one is made and kept', async () => {
    const world = new CacheWorld()
    await world.ask({}, 'old')
    const headers = { 'x-switchyard-cache': 'refresh' }
    expect(await world.ask({ headers }, 'new')).toBe('made: new')
    expect(await world.ask()).toBe('exact: new')
    expect(world.consult({ headers })?.missHeaders).toEqual([])
  })
})

describe('ages', () => {
  test('a fact for a day, what is of today for an hour, another class as the policy says', async () => {
    const world = new CacheWorld()
    const weather = { body: chat('What is the weather today?') }
    const code = {
      body: chat('Write a sort'),
      promptClass: 'code',
      policy: policyOf({ ttlSeconds: new Map([['code', 60]]) }),
    }
    for (const asked of [{}, weather, code]) await world.ask(asked)
    await world.clock.advance(60_999)
    expect(await world.ask(code)).toMatch(/^exact/)
    await world.clock.advance(1)
    expect(await world.ask(code, 'new')).toBe('made: new')
    await world.clock.advance(3_600_000 - 61_000 + 999)
    expect(await world.ask(weather)).toMatch(/^exact/)
    await world.clock.advance(1)
    expect(await world.ask(weather, 'new')).toBe('made: new')
    await world.clock.advance(86_400_000 - 3_601_000 + 999)
    expect(await world.ask()).toMatch(/^exact/)
    await world.clock.advance(1)
    expect(await world.ask({}, 'new')).toBe('made: new')
  })

  test('nothing older than the policy’s maximum, also when that was lowered later', async () => {
    const world = new CacheWorld()
    await world.ask()
    await world.clock.advance(100_000)
    expect(await world.ask({ policy: policyOf({ ageMaxSeconds: 99 }) }, 'new')).toBe('made: new')
  })

  test('stale: given, once with the duty to make a new one, until that is made', async () => {
    const world = new CacheWorld()
    const policy = policyOf({ staleSeconds: 600 })
    const weather = { body: chat('Weather now?'), policy }
    await world.ask(weather)
    await world.clock.advance(3_700_000)
    const first = await world.consult(weather)?.look()
    expect(first).toMatchObject({ renews: true, ageSeconds: 3_700 })
    expect(first?.headers.slice(0, 2)).toEqual(['x-switchyard-cache', 'stale'])
    expect((await world.consult(weather)?.look())?.renews).toBe(false)
    expect(await world.ask({ ...weather, headers: { 'x-switchyard-cache': 'refresh' } }, 'new')).toBe('made: new')
    expect(await world.ask(weather)).toBe('exact: new')
    await world.clock.advance(4_201_000)
    expect(await world.ask(weather, 'newer')).toBe('made: newer')
  })

  describe('a renewal', () => {
    const weather = { body: chat('Weather now?'), policy: policyOf({ staleSeconds: 6_000 }) }
    const refresh = { ...weather, headers: { 'x-switchyard-cache': 'refresh' } }
    const renewal = { ...refresh, isRenewal: true }
    const renewsOf = async (world: CacheWorld) => (await world.consult(weather)?.look())?.renews
    async function staleWorld(): Promise<CacheWorld> {
      const world = new CacheWorld()
      await world.ask(weather, 'old')
      await world.clock.advance(3_700_000)
      expect(await renewsOf(world)).toBe(true)
      return world
    }

    test.each<[string, (world: CacheWorld) => void]>([
      ['failed', (world) => world.consult(renewal)?.leave(false)],
      ['may not be given again', (world) => world.consult(renewal)?.keepWhole(target(), answerOf('x', 'length'), told)],
      ['another model answered', (world) => world.consult(renewal)?.keepWhole(target('b'), answerOf('by b'), told)],
    ])('that %s is asked for again after a minute, not at the next hit', async (_name, renew) => {
      const world = await staleWorld()
      renew(world)
      for (let count = 0; count < 3; count++) expect(await renewsOf(world)).toBe(false)
      await world.clock.advance(60_000)
      expect([await renewsOf(world), await renewsOf(world)]).toEqual([true, false])
    })

    test('that landed is over, however soon its answer is stale', async () => {
      const world = await staleWorld()
      const policy = policyOf({ ttlSeconds: new Map([['dynamic', 0]]), staleSeconds: 6_000 })
      await world.ask({ ...renewal, policy }, 'new')
      await world.clock.advance(1_000)
      expect(await world.consult({ ...weather, policy })?.look()).toMatchObject({ renews: true, ageSeconds: 1 })
    })

    test('that runs is not repeated because a client made a new answer itself', async () => {
      const world = await staleWorld()
      const brief = policyOf({ ttlSeconds: new Map([['dynamic', 0]]), staleSeconds: 6_000 })
      await world.ask({ ...refresh, policy: brief }, 'theirs')
      await world.clock.advance(1_000)
      expect(await world.consult({ ...weather, policy: brief })?.look()).toMatchObject({ renews: false, ageSeconds: 1 })
    })
  })
})

describe('what the first response said of the request', () => {
  const lost = { ...told, dropped: 'seed, user, prompt_cache_key, logit_bias', capped: 'max_tokens' }

  test.each([false, true])('is kept with the answer; streamed: %s', async (stream) => {
    const world = new CacheWorld()
    const asked = { body: chat(france, { stream }) }
    const turn = world.consult(asked)
    turn?.look()
    const record = turn?.startRecord()
    record?.add(Buffer.from(chunk({ content: 'Paris.' }) + chunk({}, 'stop')))
    if (stream && record) turn?.keepStream(target(), record, Buffer.from(done), lost)
    else turn?.keepWhole(target(), answerOf('Paris.'), lost)
    // Hints are each client's own, and no part of what makes two requests the same.
    expect((await world.consult(asked)?.look())?.kept).toMatchObject({
      dropped: 'seed, logit_bias',
      capped: 'max_tokens',
    })
  })

  test('is kept with its hints where the answer is one user’s alone, and is nothing where nothing was said', async () => {
    const world = new CacheWorld()
    const own = { policy: policyOf({ sharedBy: 'user' }), body: chat(france, { user: 'ada' }) }
    world.consult(own)?.keepWhole(target(), answerOf('Paris.'), lost)
    expect((await world.consult(own)?.look())?.kept.dropped).toBe(lost.dropped)
    world.consult()?.keepWhole(target(), answerOf('Paris.'), { ...lost, dropped: 'user', capped: null })
    expect((await world.consult()?.look())?.kept).toMatchObject({ dropped: null, capped: null })
  })
})

describe('whoever may share an answer', () => {
  test('is an end user only within a team or, without one, an API key: its name is the client’s word', async () => {
    const world = new CacheWorld()
    const of = (keyId: string, teamId: string | null, user: string): Asked => ({
      ...{ keyId, teamId, policy: policyOf({ sharedBy: 'user' }), body: chat(france, { user }) },
    })
    await world.ask(of('key_1', 'team_1', '1'), 'one')
    expect(await world.ask(of('key_2', 'team_1', '1'))).toBe('exact: one')
    expect(await world.ask(of('key_1', 'team_1', '2'), 'two')).toBe('made: two')
    expect(await world.ask(of('key_3', 'team_2', '1'), 'three')).toBe('made: three')
    expect(await world.ask(of('key_1', null, '1'), 'four')).toBe('made: four')
    expect(await world.ask(of('key_2', null, '1'), 'five')).toBe('made: five')
    expect(await world.ask(of('key_1', null, '1'))).toBe('exact: four')
  })

  test('is not a key that may ask only inside, of what a provider outside answered', async () => {
    const world = new CacheWorld()
    const inside = target()
    const outside = { ...inside, id: 'tgt_out', provider: { ...inside.provider, id: 'prv_out', external: true } }
    // One route, of which keys may ask more or fewer targets.
    const { rules } = sketchRoute('fast', { targets: [outside, inside] })
    const free = { targets: [outside, inside], lastResortSeconds: 60, route: { rules } }
    await world.ask(free, 'from outside')
    const bound = { ...free, targets: [inside] }
    expect(await world.consult(bound)?.find({ ageMaxSeconds: 60, conversation: null })).toBeNull()
    expect(await world.ask(bound, 'from inside')).toBe('made: from inside')
    expect(await world.ask(free)).toBe('exact: from outside')
    // A fallback's answer is its own provider's.
    const turn = world.consult({ ...free, body: chat('Why?') })
    turn?.keepWhole(inside, answerOf('from inside'), told)
    expect(world.consult({ ...free, body: chat('Why?') })?.look()).toBeNull()
    expect((await world.consult({ ...bound, body: chat('Why?') })?.look())?.kind).toBe('exact')
  })
})

describe('what is not kept', () => {
  test.each([
    ['cut at a limit', answerOf('Par', 'length')],
    ['filtered', answerOf('Par', 'content_filter')],
    ['empty', answerOf('')],
    ['no JSON', 'Paris'],
    ['an error in the dress of an answer', '{"error":{"message":"no"},"choices":[]}'],
    ['larger than an answer may be', answerOf('x'.repeat(70_000))],
  ])('%s', (_name, answer) => {
    const world = new CacheWorld()
    const turn = world.consult()
    turn?.look()
    turn?.keepWhole(target(), answer, told)
    expect(world.cache.size).toBe(0)
    expect(world.consult()?.look()).toBeNull()
  })

  test('a fallback’s answer is not given as the first target’s, and is what it is for whoever asks it first', async () => {
    const world = new CacheWorld()
    const [first, second] = [target('a'), target('b')]
    const turn = world.consult({ targets: [first, second] })
    turn?.look()
    turn?.keepWhole(second, answerOf('by b'), told)
    expect(world.consult({ targets: [first, second] })?.look()).toBeNull()
    expect((await world.consult({ targets: [second, first] })?.look())?.kept.modelId).toBe('mdl_b')
  })
})

describe('purges', () => {
  const purge = (over: Partial<CachePurgeTable> = {}): CachePurgeTable => ({
    ...{ id: 'p', atMs: 0, routeId: null, promptId: null, promptVersion: null, tag: null, documentId: null },
    ...over,
  })
  const labelled: Asked = {
    headers: { 'x-switchyard-cache-tags': 'faq,prices', 'x-switchyard-cache-documents': 'doc-1' },
    prompt: { id: 'prm_1', version: '1.0.0' },
    policy: policyOf({ tags: ['shop'] }),
  }

  const cases: [string, Partial<CachePurgeTable>, boolean][] = [
    ['everything', {}, true],
    ['its route', { routeId: 'rte_1' }, true],
    ['another route', { routeId: 'rte_2' }, false],
    ['its prompt', { promptId: 'prm_1' }, true],
    ['its version of its prompt', { promptId: 'prm_1', promptVersion: '1.0.0' }, true],
    ['another version', { promptId: 'prm_1', promptVersion: '1.0.1' }, false],
    ['its tag', { tag: 'prices' }, true],
    ['a tag of its route', { tag: 'shop' }, true],
    ['another tag', { tag: 'price' }, false],
    ['its document', { documentId: 'doc-1' }, true],
    ['another document', { documentId: 'doc-2' }, false],
    ['its tag on another route', { tag: 'prices', routeId: 'rte_2' }, false],
  ]
  test.each(cases)('by %s', async (_name, over, isGone) => {
    const world = new CacheWorld()
    await world.ask(labelled)
    await world.clock.advance(clockSkewMs * 2)
    const purges = [purge({ atMs: world.clock.nowMs(), ...over })]
    await world.clock.advance(clockSkewMs * 2)
    expect(await world.ask({ ...labelled, purges }, 'new')).toBe(isGone ? 'made: new' : 'exact: Paris.')
  })

  test('what is made after it is given again', async () => {
    const world = new CacheWorld()
    const purges = [purge({ atMs: world.clock.nowMs() })]
    await world.clock.advance(clockSkewMs + 1)
    expect(await world.ask({ purges }, 'one')).toBe('made: one')
    await world.clock.advance(1)
    expect(await world.ask({ purges }, 'two')).toBe('made: two')
    expect(await world.ask({ purges }, 'three')).toBe('exact: two')
  })

  test('a request under way when it came is before it', async () => {
    const world = new CacheWorld()
    const turn = world.consult()
    turn?.look()
    await world.clock.advance(60_000)
    const purges = [purge({ atMs: world.clock.nowMs() - clockSkewMs - 1_000 })]
    // The tables with the purge are seen by somebody else meanwhile.
    world.consult({ purges, body: chat('other') })?.leave(false)
    turn?.keepWhole(target(), answerOf('old text'), told)
    expect(world.consult({ purges })?.look()).toBeNull()
  })

  test('an agent whose clock is far ahead purges what it had all the same', async () => {
    const world = new CacheWorld()
    await world.ask()
    await world.clock.advance(1_000)
    const purges = [purge({ atMs: world.clock.nowMs() - 3_600_000 })]
    expect(await world.ask({ purges }, 'new')).toBe('made: new')
  })

  describe('between a request and the one whose answer it waits for', () => {
    test('it is not given what was purged before it asked, and makes an answer of its own', async () => {
      const world = new CacheWorld()
      const leader = world.consult()
      leader?.look()
      await world.clock.advance(1_000)
      const purges = [purge({ atMs: world.clock.nowMs() })]
      await world.clock.advance(1_000)
      const late = world.consult({ purges })
      const [look, other] = [late?.look(), world.consult({ purges })?.look()]
      leader?.keepWhole(target(), answerOf('old text'), told)
      leader?.leave(false)
      expect([await look, await other]).toEqual([null, null])
      expect(world.cache.counts).toMatchObject({ followed: 0, exact: 0, miss: 3 })
      // The first of them makes it for whoever comes now.
      const next = world.consult({ purges })?.look()
      await world.clock.advance(clockSkewMs)
      late?.keepWhole(target(), answerOf('new text'), told)
      expect(world.cache.followerCount).toBe(0)
      expect(await next).toBeNull()
    })

    test('nor what a leader with older tables found that may not be so old any more, or so far', async () => {
      const world = new CacheWorld()
      const leader = world.consult()
      leader?.look()
      await world.clock.advance(10_000)
      const lookWithin = (ageMaxSeconds: number) =>
        world.consult({ policy: policyOf({ ageMaxSeconds }), dueMs: 60_000 })?.look()
      const looks = [9, 14, 15].map(lookWithin)
      await world.clock.advance(5_000)
      leader?.keepWhole(target(), answerOf('Paris.'), told)
      expect(await Promise.all(looks)).toMatchObject([null, null, { kind: 'exact', ageSeconds: 15 }] as object)
    })

    test('what took long to make is not out of date by that', async () => {
      const world = new CacheWorld()
      const asked = { body: chat('Weather now?'), policy: policyOf({ ttlSeconds: new Map([['dynamic', 1]]) }) }
      const leader = world.consult(asked)
      leader?.look()
      const look = world.consult(asked)?.look()
      await world.clock.advance(3_000)
      leader?.keepWhole(target(), answerOf('Sun.'), told)
      expect(await look).toMatchObject({ kind: 'exact', ageSeconds: 3, renews: false })
    })
  })

  test('of one environment says nothing to another', async () => {
    const world = new CacheWorld()
    await world.ask({ environmentId: 'env_2' })
    await world.ask({ purges: [purge({ atMs: world.clock.nowMs() + 1 })] })
    expect(await world.ask({ environmentId: 'env_2' })).toBe('exact: Paris.')
  })

  test('what nobody asks for any more goes as well', async () => {
    const world = new CacheWorld()
    for (let number = 0; number < 8; number++) await world.ask({ body: chat(`question ${number}`) })
    await world.clock.advance(clockSkewMs * 2)
    const purges = [purge({ atMs: world.clock.nowMs() })]
    await world.clock.advance(clockSkewMs + 1)
    world.consult({ purges })?.leave(false)
    await world.clock.advance(1)
    expect(world.cache.size).toBe(8)
    await world.ask({ purges, body: chat('a new one') })
    expect(world.cache.size).toBe(1)
  })
})

describe('one try for many', () => {
  test('whoever asks the very same meanwhile gets the leader’s answer', async () => {
    const world = new CacheWorld()
    const leader = world.consult()
    expect(leader?.look()).toBeNull()
    const followers = Array.from({ length: 3 }, () => world.consult()?.look())
    expect(world.cache.followerCount).toBe(3)
    leader?.keepWhole(target(), answerOf('Paris.'), told)
    leader?.leave(false)
    for (const hit of await Promise.all(followers)) expect(hit).toMatchObject({ kind: 'exact', ageSeconds: 0 })
    expect(world.cache.counts).toMatchObject({ miss: 1, exact: 3, followed: 3 })
    expect([world.cache.flightCount, world.cache.followerCount]).toEqual([0, 0])
  })

  test('a leader whose client leaves is followed by the next, who hears nothing of it', async () => {
    const world = new CacheWorld()
    const [leader, second, third] = [world.consult(), world.consult(), world.consult()]
    leader?.look()
    const [heirsLook, thirdLook] = [second?.look(), third?.look()]
    leader?.leave(true)
    expect(await heirsLook).toBeNull()
    expect(world.cache.followerCount).toBe(1)
    second?.keepWhole(target(), answerOf('Paris.'), told)
    second?.leave(false)
    expect(await thirdLook).toMatchObject({ kind: 'exact' })
    expect(world.cache.flightCount).toBe(0)
  })

  test('after a failure everybody tries alone, at once', async () => {
    const world = new CacheWorld()
    const [leader, ...others] = [world.consult(), world.consult(), world.consult()]
    leader?.look()
    const looks = others.map((turn) => turn?.look())
    leader?.leave(false)
    expect(await Promise.all(looks)).toEqual([null, null])
    expect([world.cache.flightCount, world.cache.followerCount]).toEqual([0, 0])
  })

  test('an answer that may not be given again is nobody else’s', async () => {
    const world = new CacheWorld()
    const [leader, follower] = [world.consult(), world.consult()]
    leader?.look()
    const look = follower?.look()
    leader?.keepWhole(target(), answerOf('I ran out of', 'length'), told)
    expect(await look).toBeNull()
  })

  test('nobody waits longer than half of its time', async () => {
    const world = new CacheWorld()
    world.consult({ dueMs: 60_000 })?.look()
    let over = false
    const look = Promise.resolve(world.consult({ dueMs: 10_000 })?.look()).then((hit) => {
      over = true
      return hit
    })
    await world.clock.advance(4_999)
    expect(over).toBe(false)
    await world.clock.advance(1)
    expect(await look).toBeNull()
    expect(world.cache.followerCount).toBe(0)
  })

  test('a follower whose own client leaves waits no longer, and nobody else hears of it', async () => {
    const world = new CacheWorld()
    const [leader, leaver, stayer] = [world.consult(), world.consult(), world.consult()]
    leader?.look()
    const [left, stayed] = [leaver?.look(), stayer?.look()]
    leaver?.cancel()
    expect(await left).toBeNull()
    leaver?.leave(true)
    leader?.keepWhole(target(), answerOf('Paris.'), told)
    expect(await stayed).toMatchObject({ kind: 'exact' })
  })

  test('an heir that leaves before it began hands on', async () => {
    const world = new CacheWorld()
    const [leader, heir, third] = [world.consult(), world.consult(), world.consult()]
    leader?.look()
    const [heirsLook, thirdLook] = [heir?.look(), third?.look()]
    leader?.leave(true)
    await heirsLook
    heir?.leave(true)
    expect(await thirdLook).toBeNull()
    expect([world.cache.flightCount, world.cache.followerCount]).toEqual([1, 0])
    third?.leave(false)
    expect(world.cache.flightCount).toBe(0)
  })

  test('streams do not wait for each other', () => {
    const world = new CacheWorld()
    const body = chat(france, { stream: true })
    world.consult({ body })?.look()
    expect(world.consult({ body })?.look()).toBeNull()
  })
})

describe('the last resort', () => {
  const asked = { ageMaxSeconds: 86_400, conversation: null }

  test('an answer past its time, in no door’s words', async () => {
    const world = new CacheWorld()
    const weather = { body: chat('Weather now?'), lastResortSeconds: 86_400 }
    await world.ask(weather, 'Sun.')
    await world.clock.advance(7_200_000)
    const turn = world.consult(weather)
    expect(turn?.look()).toBeNull()
    expect(await turn?.find(asked)).toMatchObject({
      ageSeconds: 7_200,
      answer: { parts: [{ type: 'text', text: 'Sun.' }], finish: { reason: 'stop' } },
    })
    expect(await turn?.find({ ...asked, ageMaxSeconds: 7_199 })).toBeNull()
  })

  test('also of a stream, of a route without a policy, and at any temperature', async () => {
    const world = new CacheWorld()
    const body = chat(france, { temperature: 1, stream: true })
    const wish = { body, policy: null, lastResortSeconds: 60 }
    expect(await world.ask(wish)).toBe('made: Paris.')
    expect(await world.ask(wish)).toBe('made: Paris.')
    const turn = world.consult(wish)
    expect(turn?.gives).toBe(false)
    expect(turn?.missHeaders).toEqual([])
    expect(await turn?.find(asked)).toMatchObject({ answer: { parts: [{ type: 'text', text: 'Paris.' }] } })
  })

  test('of the model asked first before another’s', async () => {
    const world = new CacheWorld()
    const [a, b] = [target('a'), target('b')]
    const wish = { targets: [a, b], lastResortSeconds: 60 }
    world.consult(wish)?.keepWhole(b, answerOf('by b'), told)
    const textOf = async () => (await world.consult(wish)?.find(asked))?.answer.parts
    expect(await textOf()).toMatchObject([{ text: 'by b' }])
    world.consult(wish)?.keepWhole(a, answerOf('by a'), told)
    expect(await textOf()).toMatchObject([{ text: 'by a' }])
  })

  test('nothing older than the policy lets anything be', async () => {
    const world = new CacheWorld()
    const wish = { policy: policyOf({ ageMaxSeconds: 100 }), lastResortSeconds: 86_400 }
    await world.ask(wish)
    await world.clock.advance(100_000)
    expect(await world.consult(wish)?.find(asked)).toMatchObject({ ageSeconds: 100 })
    await world.clock.advance(1_000)
    expect(await world.consult(wish)?.find(asked)).toBeNull()
    // Also when the policy said so later.
    const long = { policy: policyOf(), lastResortSeconds: 86_400 }
    expect(await world.consult(long)?.find(asked)).toMatchObject({ ageSeconds: 101 })
  })

  test('never what was purged', async () => {
    const world = new CacheWorld()
    await world.ask({ lastResortSeconds: 60 })
    const all = { id: 'p', atMs: world.clock.nowMs(), ...{ routeId: null, promptId: null, promptVersion: null } }
    const purges = [{ ...all, tag: null, documentId: null }]
    expect(await world.consult({ lastResortSeconds: 60, purges })?.find(asked)).toBeNull()
  })
})

test('every header that a dialect shows its vendor is part of the key', () => {
  const options = { clock: new CacheWorld().clock, client: new TokenClient() }
  const ambient = { aws: null, azure: null, google: null }
  const dialects = new Dialects({ ...options, tokens: new AccessTokens(options.clock), ambient })
  const kinds = ['openai', 'azure-openai', 'anthropic', 'bedrock', 'vertex', 'vllm', 'ollama', 'openai-compatible']
  const shown = kinds.flatMap((kind) =>
    Object.values(dialects.find(kind)?.native ?? {}).flatMap((wire) => wire.passedHeaders),
  )
  expect(shown.length).toBeGreaterThan(0)
  expect(shown.filter((name) => !(shownHeaders as readonly string[]).includes(name))).toEqual([])
})
