import { existsSync } from 'node:fs'
import net from 'node:net'
import type { Clock } from '../../proto/std/clock.js'
import { throwRefusal } from '../../proto/std/refusal.js'
import { removeEmbeddedPostgres, setAsideEmbeddedPostgres, startEmbeddedPostgres } from '../local/embedded-postgres.js'
import { LocalFolder } from '../local/local-folder.js'
import { restore } from './restore.js'

export interface LocalRestoreOptions {
  /** `.switchyard`, of an installation that is not running. */
  folder: string
  backup: string
  keepEpoch: boolean
  clock: Clock
  say: (line: string) => void
}

/**
 * Replaces the embedded database of `npm start` by a backup; the old one stays beside it. Works whichever major of
 * PostgreSQL wrote the old one, because that one is not opened: this is how its major is upgraded.
 */
export async function restoreLocally(options: LocalRestoreOptions): Promise<void> {
  const { clock, say } = options
  if (!existsSync(options.folder)) {
    throwRefusal('bad_input', `${options.folder} is not there; it holds the keys that open what a backup keeps sealed`)
  }
  const folder = new LocalFolder(options.folder)
  folder.lock()
  try {
    await folder.reap(clock)
    // Beside it, and in its place only when it is whole: a restore that fails changes nothing.
    const fresh = `${folder.postgres}-restoring`
    await removeEmbeddedPostgres(fresh)
    try {
      const server = await startEmbeddedPostgres({ folder: fresh, port: await anyFreePort(), clock })
      try {
        await restore({ url: server.url(), folder: options.backup, keepEpoch: options.keepEpoch, say })
      } finally {
        await server.stop()
      }
    } catch (error) {
      await removeEmbeddedPostgres(fresh)
      throw error
    }
    const stamp = new Date(clock.nowMs()).toISOString().replaceAll(/[-:]|\.\d+/g, '')
    const aside = `${folder.postgres}-before-${stamp}`
    if (await setAsideEmbeddedPostgres(folder.postgres, aside)) say(`the database that was there is kept in ${aside}`)
    await setAsideEmbeddedPostgres(fresh, folder.postgres)
  } finally {
    folder.unlock()
  }
}

/** For a server of a few seconds that nobody else looks for. */
function anyFreePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = net.createServer()
    probe.once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => (address !== null && typeof address === 'object' ? resolve(address.port) : reject(new Error())))
    })
  })
}
