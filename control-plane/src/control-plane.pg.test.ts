import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createClient } from 'graphql-ws'
import { SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import WebSocket from 'ws'
import { loadContract, unaryCall } from '../../agent/src/config/grpc-client.js'
import { isApiKeyText } from '../../proto/policy/api-key-text.js'
import { systemClock } from '../../proto/std/clock.js'
import type { Log } from '../../proto/std/service.js'
import { enrolAt, TestAgent } from '../../test/harness/fleet.js'
import { type TestDatabase, testDatabase } from '../../test/harness/postgres.js'
import { ControlPlane } from './control-plane.js'
import { loadSettings } from './settings.js'

const adminToken = 'an-admin-token-of-at-least-32-characters'
const secret = 'a-shared-secret-of-at-least-32-characters'
const quiet: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {}, child: () => quiet }

interface GraphAnswer {
  readonly status: number
  readonly headers: Headers
  readonly data: Record<string, never> | null
  readonly errors: { message: string; extensions: Record<string, unknown>; path?: string[] }[]
}

let database: TestDatabase
let plane: ControlPlane
const ids = { tenant: '', environment: '', other: '' }

function settingsOf(overrides: Record<string, string> = {}) {
  return loadSettings({
    DATABASE_URL: database.url,
    SWITCHYARD_WRAP_KEYS: `k1:${Buffer.alloc(32, 1).toString('base64')}`,
    SWITCHYARD_ADMIN_TOKEN: adminToken,
    SWITCHYARD_JWT_HS256_SECRET: secret,
    SWITCHYARD_HTTP_PORT: '0',
    SWITCHYARD_METRICS_PORT: '0',
    SWITCHYARD_FLEET_PORT: '0',
    SWITCHYARD_ENROL_PORT: '0',
    SWITCHYARD_GRAPHQL_BODY_BYTES_MAX: '20000',
    SWITCHYARD_AUDIT_POLL_MS: '50',
    SWITCHYARD_REGION: 'eu-central-1',
    SWITCHYARD_SUBSCRIPTION_RECHECK_MS: '100',
    ...overrides,
  })
}

function tokenOf(claims: Record<string, unknown>, lifeSeconds = 300): Promise<string> {
  return new SignJWT({ tenant: ids.tenant, ...claims })
    .setProtectedHeader({ alg: 'HS256' })
    .setExpirationTime(Math.floor(systemClock.nowMs() / 1000) + lifeSeconds)
    .sign(new TextEncoder().encode(secret))
}

async function post(body: unknown, headers: Record<string, string> = {}): Promise<GraphAnswer> {
  const response = await fetch(`${plane.addresses.http}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
  const { data = null, errors = [] } = (await response.json()) as Partial<GraphAnswer>
  return { status: response.status, headers: response.headers, data, errors }
}

const as = (token: string) => ({ authorization: `Bearer ${token}` })
const ask = (query: string, variables: object = {}, token = adminToken) => post({ query, variables }, as(token))

async function made<T>(query: string, variables: object, token = adminToken): Promise<T> {
  const { data, errors } = await ask(query, variables, token)
  expect(errors).toEqual([])
  return data as T
}

beforeAll(async () => {
  database = await testDatabase()
  plane = new ControlPlane(settingsOf(), { clock: systemClock, log: quiet })
  await plane.start()
  const tenant = `mutation ($input: CreateTenantInput!) { createTenant(input: $input) { tenant { id } } }`
  const create = async (slug: string) =>
    (await made<{ createTenant: { tenant: { id: string } } }>(tenant, { input: { slug, name: slug } })).createTenant
      .tenant.id
  ids.tenant = await create('acme')
  ids.other = await create('other')
  const { createEnvironment } = await made<{ createEnvironment: { environment: { id: string } } }>(
    `mutation ($input: CreateEnvironmentInput!) { createEnvironment(input: $input) { environment { id } intentRevision } }`,
    { input: { tenantId: ids.tenant, name: 'production', permittedRegions: ['eu-1'] } },
  )
  ids.environment = createEnvironment.environment.id
})

afterAll(async () => {
  await plane?.drain()
  await database?.drop()
})

describe('the front door', () => {
  test('answers, and returns the request id it was given or made', async () => {
    const given = await post({ query: '{ viewer { subject } }' }, { ...as(adminToken), 'x-request-id': 'mine-1' })
    expect(given.data).toEqual({ viewer: { subject: 'bootstrap' } })
    expect(given.headers.get('x-request-id')).toBe('mine-1')
    const unfit = await post({ query: '{ __typename }' }, { 'x-request-id': 'two words' })
    expect(unfit.headers.get('x-request-id')).toMatch(/^req_[0-9a-z]{26}$/)
  })

  test('health and readiness', async () => {
    const { http } = plane.addresses
    expect((await fetch(`${http}/healthz`)).status).toBe(200)
    expect(await (await fetch(`${http}/readyz`)).json()).toMatchObject({ status: 'ready', checks: { database: true } })
    expect((await fetch(`${http}/nowhere`)).status).toBe(404)
  })

  test('a token that does not hold refuses the whole request, and is counted', async () => {
    const wrong = await post({ query: '{ __typename }' }, as('nonsense'))
    expect(wrong.status).toBe(401)
    expect(wrong.errors[0]?.extensions).toMatchObject({ code: 'UNAUTHENTICATED', detail: { reason: 'malformed' } })
    const expired = await ask('{ viewer { subject } }', {}, await tokenOf({ sub: 'a', roles: ['viewer'] }, -3600))
    expect(expired.errors[0]?.extensions).toMatchObject({ code: 'UNAUTHENTICATED', detail: { reason: 'expired' } })
    const metrics = await (await fetch(`http://${plane.addresses.metrics}/metrics`)).text()
    expect(metrics).toMatch(/authentication_failures_total\{reason="expired"\} 1/)
    const nobody = await post({ query: '{ viewer { subject } }' })
    expect(nobody.errors[0]?.extensions).toMatchObject({ code: 'UNAUTHENTICATED' })
  })

  test('limits: body, tokens, depth, renamed fields, complexity, page size', async () => {
    const codeOf = async (query: string, variables = {}) => (await ask(query, variables)).errors[0]?.extensions['code']
    const large = await post({ query: `{ viewer { subject } } #${'x'.repeat(20_000)}` }, as(adminToken))
    expect(large.status).toBe(413)
    expect(large.errors[0]?.extensions).toMatchObject({ code: 'LIMIT_EXCEEDED' })
    expect(await codeOf(`{ ${'viewer { subject } '.repeat(1_300)} }`.slice(0, 19_000))).toMatch(/PARSE/)
    const deep = 'environment { tenant { id } }'
    expect(await codeOf(`{ apiKeys { edges { node { ${deep} } } } }`)).toBe('BAD_USER_INPUT')
    const nested = (depth: number): string => (depth === 0 ? 'name' : `ofType { ${nested(depth - 1)} }`)
    expect(await codeOf(`{ __schema { types { fields { type { ${nested(7)} } } } } }`)).toBeUndefined()
    const aliases = Array.from({ length: 51 }, (_, i) => `a${i}: __typename`).join(' ')
    expect(await codeOf(`{ ${aliases} }`)).toBe('LIMIT_EXCEEDED')
    const page = '{ edges { node { id slug name createdAt archivedAt } cursor } pageInfo { endCursor hasNextPage } }'
    const many = Array.from({ length: 30 }, (_, i) => `t${i}: tenants(first: 100) ${page}`).join(' ')
    expect(await codeOf(`{ ${many} }`)).toBe('LIMIT_EXCEEDED')
    const beyond = await ask('{ tenants(first: 101) { edges { cursor } } }')
    expect(beyond.errors[0]?.extensions).toMatchObject({ code: 'BAD_USER_INPUT', field: 'first' })
    const foreign = await ask('{ tenants(after: "abc") { edges { cursor } } }')
    expect(foreign.errors[0]?.extensions).toMatchObject({ code: 'BAD_USER_INPUT', field: 'after' })
  })

  test('a request that a form could send is refused (CSRF), and so are batches and mutations by GET', async () => {
    const form = await post('query=%7B__typename%7D', { 'content-type': 'application/x-www-form-urlencoded' })
    expect(form.status).toBeGreaterThanOrEqual(400)
    const text = await post('{"query":"{ __typename }"}', { 'content-type': 'text/plain' })
    expect(text.status).toBeGreaterThanOrEqual(400)
    const get = await fetch(`${plane.addresses.http}/graphql?query=%7B__typename%7D`)
    expect(get.status).toBe(400)
    const mutation = encodeURIComponent('mutation { archiveTenant(tenantId: "x") { tenant { id } } }')
    const byGet = await fetch(`${plane.addresses.http}/graphql?query=${mutation}`, {
      headers: { ...as(adminToken), 'apollo-require-preflight': 'true' },
    })
    expect(byGet.status).toBe(405)
    expect((await post([{ query: '{ __typename }' }], as(adminToken))).status).toBe(400)
  })

  test('what is refused before it is a GraphQL request names the request all the same', async () => {
    const mine = { 'x-request-id': 'mine-2' }
    const answers = [
      await post('{"query":"{ __typename }"}', { ...mine, 'content-type': 'text/plain' }),
      await post('query=%7B__typename%7D', { ...mine, 'content-type': 'multipart/form-data; boundary=x' }),
      await post([{ query: '{ __typename }' }], { ...mine, ...as(adminToken) }),
      await post({ query: 5 }, { ...mine, ...as(adminToken) }),
      await post({}, { ...mine, ...as(adminToken) }),
    ]
    for (const { status, errors } of answers) {
      expect(status).toBeGreaterThanOrEqual(400)
      expect(errors).toEqual([
        expect.objectContaining({ extensions: expect.objectContaining({ requestId: 'mine-2' }) }),
      ])
    }
    const byGet = await fetch(`${plane.addresses.http}/graphql?query=%7B__typename%7D`, {
      headers: { ...mine, 'content-type': 'text/plain' },
    })
    expect(await byGet.json()).toMatchObject({ errors: [{ extensions: { requestId: 'mine-2' } }] })
  })

  test('input is refused by its path, from the language and from the service', async () => {
    const create = `mutation ($input: CreateApiKeyInput!) { createApiKey(input: $input) { secret } }`
    const fieldOf = async (input: object) => (await ask(create, { input })).errors[0]?.extensions
    const environmentId = ids.environment
    expect(await fieldOf({ environmentId, name: 5 })).toMatchObject({ code: 'BAD_USER_INPUT', field: 'input.name' })
    expect(await fieldOf({ environmentId })).toMatchObject({ code: 'BAD_USER_INPUT', field: 'input' })
    expect(await fieldOf({ environmentId, name: 'k', inFlightMax: 0 })).toMatchObject({ field: 'input.inFlightMax' })
    expect(await fieldOf({ environmentId, name: 'k', expiresAt: '2001-01-01T00:00:00Z' })).toMatchObject({
      field: 'input.expiresAt',
    })
    expect(await fieldOf({ environmentId, name: 'k', allowedRoutes: ['nope'] })).toMatchObject({
      code: 'NOT_FOUND',
      field: 'input.allowedRoutes',
    })
  })

  test('pages of the configured origins may call, others may not', async () => {
    const preflight = (origin: string) =>
      fetch(`${plane.addresses.http}/graphql`, {
        method: 'OPTIONS',
        headers: {
          origin,
          'access-control-request-method': 'POST',
          'access-control-request-headers': 'authorization,content-type',
          'access-control-request-private-network': 'true',
        },
      })
    const sandbox = await preflight('https://studio.apollographql.com')
    expect(sandbox.headers.get('access-control-allow-origin')).toBe('https://studio.apollographql.com')
    expect(sandbox.headers.get('access-control-allow-headers')).toContain('authorization')
    expect(sandbox.headers.get('access-control-allow-private-network')).toBe('true')
    expect(sandbox.headers.get('access-control-allow-credentials')).toBeNull()
    const stranger = await preflight('https://evil.example')
    expect(stranger.headers.get('access-control-allow-origin')).not.toBe('https://evil.example')
    expect(stranger.headers.get('access-control-allow-private-network')).toBeNull()
    const introspection = await ask('{ __schema { queryType { name } } }')
    expect(introspection.data).toEqual({ __schema: { queryType: { name: 'Query' } } })
  })

  test('the explorer is whole from here and may talk to nobody else', async () => {
    const { http } = plane.addresses
    const page = await fetch(`${http}/explorer`)
    expect(page.url).toBe(`${http}/explorer/`)
    expect(page.headers.get('content-security-policy')).toContain("default-src 'none'")
    const html = await page.text()
    expect(html).not.toMatch(/(?:src|href)="(?:https?:)?\/\//)
    const links = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(
      (match) => new URL(String(match[1]), `${http}/explorer/`),
    )
    expect(links.length).toBeGreaterThan(5)
    for (const link of links.filter(({ pathname }) => pathname !== '/explorer/')) {
      const answer = await fetch(link)
      expect(answer.status, link.pathname).toBe(200)
      await answer.body?.cancel()
    }
  })
})

describe('subscriptions', () => {
  const clientOf = (token: string | null) =>
    createClient({
      url: `${plane.addresses.http.replace('http', 'ws')}/graphql`,
      webSocketImpl: WebSocket,
      retryAttempts: 0,
      ...(token === null ? {} : { connectionParams: { Authorization: `Bearer ${token}` } }),
    })
  const subscription = 'subscription { auditAppended { action tenantId after } }'
  const addTeam = (tenantId: string, name: string) =>
    made(`mutation ($input: CreateTeamInput!) { createTeam(input: $input) { team { id } } }`, {
      input: { tenantId, name },
    })

  test('tell what happens in the own tenant and nothing else', async () => {
    const client = clientOf(await tokenOf({ sub: 'ada', roles: ['tenant-admin'] }))
    const events = client.iterate<{ auditAppended: { after: { name: string } } }>({ query: subscription })
    const first = events.next()
    // The subscription starts when the server has seen it; entries before that are not told.
    for (let i = 0; ; i++) {
      await addTeam(ids.other, `other-${i}`)
      await addTeam(ids.tenant, `mine-${i}`)
      if (await Promise.race([first.then(() => true), systemClock.sleep(200).then(() => false)])) break
      expect(i).toBeLessThan(50)
    }
    await addTeam(ids.tenant, 'last')
    const seen = [(await first).value?.data?.auditAppended.after.name]
    while (seen.at(-1) !== 'last') seen.push((await events.next()).value?.data?.auditAppended.after.name)
    expect(seen.filter((name) => name?.startsWith('other'))).toEqual([])
    await client.dispose()
  })

  test.each<[string, () => Promise<string | null>]>([
    ['without a token', async () => null],
    ['with a wrong one', async () => 'nonsense'],
  ])('%s are refused', async (_, token) => {
    const events = clientOf(await token()).iterate({ query: subscription })
    await expect(events.next()).rejects.toMatchObject({ code: 4401 })
  })

  test('are refused to roles that may not read, and to queries and mutations', async () => {
    const viewer = clientOf(await tokenOf({ sub: 'v', roles: ['viewer'] }))
    const codeOf = async (query: string) => {
      try {
        const { value } = await viewer.iterate({ query }).next()
        return value?.errors?.[0]?.extensions?.['code']
      } catch (errors) {
        return (errors as { extensions: { code: string } }[])[0]?.extensions.code
      }
    }
    expect(await codeOf(subscription)).toBe('FORBIDDEN')
    expect(await codeOf('{ viewer { subject } }')).toBe('BAD_REQUEST')
    expect(await codeOf('subscription { nope }')).toBe('GRAPHQL_VALIDATION_FAILED')
    await viewer.dispose()
  })

  test.each<[string, object]>([
    ['is disabled', { disabled: true }],
    ['holds other roles', { roles: ['viewer'] }],
  ])('end when the member behind them %s', async (what, change) => {
    const subject = `bob-${what.replaceAll(' ', '-')}`
    const { createMember } = await made<{ createMember: { member: { id: string } } }>(
      `mutation ($input: CreateMemberInput!) { createMember(input: $input) { member { id } } }`,
      { input: { tenantId: ids.tenant, subject, displayName: 'Bob', roles: ['tenant-admin'] } },
    )
    const client = clientOf(await tokenOf({ sub: subject }))
    const closed = new Promise<unknown>((resolve) => client.on('closed', resolve))
    const ended = client.iterate({ query: subscription }).next()
    ended.catch(() => {})
    await new Promise((resolve) => client.on('connected', resolve))
    await made(`mutation ($input: UpdateMemberInput!) { updateMember(input: $input) { member { disabledAt } } }`, {
      input: { memberId: createMember.member.id, ...change },
    })
    expect(await closed).toMatchObject({ code: 4401 })
    const token = await tokenOf({ sub: subject, ...(what === 'is disabled' ? { roles: ['tenant-admin'] } : {}) })
    const { data, errors } = await ask('{ viewer { roles } }', {}, token)
    if (what === 'is disabled') expect(errors[0]?.extensions).toMatchObject({ detail: { reason: 'disabled_member' } })
    else expect(data).toEqual({ viewer: { roles: ['viewer'] } })
  })
})

describe('what agents will follow', () => {
  test('a key is made, revoked and rotated; each step moves the intent', async () => {
    const create = `mutation ($input: CreateApiKeyInput!) {
      createApiKey(input: $input) { apiKey { id prefix state environment { name tenant { slug } } } secret intentRevision } }`
    const { createApiKey } = await made<{
      createApiKey: { apiKey: { id: string; prefix: string }; secret: string; intentRevision: string }
    }>(create, { input: { environmentId: ids.environment, name: 'app' } })
    expect(isApiKeyText(createApiKey.secret)).toBe(true)
    expect(createApiKey.secret.startsWith(createApiKey.apiKey.prefix)).toBe(true)
    expect(createApiKey.apiKey).toMatchObject({
      state: 'ACTIVE',
      environment: { name: 'production', tenant: { slug: 'acme' } },
    })
    const { rotateApiKey } = await made<{
      rotateApiKey: {
        apiKey: { id: string; rotatedFromId: string }
        previous: { expiresAt: string }
        intentRevision: string
      }
    }>(
      `mutation ($input: RotateApiKeyInput!) {
        rotateApiKey(input: $input) { apiKey { id rotatedFromId } secret previous { expiresAt } intentRevision } }`,
      { input: { apiKeyId: createApiKey.apiKey.id, overlapMinutes: 10 } },
    )
    expect(rotateApiKey.apiKey.rotatedFromId).toBe(createApiKey.apiKey.id)
    expect(Date.parse(rotateApiKey.previous.expiresAt)).toBeGreaterThan(systemClock.nowMs() + 9 * 60_000)
    expect(BigInt(rotateApiKey.intentRevision)).toBeGreaterThan(BigInt(createApiKey.intentRevision))
    const { revokeApiKey } = await made<{ revokeApiKey: { apiKey: { state: string }; intentRevision: string } }>(
      `mutation ($input: RevokeApiKeyInput!) { revokeApiKey(input: $input) { apiKey { state abortOnRevoke } intentRevision } }`,
      { input: { apiKeyId: rotateApiKey.apiKey.id, abort: true } },
    )
    expect(revokeApiKey.apiKey).toEqual({ state: 'REVOKED', abortOnRevoke: true })
    expect(BigInt(revokeApiKey.intentRevision)).toBeGreaterThan(BigInt(rotateApiKey.intentRevision))
  })
})

test('the answers of agents in its region are kept, and nobody else’s', async () => {
  const callFrom = async (region: string) => {
    const input = { name: `answers-${region}`, kind: 'EGRESS', cloud: 'test', region }
    const { createCluster } = await made<{ createCluster: { cluster: { id: string } } }>(
      'mutation ($input: CreateClusterInput!) { createCluster(input: $input) { cluster { id } } }',
      { input },
    )
    const { createJoinToken } = await made<{ createJoinToken: { secret: string } }>(
      'mutation ($input: CreateJoinTokenInput!) { createJoinToken(input: $input) { secret } }',
      { input: { clusterId: createCluster.cluster.id } },
    )
    const [enrolPort, fleetPort] = [plane.addresses.enrol, plane.addresses.fleet].map((at) => Number(at.split(':')[1]))
    const agent = new TestAgent(await enrolAt(enrolPort ?? 0, createJoinToken.secret))
    const { CacheService } = loadContract()
    const client = new CacheService(`localhost:${fleetPort}`, agent.channelCredentials)
    try {
      const name = Buffer.alloc(32, 1)
      await unaryCall((done) =>
        client.put({ name, value: Buffer.from('sealed'), ttlSeconds: 60, bornAtUnixMs: systemClock.nowMs() }, done),
      )
      return await unaryCall((done) => client.get({ name, bytesMax: 100 }, done))
    } finally {
      client.close()
    }
  }
  expect(await callFrom('eu-central-1')).toMatchObject({ value: Buffer.from('sealed') })
  await expect(callFrom('us-east-1')).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' })
  const metrics = await (await fetch(`http://${plane.addresses.metrics}/metrics`)).text()
  expect(metrics).toContain('shared_answer_calls_total{call="get",outcome="hit"} 1')
})

test('HTTPS when a certificate is given', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'switchyard-tls-'))
  const file = (name: string) => path.join(folder, name)
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1']
  execFileSync('openssl', ['req', '-x509', ...kind, ...subject, '-keyout', file('key.pem'), '-out', file('cert.pem')], {
    stdio: 'ignore',
  })
  const secure = new ControlPlane(
    settingsOf({ SWITCHYARD_TLS_CERT_FILE: file('cert.pem'), SWITCHYARD_TLS_KEY_FILE: file('key.pem') }),
    { clock: systemClock, log: quiet },
  )
  try {
    await secure.start()
    expect(secure.addresses.http).toMatch(/^https:/)
    const status = await new Promise((resolve, reject) => {
      request(`${secure.addresses.http}/readyz`, { ca: readFileSync(file('cert.pem')) }, (response) =>
        resolve(response.resume().statusCode),
      )
        .on('error', reject)
        .end()
    })
    expect(status).toBe(200)
  } finally {
    await secure.stop()
    rmSync(folder, { recursive: true })
  }
})

test('a port that is taken stops what was started and says so', async () => {
  const taken = new URL(plane.addresses.http).port
  const second = new ControlPlane(settingsOf({ SWITCHYARD_HTTP_PORT: taken }), { clock: systemClock, log: quiet })
  await expect(second.start()).rejects.toMatchObject({ code: 'EADDRINUSE' })
})
