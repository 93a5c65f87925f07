import 'reflect-metadata'
import { defaultFieldResolver, type GraphQLField, type GraphQLSchema, isObjectType } from 'graphql'
import { buildSchema } from 'type-graphql'
import { assert, must } from '../../../proto/std/assert.js'
import { throwRefusal } from '../../../proto/std/refusal.js'
import { type AccessRule, mayTouch } from './access-rule.js'
import type { GraphContext } from './context.js'

/** A resolver class, as a key. */
export type ResolverClass = abstract new (...args: never[]) => object
export type ResolverInstances = ReadonlyMap<ResolverClass, object>

/**
 * The GraphQL schema of `resolvers`: each class with the instance that answers for it. Faults when a field is not
 * classified (see `Access`), so an unclassified field cannot reach a user.
 */
export async function buildGraphSchema(resolvers: ResolverInstances): Promise<GraphQLSchema> {
  const classes = [...resolvers.keys()]
  const first = must(classes[0], 'a schema needs at least one resolver')
  const schema = await buildSchema({
    resolvers: [first, ...classes.slice(1)],
    container: { get: (wanted: ResolverClass) => must(resolvers.get(wanted), `no instance of ${wanted.name}`) },
    // Services validate, with zod, naming the field.
    validate: false,
  })
  enforceAccess(schema)
  return schema
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
