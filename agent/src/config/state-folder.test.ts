import fs from 'node:fs/promises'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { RefusalError } from '../../../proto/std/refusal.js'
import { temporaryFolder } from './config-fixture.js'
import { StateFolder } from './state-folder.js'

let folder: Awaited<ReturnType<typeof temporaryFolder>>
beforeEach(async () => {
  folder = await temporaryFolder()
})
afterEach(() => folder.remove())

const refusalOf = (work: Promise<unknown>) =>
  work.then(
    () => null,
    (fault) => (fault instanceof RefusalError ? fault.refusal.code : fault),
  )

describe('the data folder', () => {
  it('belongs to one live process', async () => {
    const first = await StateFolder.open(folder.path, null)
    expect(await refusalOf(StateFolder.open(folder.path, null))).toBe('data_folder_taken')
    await first.close()
    await (await StateFolder.open(folder.path, null)).close()
  })

  it.each([
    ['a process that is gone', '999999999 1'],
    ['a later process with the same id', `${process.pid} 1`],
    ['nobody', ''],
  ])('is taken over from %s', async (_, lock) => {
    await fs.writeFile(path.join(folder.path, 'lock'), lock)
    await (await StateFolder.open(folder.path, null)).close()
  })

  it('is private, and keeps whole files only', async () => {
    const inside = path.join(folder.path, 'new')
    const state = await StateFolder.open(inside, null)
    await fs.writeFile(path.join(inside, 'identity.1.tmp'), 'half', { mode: 0o600 })
    await state.writeSealed('thing', Buffer.from('content'))
    expect(String(await state.readSealed('thing'))).toBe('content')
    expect((await fs.stat(inside)).mode & 0o777).toBe(0o700)
    for (const name of await fs.readdir(inside)) expect((await fs.stat(path.join(inside, name))).mode & 0o077).toBe(0)
    await state.close()
    const again = await StateFolder.open(inside, null)
    expect(await fs.readdir(inside)).toEqual(['lock', 'state.key', 'thing'])
    expect(String(await again.readSealed('thing'))).toBe('content')
    await again.close()
  })

  it('opens nothing under another key, name or byte', async () => {
    const key = Buffer.alloc(32, 1).toString('base64')
    const state = await StateFolder.open(folder.path, key)
    await state.writeSealed('thing', Buffer.from('content'))
    await state.rename('thing', 'other')
    expect([await state.readSealed('thing'), await state.readSealed('other')]).toEqual([null, 'unreadable'])
    await state.writeSealed('thing', Buffer.from('content'))
    const bytes = (await state.read('thing')) ?? Buffer.alloc(0)
    for (let at = 0; at < bytes.length; at++) {
      const changed = Buffer.from(bytes)
      changed[at] = (changed[at] ?? 0) ^ 1
      expect(state.box.open(changed, 'thing')).toBeNull()
    }
    await state.close()
    const stranger = await StateFolder.open(folder.path, Buffer.alloc(32, 2).toString('base64'))
    expect(await stranger.readSealed('thing')).toBe('unreadable')
    await stranger.close()
  })

  it('says what to do when its key is damaged or it cannot be written', async () => {
    await fs.writeFile(path.join(folder.path, 'state.key'), 'short')
    expect(await refusalOf(StateFolder.open(folder.path, null))).toBe('state_key_damaged')
    await fs.writeFile(path.join(folder.path, 'file'), '')
    expect(await refusalOf(StateFolder.open(path.join(folder.path, 'file', 'inside'), null))).toBe(
      'data_folder_unusable',
    )
  })
})
