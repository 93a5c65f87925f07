import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { snapshotUpdateCodec } from '../../../proto/gen/codec.js'
import type { AgentMessage } from '../../../proto/gen/switchyard/v1/AgentMessage.js'
import type { SnapshotUpdate__Output } from '../../../proto/gen/switchyard/v1/SnapshotUpdate.js'
import { startApplier, temporaryFolder } from './config-fixture.js'
import {
  clusterId,
  type Draft,
  deny,
  draft,
  environment,
  lookup,
  otherSection,
  section,
  sign,
  updateTo,
} from './snapshot-fixture.js'

// Hundreds of rounds on a real disk, on whatever machine.
vi.setConfig({ testTimeout: 60_000 })

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let agent: Awaited<ReturnType<typeof startApplier>>

beforeEach(async () => {
  folder = await temporaryFolder()
  agent = await startApplier(folder.path)
})
afterEach(() => folder.remove())

const apply = (wanted: Draft, options: { full?: boolean; resync?: boolean } = {}) =>
  agent.applier.apply(updateTo(sign(wanted), options.full ? null : agent.applier.held, options.resync))

/** Outcome and refusals of an answer, in words. */
function said(message: AgentMessage): string[] {
  if (message.resync) return ['RESYNC']
  const { outcome, refusals = [] } = message.ack ?? {}
  return [String(outcome), ...refusals.map((refusal) => `${refusal.code} ${refusal.section}`.trim())]
}

const denied = (id: string) => agent.tables.current?.denied.get(lookup(id)) !== undefined
const known = (id: string) => agent.tables.current?.keys.get(lookup(id)) !== undefined

describe('an update', () => {
  it('takes effect, and is answered with the hash it carried', async () => {
    const wanted = sign(draft())
    const message = await agent.applier.apply(updateTo(wanted, null))
    expect(said(message)).toEqual(['APPLIED'])
    expect(message.ack).toMatchObject({ epoch: 1, generation: 1, appliedGeneration: 1 })
    expect(message.ack?.appliedRootHash).toEqual(message.ack?.rootHash)
    expect(agent.tables.current).toMatchObject({ generation: 1, cluster: { id: clusterId } })
    expect([known('key_1'), known('key_3')]).toEqual([true, false])
  })

  it('is neither held, nor on the disk, nor answered before every request worker has it', async () => {
    await agent.close()
    const told: (() => void)[] = []
    let savedCount = 0
    agent = await startApplier(folder.path, {
      onEffect: () => new Promise((resolve) => void told.push(resolve)),
      store: (real) => ({
        load: (...args) => real.load(...args),
        save: async (manifest) => {
          savedCount += 1
          await real.save(manifest)
        },
      }),
    })
    let answer: AgentMessage | null = null
    const applied = agent.applier.apply(updateTo(sign(draft()), null)).then((message) => {
      answer = message
    })
    await vi.waitFor(() => expect(told).toHaveLength(1))
    // Whatever could still run runs.
    await new Promise((resolve) => setTimeout(resolve, 0))
    expect([agent.applier.held, agent.tables.current, savedCount, answer]).toEqual([null, null, 0, null])
    told[0]?.()
    await applied
    expect(answer === null ? null : said(answer)).toEqual(['APPLIED'])
    expect([agent.tables.current?.generation, savedCount]).toEqual([1, 1])
  })

  it('that only differs takes effect as a difference', async () => {
    await apply(draft())
    const update = updateTo(sign(draft({ generation: 2, keys: ['key_1', 'key_2', 'key_3'] })), agent.applier.held)
    expect(update.sections.map((one) => [one.name, one.changed.map((entry) => entry.name)])).toContainEqual([
      section,
      ['api_key/key_3'],
    ])
    expect(said(await agent.applier.apply(update))).toEqual(['APPLIED'])
    expect([known('key_1'), known('key_3')]).toEqual([true, true])
  })

  it('that is held already is acknowledged again', async () => {
    await apply(draft())
    const before = agent.tables.current
    expect(said(await apply(draft(), { full: true }))).toEqual(['APPLIED'])
    expect(agent.tables.current).toBe(before)
  })

  it('that denies a key reaches the tables, and says which streams to end', async () => {
    await apply(draft())
    const ended: boolean[] = []
    agent.tables.onSwap((next) => ended.push(next.denied.get(lookup('key_1'))?.abort ?? false))
    const wanted = draft({ generation: 2 })
    await apply({ ...wanted, sections: { ...wanted.sections, deny: { 'deny/key_1': deny('key_1', true) } } })
    expect([denied('key_1'), denied('key_2'), ended]).toEqual([true, false, [true]])
  })

  it('that is a difference against something else asks for everything', async () => {
    await apply(draft())
    const update = updateTo(sign(draft({ generation: 2, denied: ['key_1'] })), agent.applier.held)
    expect(said(await agent.applier.apply({ ...update, baseRootHash: Buffer.alloc(32, 9) }))).toEqual(['RESYNC'])
    expect(agent.tables.current?.generation).toBe(1)
  })
})

describe('an order that cannot be', () => {
  beforeEach(() => apply(draft({ generation: 5 })))

  it.each<[string, Draft, string]>([
    ['an older generation', draft({ generation: 4, denied: ['key_1'] }), 'generation_older'],
    ['an older epoch', draft({ generation: 9, epoch: 0 }), 'malformed'],
    ['another cluster’s view', draft({ generation: 6, view: 'clu_2/stable' }), 'view_foreign'],
    ['an unknown signing key', draft({ generation: 6, keyId: 'sgn_9' }), 'key_unknown'],
  ])('%s is refused and the old stays', async (_, wanted, code) => {
    const before = agent.tables.current
    expect(said(await apply(wanted, { full: true }))).toEqual(['REFUSED', code])
    expect(agent.tables.current).toBe(before)
  })

  it('a reused generation is refused, the old stays, and somebody is woken', async () => {
    const message = await apply(draft({ generation: 5, denied: ['key_1'] }), { full: true })
    expect(said(message)).toEqual(['REFUSED', 'generation_reused'])
    expect(message.ack).toMatchObject({ generation: 5, appliedGeneration: 5 })
    expect(denied('key_1')).toBe(false)
    expect(agent.log.at('error')).toEqual(['a generation came back changed'])
  })

  it('a new epoch may begin anywhere', async () => {
    expect(said(await apply(draft({ generation: 1, epoch: 2, denied: ['key_1'] }), { full: true }))).toEqual([
      'APPLIED',
    ])
    expect(denied('key_1')).toBe(true)
    expect(said(await apply(draft({ generation: 9 }), { full: true }))).toEqual(['REFUSED', 'epoch_older'])
  })
})

describe('names that vanish', () => {
  beforeEach(() => apply(draft({ generation: 1, keys: ['key_1', 'key_2'] })))

  it('without being declared keep their section, while denials advance', async () => {
    const message = await apply(draft({ generation: 2, keys: ['key_1'], denied: ['key_2'] }), { full: true })
    expect(said(message)).toEqual(['PARTIAL', `names_missing ${section}`])
    expect([known('key_2'), denied('key_2')]).toEqual([true, true])
    expect(agent.tables.current?.generation).toBe(2)
  })

  it('declared removed are gone', async () => {
    const wanted = draft({ generation: 2, keys: ['key_1'], removed: { [section]: ['api_key/key_2'] } })
    expect(said(await apply(wanted))).toEqual(['APPLIED'])
    expect([known('key_1'), known('key_2')]).toEqual([true, false])
  })

  it('as a whole section keep it unless it is declared removed', async () => {
    const { [section]: _, ...rest } = draft().sections
    expect(said(await apply(draft({ generation: 2, sections: rest }), { full: true }))).toEqual([
      'PARTIAL',
      `names_missing ${section}`,
    ])
    expect(known('key_1')).toBe(true)
    expect(said(await apply(draft({ generation: 3, sections: rest, removedSections: [section] })))).toEqual(['APPLIED'])
    expect([known('key_1'), agent.tables.current?.keys.size]).toEqual([false, 0])
  })

  it('in a resync are gone', async () => {
    expect(said(await apply(draft({ generation: 2, keys: ['key_1'] }), { full: true, resync: true }))).toEqual([
      'APPLIED',
    ])
    expect(known('key_2')).toBe(false)
  })
})

describe('a section that cannot be used', () => {
  const broken = (generation: number): Draft => {
    const wanted = draft({ generation, denied: ['key_1'] })
    const good = environment(['key_1', 'key_2', 'key_9'], { tenantId: 'ten_2', environmentId: 'env_2' })
    const { 'model/mdl_1': _, ...bad } = environment(['key_3'])
    return {
      ...wanted,
      sections: {
        ...wanted.sections,
        [section]: { ...bad, 'api_key/key_1': environment()['api_key/key_1'] ?? {} },
        [otherSection]: Object.fromEntries(Object.entries(good).filter(([name]) => !/key_[12]$/.test(name))),
      },
      removed: { [section]: ['model/mdl_1', 'api_key/key_2'] },
    }
  }

  it('keeps what it had; the others advance; code, resource and path are told', async () => {
    await apply(draft({ generation: 1 }))
    const message = await apply(broken(2))
    expect(said(message)).toEqual(['PARTIAL', `target_model_missing ${section}`])
    expect(message.ack?.refusals?.[0]).toMatchObject({
      resource: 'route/rte_1',
      path: 'rules[0].targets[0].modelId',
      retryable: false,
    })
    expect([known('key_2'), known('key_3'), known('key_9'), denied('key_1')]).toEqual([true, false, true, true])
    expect(message.ack?.appliedRootHash).not.toEqual(message.ack?.rootHash)
  })

  it('is quarantined under its root: not tried again, also after a restart, until lifted', async () => {
    await apply(draft({ generation: 1 }))
    await apply(broken(2))
    const rootHash = agent.applier.held?.header.rootHash ?? Buffer.alloc(0)
    await agent.close()
    agent = await startApplier(folder.path)
    expect(agent.quarantine.get(rootHash)).toMatchObject([{ code: 'target_model_missing', section }])
    expect(said(await apply(broken(2), { full: true }))).toEqual(['PARTIAL', `target_model_missing ${section}`])
    await agent.quarantine.lift(rootHash)
    expect(agent.quarantine.get(rootHash)).toEqual([])
    await agent.close()
    agent = await startApplier(folder.path, { agentVersion: 'newer' })
    expect(agent.quarantine.get(rootHash)).toEqual([])
  })

  it('heals with the next generation', async () => {
    await apply(draft({ generation: 1 }))
    await apply(broken(2))
    const wanted = draft({ generation: 3, keys: ['key_1', 'key_3'], removedSections: [otherSection] })
    expect(said(await apply({ ...wanted, removed: { [section]: ['api_key/key_2'], deny: ['deny/key_1'] } }))).toEqual([
      'APPLIED',
    ])
    expect([known('key_3'), known('key_2'), known('key_9'), denied('key_1')]).toEqual([true, false, false, false])
  })

  it('is all there is: refused, nothing changes', async () => {
    const { 'model/mdl_1': _, ...bad } = environment(['key_3'])
    expect(said(await apply({ generation: 1, sections: { [section]: bad } }))).toEqual([
      'REFUSED',
      `target_model_missing ${section}`,
    ])
    expect(agent.tables.current).toBeNull()
  })

  it('claims a key of another environment: it stays out', async () => {
    await apply(draft({ generation: 1 }))
    const wanted = draft({ generation: 2 })
    const thief = environment(['key_1'], { tenantId: 'ten_2', environmentId: 'env_2' })
    const message = await apply({ ...wanted, sections: { ...wanted.sections, [otherSection]: thief } })
    expect(said(message)).toEqual(['PARTIAL', `key_hash_taken ${otherSection}`])
    expect(agent.tables.current?.keys.get(lookup('key_1'))?.environment.tenantId).toBe('ten_1')
  })
})

describe('limits of the agent', () => {
  it('hold back everything but revocations', async () => {
    await agent.close()
    agent = await startApplier(folder.path, { limits: { contentBytesMax: 1 << 20, resourcesMax: 12 } })
    await apply(draft({ generation: 1 }))
    const keys = Array.from({ length: 20 }, (_, index) => `key_${index + 1}`)
    const message = await apply(draft({ generation: 2, keys, denied: ['key_1'] }))
    expect(said(message)).toEqual(['PARTIAL', 'too_many_resources cluster', `too_many_resources ${section}`])
    expect(message.ack?.refusals?.[0]?.retryable).toBe(true)
    expect([denied('key_1'), known('key_2'), known('key_20')]).toEqual([true, true, false])
  })
})

describe('a withdrawal in a section that cannot be used', () => {
  const withdrawing = (what: 'region' | 'provider' | 'route' | 'nothing') => {
    const content = environment(['key_1', 'key_2'])
    const place = content['environment/env_1']?.environment
    const { 'model/mdl_1': _, ...unusable } = content
    if (what === 'region' && place)
      unusable['environment/env_1'] = { environment: { ...place, permittedRegions: ['us'] } }
    if (what === 'provider') delete unusable['provider/prv_1']
    if (what === 'route')
      unusable['provider/prv_2'] = { provider: { ...content['provider/prv_1']?.provider, id: 'prv_2', baseUrl: 'x' } }
    if (what === 'route') delete unusable['route/rte_1']
    const removed = { region: [], nothing: [], provider: ['provider/prv_1'], route: ['route/rte_1'] }[what]
    const wanted = draft({ generation: 2, removed: { [section]: ['model/mdl_1', ...removed] } })
    return { ...wanted, sections: { ...wanted.sections, [section]: unusable } }
  }

  it.each(['region', 'provider'] as const)('of a %s puts it out of service', async (what) => {
    await apply(draft())
    const message = await apply(withdrawing(what))
    expect(message.ack?.outcome).toBe('PARTIAL')
    expect([known('key_1'), agent.applier.held?.sections.map(({ name }) => name)]).toEqual([false, ['cluster', 'deny']])
    // Also after a restart, and until there is one that can be used.
    await agent.close()
    agent = await startApplier(folder.path)
    expect(known('key_1')).toBe(false)
    expect(said(await apply(draft({ generation: 3 }), { full: true }))).toEqual(['APPLIED'])
    expect(known('key_1')).toBe(true)
  })

  it.each(['route', 'nothing'] as const)('of a %s keeps what it had', async (what) => {
    await apply(draft())
    expect((await apply(withdrawing(what))).ack?.outcome).toBe('PARTIAL')
    expect(known('key_1')).toBe(true)
  })

  it('of a region beyond the limits of the agent puts it out of service', async () => {
    await agent.close()
    agent = await startApplier(folder.path, { limits: { contentBytesMax: 1 << 20, resourcesMax: 12 } })
    await apply(draft())
    const wanted = withdrawing('region')
    const keys = Array.from({ length: 20 }, (_, index) => `key_${index + 1}`)
    const content = { ...environment(keys), ...wanted.sections[section] }
    const message = await apply({ ...wanted, removed: {}, sections: { ...wanted.sections, [section]: content } })
    expect(message.ack?.refusals?.map((refusal) => refusal.code)).toContain('too_many_resources')
    expect(known('key_1')).toBe(false)
  })
})

describe('a disk that takes nothing', () => {
  it('leaves the snapshot in effect, says so, and is tried again', async () => {
    let broken = true
    await agent.close()
    agent = await startApplier(folder.path, {
      store: (real) => ({
        load: (keys, cluster) => real.load(keys, cluster),
        save: (manifest) => (broken ? Promise.reject(new Error('ENOSPC')) : real.save(manifest)),
      }),
    })
    const message = await apply(draft())
    expect(said(message)).toEqual(['PARTIAL', 'disk_failed'])
    expect(message.ack?.refusals?.[0]?.retryable).toBe(true)
    expect([known('key_1'), await agent.applier.retrySave()]).toEqual([true, null])
    broken = false
    expect(said((await agent.applier.retrySave()) ?? {})).toEqual(['APPLIED'])
  })
})

describe('an adversary', () => {
  it('who changes any byte of header, signature, hashes or content changes nothing else', async () => {
    await apply(draft({ generation: 1 }))
    const before = agent.tables.current
    const honest = updateTo(sign(draft({ generation: 2, keys: ['key_1', 'key_2', 'key_3'], denied: ['key_1'] })), null)
    const places = bytesOf(honest)
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: places.length - 1 }),
        fc.integer({ min: 0, max: 10_000 }),
        fc.integer({ min: 1, max: 255 }),
        async (which, at, mask) => {
          const forged = copyOf(honest)
          const bytes = bytesOf(forged)[which]
          if (!bytes || bytes.length === 0) return
          bytes[at % bytes.length] = (bytes[at % bytes.length] ?? 0) ^ mask
          const message = await agent.applier.apply(forged)
          expect(said(message)[0]).toBe('REFUSED')
          expect(message.ack?.refusals?.every((refusal) => refusal.retryable)).toBe(true)
          expect(agent.tables.current).toBe(before)
        },
      ),
      { seed: 2, numRuns: 600 },
    )
    expect(said(await agent.applier.apply(honest))).toEqual(['APPLIED'])
  })

  it('who sends every byte of the header changed once gets nothing', async () => {
    await apply(draft({ generation: 1 }))
    const honest = updateTo(sign(draft({ generation: 2, denied: ['key_1'] })), agent.applier.held)
    for (const field of ['header', 'signature'] as const) {
      for (let at = 0; at < honest[field].length; at++) {
        const forged = copyOf(honest)
        forged[field][at] = (forged[field][at] ?? 0) ^ 0x01
        expect(said(await agent.applier.apply(forged))[0]).toBe('REFUSED')
      }
    }
    expect(denied('key_1')).toBe(false)
  })
})

function copyOf(update: SnapshotUpdate__Output): SnapshotUpdate__Output {
  return snapshotUpdateCodec.decode(snapshotUpdateCodec.encode(update))
}

function bytesOf(update: SnapshotUpdate__Output): Buffer[] {
  return [
    update.header,
    update.signature,
    ...update.sections.flatMap((one) => [one.hash, ...one.changed.flatMap((entry) => [entry.hash, entry.content])]),
  ]
}
