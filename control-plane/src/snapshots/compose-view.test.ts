import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { hashContent, hashSection } from '../../../proto/snapshot/hash.js'
import { type ComposedView, composeInSteps, composeView, type HeldBack, type Tombstones } from './compose-view.js'
import type { CompiledSection, StoredSnapshot } from './snapshot.js'

const name = 'environment/t/e'

function section(
  sectionName: string,
  intentRevision: number,
  contents: Readonly<Record<string, string>>,
): CompiledSection {
  const resources = Object.entries(contents)
    .map(([n, text]) => ({ name: n, hash: hashContent(Buffer.from(text)), content: Buffer.from(text) }))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
  return { name: sectionName, intentRevision, resources }
}

const cluster = section('cluster', 0, { c: '1' })
const deny = (revision: number, ...names: string[]) =>
  section('deny', revision, Object.fromEntries(names.map((n) => [n, n])))

interface Held {
  base: StoredSnapshot | null
  tombstones: Tombstones
}

const nothing: Held = { base: null, tombstones: new Map() }

function compose(
  held: Held,
  environments: readonly (readonly [string, CompiledSection | HeldBack | null])[],
  options: { deny?: CompiledSection; compilerVersion?: number; fresh?: boolean } = {},
): ComposedView {
  return composeView({
    ...held,
    intent: { cluster, deny: options.deny ?? deny(1), environments: new Map(environments) },
    compilerVersion: options.compilerVersion ?? 1,
    fresh: options.fresh ?? false,
  })
}

/** What the store would hold afterwards. */
function stored(held: Held, composed: ComposedView): Held {
  const tombstones = new Map([...held.tombstones].map(([section, names]) => [section, new Set(names)]))
  for (const { sectionName, resourceName } of composed.buried) {
    const names = tombstones.get(sectionName) ?? new Set()
    tombstones.set(sectionName, names.add(resourceName))
  }
  for (const { sectionName, resourceName } of composed.revived) tombstones.get(sectionName)?.delete(resourceName)
  const base = {
    ...{ view: 'c/main', epoch: 1, generation: (held.base?.generation ?? 0) + 1 },
    ...{ header: Buffer.of(), signature: Buffer.of(), createdAt: new Date(0) },
    ...composed,
  }
  return { base, tombstones }
}

const sectionOf = (composed: ComposedView) => composed.sections.find((s) => s.name === name)
const contents = (composed: ComposedView) => sectionOf(composed)?.resources.map((r) => `${r.name}=${r.content}`)

describe('a composed view', () => {
  const first = stored(nothing, compose(nothing, [[name, section(name, 5, { a: '1', b: '1' })]]))

  it('holds cluster, deny and what is placed, in order', () => {
    expect(first.base?.sections.map((s) => s.name)).toEqual(['cluster', 'deny', name])
  })

  it('changes nothing when nothing changed', () => {
    const again = compose(first, [[name, section(name, 5, { a: '1', b: '1' })]])
    expect(again.rootHash).toEqual(first.base?.rootHash)
    expect(again.buried).toEqual([])
  })

  it('takes a higher revision even of equal content, so that the number tells what is applied', () => {
    const next = compose(first, [[name, section(name, 6, { a: '1', b: '1' })]])
    expect(sectionOf(next)?.intentRevision).toBe(6)
    expect(next.rootHash).not.toEqual(first.base?.rootHash)
  })

  it.each([
    ['failed or not compiled', null],
    ['older than what is stored', section(name, 4, { a: '0' })],
    ['other content at the same revision, from memory', section(name, 5, { a: '9' })],
  ])('keeps the last good content of a section that is %s', (_, compiled) => {
    const next = compose(first, [[name, compiled]])
    expect(contents(next)).toEqual(['a=1', 'b=1'])
    expect(next.rootHash).toEqual(first.base?.rootHash)
  })

  it('lets rows read afresh replace content at the same revision', () => {
    expect(contents(compose(first, [[name, section(name, 5, { a: '9', b: '1' })]], { fresh: true }))).toEqual([
      'a=9',
      'b=1',
    ])
  })

  it('lets the newer compiler win at the same revision, from either side', () => {
    const other = section(name, 5, { a: '2', b: '2' })
    const newer = stored(first, compose(first, [[name, other]], { compilerVersion: 2 }))
    expect(newer.base?.sections.at(-1)?.compilerVersion).toBe(2)
    const back = compose(newer, [[name, section(name, 5, { a: '1', b: '1' })]], { compilerVersion: 1, fresh: true })
    expect(back.rootHash).toEqual(newer.base?.rootHash)
  })

  it('declares what went, until it comes back', () => {
    const without = compose(first, [[name, section(name, 6, { a: '1' })]])
    expect(sectionOf(without)?.removed).toEqual(['b'])
    expect(without.buried).toEqual([{ sectionName: name, resourceName: 'b' }])
    const held = stored(first, without)
    const later = compose(held, [[name, section(name, 7, { a: '2' })]])
    expect(sectionOf(later)?.removed).toEqual(['b'])
    const back = compose(stored(held, later), [[name, section(name, 8, { a: '2', b: '1' })]])
    expect(sectionOf(back)?.removed).toEqual([])
    expect(back.revived).toEqual([{ sectionName: name, resourceName: 'b' }])
  })

  it('declares a section that went, and its names when it comes back without them', () => {
    const gone = compose(first, [])
    expect(gone.removedSections).toEqual([name])
    const held = stored(first, gone)
    const back = compose(held, [[name, section(name, 9, { a: '1' })]])
    expect(back.removedSections).toEqual([])
    expect(sectionOf(back)?.removed).toEqual(['b'])
    expect(stored(held, back).tombstones.get(name)).toEqual(new Set(['b']))
  })

  it('takes from a section that is held back what was withdrawn, under its old revision and for good', () => {
    const heldBack = (intentRevision: number, kept: readonly string[]): HeldBack => ({
      ...{ name, intentRevision },
      withdrawFrom: (resources) => {
        const left = resources.filter((resource) => kept.includes(resource.name))
        return left.length === resources.length ? resources : left
      },
    })
    const all = compose(first, [[name, heldBack(7, ['a', 'b'])]])
    expect(all.rootHash).toEqual(first.base?.rootHash)
    const less = compose(first, [[name, heldBack(7, ['a'])]])
    expect([contents(less), sectionOf(less)?.removed, sectionOf(less)?.intentRevision]).toEqual([['a=1'], ['b'], 5])
    const held = stored(first, less)
    // Neither by itself nor by a replica that remembers more of the same revision does it change again.
    expect(compose(held, [[name, heldBack(7, ['a'])]]).rootHash).toEqual(less.rootHash)
    expect(compose(held, [[name, section(name, 5, { a: '1', b: '1' })]]).rootHash).toEqual(less.rootHash)
    // What a compiler that could do it made of that revision is not touched.
    const done = stored(held, compose(held, [[name, section(name, 7, { b: '2' })]], { compilerVersion: 2 }))
    expect(compose(done, [[name, heldBack(7, ['a'])]]).rootHash).toEqual(done.base?.rootHash)
    expect(contents(compose(first, [[name, heldBack(7, [])]]))).toEqual([])
  })

  it('can be composed a section at a time', () => {
    const steps = composeInSteps({
      ...{ ...first, compilerVersion: 1, fresh: false },
      intent: { cluster, deny: deny(1), environments: new Map([[name, section(name, 6, { a: '1' })]]) },
    })
    let count = 0
    while (!steps.next().done) count += 1
    expect(count).toBe(3)
  })

  it('moves the deny section while everything else is held', () => {
    const next = compose(first, [[name, null]], { deny: deny(2, 'deny/k') })
    expect(next.sections.map((s) => s.intentRevision)).toEqual([0, 2, 5])
    expect(next.sections[2]).toBe(first.base?.sections[2])
  })

  it('is consistent with itself whatever happens', () => {
    const names = fc.constantFrom('a', 'b', 'c')
    const states = fc.array(fc.option(fc.dictionary(names, fc.constantFrom('1', '2')), { nil: undefined }), {
      maxLength: 10,
    })
    fc.assert(
      fc.property(states, (history) => {
        let held = nothing
        history.forEach((state, index) => {
          const before = held
          const composed = compose(held, state ? [[name, section(name, index, state)]] : [])
          held = stored(held, composed)
          for (const s of composed.sections) {
            expect(hashSection(s)).toEqual(s.hash)
            const present = new Set(s.resources.map((r) => r.name))
            expect(s.removed.filter((r) => present.has(r))).toEqual([])
            const lost = before.base?.sections
              .find((b) => b.name === s.name)
              ?.resources.filter((r) => !present.has(r.name))
            expect(s.removed).toEqual(expect.arrayContaining(lost?.map((r) => r.name) ?? []))
          }
          const present = new Set(composed.sections.map((s) => s.name))
          for (const s of before.base?.sections ?? []) {
            expect(present.has(s.name) || composed.removedSections.includes(s.name)).toBe(true)
          }
        })
      }),
    )
  })
})
