import { type GraphQLField, getNamedType, isLeafType, isObjectType } from 'graphql'
import { must } from '../../../proto/std/assert.js'
import { type Level, levelOf, reaches } from '../permission-matrix/levels.js'
import { type Args, probes } from '../permission-matrix/probes.js'
import type { Answer, Asker, World } from '../permission-matrix/world.js'

export type Mutation = GraphQLField<unknown, unknown>

/** What the trail says of each mutation; in a list where it has more than one thing to say. */
export const actions: Readonly<Record<string, string>> = {
  createTenant: 'tenant.create',
  updateTenant: 'tenant.update',
  archiveTenant: 'tenant.archive',
  createEnvironment: 'environment.create',
  updateEnvironment: 'environment.update',
  archiveEnvironment: 'environment.archive',
  createTeam: 'team.create',
  renameTeam: 'team.rename',
  createMember: 'member.create',
  updateMember: 'member.update',
  createApiKey: 'api-key.create',
  updateApiKey: 'api-key.update',
  revokeApiKey: 'api-key.revoke',
  rotateApiKey: 'api-key.create,api-key.rotate',
  createProvider: 'provider.create',
  updateProvider: 'provider.update',
  rotateProviderCredential: 'provider.rotate-credential',
  removeProviderCredential: 'provider.remove-credential',
  archiveProvider: 'provider.archive',
  testProvider: 'provider.test',
  createModel: 'model.create',
  updateModel: 'model.update',
  setModelPrice: 'model.set-price',
  archiveModel: 'model.archive',
  createRoute: 'route.create',
  updateRoute: 'route.update',
  deleteRoute: 'route.delete',
  setRouteCache: 'route-cache.set',
  removeRouteCache: 'route-cache.remove',
  purgeCache: 'cache.purge',
  createCluster: 'cluster.create',
  createJoinToken: 'join-token.create',
  revokeAgent: 'agent.revoke',
  liftQuarantine: 'quarantine.lift',
  newEpoch: 'installation.new-epoch',
  addSigningKey: 'signing-key.add',
  retireSigningKey: 'signing-key.retire',
}

/** Changes nothing but the trail. */
export const changesNothing: ReadonlySet<string> = new Set(['testProvider'])

/** The secret that every probe plants which takes one. */
export const planted = 'sk-planted'

/** Where a probe would leave out a secret that the mutation takes. */
const withSecret: Readonly<Record<string, (args: Args) => Args>> = {
  updateProvider: ({ input, ...args }) => ({ ...args, input: { ...(input as Args), credential: { secret: planted } } }),
}

export interface Performed {
  readonly answer: Answer
  readonly requestId: string
  readonly args: Args
  readonly asker: Asker
}

/** Asks for mutations, each time in a request of its own. */
export class Performer {
  readonly mutations: readonly Mutation[]
  readonly #world: World
  #requestCount = 0

  constructor(world: World) {
    this.#world = world
    this.mutations = Object.values(must(world.schema.getMutationType(), 'the schema has mutations').getFields())
  }

  /** Without an asker: by whoever has the least rights that it needs. */
  async perform(mutation: Mutation, given?: Args, as?: Asker): Promise<Performed> {
    const args = given ?? (await this.argsOf(mutation))
    const asker = as ?? this.#leastAsker(mutation)
    const requestId = `audit-${++this.#requestCount}-${mutation.name}`
    return { answer: await this.#world.ask(asker, documentFor(mutation), args, requestId), requestId, args, asker }
  }

  /** As its probe asks it; what it will use up is made anew. */
  async argsOf(mutation: Mutation): Promise<Args> {
    const args = await must(probes[mutation.name], `${mutation.name} has a probe`)(this.#world)
    return withSecret[mutation.name]?.(args) ?? args
  }

  #leastAsker(mutation: Mutation): Asker {
    const able = this.#world.askers.filter(({ level }) => level !== null && reaches(level, neededBy(mutation)))
    return must(able.at(-1), `somebody may ask for ${mutation.name}`)
  }
}

export function neededBy(mutation: Mutation): Level {
  return must(levelOf('Mutation', mutation.name), `${mutation.name} is classified`)
}

/** The mutation, asked for everything that its payload holds one level down. */
function documentFor({ name, type, args }: Mutation): string {
  const variables = args.map((argument) => `$${argument.name}: ${argument.type}`).join(', ')
  const values = args.map((argument) => `${argument.name}: $${argument.name}`).join(', ')
  const call = values === '' ? name : `${name}(${values})`
  return `mutation Ask${variables === '' ? '' : `(${variables})`} { ${call} ${selectionOf(type, 2)} }`
}

function selectionOf(type: unknown, depth: number): string {
  const named = getNamedType(type as Parameters<typeof getNamedType>[0])
  if (!isObjectType(named)) return ''
  const parts = Object.values(named.getFields()).flatMap((field) => {
    if (field.args.length > 0) return []
    if (isLeafType(getNamedType(field.type))) return [field.name]
    return depth > 1 ? [`${field.name} ${selectionOf(field.type, depth - 1)}`] : []
  })
  return `{ ${parts.join(' ')} }`
}

/** The same arguments with every text that matches replaced. */
export function withText(args: Args, pattern: RegExp, by: (text: string, ...groups: string[]) => string): Args {
  const replaced = (value: unknown): unknown => {
    if (typeof value === 'string') return value.replace(pattern, by)
    if (Array.isArray(value)) return value.map(replaced)
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, replaced(member)]))
  }
  return replaced(args) as Args
}
