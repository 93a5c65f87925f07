import { graphql } from 'graphql'
import type { Actor } from '../../control-plane/src/access/principal.js'
import { Loaders } from '../../control-plane/src/api/loaders.js'
import { ResolverInstances } from '../../control-plane/src/api/resolver-instances.js'
import { buildGraphSchema, type ResolverClass } from '../../control-plane/src/api/schema.js'
import { RefusalError } from '../../proto/std/refusal.js'

export interface GraphAnswer {
  readonly data: Record<string, unknown> | null
  /** Code, field and message of each refusal. */
  readonly refusals: readonly { code: string; field: string | undefined; message: string }[]
}

/** Asks the schema of `resolvers` without a door: for tests of one room's part of the graph. */
export async function makeGraph(resolvers: readonly object[]) {
  const instances = new ResolverInstances(resolvers)
  const classes = resolvers.map((resolver) => resolver.constructor as ResolverClass)
  const schema = await buildGraphSchema(classes, instances)
  return async (
    actor: Actor | null,
    source: string,
    variableValues: Record<string, unknown> = {},
  ): Promise<GraphAnswer> => {
    const contextValue = { actor, requestId: 'req_test', loaders: new Loaders(actor), resolvers: instances }
    // As they come over the wire: text and numbers only.
    const variables = JSON.parse(JSON.stringify(variableValues)) as Record<string, unknown>
    const { data, errors = [] } = await graphql({ schema, source, variableValues: variables, contextValue })
    const refusals = errors.map((error) => {
      if (!(error.originalError instanceof RefusalError)) throw error
      const { code, field, message } = error.originalError.refusal
      return { code, field, message }
    })
    return { data: data ? JSON.parse(JSON.stringify(data)) : null, refusals }
  }
}
