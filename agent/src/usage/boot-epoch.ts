import fs from 'node:fs'
import path from 'node:path'
import type { Clock } from '../../../proto/std/clock.js'

const firstEpochBaseMs = Date.UTC(2025, 0, 1)

/**
 * The number of this life of the agent: one more than the last, on disk before anything is written under it. The very
 * first is taken from the calendar rather than 1: should the folder be lost while the agent's name lives on, the keys of
 * its new records do not meet those of its old ones.
 *
 * @param seenMax the largest epoch that a file of the spool names, or 0: wins over a stale or missing epoch file.
 */
export function takeBootEpoch(directory: string, seenMax: number, clock: Clock): number {
  const file = path.join(directory, 'boot-epoch')
  const last = Math.max(readEpoch(file), seenMax)
  const epoch = last === 0 ? calendarEpoch(clock) : last + 1
  writeFileDurably(file, `${epoch}\n`)
  return epoch
}

/** Seconds since 2025: beyond what an agent that boots less than once a second can have reached by counting. */
export function calendarEpoch(clock: Clock): number {
  return Math.max(1, Math.floor((clock.nowMs() - firstEpochBaseMs) / 1000))
}

function readEpoch(file: string): number {
  try {
    const text = fs.readFileSync(file, 'utf8').trim()
    return /^\d{1,15}$/.test(text) ? Number(text) : 0
  } catch (fault) {
    if ((fault as NodeJS.ErrnoException).code === 'ENOENT') return 0
    throw fault
  }
}

/** The file holds either its old or its new content, whatever happens; on return the new one is on disk. */
export function writeFileDurably(file: string, content: string): void {
  const temporary = `${file}.tmp`
  const fd = fs.openSync(temporary, 'w', 0o600)
  try {
    fs.writeSync(fd, content)
    fs.fsyncSync(fd)
  } finally {
    fs.closeSync(fd)
  }
  fs.renameSync(temporary, file)
  syncFolder(path.dirname(file))
}

/** Makes new and removed names of a folder survive a power cut. */
export function syncFolder(directory: string): void {
  const fd = fs.openSync(directory, 'r')
  try {
    fs.fsyncSync(fd)
  } finally {
    fs.closeSync(fd)
  }
}
