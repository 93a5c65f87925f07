import { graphql, printSchema } from 'graphql'
import { Ctx, Field, FieldResolver, ObjectType, Query, Resolver, Root } from 'type-graphql'
import { describe, expect, test } from 'vitest'
import type { Actor, Role } from '../access/principal.js'
import { resolverClasses } from '../resolvers.js'
import { Access } from './access-rule.js'
import { type GraphContext, requireActor } from './context.js'
import { Loaders } from './loaders.js'
import { ResolverInstances } from './resolver-instances.js'
import { buildGraphSchema, fieldsOf } from './schema.js'

@Access('route.read')
@ObjectType()
class Widget {
  @Field(() => String)
  name!: string

  @Access('route.write')
  @Field(() => String, { nullable: true })
  plan!: string
}

@Resolver(() => Widget)
class WidgetResolver {
  @Access('public')
  @Query(() => String)
  version(): string {
    return '1'
  }

  @Access('authenticated')
  @Query(() => Widget)
  widget(@Ctx() context: GraphContext): Widget {
    return { name: requireActor(context).principal.subject, plan: 'secret' }
  }

  @Access('member.read')
  @FieldResolver(() => String, { nullable: true })
  owner(@Root() widget: Widget): string {
    return `owner of ${widget.name}`
  }
}

@ObjectType()
class Bare {
  @Field(() => String)
  name!: string
}

@Resolver(() => Bare)
class BareResolver {
  @Access('public')
  @Query(() => Bare)
  bare(): Bare {
    return { name: 'x' }
  }
}

@Resolver(() => Widget)
class UnclassifiedResolver {
  @Query(() => String)
  unclassified(): string {
    return 'x'
  }
}

const instances = new ResolverInstances([new WidgetResolver()])

async function ask(actor: Actor | null, source: string) {
  const schema = await buildGraphSchema([WidgetResolver], instances)
  const contextValue: GraphContext = { actor, requestId: 'r', loaders: new Loaders(actor), resolvers: instances }
  const { data, errors = [] } = await graphql({ schema, source, contextValue })
  return {
    data: JSON.parse(JSON.stringify(data ?? null)),
    errors: errors.map((error) => String(error.path?.join('.'))),
  }
}

function member(...roles: Role[]): Actor {
  return { principal: { subject: 'ada', kind: 'token', tenantId: 'ten_1', roles: new Set(roles) }, requestId: 'r' }
}

describe('the schema', () => {
  test('cannot be built with a field that nobody classified', async () => {
    await expect(buildGraphSchema([UnclassifiedResolver])).rejects.toThrow('Query.unclassified')
    await expect(buildGraphSchema([BareResolver])).rejects.toThrow('Bare.name')
  })

  test('enforces the rule of each field before its resolver runs', async () => {
    const all = '{ version widget { name plan owner } }'
    const open = { version: '1' }
    expect(await ask(null, '{ version }')).toEqual({ data: open, errors: [] })
    expect(await ask(null, '{ widget { name } }')).toEqual({ data: null, errors: ['widget'] })
    expect(await ask(member(), '{ widget { name } }')).toEqual({ data: null, errors: ['widget.name'] })
    expect(await ask(member('viewer'), all)).toEqual({
      data: { ...open, widget: { name: 'ada', plan: null, owner: null } },
      errors: ['widget.plan', 'widget.owner'],
    })
    expect((await ask(member('developer'), all)).errors).toEqual(['widget.owner'])
    expect((await ask(member('tenant-admin'), all)).errors).toEqual([])
  })

  test('of the product is classified in every field, and readable by machine', async () => {
    const rules = [...fieldsOf(await buildGraphSchema(resolverClasses))]
    expect(rules.length).toBeGreaterThan(100)
    for (const { path, field, rule } of rules) {
      expect(rule, path).toBeDefined()
      expect(field.extensions['access'], path).toBe(rule)
    }
    expect(rules.filter(({ rule }) => rule === 'public').map(({ path }) => path)).toEqual([])
  })

  test('of the product prints', async () => {
    expect(printSchema(await buildGraphSchema(resolverClasses))).toContain('auditAppended(tenantId: ID): AuditEntry!')
  })
})
