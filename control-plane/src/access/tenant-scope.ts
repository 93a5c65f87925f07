import { throwRefusal } from '../../../proto/std/refusal.js'
import type { Actor } from './principal.js'

/**
 * The tenant that a use case is about: the one named, else the actor's own. A platform admin has none of its own and must
 * name one. Says nothing about permission; `requirePermission` follows.
 */
export function tenantScope(actor: Actor, tenantId: string | null | undefined, field = 'input.tenantId'): string {
  return (
    tenantId ??
    actor.principal.tenantId ??
    throwRefusal('bad_input', 'your token belongs to no tenant: say in tenantId which one is meant', { field })
  )
}
