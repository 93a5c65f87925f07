import { ArgsType, type ClassType, Field, Int, ObjectType } from 'type-graphql'
import { throwRefusal } from '../../../proto/std/refusal.js'
import { type Page, type PageArgs, pageSizeMax } from '../database/page.js'
import { Access, type AccessRule } from './access-rule.js'

/** Arguments of every list: `@Args(() => ConnectionArgs) args: ConnectionArgs`, then `pageArgs(args)`. */
@ArgsType()
export class ConnectionArgs {
  @Field(() => Int, { defaultValue: 20, description: `How many, 1 to ${pageSizeMax}.` })
  first!: number

  @Field(() => String, { nullable: true, description: 'Continue behind this cursor (pageInfo.endCursor).' })
  after?: string | null
}

@Access('authenticated')
@ObjectType({ description: 'Where a page of a list ends.' })
export class PageInfo {
  @Field(() => Boolean)
  hasNextPage!: boolean

  @Field(() => String, { nullable: true })
  endCursor!: string | null
}

export interface Edge<T> {
  cursor: string
  node: T
}

export interface Connection<T> {
  edges: Edge<T>[]
  pageInfo: PageInfo
}

/**
 * The Relay connection of `node` as GraphQL types `<name>Connection` and `<name>Edge`:
 *
 *     export const TenantConnection = connectionType('Tenant', () => TenantGraph, 'tenant.read')
 *     @Query(() => TenantConnection) tenants(…): Promise<Connection<TenantGraph>> { return toConnection(page, tenantGraph) }
 */
export function connectionType<T extends object>(
  name: string,
  node: () => ClassType<T>,
  rule: AccessRule,
): ClassType<Connection<T>> {
  @Access(rule)
  @ObjectType(`${name}Edge`)
  class EdgeOfNode implements Edge<T> {
    @Field(() => String)
    cursor!: string

    @Field(node)
    node!: T
  }

  @Access(rule)
  @ObjectType(`${name}Connection`)
  class ConnectionOfNode implements Connection<T> {
    @Field(() => [EdgeOfNode])
    edges!: EdgeOfNode[]

    @Field(() => PageInfo)
    pageInfo!: PageInfo
  }
  return ConnectionOfNode
}

/** Checked page arguments; refuses a `first` outside 1..100. */
export function pageArgs(args: ConnectionArgs): PageArgs {
  if (!(args.first >= 1 && args.first <= pageSizeMax)) {
    throwRefusal('bad_input', `first is ${args.first}: expected 1 to ${pageSizeMax}`, { field: 'first' })
  }
  return { first: args.first, after: args.after ?? null }
}

/** A page as the shape that `connectionType` declares, each item through `shape`. */
export function toConnection<Item, Node>(page: Page<Item>, shape: (item: Item) => Node): Connection<Node> {
  return {
    edges: page.items.map(({ item, cursor }) => ({ cursor, node: shape(item) })),
    pageInfo: { hasNextPage: page.hasNextPage, endCursor: page.items.at(-1)?.cursor ?? null },
  }
}
