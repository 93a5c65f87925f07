import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { DecisionTables } from '../../../proto/policy/tables.js'
import { must } from '../../../proto/std/assert.js'
import type { Effect } from '../config/build-tables.js'
import { startApplier, temporaryFolder } from '../config/config-fixture.js'
import {
  cluster,
  deny,
  environment,
  lookup,
  otherSection,
  section,
  sign,
  updateTo,
} from '../config/snapshot-fixture.js'
import { parcelsOf, TablesChange, type TablesParcel } from './tables-parcel.js'
import { ToldTables } from './told-tables.js'

const keyIds = ['key_a', 'key_b', 'key_c', 'key_d', 'key_e']
const noPause = () => undefined

/** A worker's tables, told over a channel that copies. */
class Worker {
  tables: DecisionTables | null = null
  swapCount = 0
  readonly #told = new ToldTables(
    {
      swap: (next) => {
        this.tables = next
        this.swapCount += 1
      },
    },
    noPause,
  )

  async take(parcels: AsyncIterable<TablesParcel>): Promise<TablesParcel[]> {
    const taken: TablesParcel[] = []
    for await (const parcel of parcels) {
      await this.#told.take(structuredClone(parcel))
      taken.push(parcel)
    }
    return taken
  }
}

const plain = (tables: DecisionTables | null) =>
  tables === null
    ? null
    : {
        ...{ epoch: tables.epoch, generation: tables.generation, rootHash: tables.rootHash, cluster: tables.cluster },
        environments: tables.environments,
        keys: keyIds.map((id) => tables.keys.get(lookup(id)) ?? null),
        denied: keyIds.map((id) => tables.denied.get(lookup(id)) ?? null),
        sizes: [tables.keys.size, tables.denied.size],
      }

const section2 = fc.record({ keys: fc.subarray(keyIds.slice(0, 3)), model: fc.constantFrom('one', 'two') })
const step = fc.record({
  first: fc.option(section2, { nil: null }),
  second: fc.option(fc.record({ keys: fc.subarray(keyIds.slice(3)), model: fc.constantFrom('one', 'two') }), {
    nil: null,
  }),
  denied: fc.subarray(keyIds),
  /** Which worker skips this one and is told with the next. */
  skips: fc.nat(3),
  /** A worker that begins here. */
  begins: fc.boolean(),
})

/** Any history of configurations: a worker that is told of all, of some, or begins in the middle has what the primary has. */
it('a worker has the tables that the primary has, however it came there', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (steps) => {
      const folder = await temporaryFolder()
      const primary = await startApplier(folder.path)
      try {
        const workers: { worker: Worker; held: Effect | null }[] = [0, 1].map(() => ({
          worker: new Worker(),
          held: null,
        }))
        for (const [index, { first, second, denied, skips, begins }] of steps.entries()) {
          const desired = sign({
            generation: index + 1,
            sections: {
              cluster,
              deny: Object.fromEntries(denied.map((id) => [`deny/${id}`, deny(id)])),
              ...(first === null ? {} : { [section]: environment(first.keys, { upstreamModel: first.model }) }),
              ...(second === null
                ? {}
                : {
                    [otherSection]: environment(second.keys, {
                      ...{ environmentId: 'env_2', tenantId: 'ten_2', upstreamModel: second.model },
                    }),
                  }),
            },
          })
          await primary.applier.apply(updateTo(desired, null, true))
          const effect = must(primary.applier.effect, 'something is in effect')
          const change = new TablesChange(effect, noPause)
          if (begins) workers.push({ worker: new Worker(), held: null })
          for (const [number, each] of workers.entries()) {
            if (number === skips) continue
            await each.worker.take(change.from(each.held, index))
            each.held = effect
            expect(plain(each.worker.tables)).toEqual(plain(primary.tables.current))
          }
        }
      } finally {
        await primary.close()
        await folder.remove()
      }
    }),
    { numRuns: 40 },
  )
}, 60_000)

it('a change takes effect once, with its last piece, however many it has', async () => {
  const folder = await temporaryFolder()
  const primary = await startApplier(folder.path)
  const many = Array.from({ length: 5_000 }, (_, index) => `key_${index}`)
  const first = sign({ generation: 1, sections: { cluster, deny: {}, [section]: environment(many) } })
  await primary.applier.apply(updateTo(first, null))
  const effect = must(primary.applier.effect, 'something is in effect')
  const worker = new Worker()
  const pieces = await worker.take(parcelsOf(null, effect, 1, noPause))
  expect(pieces.length).toBeGreaterThan(2)
  expect(pieces.map(({ header }) => header !== null)).toEqual([...pieces.slice(1).map(() => false), true])
  expect(worker.swapCount).toBe(1)
  expect(worker.tables?.keys.size).toBe(5_000)

  const denied = sign({ generation: 2, sections: { ...sectionsOf(many), deny: { 'deny/key_7': deny('key_7') } } })
  await primary.applier.apply(updateTo(denied, primary.applier.held))
  const next = must(primary.applier.effect, 'something is in effect')
  const [piece, ...none] = await worker.take(parcelsOf(effect, next, 2, noPause))
  expect(none).toEqual([])
  // One denial among five thousand keys is one resource.
  expect(piece?.sections.map(({ name, changed }) => [name, changed])).toEqual([['deny', ['deny/key_7']]])
  expect(worker.tables?.denied.get(lookup('key_7'))).toBeDefined()
  await primary.close()
  await folder.remove()
})

it('what does not fit is a fault, and nothing takes effect', async () => {
  const worker = new Worker()
  const parcel: TablesParcel = {
    number: 1,
    header: { epoch: 1, generation: 1, rootHash: '00' },
    sections: [{ name: section, changed: ['route/rte_1'], lengths: [3], content: Buffer.from([1, 2, 3]), gone: [] }],
    goneSections: [],
  }
  async function* one() {
    yield parcel
  }
  await expect(worker.take(one())).rejects.toThrow('route/rte_1')
  expect(worker.tables).toBeNull()
})

const sectionsOf = (keys: readonly string[]) => ({ cluster, [section]: environment(keys) })
