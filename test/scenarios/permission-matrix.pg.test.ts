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

  test('shows every field to whoever needs it, and to nobody else', async () => {
    const wrong: string[] = []
    const seen = new Set<string>()
    const lookAt = async (path: FieldPath) => {
      const outcome = await look(path)
      if (outcome.length === 0) seen.add(path.name)
      wrong.push(...outcome)
    }
    // Questions side by side; what changes something one after the other, since it is asserted that nothing else did.
    const questions = paths.filter(({ operation }) => operation === 'query')
    for (let next = 0; next < questions.length; next += 8) {
      await Promise.all(questions.slice(next, next + 8).map(lookAt))
    }
    for (const path of paths.filter(({ operation }) => operation !== 'query')) await lookAt(path)
    expect(wrong).toEqual([])
    expect(seen.size).toBe([...fieldsOf(world.schema)].length)
    console.log(`permission matrix: ${seen.size} of ${paths.length} fields, ${world.askers.length} askers each`)
  })

  test("answers about another tenant's object exactly as about one that does not exist", async () => {
    const wrong: string[] = []
    for (const path of paths.filter(({ inside, operation }) => inside.length === 0 && operation !== 'subscription')) {
      const args = await argsOf(path)
      const missing = withoutExisting(args)
      if (isDeepStrictEqual(args, missing)) continue
      for (const name of ['stranger', 'stranger with every role']) {
        const asker = world.asker(name)
        const [theirs, nobodys] = [await ask(path, asker, args), await ask(path, asker, missing)]
        const told = (answer: Answer) => ({ data: answer.data, errors: answer.errors })
        if (!isDeepStrictEqual(told(theirs), told(nobodys))) {
          wrong.push(
            `${path.name}, ${name}: ${JSON.stringify(told(theirs))} for one that exists, ${JSON.stringify(told(nobodys))} for none`,
          )
        }
      }
    }
    expect(wrong).toEqual([])
  })
})

/** What is wrong with who sees the field; empty when nothing is. */
async function look(path: FieldPath): Promise<string[]> {
  const exception = exceptions[path.name]
  const needed = exception?.needed ?? path.needed
  const wrong: string[] = []
  const owner = world.askers
    .filter(({ level }) => level !== null && level !== 'authenticated' && reaches(level, needed))
    .at(-1)
  if (owner === undefined) return [`${path.name}: nobody may see it`]
  const shown = await ask(path, owner, await argsOf(path))
  const planted = valueAt(path, shown.data, idsOf(exception !== undefined))
  if (planted === undefined || isHollow(planted)) {
    return [`${path.name}: its owner (${owner.name}) sees no value: ${shown.text.slice(0, 300)}`]
  }
  for (const asker of world.askers) {
    if (asker === owner) continue
    const before = path.operation === 'mutation' ? await auditCount() : 0
    const answer = await ask(path, asker, await argsOf(path))
    const value = valueAt(path, answer.data, idsOf(exception !== undefined))
    const isMine = path.root.name === 'viewer' && asker.token !== null
    const may = isMine || (asker.level !== null && reaches(asker.level, needed))
    if (may && !isMine && (value === undefined || isHollow(value))) {
      wrong.push(`${path.name}: ${asker.name} should see it, but: ${answer.text.slice(0, 300)}`)
    }
    if (may) continue
    if (value !== undefined && isDeepStrictEqual(value, planted)) {
      wrong.push(`${path.name}: ${asker.name} sees ${JSON.stringify(value).slice(0, 100)}`)
    }
    if (asker.level === null) wrong.push(...leaks(path, asker, answer))
    if (path.operation === 'mutation') {
      if (value !== undefined) wrong.push(`${path.name}: ${asker.name} got an answer: ${answer.text.slice(0, 300)}`)
      if ((await auditCount()) !== before) wrong.push(`${path.name}: ${asker.name} changed something`)
    }
    const expected = asker.token === null ? ['UNAUTHENTICATED'] : ['FORBIDDEN', 'NOT_FOUND']
    const odd = answer.errors.filter((error) => !expected.includes(error.code))
    if (odd.length > 0) wrong.push(`${path.name}: ${asker.name} is told ${JSON.stringify(odd)}`)
  }
  return wrong
}

/** Words of the owner's estate in what a stranger was answered. */
function leaks(path: FieldPath, asker: Asker, answer: Answer): string[] {
  const words = [world.owner.mark, ...world.owner.ids].filter((word) => answer.text.includes(word))
  return words.map((word) => `${path.name}: ${asker.name} was told ${word}: ${answer.text.slice(0, 300)}`)
}

async function ask(path: FieldPath, asker: Asker, args: Args): Promise<Answer> {
  if (path.operation !== 'subscription') return world.ask(asker, documentOf(path), args)
  let count = 0
  return world.listen(asker, documentOf(path), args, async () => {
    // A stranger may hear of its own tenant only; so that it hears something at all, something happens there too.
    const estate = count++ % 2 === 0 ? world.owner : world.stranger
    const input = { tenantId: estate.tenantId, name: `heard-${estate.name()}` }
    await world.ask(
      world.asker('platform-admin'),
      'mutation ($input: CreateTeamInput!) { createTeam(input: $input) { team { id } } }',
      { input },
    )
  })
}

async function argsOf(path: FieldPath): Promise<Args> {
  const args = exceptions[path.name]?.args ?? probes[path.root.name]
  if (args === undefined) throw new Error(`no probe for ${path.root.name}`)
  return args(world)
}

function idsOf(exceptional: boolean): ReadonlySet<string> {
  return exceptional ? new Set([world.archivedTenantId]) : world.owner.ids
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
  if (value === null) return true
  if (Array.isArray(value)) return value.length === 0
  return typeof value === 'object' && Object.values(value).every(isHollow)
}
