import { z } from 'zod'
import type { Json } from '../../../proto/std/canonical-json.js'
import { shapes } from '../access/check-input.js'

/** One thing that somebody changed. Never altered, never deleted by the product's own code. */
export interface AuditEntry {
  readonly id: string
  /** Null: concerns the installation, not a tenant. */
  readonly tenantId: string | null
  readonly actor: string
  readonly actorKind: string
  readonly action: string
  readonly subjectKind: string
  readonly subjectId: string
  readonly before: Json
  readonly after: Json
  readonly requestId: string
  readonly createdAt: Date
}

const word = z.string().min(1, 'expected a word').max(80, 'expected at most 80 characters')

export const auditFilterInput = z.object({
  tenantId: shapes.id.nullish(),
  action: word.nullish(),
  actor: z.string().min(1).max(255).nullish(),
  subjectKind: word.nullish(),
  subjectId: word.nullish(),
  since: z.date().nullish(),
  until: z.date().nullish(),
})

export type AuditFilter = z.output<typeof auditFilterInput>
