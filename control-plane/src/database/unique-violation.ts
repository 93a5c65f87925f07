import { classifyDatabaseError } from './database-error.js'

/**
 * True for "a unique index said no": the store's caller turns it into the refusal `conflict`. With `constraint` only for
 * that one (its name in the migrations, for example `Tenant_slug_key`).
 */
export function isUniqueViolation(error: unknown, constraint?: string): boolean {
  const fault = classifyDatabaseError(error)
  return fault?.kind === 'unique' && (constraint === undefined || fault.constraint === constraint)
}
