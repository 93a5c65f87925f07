import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type CryptoKey, exportJWK, generateKeyPair, SignJWT } from 'jose'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../../proto/std/clock.js'
import { isRefusal } from '../../../proto/std/refusal.js'
import { Authenticator, type AuthenticatorOptions, type Standing } from './authenticate.js'

const secret = 'a-shared-secret-of-more-than-32-characters'
const adminToken = 'bootstrap-token-of-more-than-32-characters'
const tenantId = 'ten_00000000000000000000000001'

const standings: Record<string, Standing> = {
  'acme/ada': { tenantId, archived: false, member: { roles: ['developer'], disabled: false } },
  'acme/dis': { tenantId, archived: false, member: { roles: ['tenant-admin'], disabled: true } },
  'acme/new': { tenantId, archived: false, member: null },
  'gone/ada': { tenantId, archived: true, member: { roles: ['viewer'], disabled: false } },
}

/** A real key server: what it publishes can be changed, and it can fail. */
class KeyServer {
  readonly #server: Server
  keys: object[] = []
  broken = false
  fetchCount = 0

  constructor() {
    this.#server = createServer((_, response) => {
      this.fetchCount += 1
      if (this.broken) response.writeHead(500).end('away')
      else response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ keys: this.keys }))
    })
  }

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/jwks`
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

interface SigningPair {
  readonly kid: string
  readonly alg: string
  readonly privateKey: CryptoKey
  readonly published: object
}

async function makePair(alg: string, kid: string): Promise<SigningPair> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
  return { kid, alg, privateKey, published: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' } }
}

const nowSeconds = () => Math.floor(systemClock.nowMs() / 1000)

function claimed(claims: Record<string, unknown>, key: { secret?: string; pair?: SigningPair } = {}): Promise<string> {
  const { pair } = key
  const jwt = new SignJWT({ exp: nowSeconds() + 60, sub: 'ada', tenant: 'acme', ...claims })
  if (pair) return jwt.setProtectedHeader({ alg: pair.alg, kid: pair.kid }).sign(pair.privateKey)
  return jwt.setProtectedHeader({ alg: 'HS256' }).sign(new TextEncoder().encode(key.secret ?? secret))
}

const failures: string[] = []
const keyServer = new KeyServer()

function authenticator(overrides: Partial<AuthenticatorOptions> = {}): Authenticator {
  return new Authenticator({
    adminToken,
    hs256Secret: secret,
    jwksUrl: keyServer.url,
    jwksCooldownMs: 0,
    jwksTimeoutMs: 2_000,
    jwksAgeMsMax: 600_000,
    jwksOutageMsMax: 0,
    onJwksOutage: () => {},
    issuer: null,
    audience: null,
    clockSkewSeconds: 30,
    tenantClaim: 'tenant',
    rolesClaim: 'roles',
    standing: async (tenant, subject) => standings[`${tenant}/${subject}`] ?? null,
    clock: systemClock,
    onFailure: (reason) => failures.push(reason),
    ...overrides,
  })
}

async function judged(header: string | undefined, overrides: Partial<AuthenticatorOptions> = {}) {
  const outcome = await authenticator(overrides).authenticate(header)
  if (isRefusal(outcome)) return `${outcome.code}: ${outcome.detail?.['reason']}`
  return `${outcome.kind} ${outcome.subject} of ${outcome.tenantId}: ${[...outcome.roles].join(',')}`
}

const bearer = async (token: Promise<string>) => `Bearer ${await token}`

beforeAll(() => keyServer.start())
afterAll(() => keyServer.stop())
beforeEach(() => {
  failures.length = 0
  keyServer.keys = []
  keyServer.broken = false
  keyServer.fetchCount = 0
})

describe('who asks', () => {
  test('the bootstrap token is a platform admin', async () => {
    expect(await judged(`Bearer ${adminToken}`)).toBe('bootstrap bootstrap of null: platform-admin')
    expect(await judged(`bearer  ${adminToken} `)).toBe('bootstrap bootstrap of null: platform-admin')
    expect(await judged(`Bearer ${adminToken}x`)).toBe('unauthenticated: malformed')
    expect(await judged(`Bearer ${adminToken}`, { adminToken: null })).toBe('unauthenticated: malformed')
  })

  test('a wrong bootstrap token is told what is expected, the same however near it is and whatever is accepted', async () => {
    const wrong = ['x', `${adminToken}x`, adminToken.slice(0, -1), adminToken.toUpperCase(), 'a.b.c']
    const sentences = new Set<string>()
    for (const settings of [{}, { adminToken: null }, { hs256Secret: null, jwksUrl: null }]) {
      for (const token of wrong) {
        const outcome = await authenticator(settings).authenticate(`Bearer ${token}`)
        if (isRefusal(outcome)) sentences.add(outcome.message)
      }
    }
    expect([...sentences]).toEqual([
      expect.stringMatching(/neither the bootstrap token \(SWITCHYARD_ADMIN_TOKEN.* nor a JWT/),
    ])
  })

  test.each<[string, Record<string, unknown>, string]>([
    ['roles of the claim', { roles: ['viewer'] }, `token ada of ${tenantId}: viewer`],
    ['roles as a text', { roles: 'developer viewer' }, `token ada of ${tenantId}: developer,viewer`],
    ['unknown roles count for nothing', { roles: ['root', 'viewer'] }, `token ada of ${tenantId}: viewer`],
    ['an empty claim is a claim', { roles: [] }, `token ada of ${tenantId}: `],
    ['no claim: the member row decides', {}, `token ada of ${tenantId}: developer`],
    ['no claim and no member', { sub: 'new' }, 'unauthenticated: not_a_member'],
    ['claim without a member', { sub: 'new', roles: ['viewer'] }, `token new of ${tenantId}: viewer`],
    [
      'a disabled member, whatever its token says',
      { sub: 'dis', roles: ['tenant-admin'] },
      'unauthenticated: disabled_member',
    ],
    ['a platform admin has no tenant', { roles: ['platform-admin', 'viewer'] }, `token ada of ${tenantId}: viewer`],
    [
      'without a tenant only platform admins',
      { tenant: undefined, roles: ['platform-admin'] },
      'token ada of null: platform-admin',
    ],
    ['without a tenant, another role', { tenant: undefined, roles: ['tenant-admin'] }, 'unauthenticated: no_tenant'],
    ['without a tenant and roles', { tenant: undefined }, 'unauthenticated: no_tenant'],
    ['an unknown tenant', { tenant: 'other' }, 'unauthenticated: unknown_tenant'],
    ['an archived tenant', { tenant: 'gone' }, 'unauthenticated: unknown_tenant'],
    ['a tenant that is no text', { tenant: ['acme'] }, 'unauthenticated: claims'],
    ['no subject', { sub: undefined }, 'unauthenticated: claims'],
    ['no expiry', { exp: undefined }, 'unauthenticated: claims'],
  ])('%s', async (_, claims, expected) => {
    expect(await judged(await bearer(claimed(claims)))).toBe(expected)
  })

  test('claims may have other names, dots included', async () => {
    const names = { tenantClaim: 'https://example.com/tenant', rolesClaim: 'realm_access.roles' }
    const token = claimed({
      tenant: undefined,
      'https://example.com/tenant': 'acme',
      realm_access: { roles: ['viewer'] },
    })
    expect(await judged(await bearer(token), names)).toBe(`token ada of ${tenantId}: viewer`)
  })

  test.each<[string, string | undefined, string]>([
    ['nothing', undefined, 'missing'],
    ['another scheme', 'Basic abc', 'malformed'],
    ['no token', 'Bearer ', 'malformed'],
    ['two tokens', 'Bearer a b', 'malformed'],
    ['not a token', 'Bearer a.b.c', 'malformed'],
    ['a very long one', `Bearer ${'a'.repeat(20_000)}`, 'malformed'],
  ])('%s is refused and counted', async (_, header, reason) => {
    expect(await judged(header)).toBe(`unauthenticated: ${reason}`)
    expect(failures).toEqual([reason])
  })
})

describe('signatures and times', () => {
  test('another secret, no signature, another algorithm', async () => {
    expect(await judged(await bearer(claimed({}, { secret: `${secret}!` })))).toBe('unauthenticated: bad_signature')
    const parts = (await claimed({})).split('.')
    const none = Buffer.from('{"alg":"none"}').toString('base64url')
    expect(await judged(`Bearer ${none}.${parts[1]}.`)).toBe('unauthenticated: algorithm')
    expect(await judged(await bearer(claimed({})), { hs256Secret: null })).toBe('unauthenticated: algorithm')
  })

  test('the clock may be off by the skew and no more', async () => {
    const at = (exp: number, nbf = nowSeconds() - 100) => bearer(claimed({ exp: nowSeconds() + exp, nbf }))
    expect(await judged(await at(-10))).toContain('developer')
    expect(await judged(await at(-40))).toBe('unauthenticated: expired')
    expect(await judged(await at(-10), { clockSkewSeconds: 0 })).toBe('unauthenticated: expired')
    expect(await judged(await at(60, nowSeconds() + 10))).toContain('developer')
    expect(await judged(await at(60, nowSeconds() + 60))).toBe('unauthenticated: not_yet_valid')
  })

  test('issuer and audience, when they are asked for', async () => {
    const wanted = { issuer: 'https://id.example.com', audience: 'switchyard' }
    const good = { iss: wanted.issuer, aud: ['other', wanted.audience] }
    expect(await judged(await bearer(claimed(good)), wanted)).toContain('developer')
    expect(await judged(await bearer(claimed({ ...good, aud: 'other' })), wanted)).toBe('unauthenticated: claims')
    expect(await judged(await bearer(claimed({ ...good, iss: 'x' })), wanted)).toBe('unauthenticated: claims')
    expect(await judged(await bearer(claimed({})), wanted)).toBe('unauthenticated: claims')
  })
})

describe('published keys', () => {
  test.each(['RS256', 'ES256', 'EdDSA'])('%s is verified with the published key', async (alg) => {
    const pair = await makePair(alg, 'one')
    keyServer.keys = [pair.published]
    expect(await judged(await bearer(claimed({}, { pair })))).toContain('developer')
    const forger = await makePair(alg, 'one')
    expect(await judged(await bearer(claimed({}, { pair: forger })))).toBe('unauthenticated: bad_signature')
  })

  test('a published public key is no shared secret', async () => {
    const pair = await makePair('RS256', 'one')
    keyServer.keys = [pair.published]
    const confused = claimed({}, { secret: JSON.stringify(pair.published) })
    expect(await judged(await bearer(confused), { hs256Secret: null })).toBe('unauthenticated: algorithm')
  })

  test('keys rotate without a restart: the new one is known, the withdrawn one is not', async () => {
    const [first, second] = [await makePair('ES256', 'first'), await makePair('ES256', 'second')]
    keyServer.keys = [first.published]
    const one = authenticator()
    const accepts = async (pair: SigningPair) => !isRefusal(await one.authenticate(await bearer(claimed({}, { pair }))))
    expect(await accepts(first)).toBe(true)
    expect(await accepts(second)).toBe(false)
    keyServer.keys = [first.published, second.published]
    expect(await accepts(second)).toBe(true)
    expect(await accepts(first)).toBe(true)
    keyServer.keys = [second.published]
    // A look for a key that nobody knows brings the newest set in; after it the withdrawn one is gone.
    expect(await accepts(await makePair('ES256', 'third'))).toBe(false)
    expect(await accepts(first)).toBe(false)
    expect(await accepts(second)).toBe(true)
  })

  test('made-up key ids cannot make us hammer the key server', async () => {
    const pair = await makePair('ES256', 'one')
    keyServer.keys = [pair.published]
    const one = authenticator({ jwksCooldownMs: 60_000 })
    for (let i = 0; i < 20; i++) {
      const header = await bearer(claimed({}, { pair: { ...pair, kid: `made-up-${i}` } }))
      expect(await one.authenticate(header)).toMatchObject({ detail: { reason: 'unknown_key' } })
    }
    expect(keyServer.fetchCount).toBe(1)
  })

  test('a key server that is away is an outage, not a wrong token', async () => {
    const pair = await makePair('ES256', 'one')
    keyServer.broken = true
    const header = await bearer(claimed({}, { pair }))
    expect(await judged(header)).toBe('unavailable: keys_unavailable')
    expect(await judged(header, { jwksUrl: 'http://127.0.0.1:1/jwks' })).toBe('unavailable: keys_unavailable')
  })

  test('the last good keys go on being used through an outage, for so long and no longer, and somebody is told', async () => {
    const [pair, other] = await Promise.all([makePair('ES256', 'one'), makePair('ES256', 'two')])
    let nowMs = systemClock.nowMs()
    let outages = 0
    const fetchCounts: number[] = []
    // Never fresh: each token asks for the keys again.
    const one = authenticator({
      ...{ jwksAgeMsMax: 0, jwksOutageMsMax: 3_600_000, jwksCooldownMs: 1_000 },
      clock: { ...systemClock, nowMs: () => nowMs, monotonicUs: () => nowMs * 1000 },
      onJwksOutage: () => {
        outages += 1
      },
    })
    const ask = async (signer = pair) => {
      const exp = Math.floor(nowMs / 1000) + 60
      const outcome = await one.authenticate(await bearer(claimed({ exp }, { pair: signer })))
      fetchCounts.push(keyServer.fetchCount)
      return isRefusal(outcome) ? outcome.detail?.['reason'] : outcome.subject
    }
    keyServer.keys = [pair.published]
    expect(await ask()).toBe('ada')
    keyServer.broken = true
    expect([await ask(), await ask(), await ask()]).toEqual(['ada', 'ada', 'ada'])
    // Nobody waits for a server that was away a moment ago.
    expect(fetchCounts).toEqual([1, 2, 2, 2])
    expect(outages).toBe(1)
    // What the last set does not know may be a new key.
    expect(await ask(other)).toBe('keys_unavailable')
    nowMs += 3_500_000
    expect(await ask()).toBe('ada')
    expect(outages).toBe(2)
    nowMs += 200_000
    expect(await ask()).toBe('keys_unavailable')
    keyServer.broken = false
    keyServer.keys = [other.published]
    nowMs += 2_000
    expect([await ask(other), await ask()]).toEqual(['ada', 'unknown_key'])
  })
})
