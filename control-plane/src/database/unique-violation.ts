/** True for Prisma's "a unique index said no" (P2002): the store's caller turns it into the refusal `conflict`. */
export function isUniqueViolation(error: unknown): boolean {
  return error instanceof Error && (error as { code?: unknown }).code === 'P2002'
}
