import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { systemClock } from '../../../proto/std/clock.js'
import { pauseEvery } from '../../../proto/std/pause.js'
import type { Log } from '../../../proto/std/service.js'
import { type ApplyLimits, SnapshotApplier } from './apply-snapshot.js'
import { TablesHolder } from './decision-tables.js'
import { LastKnownGood } from './last-known-good.js'
import { Quarantine } from './quarantine.js'
import { trust } from './snapshot-fixture.js'
import { StateFolder } from './state-folder.js'

/** A log that keeps its lines. */
export class KeptLog implements Log {
  readonly lines: { level: string; message: string; fields: Readonly<Record<string, unknown>> }[] = []
  debug = this.#at('debug')
  info = this.#at('info')
  warn = this.#at('warn')
  error = this.#at('error')

  child(): Log {
    return this
  }

  /** Messages of one level. */
  at(level: string): string[] {
    return this.lines.filter((line) => line.level === level).map((line) => line.message)
  }

  #at(level: string) {
    return (fields: Readonly<Record<string, unknown>>, message: string) => {
      this.lines.push({ level, message, fields })
    }
  }
}

/** A folder of its own, removed by `remove`. */
export async function temporaryFolder(): Promise<{ path: string; remove(): Promise<void> }> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'switchyard-agent-'))
  return { path: folder, remove: () => rm(folder, { recursive: true, force: true }) }
}

export const generousLimits: ApplyLimits = { contentBytesMax: 1 << 30, resourcesMax: 1_000_000 }

/** The configuration side of an agent on `folder`, without identity and network. `close` gives the folder back. */
export async function startApplier(
  folderPath: string,
  options: {
    limits?: ApplyLimits
    agentVersion?: string
    trust?: typeof trust
    store?: (real: LastKnownGood) => Pick<LastKnownGood, 'save' | 'load'>
    onEffect?: () => Promise<void>
  } = {},
) {
  const folder = await StateFolder.open(folderPath, null)
  const quarantine = new Quarantine(folder, options.agentVersion ?? 'test')
  await quarantine.load()
  const tables = new TablesHolder()
  const log = new KeptLog()
  const store = new LastKnownGood(folder, pauseEvery(2, systemClock))
  const applier = new SnapshotApplier({
    tables,
    store: options.store?.(store) ?? store,
    quarantine,
    trust: options.trust ?? trust,
    limits: options.limits ?? generousLimits,
    pause: pauseEvery(2, systemClock),
    log,
    onEffect: options.onEffect ?? (() => {}),
  })
  await applier.loadLastKnownGood()
  return { applier, tables, log, quarantine, folder, close: () => folder.close() }
}
