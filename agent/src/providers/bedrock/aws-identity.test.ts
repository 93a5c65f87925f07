import { beforeEach, describe, expect, test } from 'vitest'
import { VirtualClock } from '../../../../proto/std/clock.js'
import { makeTarget } from '../../../../test/harness/agent-door.js'
import { AccessTokens } from '../access-tokens.js'
import type { AwsAmbient } from '../ambient.js'
import type { OutgoingCall, ProviderSecret } from '../provider-dialect.js'
import { type TokenAnswer, type TokenCall, TokenClient } from '../token-client.js'
import { AwsIdentity } from './aws-identity.js'

/** Answers as it is told, the last answer again and again. */
class ScriptedClient extends TokenClient {
  readonly calls: TokenCall[] = []
  readonly files = new Map<string, string>([['/token', 'web-identity-token']])
  answers: (TokenAnswer | Error)[] = []

  override async call(call: TokenCall): Promise<TokenAnswer> {
    this.calls.push(call)
    const answer = this.answers.length > 1 ? this.answers.shift() : this.answers[0]
    if (answer === undefined || answer instanceof Error) throw answer ?? new Error('no answer')
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

const nothing: AwsAmbient = {
  ...{ accessKeyId: '', secretAccessKey: '', sessionToken: '', webIdentityTokenFile: '', roleArn: '' },
  ...{ roleSessionName: 'switchyard-agent', stsEndpoint: '' },
}
const webIdentity = { ...nothing, webIdentityTokenFile: '/token', roleArn: 'arn:aws:iam::123456789012:role/a' }

function identityOf(aws: AwsAmbient | null): AwsIdentity {
  return new AwsIdentity({ clock, client, tokens: new AccessTokens(clock), ambient: { aws } })
}

function callTo(vendorRegion: string): OutgoingCall {
  const { provider } = makeTarget({ origin: 'https://x', vendorRegion })
  return { provider, path: '/', headers: [], body: Buffer.alloc(0), timeoutMs: 700 }
}

const ask = async (identity: AwsIdentity, secret: ProviderSecret = { ambient: 'aws' }, region = 'eu-central-1') =>
  identity.get(callTo(region), secret)

let count = 0
function given(lastsMs = 3_600_000): TokenAnswer {
  count += 1
  const expiration = new Date(clock.nowMs() + lastsMs).toISOString()
  return {
    status: 200,
    body: `<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIA${count}</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>${expiration}</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`,
  }
}

const refused = (status: number, code: string): TokenAnswer => ({
  status,
  body: `<ErrorResponse><Error><Code>${code}</Code><Message>said so</Message></Error></ErrorResponse>`,
})

describe('a secret', () => {
  test('is keys, with or without a session', async () => {
    const identity = identityOf(null)
    expect(await ask(identity, '{"accessKeyId":"AKIA","secretAccessKey":"s"}')).toEqual({
      ...{ accessKeyId: 'AKIA', secretAccessKey: 's', sessionToken: null },
    })
    const secret = '{"accessKeyId":"ASIA","secretAccessKey":"s","sessionToken":"t"}'
    const first = await ask(identity, secret)
    expect(first).toMatchObject({ sessionToken: 't' })
    // One object per secret: what is kept by it is kept.
    expect(await ask(identity, secret)).toBe(first)
  })

  test.each([
    ['no JSON', 'AKIA:secret'],
    ['no object', '["AKIA","s"]'],
    ['no key', '{"accessKeyId":"AKIA"}'],
    ['an empty key', '{"accessKeyId":"","secretAccessKey":"s"}'],
    ['a key with a line break', '{"accessKeyId":"A\\nB","secretAccessKey":"s"}'],
    ['a token of another type', '{"accessKeyId":"A","secretAccessKey":"s","sessionToken":7}'],
  ])('that holds %s is shown like one that AWS refused, and not repeated', async (_name, secret) => {
    const found = await ask(identityOf(null), secret)
    expect(found).toMatchObject({ fault: 'rejected' })
    expect(JSON.stringify(found)).not.toContain('AKIA')
  })

  test('is forgotten when many others came, and read again', async () => {
    const identity = identityOf(null)
    const secretOf = (number: number) => `{"accessKeyId":"AKIA${number}","secretAccessKey":"s"}`
    const first = await ask(identity, secretOf(0))
    for (let number = 1; number <= 256; number++) await ask(identity, secretOf(number))
    const again = await ask(identity, secretOf(0))
    expect(again).toEqual(first)
    expect(again).not.toBe(first)
  })
})

describe('what the machine was given', () => {
  const unusable: [string, AwsAmbient | null, RegExp][] = [
    ['not permitted', null, /SWITCHYARD_AGENT_AMBIENT_CREDENTIALS/],
    ['nothing', nothing, /neither AWS_ACCESS_KEY_ID/],
    ['half a pair of keys', { ...webIdentity, accessKeyId: 'AKIA' }, /no pair of keys/],
    ['keys that are none', { ...nothing, accessKeyId: 'A B', secretAccessKey: 's' }, /no pair of keys/],
    ['a token without a role', { ...webIdentity, roleArn: '' }, /neither/],
  ]
  test.each(unusable)('%s: a fault that says what to set', async (_name, aws, message) => {
    expect(await ask(identityOf(aws))).toEqual({ fault: 'unavailable', message: expect.stringMatching(message) })
    expect(client.calls).toHaveLength(0)
  })

  test('keys in the environment come first, and nobody is asked', async () => {
    const aws = { ...webIdentity, accessKeyId: 'ASIA', secretAccessKey: 's', sessionToken: 't' }
    expect(await ask(identityOf(aws))).toEqual({ accessKeyId: 'ASIA', secretAccessKey: 's', sessionToken: 't' })
    expect(client.calls).toHaveLength(0)
  })

  test('another cloud’s identity is none for AWS', async () => {
    expect(await ask(identityOf(webIdentity), { ambient: 'azure' })).toMatchObject({ fault: 'unavailable' })
  })
})

describe('a web identity', () => {
  test('is shown to the STS of the provider’s region, guarded', async () => {
    client.answers = [given()]
    expect(await ask(identityOf(webIdentity))).toMatchObject({ accessKeyId: `ASIA${count}`, sessionToken: 't' })
    const [call] = client.calls
    expect(call).toMatchObject({
      ...{ method: 'POST', url: 'https://sts.eu-central-1.amazonaws.com/', timeoutMs: 700, ambient: false },
    })
    expect(Object.fromEntries(new URLSearchParams(call?.body ?? ''))).toEqual({
      ...{ Action: 'AssumeRoleWithWebIdentity', Version: '2011-06-15', RoleSessionName: 'switchyard-agent' },
      ...{ RoleArn: webIdentity.roleArn, WebIdentityToken: 'web-identity-token' },
    })
  })

  test.each([
    ['cn-north-1', 'https://sts.cn-north-1.amazonaws.com.cn/'],
    ['us-gov-west-1', 'https://sts.us-gov-west-1.amazonaws.com/'],
    ['ap-southeast-2', 'https://sts.ap-southeast-2.amazonaws.com/'],
  ])('of region %s', async (region, url) => {
    client.answers = [given()]
    await ask(identityOf(webIdentity), { ambient: 'aws' }, region)
    expect(client.calls[0]?.url).toBe(url)
  })

  test.each(['', 'us-iso-east-1', 'eusc-de-east-1', 'evil.example/x-1', 'a-b-1.evil.example#-1', 'EU-CENTRAL-1'])(
    'is shown to nobody where no STS is known for region "%s"',
    async (region) => {
      const found = await ask(identityOf(webIdentity), { ambient: 'aws' }, region)
      expect(found).toEqual({ fault: 'unavailable', message: expect.stringContaining('AWS_ENDPOINT_URL_STS') })
      expect(client.calls).toHaveLength(0)
    },
  )

  test('is shown to the endpoint that an operator set, whatever the region', async () => {
    client.answers = [given()]
    const identity = identityOf({ ...webIdentity, stsEndpoint: 'https://sts.internal/aws' })
    await ask(identity, { ambient: 'aws' }, 'us-iso-east-1')
    expect(client.calls[0]).toMatchObject({ url: 'https://sts.internal/aws/', ambient: true })
  })

  test('is asked for once by all, per region, and its keys are kept', async () => {
    client.answers = [given()]
    const identity = identityOf(webIdentity)
    const found = await Promise.all([ask(identity), ask(identity), ask(identity)])
    expect(new Set(found).size).toBe(1)
    expect(await ask(identity)).toBe(found[0])
    expect(client.calls).toHaveLength(1)
    await ask(identity, { ambient: 'aws' }, 'us-east-1')
    expect(client.calls).toHaveLength(2)
  })

  test('is asked for anew before the keys end, with the token that is in the file by then', async () => {
    client.answers = [given(3_600_000)]
    const identity = identityOf(webIdentity)
    const first = await ask(identity)
    await clock.advance(3_600_000 - 301_000)
    expect(await ask(identity)).toBe(first)
    expect(client.calls).toHaveLength(1)
    await clock.advance(2_000)
    client.files.set('/token', 'the-next-token')
    client.answers = [given()]
    // In the background: the old ones are still good.
    expect(await ask(identity)).toBe(first)
    await clock.advance(0)
    await new Promise((resolve) => setImmediate(resolve))
    expect(await ask(identity)).not.toBe(first)
    expect(client.calls).toHaveLength(2)
    expect(client.calls[1]?.body).toContain('the-next-token')
  })

  const faults: [string, TokenAnswer | Error, string, RegExp][] = [
    ['a token that is not valid', refused(400, 'InvalidIdentityToken'), 'rejected', /InvalidIdentityToken: said so/],
    ['a token that has expired', refused(400, 'ExpiredTokenException'), 'rejected', /ExpiredTokenException/],
    ['a role that does not trust it', refused(403, 'AccessDenied'), 'rejected', /HTTP 403: AccessDenied/],
    ['an issuer that AWS cannot reach', refused(400, 'IDPCommunicationError'), 'unavailable', /IDPCommunicationError/],
    ['too many questions', refused(400, 'Throttling'), 'unavailable', /Throttling/],
    ['HTTP 429', refused(429, 'Slow'), 'unavailable', /HTTP 429/],
    ['HTTP 500', refused(500, 'InternalFailure'), 'unavailable', /HTTP 500/],
    ['a proxy in between', { status: 403, body: '<html>no</html>' }, 'unavailable', /HTTP 403/],
    ['no network', new Error('connect ECONNREFUSED'), 'unavailable', /ECONNREFUSED/],
    ['an answer that is none', { status: 200, body: '{}' }, 'unavailable', /holds no credentials/],
  ]
  test.each(faults)('%s', async (_name, answer, fault, message) => {
    client.answers = [answer]
    const found = await ask(identityOf(webIdentity))
    expect(found).toEqual({ fault, message: expect.stringMatching(message) })
    expect(JSON.stringify(found)).not.toContain('web-identity-token')
  })

  test('keys that have ended when they come are none', async () => {
    client.answers = [given(-1_000)]
    expect(await ask(identityOf(webIdentity))).toMatchObject({
      fault: 'unavailable',
      message: expect.stringMatching(/clock/),
    })
  })

  test('without its file is none, and is not asked for at once again', async () => {
    client.files.clear()
    const identity = identityOf(webIdentity)
    expect(await ask(identity)).toMatchObject({ fault: 'unavailable', message: expect.stringMatching(/ENOENT/) })
    client.files.set('/token', 'back')
    client.answers = [given()]
    expect(await ask(identity)).toMatchObject({ fault: 'unavailable' })
    await clock.advance(1_001)
    expect(await ask(identity)).toMatchObject({ sessionToken: 't' })
  })
})
