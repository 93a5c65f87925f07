import { beforeEach, describe, expect, test } from 'vitest'
import { VirtualClock } from '../../../proto/std/clock.js'
import { AccessTokens, type Expiring } from './access-tokens.js'
import type { AuthorizationFault } from './provider-dialect.js'

interface Token extends Expiring {
  readonly text: string
}

type Outcome = Token | AuthorizationFault

/** A vendor that is asked, and answers when it is told to. */
class Vendor {
  asked = 0
  readonly #waiting: ((outcome: Outcome) => void)[] = []

  readonly ask = (): Promise<Outcome> => {
    this.asked += 1
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  /** Answers whoever waits longest, and lets them hear it. */
  async answer(outcome: Outcome): Promise<void> {
    const resolve = this.#waiting.shift()
    if (resolve === undefined) throw new Error('nobody asked')
    resolve(outcome)
    await new Promise(setImmediate)
  }
}

let clock: VirtualClock
let tokens: AccessTokens
let vendor: Vendor

beforeEach(() => {
  clock = new VirtualClock()
  tokens = new AccessTokens(clock)
  vendor = new Vendor()
})

const hourMs = 3_600_000
const tokenOf = (text: string, lifeMs = hourMs): Token => ({ text, expiresAtMs: clock.nowMs() + lifeMs })
const refused: AuthorizationFault = { fault: 'rejected', message: 'no' }
const busy: AuthorizationFault = { fault: 'unavailable', message: 'busy' }
const timeoutMs = 500
const get = (key = 'a') => tokens.get<Token>(key, timeoutMs, vendor.ask)

describe('a token that is there', () => {
  test('is given at once and asked for once', async () => {
    const first = get()
    expect(first).toBeInstanceOf(Promise)
    const token = tokenOf('t1')
    await vendor.answer(token)
    expect(await first).toBe(token)
    expect(get()).toBe(token)
    expect(vendor.asked).toBe(1)
  })

  test('is asked for by one of all that come meanwhile', async () => {
    const waiting = [get(), get(), get()]
    expect(vendor.asked).toBe(1)
    const token = tokenOf('t1')
    await vendor.answer(token)
    expect(await Promise.all(waiting)).toEqual([token, token, token])
    expect(vendor.asked).toBe(1)
  })

  test('is the one of its key, whoever asks first and whoever answers first', async () => {
    const other = new Vendor()
    const waiting = get('a')
    const otherWaiting = tokens.get<Token>('b', timeoutMs, other.ask)
    await other.answer(tokenOf('of b'))
    expect(await otherWaiting).toMatchObject({ text: 'of b' })
    await vendor.answer(tokenOf('of a'))
    expect(await waiting).toMatchObject({ text: 'of a' })
    expect([get('a'), get('b')]).toMatchObject([{ text: 'of a' }, { text: 'of b' }])
    expect([vendor.asked, other.asked]).toEqual([1, 1])
  })

  test('is given on while a new one is asked for, five minutes before its end', async () => {
    const first = tokenOf('t1')
    void get()
    await vendor.answer(first)
    await clock.advance(hourMs - 300_001)
    expect(get()).toBe(first)
    expect(vendor.asked).toBe(1)
    await clock.advance(1)
    expect([get(), get()]).toEqual([first, first])
    expect(vendor.asked).toBe(2)
    const second = tokenOf('t2')
    await vendor.answer(second)
    expect(get()).toBe(second)
    expect(vendor.asked).toBe(2)
  })

  test('is not used for a call that would outlive it: everybody waits for the new one', async () => {
    void get()
    await vendor.answer(tokenOf('t1'))
    await clock.advance(hourMs - 10_000)
    const waiting = get()
    expect(waiting).toBeInstanceOf(Promise)
    const second = tokenOf('t2')
    await vendor.answer(second)
    expect(await waiting).toBe(second)
  })

  test('is renewed at half of its life where it lives shorter than five minutes, not with each call', async () => {
    const first = tokenOf('t1', 60_000)
    void get()
    await vendor.answer(first)
    for (let call = 0; call < 10; call++) expect(get()).toBe(first)
    expect(vendor.asked).toBe(1)
    await clock.advance(30_000)
    expect(get()).toBe(first)
    expect(vendor.asked).toBe(2)
  })

  test.each([0, 5_000, 10_000, -1, Number.NaN])(
    'is asked for with each call where it lives for %d ms',
    async (lifeMs) => {
      for (const text of ['t1', 't2', 't3']) {
        const waiting = get()
        await vendor.answer(tokenOf(text, lifeMs))
        expect(await waiting).toMatchObject({ text })
      }
      expect(vendor.asked).toBe(3)
    },
  )
})

describe('whoever waits', () => {
  test('waits no longer than their own time, whoever asked', async () => {
    const outcomes: string[] = []
    const follow = (name: string, ms: number) =>
      Promise.resolve(tokens.get<Token>('a', ms, vendor.ask)).then((outcome) =>
        outcomes.push('fault' in outcome ? `${name} ${outcome.fault}: ${outcome.message}` : `${name} ${outcome.text}`),
      )
    void follow('patient', 5_000)
    void follow('hasty', 100)
    await clock.advance(99)
    expect(outcomes).toEqual([])
    await clock.advance(1)
    expect(outcomes).toEqual(['hasty unavailable: no access token came within 100 ms'])
    await vendor.answer(tokenOf('t1'))
    expect(outcomes).toEqual(['hasty unavailable: no access token came within 100 ms', 'patient t1'])
    expect(vendor.asked).toBe(1)
    await clock.advance(10_000)
    expect(get()).toMatchObject({ text: 't1' })
  })

  test('is not kept waiting by asking that never ends: another one asks', async () => {
    const waiting = get()
    await clock.advance(timeoutMs)
    expect(await waiting).toMatchObject({ fault: 'unavailable' })
    await clock.advance(1_000)
    const other = get()
    expect(vendor.asked).toBe(2)
    // The one before answers at last, and nobody minds.
    await vendor.answer(tokenOf('late'))
    await vendor.answer(tokenOf('t2'))
    expect(await other).toMatchObject({ text: 't2' })
  })
})

describe('a vendor that gives none', () => {
  test('is told to all who wait, and not asked again at once', async () => {
    const waiting = [get(), get()]
    await vendor.answer(refused)
    expect(await Promise.all(waiting)).toEqual([refused, refused])
    expect(get()).toBe(refused)
    expect(vendor.asked).toBe(1)
  })

  test('is left alone for longer each time, up to a minute, until it gives one', async () => {
    for (const waitMs of [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]) {
      const waiting = get()
      await vendor.answer(busy)
      expect(await waiting).toBe(busy)
      await clock.advance(waitMs - 1)
      expect(get()).toBe(busy)
      await clock.advance(1)
    }
    expect(vendor.asked).toBe(8)
    void get()
    await vendor.answer(tokenOf('t1'))
    await clock.advance(hourMs)
    // After a token the first wait is short again.
    void get()
    await vendor.answer(busy)
    await clock.advance(1_000)
    void get()
    expect(vendor.asked).toBe(11)
  })

  test('does not take away a token that can still be used', async () => {
    const first = tokenOf('t1')
    void get()
    await vendor.answer(first)
    await clock.advance(hourMs - 299_999)
    expect(get()).toBe(first)
    await vendor.answer(busy)
    expect(get()).toBe(first)
    expect(vendor.asked).toBe(2)
    await clock.advance(1_000)
    expect(get()).toBe(first)
    expect(vendor.asked).toBe(3)
    await vendor.answer(refused)
    await clock.advance(289_000)
    const waiting = get()
    expect(waiting).toBeInstanceOf(Promise)
    await vendor.answer(refused)
    expect(await waiting).toBe(refused)
  })

  test('does not stay one where asking fails by a fault of ours', async () => {
    const fails = async (): Promise<Outcome> => {
      throw new TypeError('cannot read of "secret"')
    }
    expect(await tokens.get<Token>('a', timeoutMs, fails)).toEqual({
      fault: 'unavailable',
      message: 'asking failed: TypeError',
    })
    await clock.advance(1_000)
    const waiting = get()
    await vendor.answer(tokenOf('t1'))
    expect(await waiting).toMatchObject({ text: 't1' })
  })
})

describe('what is kept', () => {
  test('is forgotten when the vendor refused it: nobody is given it again, not even late', async () => {
    void get()
    await vendor.answer(tokenOf('t1'))
    await clock.advance(60_000)
    tokens.forget('a')
    const waiting = get()
    expect(vendor.asked).toBe(2)
    await vendor.answer(tokenOf('t2'))
    expect(await waiting).toMatchObject({ text: 't2' })
    expect(get()).toMatchObject({ text: 't2' })
  })

  test('stays while it is young, so that refused calls do not ask the vendor one by one', async () => {
    void get()
    await vendor.answer(tokenOf('t1'))
    await clock.advance(59_000)
    tokens.forget('a')
    expect(get()).toMatchObject({ text: 't1' })
    expect(vendor.asked).toBe(1)
  })

  test('is bounded: of more than a thousand the one used longest ago goes', async () => {
    for (let key = 0; key < 1_000; key++) {
      void get(`key ${key}`)
      await vendor.answer(tokenOf(`t${key}`))
    }
    expect(get('key 0')).toMatchObject({ text: 't0' })
    void get('one more')
    await vendor.answer(tokenOf('more'))
    expect(vendor.asked).toBe(1_001)
    expect([get('key 0'), get('key 2'), get('one more')]).toMatchObject([
      { text: 't0' },
      { text: 't2' },
      { text: 'more' },
    ])
    expect(vendor.asked).toBe(1_001)
    void get('key 1')
    expect(vendor.asked).toBe(1_002)
  })
})
