import {
  type GraphQLField,
  type GraphQLFieldMap,
  type GraphQLObjectType,
  type GraphQLSchema,
  getNamedType,
  isLeafType,
  isObjectType,
} from 'graphql'
import { type Level, levelOf, levels, stricter } from './levels.js'

/** A way to one field: the root field that is asked, then the fields inside, then (for an object) something to see of it. */
export interface FieldPath {
  /** `Type.field`. */
  readonly name: string
  readonly operation: 'query' | 'mutation' | 'subscription'
  readonly root: GraphQLField<unknown, unknown>
  /** Field names below the root, the last one being the field itself; empty when the root is the field. */
  readonly inside: readonly string[]
  /** Selection set of the field, or '' when it is a leaf. */
  readonly selection: string
  /** What is needed to come this far. */
  readonly needed: Level
}

interface Approach {
  readonly operation: FieldPath['operation']
  readonly root: GraphQLField<unknown, unknown>
  readonly inside: readonly string[]
  readonly needed: Level
  readonly cost: number
}

/** Roots that answer about whoever asks: nobody's fields are looked at through them when there is another way. */
const aboutTheAsker = new Set(['tenants', 'viewer'])

/**
 * For every field of every object type of the schema the easiest way to it: least rights, then queries before mutations, then
 * fewest steps. `through` names the root field for those that only one shows with a value (`Type.field` → root field).
 */
export function findFieldPaths(
  schema: GraphQLSchema,
  through: Readonly<Record<string, string>>,
): {
  readonly paths: readonly FieldPath[]
  readonly unclassified: readonly string[]
  readonly unreachable: readonly string[]
} {
  const roots = [
    { type: schema.getQueryType(), operation: 'query' as const },
    { type: schema.getMutationType(), operation: 'mutation' as const },
    { type: schema.getSubscriptionType(), operation: 'subscription' as const },
  ]
  const starts = roots.flatMap(({ type, operation }) =>
    Object.values(type?.getFields() ?? {}).map((root) => approachOf(root, operation)),
  )
  const approaches = spread(starts)
  const rootNames = new Set(roots.flatMap(({ type }) => (type ? [type.name] : [])))
  const paths: FieldPath[] = []
  const unclassified: string[] = []
  const unreachable: string[] = []
  for (const type of Object.values(schema.getTypeMap())) {
    if (!isObjectType(type) || type.name.startsWith('__')) continue
    for (const field of Object.values(type.getFields())) {
      const name = `${type.name}.${field.name}`
      const level = levelOf(type.name, field.name)
      if (level === undefined) {
        unclassified.push(name)
        continue
      }
      const selection = selectionOf(field)
      if (rootNames.has(type.name)) {
        const start = starts.find(({ root }) => root === field)
        if (start) paths.push({ ...start, name, inside: [], selection })
        continue
      }
      const only = through[name]
      const from = only === undefined ? approaches : spread(starts.filter(({ root }) => root.name === only))
      const approach = from.get(type.name)
      if (approach === undefined) unreachable.push(name)
      else {
        const needed = stricter(approach.needed, level)
        paths.push({ ...approach, name, inside: [...approach.inside, field.name], needed, selection })
      }
    }
  }
  return { paths, unclassified, unreachable }
}

function approachOf(root: GraphQLField<unknown, unknown>, operation: FieldPath['operation']): Approach {
  const type = { query: 'Query', mutation: 'Mutation', subscription: 'Subscription' }[operation]
  const needed = levelOf(type, root.name) ?? 'platform-admin'
  const detour = operation === 'query' ? 0 : operation === 'mutation' ? 100 : 1_000
  const cost = detour + (aboutTheAsker.has(root.name) ? 50 : 0) + costOf(needed)
  return { operation, root, inside: [], needed, cost }
}

function costOf(level: Level): number {
  return (levels.length - levels.indexOf(level)) * 10_000
}

/** The cheapest approach to every object type that can be reached from `starts`. */
function spread(starts: readonly Approach[]): ReadonlyMap<string, Approach> {
  const best = new Map<string, Approach>()
  const open = [...starts]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const type = typeAt(next)
    if (!isObjectType(type)) continue
    const known = best.get(type.name)
    if (known !== undefined && known.cost <= next.cost) continue
    best.set(type.name, next)
    for (const field of Object.values(type.getFields())) {
      const needed = stricter(next.needed, levelOf(type.name, field.name) ?? 'platform-admin')
      const cost = next.cost - costOf(next.needed) + costOf(needed) + 1
      open.push({ ...next, inside: [...next.inside, field.name], needed, cost })
    }
  }
  return best
}

function typeAt({ root, inside }: Approach): unknown {
  let type = getNamedType(root.type)
  for (const name of inside) {
    const field = isObjectType(type) ? type.getFields()[name] : undefined
    if (field === undefined) return null
    type = getNamedType(field.type)
  }
  return type
}

/** Something of an object that tells it from another one: its id, a cursor, else its first leaf. */
function selectionOf(field: GraphQLField<unknown, unknown>): string {
  const type = getNamedType(field.type)
  return isObjectType(type) ? `{ ${tellingField(type, 0)} }` : ''
}

function tellingField(type: GraphQLObjectType, depth: number): string {
  const fields = Object.values(type.getFields())
  const telling =
    fields.find((field) => field.name === 'id') ??
    fields.find((field) => field.name === 'endCursor') ??
    fields.find((field) => field.name === 'edges') ??
    fields.find((field) => field.name === 'node') ??
    fields.find((field) => isLeafType(getNamedType(field.type)) && String(field.type).startsWith('ID')) ??
    fields.find((field) => isLeafType(getNamedType(field.type)) && !String(field.type).startsWith('Boolean')) ??
    fields[0]
  if (telling === undefined || depth > 4) throw new Error(`nothing tells one ${type.name} from another`)
  const inner = getNamedType(telling.type)
  return isObjectType(inner) ? `${telling.name} { ${tellingField(inner, depth + 1)} }` : telling.name
}

/**
 * The document that asks one root for all of `paths`: every argument of the root a variable, ids beside everything that
 * may stand in a list.
 */
export function documentOf(paths: readonly FieldPath[]): string {
  const [first] = paths
  if (first === undefined) throw new Error('a document asks for something')
  const { operation, root } = first
  const variables = root.args.map((argument) => `$${argument.name}: ${argument.type}`).join(', ')
  const args = root.args.map((argument) => `${argument.name}: $${argument.name}`).join(', ')
  const call = root.args.length === 0 ? root.name : `${root.name}(${args})`
  const wanted = paths.map(({ inside, selection }) => ({ inside, selection }))
  return `${operation} Ask${variables === '' ? '' : `(${variables})`} { ${call} ${bodyOf(getNamedType(root.type), wanted)} }`
}

type Wanted = Pick<FieldPath, 'inside' | 'selection'>

function bodyOf(type: unknown, wanted: readonly Wanted[]): string {
  if (!isObjectType(type)) return ''
  const fields = type.getFields()
  const here = wanted.filter(({ inside }) => inside.length === 0).map(({ selection }) => selection.slice(1, -1))
  const below = new Map<string, Wanted[]>()
  for (const { inside, selection } of wanted) {
    const [name, ...rest] = inside
    if (name !== undefined) below.set(name, [...(below.get(name) ?? []), { inside: rest, selection }])
  }
  const parts = [...below].map(([name, inner]) => {
    const field = fields[name]
    return `${besideOf(fields, name)}${name} ${field ? bodyOf(getNamedType(field.type), inner) : ''}`
  })
  return `{ ${[...here, ...parts].join(' ')} }`
}

/** The id that tells an element of a list from the others: its own, or its node's. */
function besideOf(fields: GraphQLFieldMap<unknown, unknown>, name: string): string {
  if (fields['id']) return name === 'id' ? '' : 'id '
  const node = fields['node'] && getNamedType(fields['node'].type)
  return name !== 'node' && isObjectType(node) && node.getFields()['id'] ? 'node { id } ' : ''
}

/**
 * The value of the field in an answer: in a list the element with one of `ids` (its own or its node's), or the first one
 * where elements have none. Undefined when there is nothing.
 */
export function valueAt(path: FieldPath, data: unknown, ids: ReadonlySet<string>): unknown {
  let value = stepInto(data, path.root.name)
  for (const name of path.inside) value = stepInto(chosen(value, ids), name)
  const last = chosen(value, ids)
  return last === null || (Array.isArray(last) && last.length === 0) ? undefined : last
}

function stepInto(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined
}

function chosen(value: unknown, ids: ReadonlySet<string>): unknown {
  if (!Array.isArray(value) || typeof value[0] !== 'object') return value
  const named = value.filter((element) => idOf(element) !== undefined)
  return named.length === 0 ? value[0] : named.find((element) => ids.has(String(idOf(element))))
}

function idOf(element: unknown): unknown {
  return stepInto(element, 'id') ?? stepInto(stepInto(element, 'node'), 'id')
}
