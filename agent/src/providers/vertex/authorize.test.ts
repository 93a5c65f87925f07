import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { VirtualClock } from '../../../../proto/std/clock.js'
import { makeTarget } from '../../../../test/harness/agent-door.js'
import { GoogleIdentityFake } from '../../../../test/harness/vendors/google-identity-fake.js'
import { AccessTokens } from '../access-tokens.js'
import type { AmbientSources } from '../ambient.js'
import type { AuthorizationFault, OutgoingCall, ProviderSecret } from '../provider-dialect.js'
import { TokenClient } from '../token-client.js'
import { authorizeVertex } from './authorize.js'

let identity: GoogleIdentityFake
let clock: VirtualClock
let client: TokenClient
let tokens: AccessTokens
let ambient: AmbientSources

beforeEach(async () => {
  identity = new GoogleIdentityFake([])
  await identity.start()
  clock = new VirtualClock()
  client = new TokenClient()
  tokens = new AccessTokens(clock)
  ambient = { aws: null, azure: null, google: { metadataHost: identity.origin } }
})

afterEach(async () => {
  await client.stop()
  await identity.stop()
  expect(identity.problems).toEqual([])
})

function ask(secret: ProviderSecret | null, version = 1) {
  const { provider } = makeTarget({ origin: 'http://127.0.0.1:9', kind: 'vertex', credential: { id: 'crd', version } })
  const call: OutgoingCall = { provider, path: '/', headers: [], body: Buffer.alloc(0), timeoutMs: 5_000 }
  return authorizeVertex({ clock, client, tokens, ambient }, call, secret)
}

async function faultOf(secret: ProviderSecret): Promise<AuthorizationFault> {
  const authorization = await ask(secret)
  if (!('fault' in authorization)) throw new Error('authorised')
  return authorization
}

async function tokenOf(secret: ProviderSecret, version = 1): Promise<string> {
  const authorization = await ask(secret, version)
  if ('fault' in authorization) throw new Error(authorization.message)
  expect(authorization[0]).toBe('authorization')
  const token = String(authorization[1]).replace('Bearer ', '')
  expect(identity.isIssued(token)).toBe(true)
  return token
}

describe('a service account', () => {
  test('is exchanged once, and known at once from then on', async () => {
    const secret = identity.serviceAccountText
    const first = await tokenOf(secret)
    expect(ask(secret)).toEqual(['authorization', `Bearer ${first}`])
    expect(identity.exchangeCount).toBe(1)
  })

  test('of another version is another one', async () => {
    const first = await tokenOf(identity.serviceAccountText, 1)
    expect(await tokenOf(identity.serviceAccountText, 2)).not.toBe(first)
    expect(identity.exchangeCount).toBe(2)
  })

  test('is exchanged anew in the background before its token ends, and waited for after that', async () => {
    const secret = identity.serviceAccountText
    const first = await tokenOf(secret)
    await clock.advance(3_400_000)
    expect(ask(secret)).toEqual(['authorization', `Bearer ${first}`])
    const renewed = await until(() => {
      const held = ask(secret)
      return held instanceof Promise || 'fault' in held || held[1] === `Bearer ${first}` ? null : held
    })
    expect(renewed[1]).not.toBe(`Bearer ${first}`)
    expect(identity.exchangeCount).toBe(2)
    await clock.advance(4_000_000)
    await tokenOf(secret)
    expect(identity.exchangeCount).toBe(3)
  })

  test.each([
    ['400', 400, { error: 'invalid_grant', error_description: 'Invalid JWT Signature.' }, 'rejected'],
    ['401', 401, { error: 'unauthorized_client' }, 'rejected'],
    ['500', 500, {}, 'unavailable'],
    ['200 without a token', 200, { access_token: 'with\r\nlines', expires_in: 10 }, 'unavailable'],
  ])('that is answered %s', async (_name, status, body, fault) => {
    identity.refusal = { status, body }
    const secret = identity.serviceAccountText
    const told = await faultOf(secret)
    expect(told.fault).toBe(fault)
    if (status === 400) expect(told.message).toMatch(/HTTP 400: invalid_grant$/)
    // And nobody asks again at once.
    expect(await ask(secret)).toEqual(told)
    expect(identity.exchangeCount).toBe(1)
  })

  const account = () => JSON.parse(identity.serviceAccountText) as Record<string, string>
  test.each<[string, () => string]>([
    ['is no JSON', () => 'zz-secret'],
    ['misses a member', () => JSON.stringify({ ...account(), client_email: undefined, private_key: 'zz-secret' })],
    ['has no address', () => JSON.stringify({ ...account(), token_uri: 'zz-secret' })],
    ['has no key', () => JSON.stringify({ ...account(), private_key: 'zz-secret' })],
    [
      'leads to a machine’s secrets',
      () => JSON.stringify({ ...account(), token_uri: 'http://169.254.169.254/zz-secret' }),
    ],
  ])('that %s is rejected, and not shown', async (_name, secret) => {
    const { fault, message } = await faultOf(secret())
    expect(fault).toBe('rejected')
    expect(message).not.toContain('zz-secret')
    expect(identity.exchangeCount).toBe(0)
  })

  test('whose token endpoint cannot be reached may be better later', async () => {
    const secret = JSON.stringify({ ...account(), token_uri: 'http://127.0.0.1:1/token' })
    expect(await faultOf(secret)).toMatchObject({ fault: 'unavailable' })
  })
})

describe('a machine', () => {
  test('says who it is', async () => {
    await tokenOf({ ambient: 'google' })
    await tokenOf({ ambient: 'google' })
    expect(identity.metadataCount).toBe(1)
  })

  test('without an account is rejected', async () => {
    identity.refusal = { status: 404, body: {} }
    expect(await faultOf({ ambient: 'google' })).toMatchObject({ fault: 'rejected' })
  })

  test('is asked only where that is permitted', async () => {
    ambient = { aws: null, azure: null, google: null }
    const { fault, message } = await faultOf({ ambient: 'google' })
    expect(fault).toBe('rejected')
    expect(message).toContain('SWITCHYARD_AGENT_AMBIENT_CREDENTIALS')
    expect(identity.metadataCount).toBe(0)
  })

  test('of another cloud is none', async () => {
    expect(await faultOf({ ambient: 'aws' })).toMatchObject({ fault: 'rejected' })
  })
})

test('a provider that wants no credential gets none', () => {
  expect(ask(null)).toEqual([])
})

/** Waits until `look` finds something; the background has its turns meanwhile. */
async function until<T>(look: () => T | null): Promise<T> {
  for (let turn = 0; turn < 10_000; turn++) {
    const found = look()
    if (found !== null) return found
    await new Promise((resolve) => setImmediate(resolve))
  }
  throw new Error('never came')
}
