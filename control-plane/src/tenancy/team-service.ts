import type { z } from 'zod'
import type { Clock } from '../../../proto/std/clock.js'
import { newId } from '../../../proto/std/ids.js'
import { throwRefusal } from '../../../proto/std/refusal.js'
import { checkInput } from '../access/check-input.js'
import { isPermitted, requirePermission } from '../access/permission.js'
import type { Actor } from '../access/principal.js'
import { tenantScope } from '../access/tenant-scope.js'
import type { AuditStore } from '../audit/audit-store.js'
import type { Database } from '../database/database.js'
import type { Page, PageArgs } from '../database/page.js'
import { isUniqueViolation } from '../database/unique-violation.js'
import { auditTeam, createTeamInput, renameTeamInput, type Team, teamsPerTenantMax } from './team.js'
import type { TeamStore } from './team-store.js'
import { requireActive } from './tenant-service.js'
import type { TenantStore } from './tenant-store.js'

export interface TeamServiceOptions {
  readonly database: Database
  readonly tenants: TenantStore
  readonly teams: TeamStore
  readonly audit: AuditStore
  readonly clock: Clock
}

/** Use cases of teams. A team's name does not reach agents (records carry its id), so no intent moves. */
export class TeamService {
  readonly #options: TeamServiceOptions

  readonly byId = Object.freeze({
    load: async (actor: Actor, ids: readonly string[]): Promise<readonly (Team | null)[]> => {
      const rows = await this.#options.teams.findMany(ids)
      const visible = rows.filter((row) => isPermitted(actor, 'team.read', row.tenantId))
      const byId = new Map(visible.map((row) => [row.id, row]))
      return ids.map((id) => byId.get(id) ?? null)
    },
  })

  constructor(options: TeamServiceOptions) {
    this.#options = options
  }

  async find(actor: Actor, id: string): Promise<Team | null> {
    const team = await this.#options.teams.find(id)
    return team !== null && isPermitted(actor, 'team.read', team.tenantId) ? team : null
  }

  async list(actor: Actor, args: PageArgs, tenantId?: string | null): Promise<Page<Team>> {
    const scope = tenantScope(actor, tenantId, 'tenantId')
    requirePermission(actor, 'team.read', scope)
    return this.#options.teams.page(args, scope)
  }

  /** Refuses `conflict` when the name is taken, `limit_exceeded` beyond 1,000 in one tenant. */
  async create(actor: Actor, input: z.input<typeof createTeamInput>): Promise<Team> {
    const checked = checkInput(createTeamInput, input)
    const tenantId = tenantScope(actor, checked.tenantId)
    requirePermission(actor, 'team.write', tenantId, { message: 'no such tenant', field: 'input.tenantId' })
    const { database, tenants, teams, audit, clock } = this.#options
    const now = new Date(clock.nowMs())
    const team: Team = { id: newId('team', now.getTime()), tenantId, name: checked.name, createdAt: now }
    return refusingTaken(team.name, () =>
      database.transaction(now, async (transaction) => {
        requireActive(await tenants.findLocked(transaction, tenantId), 'input.tenantId')
        if ((await teams.count(transaction, tenantId)) >= teamsPerTenantMax) {
          throwRefusal('limit_exceeded', `a tenant has at most ${teamsPerTenantMax} teams`)
        }
        await teams.insert(transaction, team)
        await audit.append(transaction, {
          ...{ actor, tenantId, action: 'team.create', subjectKind: 'team', subjectId: team.id },
          after: auditTeam(team),
        })
        return team
      }),
    )
  }

  async rename(actor: Actor, input: z.input<typeof renameTeamInput>): Promise<Team> {
    const { teamId, name } = checkInput(renameTeamInput, input)
    const { database, teams, audit, clock } = this.#options
    return refusingTaken(name, () =>
      database.transaction(new Date(clock.nowMs()), async (transaction) => {
        const team = await teams.findLocked(transaction, teamId)
        const missing = { message: 'no such team', field: 'input.teamId' }
        if (team === null) return throwRefusal('not_found', missing.message, { field: missing.field })
        requirePermission(actor, 'team.write', team.tenantId, missing)
        const next: Team = { ...team, name }
        await teams.rename(transaction, next)
        await audit.append(transaction, {
          ...{ actor, tenantId: team.tenantId, action: 'team.rename', subjectKind: 'team', subjectId: teamId },
          ...{ before: auditTeam(team), after: auditTeam(next) },
        })
        return next
      }),
    )
  }
}

async function refusingTaken<T>(name: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (isUniqueViolation(error)) throwRefusal('conflict', `the name ${name} is taken`, { field: 'input.name' })
    throw error
  }
}
