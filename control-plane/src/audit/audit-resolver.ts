import { Arg, Args, Ctx, ID, Query, Resolver, Root, Subscription } from 'type-graphql'
import { Access } from '../api/access-rule.js'
import { type Connection, ConnectionArgs, pageArgs, toConnection } from '../api/connection.js'
import { type GraphContext, requireActor } from '../api/context.js'
import type { AuditEntry } from './audit-entry.js'
import { AuditEntryConnection, AuditEntryGraph, AuditFilterInput } from './audit-graph.js'
import type { AuditService } from './audit-service.js'

@Resolver(() => AuditEntryGraph)
export class AuditResolver {
  readonly #audit: AuditService

  constructor(audit: AuditService) {
    this.#audit = audit
  }

  @Access('audit.read')
  @Query(() => AuditEntryConnection, { description: 'Newest first.' })
  async auditEntries(
    @Ctx() context: GraphContext,
    @Args(() => ConnectionArgs) args: ConnectionArgs,
    @Arg('filter', () => AuditFilterInput, { nullable: true }) filter?: AuditFilterInput | null,
  ): Promise<Connection<AuditEntryGraph>> {
    const page = await this.#audit.list(requireActor(context), pageArgs(args), filter ?? {})
    return toConnection(page, (entry) => entry)
  }

  @Access('audit.read')
  @Subscription(() => AuditEntryGraph, {
    description: 'Every entry appended from now on, of one tenant or (platform admins, without tenantId) of all.',
    subscribe: ({ context, args }) =>
      (context as GraphContext).resolvers.get(AuditResolver).auditAppendedSource(context, args),
  })
  auditAppended(
    @Root() entry: AuditEntry,
    @Arg('tenantId', () => ID, { nullable: true }) _tenantId?: string | null,
  ): AuditEntryGraph {
    return entry
  }

  auditAppendedSource(context: GraphContext, args: { tenantId?: string | null }): AsyncIterable<AuditEntry> {
    return this.#audit.subscribe(requireActor(context), args.tenantId ?? null)
  }
}
