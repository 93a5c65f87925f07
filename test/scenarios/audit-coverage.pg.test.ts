import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { type Entry, Ledger } from './audit-coverage/ledger.js'
import {
  actions,
  changesNothing,
  type Mutation,
  neededBy,
  type Performed,
  Performer,
  planted,
  withText,
} from './audit-coverage/performer.js'
import { levelOf } from './permission-matrix/levels.js'
import { type Args, probes } from './permission-matrix/probes.js'
import { type Asker, World } from './permission-matrix/world.js'

/**
 * Nothing is changed without a trace: every mutation of the schema, asked with the least rights that it needs, tells the
 * audit trail who did what in which request, in the transaction that did it, and no secret. One that was refused tells
 * nothing and changes nothing. A mutation that nobody listed fails.
 */
let world: World
let ledger: Ledger
let performer: Performer

beforeAll(async () => {
  world = await World.start()
  ledger = await Ledger.open(world.database)
  performer = new Performer(world)
})
afterAll(() => world?.stop())

describe('the audit trail', () => {
  test('is listed for every mutation of the schema, and for nothing else', () => {
    const names = performer.mutations.map(({ name }) => name)
    expect(names.filter((name) => probes[name] === undefined)).toEqual([])
    expect(names.filter((name) => levelOf('Mutation', name) === undefined)).toEqual([])
    expect(Object.keys(actions).sort()).toEqual([...names].sort())
  })

  test('hears of every change, in the transaction that made it, and of no secret', { timeout: 120_000 }, async () => {
    const secrets = new Set([planted])
    const wrong: string[] = []
    for (const mutation of performer.mutations) {
      const performed = await performer.perform(mutation)
      for (const secret of secretsIn(performed.answer.data)) secrets.add(secret)
      wrong.push(...(await flawsOf(mutation, performed)).map((flaw) => `${mutation.name}: ${flaw}`))
    }
    expect(wrong).toEqual([])
    // What was planted, and what two keys and an invitation were answered with.
    expect(secrets.size).toBe(4)
    const trail = await ledger.trail()
    for (const secret of [...secrets, ...(await ledger.storedSecrets())]) {
      expect(trail.includes(secret), `${secret.slice(0, 8)}… stands in the trail`).toBe(false)
    }
  })

  test('keeps a change from happening when it cannot be told', { timeout: 120_000 }, async () => {
    // The control plane rightly complains of each.
    const complaints = vi.spyOn(console, 'error').mockReturnValue()
    const wrong: string[] = []
    for (const mutation of performer.mutations) {
      const args = await performer.argsOf(mutation)
      const changed = await ledger.changedDuring(() =>
        ledger.withoutTrail(async () => {
          const { answer } = await performer.perform(mutation, args)
          if (answer.errors.length === 0) wrong.push(`${mutation.name}: done all the same: ${answer.text}`)
        }),
      )
      if (changed.length > 0) wrong.push(`${mutation.name}: changed ${changed.join()} all the same`)
    }
    expect(wrong).toEqual([])
    expect(complaints).toHaveBeenCalledTimes(performer.mutations.length)
    complaints.mockRestore()
  })

  test('hears nothing of what was refused, and nothing was changed', { timeout: 120_000 }, async () => {
    const wrong: string[] = []
    for (const mutation of performer.mutations) {
      const args = await performer.argsOf(mutation)
      for (const [how, tried, asker] of refusedAttempts(args)) {
        const changed = await ledger.changedDuring(async () => {
          const { answer, requestId } = await performer.perform(mutation, tried, asker)
          if (answer.errors.length === 0) wrong.push(`${mutation.name} ${how}: not refused: ${answer.text}`)
          const told = await ledger.entriesOf(requestId)
          if (told.length > 0) wrong.push(`${mutation.name} ${how}: the trail tells of it`)
        })
        if (changed.length > 0) wrong.push(`${mutation.name} ${how}: changed ${changed.join()}`)
      }
    }
    expect(wrong).toEqual([])
  })

  test('hears nothing of a change that failed in the middle of its transaction', { timeout: 120_000 }, async () => {
    const refused: string[] = []
    for (const mutation of performer.mutations) {
      const args = await performer.argsOf(mutation)
      await performer.perform(mutation, args)
      const again = await performer.perform(mutation, args)
      if (again.answer.errors.length === 0) continue
      refused.push(mutation.name)
      expect([mutation.name, await ledger.entriesOf(again.requestId)]).toEqual([mutation.name, []])
    }
    // That a name is taken is found out by the insert itself.
    expect(refused).toEqual(expect.arrayContaining(['createTenant', 'createProvider', 'createModel', 'createRoute']))
  })
})

/** Ways to ask that must be refused. Where nothing can be named, only by whom. */
function refusedAttempts(args: Args): readonly (readonly [string, Args, Asker?])[] {
  const byWhom = [
    ['by a stranger', args, world.asker('stranger')],
    ['without a token', args, world.asker('anonymous')],
    ['without a role', args, world.asker('no role')],
  ] as const
  if (Object.keys(args).length === 0) return byWhom
  const about = [
    ['with empty texts', withText(args, /^.*$/s, () => '')],
    ['with far too long texts', withText(args, /^.*$/s, () => 'x'.repeat(5_000))],
  ] as const
  const nobodys = withText(args, /^([a-z]{2,8})_[0-9a-z]{26}$/, (_, kind) => `${kind}_${'0'.repeat(26)}`)
  const isAboutSomething = JSON.stringify(nobodys) !== JSON.stringify(args)
  return [...byWhom, ...about, ...(isAboutSomething ? [['about what nobody has', nobodys] as const] : [])]
}

/** What is wrong with how the trail tells of what was done. */
async function flawsOf(mutation: Mutation, performed: Performed): Promise<readonly string[]> {
  const { answer, requestId, args, asker } = performed
  if (answer.errors.length > 0) return [`was not done: ${answer.text}`]
  const entries = await ledger.entriesOf(requestId)
  const said = entries.map(({ action }) => action).join()
  const [transaction = '', ...others] = new Set(entries.map((entry) => entry.transaction))
  const changed = transaction === '' ? [] : await ledger.changedBy(transaction)
  const known = `${answer.text} ${JSON.stringify(args)} ${await ledger.installationId()}`
  return [
    ...(said === actions[mutation.name] ? [] : [`the trail says ${said || 'nothing'}`]),
    ...(others.length === 0 ? [] : ['is told in several transactions']),
    ...(changed.length > 0 || changesNothing.has(mutation.name) ? [] : ['its transaction changed nothing']),
    ...entries.flatMap((entry) => flawsOfEntry(entry, { mutation, asker, known })),
  ]
}

/** `known`: every id that was asked about or answered. */
function flawsOfEntry(
  entry: Entry,
  { mutation, asker, known }: { mutation: Mutation; asker: Asker; known: string },
): readonly string[] {
  const isOfTenant = neededBy(mutation) !== 'platform-admin'
  const isByAsker = entry.actor === subjectOf(asker) && entry.actorKind === 'token'
  return [
    ...(isByAsker ? [] : [`${entry.action} is by ${entry.actorKind} ${entry.actor}`]),
    ...(known.includes(entry.subjectId) ? [] : [`${entry.action} is about ${entry.subjectId}, which nobody named`]),
    ...(isOfTenant && entry.tenantId !== world.owner.tenantId ? [`${entry.action} is told to ${entry.tenantId}`] : []),
    ...(entry.action.startsWith(`${entry.subjectKind}.`) ? [] : [`${entry.action} is of a ${entry.subjectKind}`]),
  ]
}

/** `sub` of its token. */
function subjectOf({ token }: Asker): unknown {
  const [, claims = ''] = (token ?? '').split('.')
  return (JSON.parse(Buffer.from(claims, 'base64url').toString()) as { sub: unknown }).sub
}

/** Every text under a member `secret`, however deep. */
function secretsIn(value: unknown): readonly string[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, member]) =>
    name === 'secret' && typeof member === 'string' ? [member] : secretsIn(member),
  )
}
