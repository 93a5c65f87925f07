import { describe, expect, test } from 'vitest'
import { VirtualClock } from '../../../../proto/std/clock.js'
import { makeTarget } from '../../../../test/harness/agent-door.js'
import { type AwsKeys, verifySignature } from '../../../../test/harness/vendors/aws-signature.js'
import type { OutgoingCall } from '../provider-dialect.js'
import { type AwsCredentials, awsCredentials } from './aws-credentials.js'
import { RequestSigner } from './request-signer.js'

const clock = new VirtualClock()
const keys = { secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY', sessionToken: null as string | null }

function credentials({ secretAccessKey, sessionToken }: AwsKeys = keys): AwsCredentials {
  const made = awsCredentials('AKIDEXAMPLE', secretAccessKey, sessionToken)
  if (made === null) throw new Error('no credentials')
  return made
}

function callOf(given: Partial<OutgoingCall> & { origin?: string } = {}): OutgoingCall {
  const { origin = 'https://bedrock-runtime.eu-central-1.amazonaws.com', ...rest } = given
  return {
    provider: makeTarget({ origin, basePath: '', vendorRegion: 'eu-central-1' }).provider,
    path: '/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse',
    headers: [
      'content-type',
      'application/json',
      'accept',
      'application/json',
      'x-request-id',
      'r1',
      'traceparent',
      't',
    ],
    body: Buffer.from('{"messages":[{"role":"user","content":[{"text":"Grüezi 🦊"}]}]}'),
    timeoutMs: 1_000,
    ...rest,
  }
}

/** The call as it arrives, with what was signed, seen by who verifies. */
async function arrived(call: OutgoingCall, given: AwsKeys = keys): Promise<Parameters<typeof verifySignature>[0]> {
  const signed = await new RequestSigner(clock).sign(call, credentials(given))
  if ('fault' in signed) throw new Error(signed.message)
  const flat = [...call.headers, ...signed, 'host', new URL(call.provider.origin).host, 'content-length', '1']
  const headers = Object.fromEntries(
    Array.from({ length: flat.length / 2 }, (_, at) => [flat[at * 2] ?? '', flat[at * 2 + 1] ?? '']),
  )
  return { method: 'POST', path: call.path, headers, bytes: call.body, body: null }
}

const rules = (given: AwsKeys = keys) => ({
  ...{ region: 'eu-central-1', service: 'bedrock', nowMs: clock.nowMs() },
  keysOf: (accessKeyId: string) => (accessKeyId === 'AKIDEXAMPLE' ? given : null),
})

describe('a signature', () => {
  const calls: [string, Parameters<typeof callOf>[0]][] = [
    ['of a model', {}],
    ['of an ARN', { path: '/model/arn%3Aaws%3Abedrock%3Aeu-central-1%3A%3Ainference-profile%2Feu.x-v1%3A0/converse' }],
    [
      'below a path, at a port of its own',
      { path: '/aws/eu/model/m/converse-stream', origin: 'http://127.0.0.1:4711' },
    ],
    ['of an empty body', { body: Buffer.alloc(0) }],
    ['of five megabytes', { body: Buffer.alloc(5_000_000, 'a') }],
  ]
  test.each(calls)('%s is what AWS would compute', async (_name, given) => {
    expect(verifySignature(await arrived(callOf(given)), rules())).toEqual([])
  })

  test('of temporary keys carries and signs their token', async () => {
    const temporary = { ...keys, sessionToken: 'FwoGZXIvYXdzE//session+token==' }
    const request = await arrived(callOf(), temporary)
    expect(request.headers['x-amz-security-token']).toBe(temporary.sessionToken)
    expect(verifySignature(request, rules(temporary))).toEqual([])
    expect(verifySignature(request, rules())).toContain('the security token is invalid.')
  })

  test('lasts where what is ours changes on the way, and not where AWS’s does', async () => {
    const request = await arrived(callOf())
    const seen = (headers: object) =>
      verifySignature({ ...request, headers: { ...request.headers, ...headers } }, rules())
    expect(seen({ 'x-request-id': 'other', traceparent: 'other', tracestate: 'new' })).toEqual([])
    for (const changed of [{ host: 'other' }, { 'content-type': 'text/plain' }, { 'x-amz-date': '20260101T000001Z' }]) {
      expect(seen(changed)).not.toEqual([])
    }
    expect(verifySignature({ ...request, path: `${request.path}-stream` }, rules())).not.toEqual([])
    expect(verifySignature({ ...request, bytes: Buffer.from('{}') }, rules())).not.toEqual([])
    expect(verifySignature(request, { ...rules(), nowMs: clock.nowMs() + 301_000 })).not.toEqual([])
    expect(verifySignature(request, { ...rules(), region: 'us-east-1' })).not.toEqual([])
  })

  test('follows the clock and the provider’s region with one signer', async () => {
    const moving = new VirtualClock()
    const signer = new RequestSigner(moving)
    const own = credentials()
    const first = await signer.sign(callOf(), own)
    await moving.advance(86_400_000)
    const { provider } = callOf()
    const second = await signer.sign({ ...callOf(), provider: { ...provider, vendorRegion: 'us-east-1' } }, own)
    expect(first).toContain('20260101T000000Z')
    expect(second).toContain('20260102T000000Z')
    expect(String(second)).toContain('AKIDEXAMPLE/20260102/us-east-1/bedrock/aws4_request')
  })

  test('that cannot be made is a fault, never an exception', async () => {
    const { provider } = callOf()
    const signed = await new RequestSigner(clock).sign(
      { ...callOf(), provider: { ...provider, origin: '' } },
      credentials(),
    )
    expect(signed).toMatchObject({ fault: 'unavailable' })
  })
})

test('who verifies agrees with AWS’s own published example', () => {
  const signature = '5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7'
  const example = {
    method: 'GET',
    path: '/?Action=ListUsers&Version=2010-05-08',
    headers: {
      authorization: `AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=${signature}`,
      'content-type': 'application/x-www-form-urlencoded; charset=utf-8',
      host: 'iam.amazonaws.com',
      'x-amz-date': '20150830T123600Z',
    },
    bytes: Buffer.alloc(0),
    body: null,
  }
  const then = { ...rules(), region: 'us-east-1', service: 'iam', nowMs: Date.UTC(2015, 7, 30, 12, 36) }
  expect(verifySignature(example, then)).toEqual([])
  expect(verifySignature({ ...example, method: 'POST' }, then)).not.toEqual([])
})
