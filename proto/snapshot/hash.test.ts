import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { hashContent, hashRoot, hashSection, isSnapshotName, sortedByName } from './hash.js'

const name = fc.stringMatching(/^[!-~]{1,20}$/)
const hash = fc.uint8Array({ minLength: 32, maxLength: 32 })
const resources = fc.uniqueArray(fc.record({ name, hash }), { selector: (r) => r.name, maxLength: 8 })
const removed = fc.uniqueArray(name, { maxLength: 8 })

describe('section hash', () => {
  it('is over the documented bytes', () => {
    const u32 = (n: number) => Buffer.of(0, 0, 0, n)
    const text = (t: string) => Buffer.concat([u32(t.length), Buffer.from(t)])
    const content = hashContent(Buffer.from('x'))
    const preimage = Buffer.concat([
      text('switchyard/section/1'),
      text('deny'),
      Buffer.of(0, 0, 0, 0, 0, 0, 0, 7),
      u32(2),
      text('deny/a'),
      content,
      text('deny/b'),
      content,
      u32(1),
      text('deny/c'),
    ])
    expect(
      hashSection({
        name: 'deny',
        intentRevision: 7,
        resources: [
          { name: 'deny/b', hash: content },
          { name: 'deny/a', hash: content },
        ],
        removed: ['deny/c'],
      }),
    ).toEqual(createHash('sha256').update(preimage).digest())
  })

  it('does not depend on the order of its lists', () => {
    fc.assert(
      fc.property(name, resources, removed, (section, r, d) => {
        const facts = { name: section, intentRevision: 1, resources: r, removed: d }
        const turned = { ...facts, resources: [...r].reverse(), removed: [...d].reverse() }
        expect(hashSection(turned)).toEqual(hashSection(facts))
      }),
    )
  })

  it('differs whenever anything it covers differs', () => {
    fc.assert(
      fc.property(name, resources, removed, fc.nat(), hash, (section, r, d, pick, other) => {
        const facts = { name: section, intentRevision: 1, resources: r, removed: d }
        const before = hashSection(facts).toString('hex')
        const others = [
          { ...facts, name: `${section}x` },
          { ...facts, intentRevision: 2 },
          { ...facts, resources: [...r, { name: `${r.map((x) => x.name).join('')}x`, hash: other }] },
          { ...facts, removed: [...d, `${d.join('')}x`] },
          { ...facts, resources: r.slice(1), removed: d },
        ].filter((_, index) => index !== 4 || r.length > 0)
        const index = pick % others.length
        expect(hashSection(others[index] ?? facts).toString('hex')).not.toBe(before)
      }),
    )
  })

  it('faults on a name that occurs twice', () => {
    const twice = [
      { name: 'a', hash: Buffer.alloc(32) },
      { name: 'a', hash: Buffer.alloc(32) },
    ]
    expect(() => hashRoot({ sections: twice, removedSections: [] })).toThrow(/twice/)
    expect(() => hashSection({ name: 'x', intentRevision: 0, resources: [], removed: ['b', 'b'] })).toThrow(/twice/)
  })
})

describe('root hash', () => {
  it('is not a section hash of the same lists', () => {
    const section = hashSection({ name: 'a', intentRevision: 0, resources: [], removed: [] })
    expect(hashRoot({ sections: [], removedSections: [] })).not.toEqual(section)
  })

  it('cannot move a name from present to removed unnoticed', () => {
    const sections = [{ name: 'a', hash: Buffer.alloc(32) }]
    expect(hashRoot({ sections, removedSections: ['b'] })).not.toEqual(hashRoot({ sections, removedSections: [] }))
  })
})

describe('names', () => {
  it.each([
    ['environment/ten_1/env_1', true],
    ['', false],
    ['a b', false],
    ['é', false],
    ['a\n', false],
    ['x'.repeat(300), true],
    ['x'.repeat(301), false],
  ])('%j is one: %s', (text, is) => expect(isSnapshotName(text)).toBe(is))

  it('are given back untouched when they are in order', () => {
    const items = [{ name: 'a' }, { name: 'b' }]
    expect(sortedByName(items)).toBe(items)
  })
})
