import { Field, ID, ObjectType } from 'type-graphql'
import { Access } from '../api/access-rule.js'
import { BigIntString } from '../api/scalars.js'

@Access('environment.read')
@ObjectType('EnvironmentRevision', {
  description:
    'Where a change is on its way: agents that serve the environment follow it where they show at least this revision.',
})
export class EnvironmentRevisionGraph {
  @Field(() => ID)
  environmentId!: string

  @Field(() => BigIntString)
  intentRevision!: bigint
}

/** In order of environment id. */
export function environmentRevisions(revisions: ReadonlyMap<string, bigint>): EnvironmentRevisionGraph[] {
  return [...revisions]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([environmentId, intentRevision]) => ({ environmentId, intentRevision }))
}
