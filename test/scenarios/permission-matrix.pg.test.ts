import { isDeepStrictEqual } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { fieldsOf } from '../../control-plane/src/api/schema.js'
import { documentOf, type FieldPath, findFieldPaths, valueAt } from './permission-matrix/field-paths.js'
import { reaches } from './permission-matrix/levels.js'
import { type Args, exceptions, probes, through } from './permission-matrix/probes.js'
import { type Answer, type Asker, World } from './permission-matrix/world.js'

/**
 * Who sees what, for every field of the schema: each one holds a planted value, its owner is asserted to see it, everybody
 * else is asserted not to. What a field needs is written down in `permission-matrix/levels.ts`, apart from the product.
 */
let world: World
let paths: readonly FieldPath[] = []
let unclassified: readonly string[] = []
let unreachable: readonly string[] = []

beforeAll(async () => {
  world = await World.start()
  ;({ paths, unclassified, unreachable } = findFieldPaths(world.schema, through))
})
afterAll(() => world?.stop())

describe('the permission matrix', () => {
  test('knows every field: classified, with a probe, and a way to it', () => {
    const roots = new Set(paths.map((path) => path.root.name))
    expect(unclassified).toEqual([])
    expect(unreachable).toEqual([])
    expect([...roots].filter((root) => probes[root] === undefined)).toEqual([])
    const all = [...fieldsOf(world.schema)].map(({ path }) => path)
    expect([...paths.map((path) => path.name)].sort()).toEqual([...all].sort())
    expect(all.length).toBeGreaterThan(300)
  })

  test('shows every field to whoever needs it, and to nobody else', { timeout: 300_000 }, async () => {
    const seen = new Set<string>()
    const wrong: string[] = []
    const lookAt = async (group: readonly FieldPath[]) => {
      const outcome = await look(group)
      for (const path of group) if (!outcome.some((text) => text.startsWith(`${path.name}:`))) seen.add(path.name)
      wrong.push(...outcome)
    }
    const groups = groupsOf(paths)
    // Questions side by side; what changes something one after the other, since it is asserted that nothing else did.
    const questions = groups.filter(([path]) => path?.operation === 'query')
    for (let next = 0; next < questions.length; next += 4) {
      await Promise.all(questions.slice(next, next + 4).map(lookAt))
    }
    for (const group of groups.filter(([path]) => path?.operation !== 'query')) await lookAt(group)
    expect(wrong).toEqual([])
    expect(seen.size).toBe([...fieldsOf(world.schema)].length)
    console.log(`permission matrix: ${seen.size} of ${paths.length} fields, ${world.askers.length} askers each`)
  })

  test('notices a stranger who sees what it should not, and an owner who does not see', async () => {
    const mole: Asker = { ...world.asker('tenant-admin'), name: 'mole', level: null }
    const blind: Asker = { ...world.asker('stranger'), name: 'blind', level: 'platform-admin' }
    const names = ['Provider.baseUrl', 'Query.routes', 'Member.email', 'PageInfo.endCursor', 'Mutation.createTeam']
    for (const path of paths.filter(({ name }) => [...names, 'Subscription.auditAppended'].includes(name))) {
      for (const asker of [mole, blind]) {
        const found = await look([path], [asker])
        expect(found.join('\n'), `${path.name} asked by ${asker.name}`).toContain(asker.name)
      }
    }
  })

  test('lets a stranger who names no tenant hear of its own only', async () => {
    const query = 'subscription { auditAppended { tenantId } }'
    const { data } = await world.listen(world.asker('stranger'), query, {}, happenings())
    expect(data).toEqual({ auditAppended: { tenantId: world.stranger.tenantId } })
  })

  test("answers about another tenant's object exactly as about one that does not exist", async () => {
    const wrong: string[] = []
    for (const path of paths.filter(({ inside, operation }) => inside.length === 0 && operation !== 'subscription')) {
      const args = await argsOf(path)
      const missing = withoutExisting(args)
      if (isDeepStrictEqual(args, missing)) continue
      const stranger = world.asker('stranger')
      const told = ({ data, errors }: Answer) => ({ data, errors })
      const theirs = told(await ask([path], stranger, args))
      const nobodys = told(await ask([path], stranger, missing))
      if (!isDeepStrictEqual(theirs, nobodys)) {
        wrong.push(`${path.name}: ${JSON.stringify(theirs)} for one that exists, ${JSON.stringify(nobodys)} for none`)
      }
    }
    expect(wrong).toEqual([])
  })
})

/** Paths that are asked in one go: of one root, needing the same. Roots and exceptions stand alone. */
function groupsOf(all: readonly FieldPath[]): readonly (readonly FieldPath[])[] {
  const groups = new Map<string, FieldPath[]>()
  for (const path of all) {
    const alone = path.inside.length === 0 || exceptions[path.name] !== undefined
    const key = alone ? path.name : `${path.operation} ${path.root.name} ${path.needed}`
    groups.set(key, [...(groups.get(key) ?? []), path])
  }
  return [...groups.values()]
}

/** What is wrong with who sees the fields of a group, each text beginning with the field; empty when nothing is. */
async function look(group: readonly FieldPath[], askers: readonly Asker[] = world.askers): Promise<string[]> {
  const [first] = group
  if (first === undefined) return []
  const needed = exceptions[first.name]?.needed ?? first.needed
  const ids = exceptions[first.name] === undefined ? world.ids : new Set([world.archivedTenantId])
  const owner = world.askers
    .filter(({ level }) => level !== null && level !== 'authenticated' && reaches(level, needed))
    .at(-1)
  if (owner === undefined) return group.map((path) => `${path.name}: nobody may see it`)
  const shown = await ask(group, owner)
  const planted = new Map(group.map((path) => [path, valueAt(path, shown.data, ids)]))
  const wrong = group
    .filter((path) => isHollow(planted.get(path)))
    .map((path) => `${path.name}: its owner (${owner.name}) sees no value: ${shown.text.slice(0, 300)}`)
  for (const asker of askers) {
    if (asker === owner) continue
    const isOwn = first.root.name === 'viewer' && asker.token !== null
    if (isOwn || (asker.level !== null && reaches(asker.level, needed))) {
      const answer = await ask(group, asker)
      const blind = group.filter((path) => !isOwn && isHollow(valueAt(path, answer.data, ids)))
      wrong.push(...blind.map((path) => `${path.name}: ${asker.name} should see it, but: ${answer.text.slice(0, 300)}`))
      continue
    }
    wrong.push(...(await lookDenied(group, asker, planted, ids)))
  }
  return wrong
}

/**
 * Asks for all at once; unless that was refused at the root, which knows nothing of what is asked below it, then one by
 * one, so that the refusal of one field cannot hide another one.
 */
async function lookDenied(
  part: readonly FieldPath[],
  asker: Asker,
  planted: ReadonlyMap<FieldPath, unknown>,
  ids: ReadonlySet<string>,
): Promise<string[]> {
  const isMutation = part[0]?.operation === 'mutation'
  const before = isMutation ? await auditCount() : 0
  const answer = await ask(part, asker)
  const hasChanged = isMutation && (await auditCount()) !== before
  if (part.length > 1 && !isMutation && !isRefusedAtRoot(answer)) {
    const parts = await Promise.all(part.map((path) => lookDenied([path], asker, planted, ids)))
    return parts.flat()
  }
  const expected = asker.token === null ? ['UNAUTHENTICATED'] : ['FORBIDDEN', 'NOT_FOUND']
  const odd = answer.errors.filter((error) => !expected.includes(error.code))
  const told = answer.text.slice(0, 300)
  return part.flatMap((path) => {
    const value = valueAt(path, answer.data, ids)
    const isSeen = !isHollow(value) && isDeepStrictEqual(value, planted.get(path))
    return [
      ...(isSeen ? [`${path.name}: ${asker.name} sees ${told}`] : []),
      ...(path.operation !== 'query' && value !== undefined
        ? [`${path.name}: ${asker.name} got an answer: ${told}`]
        : []),
      ...(hasChanged ? [`${path.name}: ${asker.name} changed something`] : []),
      ...(odd.length > 0 ? [`${path.name}: ${asker.name} is told ${JSON.stringify(odd)}`] : []),
      ...(asker.level === null ? leaks(path, asker, answer) : []),
    ]
  })
}

/** Nothing came, and nothing inside was even tried. */
function isRefusedAtRoot(answer: Answer): boolean {
  return isHollow(answer.data) && answer.errors.every(({ depth }) => depth <= 1)
}

/** Words of the owner's estate in what a stranger was answered. */
function leaks(path: FieldPath, asker: Asker, answer: Answer): string[] {
  const words = [world.owner.mark, ...world.ids].filter((word) => answer.text.includes(word))
  return words.map((word) => `${path.name}: ${asker.name} was told ${word}: ${answer.text.slice(0, 300)}`)
}

async function ask(group: readonly FieldPath[], asker: Asker, given?: Args): Promise<Answer> {
  const [first] = group
  if (first === undefined) throw new Error('a question is about something')
  const args = given ?? (await argsOf(first))
  if (first.operation !== 'subscription') return world.ask(asker, documentOf(group), args)
  return world.listen(asker, documentOf(group), args, happenings())
}

/** Something happens in the owner's tenant, then in the stranger's, so that a stranger always hears something in the end. */
function happenings(): () => Promise<void> {
  let count = 0
  return async () => {
    const estate = count++ % 2 === 0 ? world.owner : world.stranger
    const input = { tenantId: estate.tenantId, name: `heard-${estate.name()}` }
    const mutation = 'mutation ($input: CreateTeamInput!) { createTeam(input: $input) { team { id } } }'
    await world.ask(world.asker('platform-admin'), mutation, { input })
  }
}

async function argsOf(path: FieldPath): Promise<Args> {
  const args = exceptions[path.name]?.args ?? probes[path.root.name]
  if (args === undefined) throw new Error(`no probe for ${path.root.name}`)
  return args(world)
}

function auditCount(): Promise<number> {
  return world.database.rows.auditEntry.count()
}

/** The same arguments, naming things that nobody has. */
function withoutExisting(args: Args): Args {
  const text = JSON.stringify(args).replace(
    /"([a-z]{2,8})_[0-9a-z]{26}"/g,
    (_, prefix: string) => `"${prefix}_${'0'.repeat(26)}"`,
  )
  return JSON.parse(text) as Args
}

/** An object in which nothing is: no elements, only nulls. */
function isHollow(value: unknown): boolean {
  if (value === null || value === undefined) return true
  if (Array.isArray(value)) return value.length === 0
  return typeof value === 'object' && Object.values(value).every(isHollow)
}
