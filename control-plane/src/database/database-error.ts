import { type Refusal, refuse } from '../../../proto/std/refusal.js'

/**
 * What went wrong at Postgres, in words that a caller can branch on; null when it is none of these and therefore a fault
 * of ours. One place knows how Prisma and node-postgres spell them, because both dress the same error differently, and
 * Prisma differently again for raw SQL.
 *
 * - `unique`, `foreign-key`, `check`, `not-null`: the constraint said no; `constraint` is its name in the migrations
 *   (for `not-null` the column, or '').
 * - `missing`: an update or delete found no row.
 * - `conflict`: serialization failure or deadlock; nothing was written, trying again is right.
 * - `timeout`: the statement was ended because it took longer than its reader allowed (`Database.readWithin`).
 * - `unavailable`: no connection, or it was lost. What was under way may or may not have been committed.
 */
export type DatabaseFault =
  | { kind: 'unique' | 'foreign-key' | 'check' | 'not-null'; constraint: string }
  | { kind: 'missing' | 'conflict' | 'timeout' | 'unavailable' }

export function classifyDatabaseError(error: unknown): DatabaseFault | null {
  if (!(error instanceof Error)) return null
  const { code, constraint, column, meta } = error as PostgresError & PrismaError
  const cause = meta?.driverAdapterError?.cause
  const state = cause?.originalCode ?? cause?.code ?? code
  if (state !== undefined && /^[0-9A-Z]{5}$/.test(state)) {
    const name =
      constraint ?? column ?? cause?.constraint?.index ?? /constraint "([^"]+)"/.exec(cause?.originalMessage ?? '')?.[1]
    const fault = faultOfState(state, name ?? '')
    if (fault) return fault
  }
  if (code === 'P2025') return { kind: 'missing' }
  if (code === 'P2034') return { kind: 'conflict' }
  if ((code !== undefined && unavailableCodes.has(code)) || unavailableKinds.has(cause?.kind ?? '')) {
    return { kind: 'unavailable' }
  }
  return lostConnection.test(error.message) ? { kind: 'unavailable' } : null
}

/** The refusal that a door shows when Postgres is away, or null when `error` is something else. */
export function unavailableRefusal(error: unknown): Refusal<'unavailable'> | null {
  if (classifyDatabaseError(error)?.kind !== 'unavailable') return null
  return refuse('unavailable', 'the database cannot be reached; try again, and look first whether the change was made')
}

interface PostgresError {
  /** SQLSTATE from Postgres, a system error's name from the socket, or Prisma's P-number. */
  code?: string
  constraint?: string
  column?: string
}

interface PrismaError {
  meta?: {
    driverAdapterError?: {
      cause?: {
        kind?: string
        originalCode?: string
        code?: string
        originalMessage?: string
        constraint?: { index?: string }
      }
    }
  }
}

function faultOfState(state: string, constraint: string): DatabaseFault | null {
  switch (state) {
    case '23505':
    case '23P01':
      return { kind: 'unique', constraint }
    case '23503':
    case '23001':
      return { kind: 'foreign-key', constraint }
    case '23514':
      return { kind: 'check', constraint }
    case '23502':
      return { kind: 'not-null', constraint }
    case '40001':
    case '40P01':
      return { kind: 'conflict' }
    case '57014': // statement_timeout
      return { kind: 'timeout' }
    case '53300': // too many connections
    case '57P01': // terminated by an administrator
    case '57P02': // crash of another backend
    case '57P03': // starting up, shutting down
    case '25P03': // idle in a transaction for too long
      return { kind: 'unavailable' }
    default:
      return state.startsWith('08') ? { kind: 'unavailable' } : null
  }
}

/** Sockets, and Prisma's own: not reachable, timed out, closed, no free connection, transaction lost. */
const unavailableCodes: ReadonlySet<string> = new Set([
  ...['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH'],
  ...['P1001', 'P1002', 'P1008', 'P1017', 'P2024', 'P2028', 'P2037'],
])

const unavailableKinds: ReadonlySet<string> = new Set([
  ...['DatabaseNotReachable', 'ConnectionClosed', 'SocketTimeout', 'TooManyConnections', 'TlsConnectionError'],
])

/** node-postgres has no codes for these. */
const lostConnection =
  /^Connection terminated|^Client has encountered a connection error|timeout exceeded when trying to connect|^Client was closed/
