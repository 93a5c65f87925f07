import { isRefusal, type Refusal } from '../../../proto/std/refusal.js'
import type { Principal } from '../access/principal.js'
import type { GraphContext } from './context.js'
import { Loaders } from './loaders.js'
import type { ResolverInstances } from './resolver-instances.js'

/** Turns an `Authorization` header into a principal; the access room's `Authenticator` is one. */
export interface Authentication {
  authenticate(header: string | undefined): Promise<Principal | Refusal>
}

/**
 * The context of one request. No header means nobody, who may touch what is public; a header that does not hold is a
 * refusal of the whole request, never a silent nobody.
 */
export async function contextOf(
  authentication: Authentication,
  resolvers: ResolverInstances,
  header: string | undefined,
  requestId: string,
): Promise<GraphContext | Refusal> {
  if (header === undefined || header === '') {
    return { actor: null, requestId, loaders: new Loaders(null), resolvers }
  }
  const principal = await authentication.authenticate(header)
  if (isRefusal(principal)) return principal
  const actor = { principal, requestId }
  return { actor, requestId, loaders: new Loaders(actor), resolvers }
}
