import { describe, expect, it } from 'vitest'
import { type GenerationFacts, orderOfGeneration } from './generation-order.js'

const held: GenerationFacts = { epoch: 2, view: 'clu/main', generation: 5, rootHash: Buffer.alloc(32, 1) }
const other = Buffer.alloc(32, 2)

describe('the order of an offered generation', () => {
  it.each([
    ['first', null, held],
    ['newer', held, { ...held, generation: 6, rootHash: other }],
    ['newer', held, { ...held, generation: 6 }],
    ['same_and_equal', held, { ...held }],
    ['same_number_other_hash', held, { ...held, rootHash: other }],
    ['older', held, { ...held, generation: 4, rootHash: other }],
    ['newer_epoch', held, { ...held, epoch: 3, generation: 1, rootHash: other }],
    ['newer_epoch', held, { ...held, epoch: 3, view: 'clu/canary' }],
    ['older_epoch', held, { ...held, epoch: 1, generation: 99, rootHash: other }],
    ['other_view', held, { ...held, view: 'clu/canary', generation: 1, rootHash: other }],
  ] as const)('%s', (order, before, offered) => expect(orderOfGeneration(before, offered)).toBe(order))
})
