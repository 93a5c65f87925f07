import Anthropic from '@anthropic-ai/sdk'
import OpenAI from 'openai'
import { afterEach, expect } from 'vitest'
import { type Door, makeTables, makeTarget, openDoor } from '../harness/agent-door.js'
import type { VendorFake, VendorUsage } from '../harness/vendors/vendor-fake.js'
import type { Vendor } from '../harness/vendors/vendors.js'

/**
 * What every suite here shares: the official clients, unmodified, through the agent, against every vendor that can do the
 * job: one suite, the same expectations. A vendor that had to be sent something it does not document fails the test it
 * happened in.
 */
export interface World extends Door {
  readonly fake: VendorFake
  readonly openai: OpenAI
  readonly anthropic: Anthropic
}

/** Opens worlds for the tests of one file, with one route, `chat`. Each is closed after its test. */
export function conformanceWorlds(): (vendor: Vendor) => Promise<World> {
  const cleanUps: (() => Promise<void>)[] = []
  const fakes: VendorFake[] = []
  afterEach(async () => {
    for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
    for (const fake of fakes.splice(0)) expect(fake.problems).toEqual([])
  })
  return async (vendor) => {
    const { fake, target, secret } = await vendor.open()
    fakes.push(fake)
    cleanUps.push(() => fake.stop())
    const { tables, apiKey } = makeTables({
      routes: { chat: [makeTarget({ ...target, credential: { id: 'crd', version: 1 } })] },
    })
    const door = await openDoor({ tables, secrets: { 'crd/1': secret } })
    cleanUps.push(() => door.stop())
    return Object.assign(door, {
      fake,
      openai: new OpenAI({ baseURL: `${door.url}/v1`, apiKey, maxRetries: 0 }),
      anthropic: new Anthropic({ baseURL: door.url, apiKey, maxRetries: 0 }),
    })
  }
}

export const usage: VendorUsage = { input: 100, cached: 40, output: 20 }
export const weather = {
  name: 'get_weather',
  description: 'The weather of a place.',
  schema: { type: 'object' as const, properties: { city: { type: 'string' } }, required: ['city'] },
}
export const calls = [
  { id: 'call_1', name: 'get_weather', input: { city: 'Zürich "old town"' } },
  { id: 'call_2', name: 'get_weather', input: { city: 'Oslo' } },
]
export const text = 'Grüezi! Here is a “quoted” line,\nand a second one with an emoji 🦊.'

/** A PNG of one pixel. */
export const pixel = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='

/** The one record of a request that used `usage`. */
export function expectRecord(at: World, expected: { operation: string; stream: boolean }): void {
  expect(at.meter.closed).toHaveLength(1)
  expect(at.meter.last).toMatchObject({
    ...{ status: 'ok', usageSource: 'provider', tokensIn: 100, tokensOut: 20, tokensInCached: 40 },
    ...expected,
  })
  expectNothingLeft(at)
}

/** Of a stream that broke: what was said is on record. */
export function expectBroken(at: World, operation: string): void {
  expect(at.meter.last).toMatchObject({ operation, status: 'failed', usageSource: 'counted' })
  expect(at.meter.last.tokensOut).toBeGreaterThan(0)
  expectNothingLeft(at)
}

export function expectNothingLeft(at: World): void {
  expect(at.handler.runningCount).toBe(0)
}

/** Why `work` failed. */
export async function failureOf(work: PromiseLike<unknown>): Promise<unknown> {
  try {
    await work
  } catch (failure) {
    return failure
  }
  throw new Error('it did not fail')
}
