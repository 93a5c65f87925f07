import { rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import OpenAI from 'openai'
import { afterEach, describe, expect, test } from 'vitest'
import type { AwsAmbient } from '../../agent/src/providers/ambient.js'
import type { ProviderSecret } from '../../agent/src/providers/provider-dialect.js'
import { type Door, makeTables, makeTarget, openDoor } from '../harness/agent-door.js'
import { makeTestFolder } from '../harness/test-folder.js'
import { BedrockFake } from '../harness/vendors/bedrock-fake.js'
import { StsFake } from '../harness/vendors/sts-fake.js'
import type { VendorFake } from '../harness/vendors/vendor-fake.js'

/** Who the agent is to AWS, through its real door: keys, temporary keys, and what the machine was given. */
const cleanUps: (() => Promise<unknown>)[] = []
const fakes: VendorFake[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
  for (const fake of fakes.splice(0)) expect(fake.problems).toEqual([])
})

async function started<T extends VendorFake>(fake: T): Promise<T> {
  await fake.start()
  fakes.push(fake)
  cleanUps.push(() => fake.stop())
  return fake
}

interface World extends Door {
  readonly fake: BedrockFake
  readonly sts: StsFake
  readonly openai: OpenAI
  readonly tokenFile: string
}

interface Wish {
  readonly secret?: (fake: BedrockFake) => ProviderSecret
  readonly ambient?: (sts: StsFake, tokenFile: string) => AwsAmbient
}

async function world({ secret, ambient }: Wish): Promise<World> {
  const fake = await started(new BedrockFake())
  const sts = await started(new StsFake(fake))
  const folder = makeTestFolder()
  cleanUps.push(() => rm(folder, { recursive: true }))
  const tokenFile = path.join(folder, 'token')
  await writeFile(tokenFile, `${sts.webIdentityToken}\n`)
  const { kind, origin, basePath, region } = fake
  const target = makeTarget({
    ...{ kind, origin, basePath, vendorRegion: region, upstreamModel: 'amazon.nova-lite-v1:0' },
    credential: { id: 'crd', version: 1 },
  })
  const { tables, apiKey } = makeTables({ routes: { chat: [target] } })
  const door = await openDoor({
    tables,
    secrets: { 'crd/1': secret?.(fake) ?? { ambient: 'aws' } },
    ambient: { aws: ambient?.(sts, tokenFile) ?? null },
  })
  cleanUps.push(() => door.stop())
  const openai = new OpenAI({ baseURL: `${door.url}/v1`, apiKey, maxRetries: 0 })
  return Object.assign(door, { fake, sts, openai, tokenFile })
}

const chat = { model: 'chat', messages: [{ role: 'user' as const, content: 'Say hello.' }] }

async function statusOf(at: World): Promise<number> {
  return at.openai.chat.completions.create(chat).then(
    () => 200,
    (error: unknown) => (error instanceof OpenAI.APIError ? (error.status ?? 0) : 0),
  )
}

const keysSeen = (at: World) =>
  at.fake.received.map(({ headers }) => /Credential=([^/]+)/.exec(String(headers['authorization']))?.[1])

describe('a secret', () => {
  test('of keys signs', async () => {
    const at = await world({ secret: (fake) => fake.secret })
    expect(await statusOf(at)).toBe(200)
    expect(at.fake.received[0]?.headers['x-amz-security-token']).toBeUndefined()
  })

  test('of temporary keys signs and shows their session', async () => {
    const at = await world({
      secret: (fake) => {
        fake.keys.set('ASIATEMPORARY', { secretAccessKey: 'temporary', sessionToken: 'the/session+token==' })
        return JSON.stringify({
          ...{ accessKeyId: 'ASIATEMPORARY', secretAccessKey: 'temporary', sessionToken: 'the/session+token==' },
        })
      },
    })
    expect(await statusOf(at)).toBe(200)
    expect(at.fake.received[0]?.headers['x-amz-security-token']).toBe('the/session+token==')
  })

  test('that AWS does not know is told as a credential of ours, not of the client’s', async () => {
    const at = await world({ secret: () => JSON.stringify({ accessKeyId: 'AKIASTRANGER', secretAccessKey: 's' }) })
    const fault = await at.openai.chat.completions.create(chat).catch((error: unknown) => error)
    expect(fault).toMatchObject({ code: 'upstream_credential_rejected' })
    expect(String(fault)).not.toContain('AKIASTRANGER')
  })

  test('that is none is never sent', async () => {
    const at = await world({ secret: () => 'AKIA:secret' })
    expect(await statusOf(at)).toBe(503)
    expect(at.fake.received).toHaveLength(0)
    expect(at.meter.last.hops?.[0]?.outcome).toBe('not_ready')
  })
})

describe('what the machine was given', () => {
  test('keys in its environment', async () => {
    const at = await world({
      ambient: (sts, tokenFile) => ({
        ...sts.ambient(tokenFile),
        accessKeyId: sts.bedrock.accessKeyId,
        secretAccessKey: sts.bedrock.keys.get(sts.bedrock.accessKeyId)?.secretAccessKey ?? '',
      }),
    })
    expect(await statusOf(at)).toBe(200)
    expect(at.sts.received).toHaveLength(0)
  })

  test('a web identity, shown once for many requests at once, and its keys used by all', async () => {
    const at = await world({ ambient: (sts, tokenFile) => sts.ambient(tokenFile) })
    expect(await Promise.all([statusOf(at), statusOf(at), statusOf(at), statusOf(at)])).toEqual([200, 200, 200, 200])
    expect(await statusOf(at)).toBe(200)
    expect(at.sts.received).toHaveLength(1)
    expect(new Set(keysSeen(at))).toEqual(new Set(['ASIAFAKE000000000001']))
    expect(at.fake.received[0]?.headers['x-amz-security-token']).toBe('session//token+1==')
  })

  test('a web identity whose keys are about to end is shown again, before they do', async () => {
    const at = await world({ ambient: (sts, tokenFile) => sts.ambient(tokenFile) })
    at.sts.expiresInMs = 5_000
    expect(await statusOf(at)).toBe(200)
    expect(await statusOf(at)).toBe(200)
    expect(keysSeen(at)).toEqual(['ASIAFAKE000000000001', 'ASIAFAKE000000000002'])
  })

  test('a web identity that STS refuses: nothing goes to the model, and STS is not asked again at once', async () => {
    const at = await world({ ambient: (sts, tokenFile) => sts.ambient(tokenFile) })
    at.sts.willAnswer({ status: 400, message: 'InvalidIdentityToken: No OpenIDConnect provider found.' })
    expect(await statusOf(at)).toBe(503)
    expect(await statusOf(at)).toBe(503)
    expect(at.sts.received).toHaveLength(1)
    expect(at.fake.received).toHaveLength(0)
  })

  test('an STS that is not there', async () => {
    const at = await world({
      ambient: (sts, tokenFile) => ({ ...sts.ambient(tokenFile), stsEndpoint: 'http://127.0.0.1:1' }),
    })
    expect(await statusOf(at)).toBe(503)
    expect(at.fake.received).toHaveLength(0)
  })

  test('nothing, or not permitted', async () => {
    expect(await statusOf(await world({}))).toBe(503)
    const at = await world({ ambient: (sts) => ({ ...sts.ambient(''), roleArn: '' }) })
    expect(await statusOf(at)).toBe(503)
  })
})
