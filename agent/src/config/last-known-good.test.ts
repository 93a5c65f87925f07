import { randomBytes } from 'node:crypto'
import fs from 'node:fs/promises'
import path from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { startApplier, temporaryFolder } from './config-fixture.js'
import { type Draft, draft, environment, lookup, section, sign, trust, updateTo } from './snapshot-fixture.js'

// Hundreds of rounds on a real disk, on whatever machine.
vi.setConfig({ testTimeout: 60_000 })

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let at: (...names: string[]) => string

beforeEach(async () => {
  folder = await temporaryFolder()
  at = (...names) => path.join(folder.path, 'last-known-good', ...names)
})
afterEach(() => folder.remove())

/** Starts on the folder, applies each draft as a difference, and stops. What was in effect is returned. */
async function live(...drafts: Draft[]) {
  const agent = await startApplier(folder.path)
  for (const wanted of drafts) await agent.applier.apply(updateTo(sign(wanted), agent.applier.held))
  await agent.close()
  return agent
}

const effectOf = (agent: Awaited<ReturnType<typeof startApplier>>) => ({
  generation: agent.tables.current?.generation ?? null,
  known: ['key_1', 'key_2', 'key_3'].filter((id) => agent.tables.current?.keys.get(lookup(id))),
  denied: ['key_1', 'key_2', 'key_3'].filter((id) => agent.tables.current?.denied.get(lookup(id))),
})

const damage = async (file: string, change: (bytes: Buffer) => Buffer | null) => {
  const changed = change(await fs.readFile(at(file)))
  await (changed === null ? fs.rm(at(file)) : fs.writeFile(at(file), changed))
}
const flip = (bytes: Buffer) => {
  const copy = Buffer.from(bytes)
  copy[copy.length >> 1] = (copy[copy.length >> 1] ?? 0) ^ 0x40
  return copy
}

describe('last-known-good', () => {
  it('comes back exactly as it was, also as a base for differences', async () => {
    const before = await live(
      draft({ keys: ['key_1', 'key_2'] }),
      draft({ generation: 2, keys: ['key_1', 'key_2', 'key_3'], denied: ['key_2'] }),
    )
    const after = await live()
    expect(effectOf(after)).toEqual({ generation: 2, known: ['key_1', 'key_2', 'key_3'], denied: ['key_2'] })
    expect(after.applier.held).toEqual(before.applier.held)
    expect(after.log.at('warn')).toEqual([])
    const third = await live(draft({ generation: 3, keys: ['key_1', 'key_2', 'key_3'], denied: ['key_1', 'key_2'] }))
    expect(effectOf(third)).toMatchObject({ generation: 3, denied: ['key_1', 'key_2'] })
    expect(effectOf(await live())).toEqual(effectOf(third))
  })

  it('holds nothing readable, and nothing for another key, cluster or signer', async () => {
    await live(draft())
    for (const name of await fs.readdir(at())) {
      const bytes = await fs.readFile(at(name))
      for (const text of ['key_1', 'h.example', 'production']) expect(bytes.includes(text)).toBe(false)
      expect((await fs.stat(at(name))).mode & 0o777).toBe(0o600)
    }
    expect(effectOf(await startAs({ clusterId: 'clu_2' })).generation).toBeNull()
    expect(effectOf(await startAs({ storedSigningKeys: new Map() })).generation).toBeNull()
    await fs.writeFile(path.join(folder.path, 'state.key'), randomBytes(32).toString('base64'))
    expect(effectOf(await live()).generation).toBeNull()
  })

  it('keeps a section in part when it was taken in part', async () => {
    const wanted = draft({ generation: 2, denied: ['key_1'], removed: { [section]: ['model/mdl_1'] } })
    const { 'model/mdl_1': _, ...broken } = environment(['key_1', 'key_2', 'key_3'])
    const before = await live(draft(), { ...wanted, sections: { ...wanted.sections, [section]: broken } })
    expect(effectOf(before)).toEqual({ generation: 2, known: ['key_1', 'key_2'], denied: ['key_1'] })
    const after = await live()
    expect(effectOf(after)).toEqual(effectOf(before))
    expect(after.applier.held).toEqual(before.applier.held)
  })

  it('writes little for a little change, and does not grow for ever', async () => {
    const keys = Array.from({ length: 500 }, (_, index) => `key_${index}`)
    const agent = await startApplier(folder.path)
    for (let generation = 1; generation <= 100; generation++) {
      const denied = keys.slice(0, generation)
      const wanted = draft({ generation, keys, denied, intentRevision: { cluster: 1, [section]: 1 } })
      await agent.applier.apply(updateTo(sign(wanted), agent.applier.held))
    }
    await agent.close()
    const names = await fs.readdir(at())
    expect(names.length).toBeLessThan(80)
    expect(effectOf(await live()).generation).toBe(100)
  })
})

describe('a damaged disk', () => {
  const drafts = () => [
    draft({ generation: 1, keys: ['key_1', 'key_2', 'key_3'] }),
    draft({ generation: 2, keys: ['key_1', 'key_2', 'key_3'], denied: ['key_2'] }),
  ]

  it('in one key’s bytes costs that key and no other', async () => {
    await live(...drafts())
    const survivors = new Set<string>()
    for (const pack of await filesNamed(/^pack-/)) {
      const bytes = await fs.readFile(at(pack))
      for (let offset = 0; offset < bytes.length; offset += 30) {
        const changed = Buffer.from(bytes)
        changed[offset] = (changed[offset] ?? 0) ^ 1
        await fs.writeFile(at(pack), changed)
        survivors.add(effectOf(await live()).known.join(' '))
      }
      await fs.writeFile(at(pack), bytes)
    }
    // A route, provider or environment lost takes the section out; a key lost takes itself out.
    expect([...survivors].sort()).toEqual(['', 'key_1 key_2', 'key_1 key_2 key_3', 'key_1 key_3', 'key_2 key_3'])
  })

  it.each([
    ['cut to nothing', () => Buffer.alloc(0)],
    ['cut in half', (bytes: Buffer) => bytes.subarray(0, bytes.length >> 1)],
    ['changed', flip],
    ['gone', () => null],
  ])('with any one file %s never lets a denied key in, never throws, and says what is lost', async (_, change) => {
    await live(...drafts())
    const names = await fs.readdir(at())
    const copy = new Map(await Promise.all(names.map(async (name) => [name, await fs.readFile(at(name))] as const)))
    for (const name of names) {
      await damage(name, change)
      const agent = await live()
      const { generation, known, denied } = effectOf(agent)
      if (generation !== null && known.includes('key_2')) expect(denied, `without ${name}`).toContain('key_2')
      // `previous` and what only it needs are not read while `current` is sound.
      const needed = known.length < 3 || generation !== 2
      if (needed) expect(agent.log.at('warn').length, `silent about ${name}`).toBeGreaterThan(0)
      await fs.rm(at(), { recursive: true })
      await fs.mkdir(at())
      for (const [file, bytes] of copy) await fs.writeFile(at(file), bytes)
    }
  })

  it('in `current` falls back to `previous`, with the newest denials', async () => {
    await live(...drafts())
    await damage('current', flip)
    const agent = await live()
    expect(effectOf(agent)).toEqual({ generation: 1, known: ['key_1', 'key_2', 'key_3'], denied: ['key_2'] })
    // And the next snapshot goes on from there.
    const next = await live(
      draft({
        generation: 3,
        keys: ['key_1'],
        removed: { [section]: ['api_key/key_2', 'api_key/key_3'], deny: ['deny/key_2'] },
      }),
    )
    expect(effectOf(next)).toEqual({ generation: 3, known: ['key_1'], denied: [] })
    expect(effectOf(await live())).toEqual(effectOf(next))
  })

  it('in a denial’s bytes takes its key away by name', async () => {
    await live(...drafts())
    const packs = await filesNamed(/^pack-/)
    let lostDenial = 0
    for (const pack of packs) {
      const bytes = await fs.readFile(at(pack))
      await damage(pack, flip)
      const { generation, known, denied } = effectOf(await live())
      if (generation === 2 && !denied.includes('key_2')) {
        lostDenial += 1
        expect(known).toEqual(['key_1', 'key_3'])
      }
      await fs.writeFile(at(pack), bytes)
    }
    expect(lostDenial).toBe(1)
  })

  it('in the list of denials serves nothing', async () => {
    await live(...drafts())
    for (const name of await filesNamed(/^deny-/)) await damage(name, flip)
    const agent = await live()
    expect(effectOf(agent)).toEqual({ generation: null, known: [], denied: [] })
    expect(agent.log.at('warn').length).toBeGreaterThan(0)
    const healed = await live(draft({ generation: 3, denied: ['key_2'] }))
    expect(effectOf(healed)).toMatchObject({ generation: 3, denied: ['key_2'] })
    expect(effectOf(await live())).toEqual(effectOf(healed))
  })

  it('in any bytes anywhere never lets a denied key in', async () => {
    await live(...drafts())
    const names = await fs.readdir(at())
    await fc.assert(
      fc.asyncProperty(
        fc.nat(names.length - 1),
        fc.nat(100_000),
        fc.integer({ min: 1, max: 255 }),
        async (which, offset, mask) => {
          const name = names[which] ?? ''
          const original = await fs.readFile(at(name))
          const changed = Buffer.from(original)
          changed[offset % changed.length] = (changed[offset % changed.length] ?? 0) ^ mask
          await fs.writeFile(at(name), changed)
          const { generation, known, denied } = effectOf(await live())
          if (generation !== null && known.includes('key_2')) expect(denied).toContain('key_2')
          await fs.writeFile(at(name), original)
        },
      ),
      { seed: 3, numRuns: 80 },
    )
  })

  it('heals when the control plane sends the difference', async () => {
    await live(...drafts())
    for (const pack of await filesNamed(/^pack-/)) await damage(pack, flip)
    const wanted = drafts()[1] as Draft
    const agent = await live(wanted)
    expect(effectOf(agent)).toEqual({ generation: 2, known: ['key_1', 'key_2', 'key_3'], denied: ['key_2'] })
    const again = await live()
    expect(effectOf(again)).toEqual(effectOf(agent))
    expect(again.log.at('warn')).toEqual([])
  })
})

async function filesNamed(pattern: RegExp): Promise<string[]> {
  return (await fs.readdir(at())).filter((name) => pattern.test(name)).sort()
}

async function startAs(over: Partial<typeof trust>) {
  const agent = await startApplier(folder.path, { trust: { ...trust, ...over } })
  await agent.close()
  return agent
}
