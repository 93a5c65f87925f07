import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { snapshotHeaderCodec, snapshotUpdateCodec } from '../gen/codec.js'
import type { SnapshotUpdate__Output } from '../gen/switchyard/v1/SnapshotUpdate.js'
import { hashContent, hashRoot, hashSection } from './hash.js'
import {
  type DesiredSection,
  type DesiredSnapshot,
  diffSnapshot,
  type HeldBase,
  isComplete,
  keepSections,
  keptHashes,
  type Manifest,
  type Rebuilt,
  rebuild,
  verifyProof,
} from './manifest.js'
import { rawPublicKeyOf } from './raw-keys.js'
import { signHeader } from './sign.js'

const signingKey = Buffer.alloc(32, 7)
const keys = new Map([['k1', rawPublicKeyOf('ed25519', signingKey)]])
const limits = { contentBytesMax: 1_000_000, resourcesMax: 1000 }

interface SectionSpec {
  revision?: number
  resources: Readonly<Record<string, string>>
  removed?: readonly string[]
}
interface Spec {
  epoch?: number
  view?: string
  generation: number
  sections: Readonly<Record<string, SectionSpec>>
  removedSections?: readonly string[]
}

function desired(spec: Spec): DesiredSnapshot {
  const sections: DesiredSection[] = Object.entries(spec.sections).map(([name, section]) => {
    const resources = Object.entries(section.resources)
      .map(([n, text]) => ({ name: n, hash: hashContent(Buffer.from(text)), content: Buffer.from(text) }))
      .sort((a, b) => (a.name < b.name ? -1 : 1))
    const facts = {
      name,
      intentRevision: section.revision ?? spec.generation,
      resources,
      removed: [...(section.removed ?? [])].sort(),
    }
    return { ...facts, hash: hashSection(facts) }
  })
  const removedSections = [...(spec.removedSections ?? [])].sort()
  const header = snapshotHeaderCodec.encode({
    epoch: spec.epoch ?? 1,
    view: spec.view ?? 'clu_1/main',
    generation: spec.generation,
    rootHash: hashRoot({ sections, removedSections }),
    keyId: 'k1',
  })
  return { header, signature: signHeader(header, signingKey), sections, removedSections }
}

function baseOf(manifest: Manifest): HeldBase {
  return { rootHash: manifest.rootHash, sections: new Map(manifest.sections.map((s) => [s.name, s])) }
}

/** Over the wire and back, as both ends do. */
function received(update: Parameters<typeof snapshotUpdateCodec.encode>[0]): SnapshotUpdate__Output {
  return snapshotUpdateCodec.decode(snapshotUpdateCodec.encode(update))
}

function offer(held: Manifest | null, update: SnapshotUpdate__Output, options = {}): Rebuilt {
  return rebuild({ held, update, keys, clusterId: 'clu_1', limits, ...options })
}

function full(spec: Spec, resync = false): SnapshotUpdate__Output {
  return received(diffSnapshot(desired(spec), null, { resync }))
}

function delta(held: Manifest, spec: Spec): SnapshotUpdate__Output {
  return received(diffSnapshot(desired(spec), baseOf(held), { resync: false }))
}

function hold(spec: Spec): Manifest {
  const result = offer(null, full(spec))
  if (result.outcome !== 'rebuilt') throw new Error(`not rebuilt: ${JSON.stringify(result)}`)
  return result.manifest
}

const codes = (result: Rebuilt) =>
  result.outcome === 'rebuilt' ? result.refusals.map((r) => `${r.section}:${r.code}`) : [result.outcome]
const codeOf = (result: Rebuilt) =>
  result.outcome === 'refused' || result.outcome === 'resync' ? result.refusal.code : null

const start: Spec = {
  generation: 1,
  sections: { cluster: { resources: { c: '1' } }, deny: { resources: {} }, e: { resources: { a: '1', b: '1' } } },
}

describe('rebuild', () => {
  it('takes the first snapshot whole', () => {
    const manifest = hold(start)
    expect(isComplete(manifest)).toBe(true)
    expect(manifest.sections.map((s) => s.name)).toEqual(['cluster', 'deny', 'e'])
    expect(manifest.resourceCount).toBe(3)
    expect(manifest.header).toMatchObject({ epoch: 1, generation: 1, view: 'clu_1/main', keyId: 'k1' })
  })

  it('takes a difference of one resource and keeps the rest as it was', () => {
    const held = hold(start)
    const update = delta(held, {
      generation: 2,
      sections: {
        ...start.sections,
        cluster: { revision: 1, resources: { c: '1' } },
        deny: { revision: 1, resources: {} },
        e: { resources: { a: '1', b: '2' } },
      },
    })
    expect(update.sections.map((s) => [s.name, s.changed.map((c) => c.name)])).toEqual([['e', ['b']]])
    const result = offer(held, update)
    expect(result).toMatchObject({ outcome: 'rebuilt', order: 'newer', changedSections: ['e'], refusals: [] })
    if (result.outcome === 'rebuilt') expect(result.manifest.sections[0]?.resources).toBe(held.sections[0]?.resources)
  })

  it('answers same when it holds exactly that', () => {
    expect(offer(hold(start), full(start)).outcome).toBe('same')
  })

  it.each([
    ['a header that is not one', (u: SnapshotUpdate__Output) => ({ ...u, header: Buffer.of(1, 2, 3) }), 'malformed'],
    [
      'a touched signature',
      (u: SnapshotUpdate__Output) => ({ ...u, signature: Buffer.alloc(64, 1) }),
      'signature_invalid',
    ],
    [
      'a section twice',
      (u: SnapshotUpdate__Output) => ({ ...u, sections: [...u.sections, ...u.sections] }),
      'malformed',
    ],
    [
      'removed sections out of order',
      (u: SnapshotUpdate__Output) => ({ ...u, removedSections: ['b', 'a'] }),
      'malformed',
    ],
    [
      'one section held back',
      (u: SnapshotUpdate__Output) => ({ ...u, sections: u.sections.slice(1) }),
      'root_mismatch',
    ],
    ['an unsigned removal', (u: SnapshotUpdate__Output) => ({ ...u, removedSections: ['x'] }), 'root_mismatch'],
  ])('refuses %s', (_, touch, code) => {
    const result = offer(null, touch(full(start)))
    expect(result.outcome).toBe('refused')
    expect(codeOf(result)).toBe(code)
  })

  it('refuses content that is not what its hash says', () => {
    const update = full(start)
    const section = update.sections[2]
    const entry = section?.changed[0]
    if (!section || !entry) throw new Error('no entry')
    entry.content = Buffer.from('9')
    expect(codeOf(offer(null, update))).toBe('resource_hash_mismatch')
  })

  it('refuses a key it does not know and a view of another cluster', () => {
    expect(codeOf(offer(null, full(start), { keys: new Map() }))).toBe('key_unknown')
    expect(codeOf(offer(null, full({ ...start, view: 'clu_2/main' })))).toBe('view_foreign')
  })

  it.each([
    ['an older generation', { ...start, generation: 1 }, 'generation_older'],
    [
      'a reused generation',
      { ...start, generation: 2, sections: { cluster: { resources: { c: '9' } } } },
      'generation_reused',
    ],
    ['an older epoch', { ...start, epoch: 0.5, generation: 9 }, 'malformed'],
  ])('refuses %s', (_, spec, code) => {
    const held = hold({ ...start, generation: 2 })
    const offered = spec.epoch === 0.5 ? { ...spec, epoch: 0 } : spec
    expect(codeOf(offer(held, full(offered)))).toBe(code)
  })

  it('follows a new epoch to any number, and refuses the epoch before', () => {
    const held = hold({ ...start, generation: 9 })
    const next = offer(held, full({ ...start, epoch: 2, generation: 1, sections: start.sections }))
    expect(next).toMatchObject({ outcome: 'rebuilt', order: 'newer_epoch', refusals: [] })
    if (next.outcome === 'rebuilt')
      expect(codeOf(offer(next.manifest, full({ ...start, generation: 10 })))).toBe('epoch_older')
  })

  it('asks for everything when the difference is against something else, or does not lead to the signed root', () => {
    const held = hold(start)
    const next = { ...start, generation: 2 }
    expect(offer(null, delta(held, next)).outcome).toBe('resync')
    const update = delta(held, next)
    const section = update.sections.at(-1)
    if (!section) throw new Error('no section')
    section.changed = []
    section.intentRevision += 1
    expect(offer(held, update).outcome).toBe('resync')
    expect(offer(held, full(next)).outcome).toBe('rebuilt')
  })

  it('keeps a section that loses a name nobody declared removed, and takes the others', () => {
    const held = hold(start)
    const shrunk: Spec = {
      generation: 2,
      sections: { cluster: { resources: { c: '2' } }, deny: { resources: {} }, e: { resources: { a: '1' } } },
    }
    const result = offer(held, full(shrunk))
    expect(codes(result)).toEqual(['e:names_missing'])
    if (result.outcome !== 'rebuilt') throw new Error('not rebuilt')
    expect(isComplete(result.manifest)).toBe(false)
    expect(result.changedSections).toEqual(['cluster', 'deny'])
    expect(result.manifest.sections[2]?.resources.map((r) => r.name)).toEqual(['a', 'b'])
    // The kept section is still under the signature it came with.
    const kept = result.manifest.sections[2]
    expect(kept && verifyProof(kept.proof, keys)).toMatchObject({ header: { generation: 1 } })

    const declared = {
      ...shrunk,
      generation: 3,
      sections: { ...shrunk.sections, e: { resources: { a: '1' }, removed: ['b'] } },
    }
    expect(codes(offer(result.manifest, full(declared)))).toEqual([])
    expect(codes(offer(result.manifest, delta(result.manifest, declared)))).toEqual([])
    expect(codes(offer(held, full(shrunk, true)))).toEqual([])
  })

  it('keeps a whole section that vanishes undeclared', () => {
    const held = hold(start)
    const without: Spec = { generation: 2, sections: { cluster: { resources: { c: '1' } }, deny: { resources: {} } } }
    expect(codes(offer(held, full(without)))).toEqual(['e:names_missing'])
    const declared = offer(held, delta(held, { ...without, removedSections: ['e'] }))
    expect(codes(declared)).toEqual([])
    if (declared.outcome === 'rebuilt')
      expect(declared.manifest.sections.map((s) => s.name)).toEqual(['cluster', 'deny'])
  })

  it('never lets a section go back within an epoch', () => {
    const held = hold({ ...start, generation: 5 })
    const back: Spec = {
      generation: 6,
      sections: { ...start.sections, e: { revision: 4, resources: { a: '0', b: '0' } } },
    }
    const lifted = {
      ...back,
      sections: {
        ...back.sections,
        cluster: { revision: 5, resources: { c: '1' } },
        deny: { revision: 5, resources: {} },
      },
    }
    expect(codes(offer(held, full(lifted)))).toEqual(['e:section_older'])
    expect(codes(offer(held, full({ ...lifted, epoch: 2 })))).toEqual([])
  })

  it('holds its own limits', () => {
    expect(codeOf(offer(null, full(start), { limits: { contentBytesMax: 2, resourcesMax: 9 } }))).toBe('too_large')
    expect(codeOf(offer(null, full(start), { limits: { contentBytesMax: 99, resourcesMax: 2 } }))).toBe(
      'too_many_resources',
    )
  })

  it('offers again what was taken in part, under the same number', () => {
    const held = hold(start)
    const next: Spec = { generation: 2, sections: { ...start.sections, e: { resources: { a: '2', b: '2' } } } }
    const whole = offer(held, full(next))
    if (whole.outcome !== 'rebuilt') throw new Error('not rebuilt')
    const part = keepSections(whole.manifest, held, new Set(['e']))
    expect(isComplete(part)).toBe(false)
    const hashes = new Map(held.sections.map((s) => [s.name, s.hash]))
    expect(
      hashRoot({ sections: keptHashes(whole.manifest.sections, hashes, new Set(['e'])), removedSections: [] }),
    ).toEqual(part.rootHash)
    const again = offer(part, delta(part, next))
    expect(again).toMatchObject({ outcome: 'rebuilt', order: 'same_and_equal', changedSections: ['e'] })
    if (again.outcome === 'rebuilt') expect(isComplete(again.manifest)).toBe(true)
  })
})

describe('diff and rebuild', () => {
  const names = ['a', 'b', 'c', 'd', 'e']
  const content = fc.dictionary(fc.constantFrom(...names), fc.constantFrom('1', '2', '3'), { maxKeys: 5 })
  const states = fc.array(fc.dictionary(fc.constantFrom('x', 'y', 'z'), content, { maxKeys: 3 }), {
    minLength: 1,
    maxLength: 8,
  })

  /** A control plane that keeps tombstones: every name ever seen and now gone is declared. */
  function chain(contents: readonly Readonly<Record<string, Readonly<Record<string, string>>>>[]): Spec[] {
    const seen = new Map<string, Set<string>>()
    return contents.map((sections, index) => {
      for (const [section, resources] of Object.entries(sections)) {
        const known = seen.get(section) ?? new Set()
        for (const name of Object.keys(resources)) known.add(name)
        seen.set(section, known)
      }
      return {
        generation: index + 1,
        sections: Object.fromEntries(
          Object.entries(sections).map(([section, resources]) => [
            section,
            { resources, removed: [...(seen.get(section) ?? [])].filter((n) => !Object.hasOwn(resources, n)) },
          ]),
        ),
        removedSections: [...seen.keys()].filter((section) => !Object.hasOwn(sections, section)),
      }
    })
  }

  it('are inverse for an agent that sees any subset of the generations', () => {
    fc.assert(
      fc.property(states, fc.infiniteStream(fc.boolean()), (contents, skips) => {
        let held: Manifest | null = null
        for (const spec of chain(contents)) {
          if (skips.next().value) continue
          const update: SnapshotUpdate__Output = held === null ? full(spec) : delta(held, spec)
          const result = offer(held, update)
          expect(codes(result)).toEqual([])
          if (result.outcome !== 'rebuilt') return
          held = result.manifest
          expect(isComplete(held)).toBe(true)
          expect(
            held.sections.map((s) => [
              s.name,
              Object.fromEntries(s.resources.map((r) => [r.name, r.content.toString()])),
            ]),
          ).toEqual(
            Object.entries(spec.sections)
              .sort(([a], [b]) => (a < b ? -1 : 1))
              .map(([n, s]) => [n, { ...s.resources }]),
          )
        }
      }),
    )
  })

  it('never let a touched byte of an update through', () => {
    const held = hold(start)
    const spec: Spec = {
      generation: 2,
      sections: { ...start.sections, e: { resources: { a: '2', c: '3' }, removed: ['b'] } },
    }
    const bytes = Buffer.from(snapshotUpdateCodec.encode(diffSnapshot(desired(spec), baseOf(held), { resync: false })))
    const truth = offer(held, snapshotUpdateCodec.decode(bytes))
    fc.assert(
      fc.property(fc.nat({ max: bytes.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, mask) => {
        const touched = Buffer.from(bytes)
        touched[at] = (touched[at] ?? 0) ^ mask
        let update: SnapshotUpdate__Output
        try {
          update = snapshotUpdateCodec.decode(touched)
        } catch {
          return
        }
        const result = offer(held, update)
        if (result.outcome !== 'rebuilt' || truth.outcome !== 'rebuilt') return
        expect(result.manifest.rootHash).toEqual(truth.manifest.rootHash)
        expect(result.refusals).toEqual([])
      }),
      { numRuns: 2000 },
    )
  })
})
