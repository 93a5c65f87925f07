import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

/**
 * A process that may be somebody else's tomorrow: the number alone is reused, number and start time are not. Only a
 * process whose start time matches is ever signalled.
 */
export interface ProcessIdentity {
  readonly name: string
  readonly pid: number
  /** Opaque; equal for the same process only. */
  readonly startedAt: string
}

/** When `pid` started, as an opaque text; null when there is no such process (a zombie is none). */
export function startTimeOf(pid: number): string | null {
  try {
    if (process.platform === 'linux') {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
      // The second field is the command in brackets and may hold anything; the rest follows the last bracket.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      if (fields[0] === 'Z' || fields[0] === 'X') return null
      const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
      return `${boot}/${fields[19]}`
    }
    const text = execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' }).trim()
    return text === '' ? null : text
  } catch {
    return null
  }
}

export function identityOf(name: string, pid: number): ProcessIdentity | null {
  const startedAt = startTimeOf(pid)
  return startedAt === null ? null : { name, pid, startedAt }
}

/** True while the very process that was recorded runs. */
export function isAlive(identity: ProcessIdentity): boolean {
  return startTimeOf(identity.pid) === identity.startedAt
}

/** Signals the whole group of a process that leads one, else the process alone. Harmless when it is gone. */
export function signalGroup(pid: number, signal: NodeJS.Signals): void {
  for (const target of [-pid, pid]) {
    try {
      process.kill(target, signal)
      return
    } catch {
      // No such group: the process was no leader, or is gone.
    }
  }
}
