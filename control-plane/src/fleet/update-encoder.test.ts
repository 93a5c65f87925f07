import { gunzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { snapshotUpdateCodec } from '../../../proto/gen/codec.js'
import type { ControlMessage } from '../../../proto/gen/switchyard/v1/ControlMessage.js'
import { hashContent, hashRoot, hashSection } from '../../../proto/snapshot/hash.js'
import type { StoredSnapshot } from '../snapshots/snapshot.js'
import type { SnapshotStore } from '../snapshots/snapshot-store.js'
import { WritePacer } from './grpc-stream.js'
import { type HeldHashes, UpdateEncoder } from './update-encoder.js'

function snapshot(generation: number, content: string): StoredSnapshot {
  const resources = [{ name: 'deny/a', hash: hashContent(Buffer.from(content)), content: Buffer.from(content) }]
  const facts = { name: 'deny', intentRevision: generation, resources, removed: [] }
  const sections = [{ ...facts, hash: hashSection(facts), compilerVersion: 1 }]
  return {
    ...{ view: 'clu_1/main', epoch: 1, generation, rootHash: hashRoot({ sections, removedSections: [] }) },
    ...{ header: Buffer.of(generation), signature: Buffer.of(), sections, removedSections: [], createdAt: new Date(0) },
  }
}

function encoder() {
  const encoded: ControlMessage[] = []
  const asked: string[] = []
  const store = {
    findSectionNames: async (hash: Uint8Array) => {
      asked.push(Buffer.from(hash).toString('hex').slice(0, 4))
      return null
    },
  } as unknown as SnapshotStore
  const encode = (message: ControlMessage) => {
    encoded.push(message)
    return Buffer.from(String(encoded.length))
  }
  return { encoded, asked, encoder: new UpdateEncoder({ store, encode }) }
}

const plain = { resync: false, gzip: false }
const held = (rootByte: number, sectionByte: number): HeldHashes => ({
  rootHash: Buffer.alloc(32, rootByte),
  sections: new Map([['deny', Buffer.alloc(32, sectionByte)]]),
})

describe('an encoded update', () => {
  it('is the same bytes for every agent that stands at the same place', async () => {
    const { encoder: shared, encoded } = encoder()
    const desired = snapshot(2, 'x')
    const all = await Promise.all(Array.from({ length: 100 }, () => shared.update(desired, held(1, 1), plain)))
    expect(new Set(all).size).toBe(1)
    expect(encoded).toHaveLength(1)
  })

  it.each([
    ['another base', (e: UpdateEncoder) => e.update(snapshot(2, 'x'), held(2, 1), plain)],
    ['another section under the same base', (e: UpdateEncoder) => e.update(snapshot(2, 'x'), held(1, 2), plain)],
    ['everything', (e: UpdateEncoder) => e.update(snapshot(2, 'x'), null, plain)],
    ['another generation', (e: UpdateEncoder) => e.update(snapshot(3, 'x'), held(1, 1), plain)],
  ])('is not shared with %s', async (_, other) => {
    const { encoder: shared, encoded } = encoder()
    await shared.update(snapshot(2, 'x'), held(1, 1), plain)
    await other(shared)
    expect(encoded).toHaveLength(2)
  })

  it('is compressed for agents that can undo it, where that pays', async () => {
    const { encoder: shared, encoded } = encoder()
    await shared.update(snapshot(2, 'x'), null, { resync: false, gzip: true })
    expect(encoded[0]?.update).toBeDefined()
    await shared.update(snapshot(3, 'x'.repeat(100_000)), null, { resync: true, gzip: true })
    const bytes = encoded[1]?.updateGzip
    if (!(bytes instanceof Uint8Array)) throw new Error('not compressed')
    expect(bytes.length).toBeLessThan(2000)
    expect(snapshotUpdateCodec.decode(gunzipSync(bytes))).toMatchObject({ resync: true, header: Buffer.of(3) })
  })

  it('asks for names only of sections that differ', async () => {
    const { encoder: shared, asked, encoded } = encoder()
    const desired = snapshot(2, 'x')
    const section = desired.sections[0]
    if (!section) throw new Error('no section')
    await shared.update(desired, { rootHash: Buffer.alloc(32, 1), sections: new Map([['deny', section.hash]]) }, plain)
    expect(asked).toEqual([])
    expect(encoded[0]?.update?.sections).toEqual([])
    await shared.update(desired, held(1, 1), plain)
    expect(asked).toEqual(['0101'])
  })
})

describe('the pacer', () => {
  it('gives the loop a turn after every hundred writes', async () => {
    const pacer = new WritePacer()
    let turns = 0
    let done = false
    const count = () => {
      turns += 1
      if (!done) setImmediate(count)
    }
    setImmediate(count)
    let written = 0
    await Promise.all(
      Array.from({ length: 1000 }, async () => {
        await pacer.wait()
        written += 1
      }),
    )
    done = true
    expect(written).toBe(1000)
    expect(turns).toBeGreaterThanOrEqual(8)
  })
})
