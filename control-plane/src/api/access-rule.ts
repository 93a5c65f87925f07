// type-graphql wants it before the first decorator runs; every file with a decorator imports this one.
import 'reflect-metadata'
import { Extensions } from 'type-graphql'
import { isPermitted, type Permission } from '../access/permission.js'
import type { Actor } from '../access/principal.js'

/**
 * Who may touch a field of the graph at all: `public` (nobody needs to be known), `authenticated` (any valid token), or a
 * permission, which the asking principal must hold in its own tenant. Every field of every object type carries one in
 * `extensions.access`; `schema.ts` refuses to build a schema with a field that nobody classified, and enforces the rule
 * before the resolver runs. Which tenant's object it is remains the business of the services.
 */
export type AccessRule = Permission | 'public' | 'authenticated'

/** Classifies a query, mutation, subscription or field; on an object type: all its fields that say nothing themselves. */
export function Access(rule: AccessRule): ReturnType<typeof Extensions> {
  return Extensions({ access: rule })
}

/** True when `rule` lets the actor (null: nobody known) through the door. */
export function mayTouch(actor: Actor | null, rule: AccessRule): boolean {
  if (rule === 'public') return true
  if (actor === null) return false
  return rule === 'authenticated' || isPermitted(actor, rule, actor.principal.tenantId)
}
