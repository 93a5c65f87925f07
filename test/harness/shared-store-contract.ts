import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { SharedStore } from '../../agent/src/cache/shared-answers.js'

/** A name as agents make them. */
export const sharedName = (text: string): string => createHash('sha256').update(text).digest('base64url')

/** What every store of shared answers promises; `store` is asked for inside tests. */
export function describeSharedStore(store: () => SharedStore): void {
  describe('a store that agents share', () => {
    test('gives what was put, byte for byte, and nothing else', async () => {
      const bytes = Buffer.from([0, 255, 10, 13])
      await store().put(sharedName('a'), bytes, { seconds: 60, bornAtMs: 1 })
      expect(await store().get(sharedName('a'), 4)).toEqual(bytes)
      expect(await store().get(sharedName('b'), 4)).toBeNull()
      await store().put(sharedName('short'), bytes, { seconds: 0.4, bornAtMs: 1 })
      expect(await store().get(sharedName('short'), 4)).toEqual(bytes)
    })

    test('gives nothing that is longer than asked for', async () => {
      await store().put(sharedName('long'), Buffer.alloc(500_000, 1), { seconds: 60, bornAtMs: 1 })
      expect(await store().get(sharedName('long'), 499_999)).toBeNull()
      expect((await store().get(sharedName('long'), 500_000))?.length).toBe(500_000)
    })

    test('keeps an older answer from the place of a newer; one of the same age takes it', async () => {
      const name = sharedName('aged')
      const put = (text: string, bornAtMs: number) => store().put(name, Buffer.from(text), { seconds: 60, bornAtMs })
      const read = async () => (await store().get(name, 99))?.toString()
      const bornAtMs = 1_780_000_000_000
      await put('new', bornAtMs)
      await put('old', bornAtMs - 1)
      expect(await read()).toBe('new')
      await put('again', bornAtMs)
      expect(await read()).toBe('again')
      await put('newer', bornAtMs + 1)
      expect(await read()).toBe('newer')
    })

    test('drops what is older than its seconds', async () => {
      const name = sharedName('gone')
      await store().put(name, Buffer.from('x'), { seconds: 1, bornAtMs: 1 })
      expect(await store().get(name, 9)).not.toBeNull()
      await expect.poll(() => store().get(name, 9), { timeout: 5_000 }).toBeNull()
    })
  })
}
