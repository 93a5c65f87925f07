import { beforeEach, describe, expect, test } from 'vitest'
import type { ProviderTable } from '../../../../proto/policy/tables.js'
import { VirtualClock } from '../../../../proto/std/clock.js'
import { AccessTokens } from '../access-tokens.js'
import type { AzureAmbient } from '../ambient.js'
import type { OutgoingCall, ProviderSecret } from '../provider-dialect.js'
import { type TokenAnswer, type TokenCall, TokenClient } from '../token-client.js'
import { AzureAuthorizer } from './authorize.js'

/** Answers as it is told, the last answer again and again. */
class ScriptedClient extends TokenClient {
  readonly calls: TokenCall[] = []
  readonly files = new Map<string, string>()
  answers: (TokenAnswer | Error)[] = []

  override async call(call: TokenCall): Promise<TokenAnswer> {
    this.calls.push(call)
    const answer = this.answers.length > 1 ? this.answers.shift() : this.answers[0]
    if (answer === undefined) throw new Error('no answer')
    if (answer instanceof Error) throw answer
    return answer
  }

  override async readTokenFile(path: string): Promise<string> {
    const text = this.files.get(path)
    if (text === undefined) throw new Error(`ENOENT: no such file or directory, open '${path}'`)
    return text
  }
}

let clock: VirtualClock
let client: ScriptedClient

beforeEach(() => {
  clock = new VirtualClock()
  client = new ScriptedClient()
})

const answerOf = (status: number, body: unknown): TokenAnswer => ({ status, body: JSON.stringify(body) })
const tokenOf = (access_token: string, expires_in: number | string = 3_599) =>
  answerOf(200, { token_type: 'Bearer', expires_in, ext_expires_in: expires_in, access_token })
const application = { tenantId: 'contoso.example', clientId: 'client-1', clientSecret: 's3cr~t+/=&' }
const secret = JSON.stringify(application)
const bearer = (token: string) => ['authorization', `Bearer ${token}`]

function authorizer(azure: AzureAmbient | null = null): AzureAuthorizer {
  return new AzureAuthorizer({ clock, client, tokens: new AccessTokens(clock), ambient: { azure } })
}

function callOf(credential: ProviderTable['credential'] = { id: 'crd', version: 1 }): OutgoingCall {
  const provider: ProviderTable = {
    ...{ id: 'prv', name: 'azure', kind: 'azure-openai', origin: 'https://a.openai.azure.com', basePath: '' },
    ...{ region: 'eu', credential, connectionsMax: 1, apiVersion: 'v1', vendorRegion: '', vendorProject: '' },
    ...{ replicas: [{ origin: 'https://a.openai.azure.com', basePath: '' }], replicaScrapeMs: null },
    ...{ external: true, replicas: [{ origin: 'https://a.openai.azure.com', basePath: '' }], replicaScrapeMs: null },
  }
  return { provider, path: '/', headers: [], body: Buffer.alloc(0), timeoutMs: 1_234 }
}

describe('a call to Azure OpenAI', () => {
  test('shows a key as it is, and nothing where nothing is wanted', () => {
    expect(authorizer().authorize(callOf(), 'a-key')).toEqual(['api-key', 'a-key'])
    expect(authorizer().authorize(callOf(null), null)).toEqual([])
    expect(client.calls).toHaveLength(0)
  })

  test('shows the token of an application, at once when there is one', async () => {
    client.answers = [tokenOf('t1')]
    const at = authorizer()
    expect(await at.authorize(callOf(), secret)).toEqual(bearer('t1'))
    expect(at.authorize(callOf(), secret)).toEqual(bearer('t1'))
    expect(client.calls).toEqual([
      {
        ...{ method: 'POST', url: 'https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token' },
        headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' },
        body: 'client_id=client-1&scope=https%3A%2F%2Fcognitiveservices.azure.com%2F.default&grant_type=client_credentials&client_secret=s3cr%7Et%2B%2F%3D%26',
        ...{ timeoutMs: 1_234, ambient: false },
      },
    ])
  })

  test('asks at the authority that the application names', async () => {
    client.answers = [tokenOf('t1')]
    const authorityHost = 'https://login.microsoftonline.us/'
    await authorizer().authorize(callOf(), JSON.stringify({ ...application, authorityHost }))
    expect(client.calls[0]?.url).toBe('https://login.microsoftonline.us/contoso.example/oauth2/v2.0/token')
  })

  test('uses a token until a new one is there, asked for in the background before the end', async () => {
    client.answers = [tokenOf('t1'), tokenOf('t2')]
    const at = authorizer()
    await at.authorize(callOf(), secret)
    await clock.advance(3_298_000)
    expect(at.authorize(callOf(), secret)).toEqual(bearer('t1'))
    expect(client.calls).toHaveLength(1)
    await clock.advance(2_000)
    expect(at.authorize(callOf(), secret)).toEqual(bearer('t1'))
    expect(client.calls).toHaveLength(2)
    await new Promise(setImmediate)
    expect(at.authorize(callOf(), secret)).toEqual(bearer('t2'))
  })

  test('never shows the token of another credential, or of another version of it', async () => {
    client.answers = [tokenOf('t1'), tokenOf('t2'), tokenOf('t3')]
    const at = authorizer()
    const shown = []
    for (const credential of [
      { id: 'crd', version: 1 },
      { id: 'crd', version: 2 },
      { id: 'crd2', version: 1 },
    ]) {
      shown.push(await at.authorize(callOf(credential), secret))
    }
    expect(shown).toEqual([bearer('t1'), bearer('t2'), bearer('t3')])
  })

  const description = `AADSTS7000215: Invalid client secret provided: ${application.clientSecret}. Trace ID: 255d1aef`
  const refusals: [string, TokenAnswer | Error, object][] = [
    [
      'a wrong secret',
      answerOf(401, { error: 'invalid_client', error_description: description, error_codes: [7000215] }),
      { fault: 'rejected', message: 'Entra ID refused (invalid_client, AADSTS7000215)' },
    ],
    [
      'an unknown application',
      answerOf(400, { error: 'unauthorized_client', error_description: 'AADSTS700016: Application not found.' }),
      { fault: 'rejected', message: 'Entra ID refused (unauthorized_client, AADSTS700016)' },
    ],
    [
      'a refusal without a number',
      answerOf(400, { error: 'invalid_request', error_description: 'Identity not found' }),
      { fault: 'rejected', message: 'Entra ID refused (invalid_request)' },
    ],
    [
      'a fault of its own that passes',
      answerOf(400, { error: 'temporarily_unavailable', error_description: 'AADSTS90033: transient' }),
      { fault: 'unavailable', message: 'Entra ID answered HTTP 400 (temporarily_unavailable)' },
    ],
    [
      'too many requests',
      answerOf(429, { error: 'invalid_request', error_description: 'AADSTS90055' }),
      { fault: 'unavailable', message: 'Entra ID answered HTTP 429 (invalid_request)' },
    ],
    [
      'a fault of its own',
      { status: 502, body: `<html>${application.clientSecret}</html>` },
      { fault: 'unavailable', message: 'Entra ID answered HTTP 502' },
    ],
    [
      'a refusal by somebody else on the way',
      { status: 403, body: '<html>blocked</html>' },
      { fault: 'unavailable', message: 'Entra ID answered HTTP 403' },
    ],
    ['a redirect', { status: 302, body: '' }, { fault: 'unavailable', message: 'Entra ID answered HTTP 302' }],
    [
      'an error beside no refusal',
      answerOf(302, { error: 'invalid_client' }),
      { fault: 'unavailable', message: 'Entra ID answered HTTP 302 (invalid_client)' },
    ],
    [
      'an error that is no code',
      answerOf(400, { error: `x ${application.clientSecret}` }),
      { fault: 'unavailable', message: 'Entra ID answered HTTP 400' },
    ],
    [
      'a token that no header can carry',
      tokenOf('t1\r\nx-evil: 1'),
      { fault: 'unavailable', message: 'Entra ID answered with something that is no access token' },
    ],
    [
      'a token without an end',
      answerOf(200, { access_token: 't1' }),
      { fault: 'unavailable', message: 'Entra ID answered with something that is no access token' },
    ],
    [
      'a token that has ended',
      tokenOf('t1', 0),
      { fault: 'unavailable', message: 'Entra ID answered with something that is no access token' },
    ],
    [
      'no answer',
      new Error('connect ECONNREFUSED 192.0.2.1:443'),
      { fault: 'unavailable', message: 'Entra ID could not be asked: connect ECONNREFUSED 192.0.2.1:443' },
    ],
  ]
  test.each(refusals)('fails with what may be logged: %s', async (_name, answer, fault) => {
    client.answers = [answer]
    const outcome = await authorizer().authorize(callOf(), secret)
    expect(outcome).toEqual(fault)
    expect(JSON.stringify(outcome)).not.toContain(application.clientSecret)
  })

  test.each([
    ['{"tenantId":"t","clientId":"c"}'],
    ['{"tenantId":1,"clientId":"c","clientSecret":"s"}'],
    ['{not json'],
    ['{}'],
  ])('sends nothing anywhere of a credential that is neither: %s', async (text) => {
    const outcome = await authorizer().authorize(callOf(), text)
    expect(outcome).toMatchObject({ fault: 'rejected' })
    expect(client.calls).toHaveLength(0)
  })
})

describe('the identity of the machine', () => {
  const machine: AzureAmbient = {
    ...{ tenantId: '', clientId: '', federatedTokenFile: '' },
    ...{ authorityHost: 'https://login.microsoftonline.com/', metadataHost: 'http://169.254.169.254' },
  }
  const identity: ProviderSecret = { ambient: 'azure' }

  test('is asked for at the instance metadata service', async () => {
    client.answers = [tokenOf('t1', '86399')]
    const at = authorizer(machine)
    expect(await at.authorize(callOf(), identity)).toEqual(bearer('t1'))
    expect(client.calls).toEqual([
      {
        method: 'GET',
        url: 'http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fcognitiveservices.azure.com',
        headers: { metadata: 'true', accept: 'application/json' },
        ...{ body: null, timeoutMs: 1_234, ambient: true },
      },
    ])
    // The seconds came as a text.
    await clock.advance(86_000_000)
    expect(at.authorize(callOf(), identity)).toEqual(bearer('t1'))
    expect(client.calls).toHaveLength(1)
  })

  test('is the workload’s, proven with the token that the file holds now', async () => {
    const workload = { ...machine, tenantId: 'contoso', clientId: 'c', federatedTokenFile: '/token' }
    client.answers = [tokenOf('t1', 5), tokenOf('t2')]
    const at = authorizer(workload)
    for (const assertion of ['first.signed.token', 'second.signed.token']) {
      client.files.set('/token', assertion)
      await at.authorize(callOf(), identity)
    }
    expect(client.calls.map(({ url, ambient }) => ({ url, ambient }))).toEqual([
      { url: 'https://login.microsoftonline.com/contoso/oauth2/v2.0/token', ambient: true },
      { url: 'https://login.microsoftonline.com/contoso/oauth2/v2.0/token', ambient: true },
    ])
    expect(client.calls.map(({ body }) => Object.fromEntries(new URLSearchParams(body ?? '')))).toMatchObject([
      {
        client_assertion: 'first.signed.token',
        client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      },
      { client_assertion: 'second.signed.token' },
    ])
  })

  const workload = { ...machine, tenantId: 'contoso', clientId: 'c', federatedTokenFile: '/token' }
  const faults: [string, AzureAmbient | null, ProviderSecret, string][] = [
    ['not permitted', null, identity, 'azure is not listed in SWITCHYARD_AGENT_AMBIENT_CREDENTIALS'],
    ['of another cloud', machine, { ambient: 'aws' }, 'Azure OpenAI takes ambient:azure, not ambient:aws'],
    [
      'half set',
      { ...workload, clientId: '' },
      identity,
      'AZURE_FEDERATED_TOKEN_FILE needs AZURE_TENANT_ID and AZURE_CLIENT_ID beside it',
    ],
    [
      'without its file',
      workload,
      identity,
      "the federated token file could not be read: ENOENT: no such file or directory, open '/token'",
    ],
  ]
  test.each(faults)('%s is nobody’s', async (_name, ambient, given, message) => {
    expect(await authorizer(ambient).authorize(callOf(), given)).toEqual({ fault: 'unavailable', message })
    expect(client.calls).toHaveLength(0)
  })
})
