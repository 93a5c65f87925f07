import { throwRefusal } from '../../../proto/std/refusal.js'
import type { Actor } from '../access/principal.js'
import type { Loaders } from './loaders.js'
import type { ResolverInstances } from './resolver-instances.js'

/** What every resolver is given: who asks (null: no token), in which request, and this request's data loaders. */
export interface GraphContext {
  readonly actor: Actor | null
  readonly requestId: string
  readonly loaders: Loaders
  /** For the `subscribe` function of a subscription, which is called without its resolver. */
  readonly resolvers: ResolverInstances
}

/** The one who asks; refuses `unauthenticated` when there is nobody. */
export function requireActor(context: GraphContext): Actor {
  return (
    context.actor ??
    throwRefusal('unauthenticated', 'this needs a token: send the header Authorization: Bearer <token>')
  )
}
