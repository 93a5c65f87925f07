import { defaultFieldResolver, type GraphQLField, type GraphQLSchema, isObjectType } from 'graphql'
import { buildSchema } from 'type-graphql'
import { AssertionFault, assert, must } from '../../../proto/std/assert.js'
import { throwRefusal } from '../../../proto/std/refusal.js'
import { type AccessRule, mayTouch } from './access-rule.js'
import type { GraphContext } from './context.js'
import { ResolverInstances } from './resolver-instances.js'

/** A resolver class, as a key. */
export type ResolverClass = abstract new (...args: never[]) => object

/**
 * The GraphQL schema of `classes`. Faults when a field is not classified (see `Access`), so an unclassified field cannot
 * reach a user. `instances` answers for them; without it the schema can be printed but not executed.
 */
export async function buildGraphSchema(
  classes: readonly ResolverClass[],
  instances: ResolverInstances = new ResolverInstances([]),
): Promise<GraphQLSchema> {
  const first = must(classes[0], 'a schema needs at least one resolver')
  const schema = await buildSchema({
    resolvers: [first, ...classes.slice(1)],
    container: { get: (wanted: ResolverClass) => instances.get(wanted) },
    pubSub: noPubSub,
    // Services validate, with zod, naming the field.
    validate: false,
  })
  enforceAccess(schema)
  return schema
}

/** type-graphql wants one as soon as there is a subscription; ours bring their own source instead. */
const noPubSub = {
  publish: () => {
    throw new AssertionFault('nothing publishes by topic')
  },
  subscribe: (): never => {
    throw new AssertionFault('a subscription names its source in `subscribe`')
  },
}

/** Every field of every object type of the schema that is ours, as `Type.field`, with its rule. */
export function* fieldsOf(
  schema: GraphQLSchema,
): Generator<{ path: string; field: GraphQLField<unknown, GraphContext>; rule: AccessRule | undefined }> {
  for (const type of Object.values(schema.getTypeMap())) {
    if (!isObjectType(type) || type.name.startsWith('__')) continue
    const ofType = type.extensions['access'] as AccessRule | undefined
    for (const field of Object.values(type.getFields())) {
      const ofField = field.extensions['access'] as AccessRule | undefined
      yield { path: `${type.name}.${field.name}`, field, rule: ofField ?? ofType }
    }
  }
}

/** Puts each field's rule into its extensions and in front of its resolver. */
function enforceAccess(schema: GraphQLSchema): void {
  const unclassified: string[] = []
  for (const { path, field, rule } of fieldsOf(schema)) {
    if (rule === undefined) {
      unclassified.push(path)
      continue
    }
    field.extensions = { ...field.extensions, access: rule }
    const { resolve = defaultFieldResolver, subscribe } = field
    field.resolve = (source, args, context, info) => {
      requireTouch(context, rule)
      return resolve(source, args, context, info)
    }
    if (subscribe !== undefined) {
      field.subscribe = (source, args, context, info) => {
        requireTouch(context, rule)
        return subscribe(source, args, context, info)
      }
    }
  }
  assert(unclassified.length === 0, `fields without @Access: ${unclassified.join(', ')}`)
}

function requireTouch(context: GraphContext, rule: AccessRule): void {
  if (mayTouch(context.actor, rule)) return
  if (context.actor === null) {
    throwRefusal('unauthenticated', 'this needs a token: send the header Authorization: Bearer <token>')
  }
  throwRefusal('forbidden', `this needs the permission ${rule}; ask an admin of your tenant for a role that has it`)
}
