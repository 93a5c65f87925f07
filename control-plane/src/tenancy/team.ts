import { z } from 'zod'
import { shapes } from '../access/check-input.js'

/** A scope for cost inside a tenant; keys belong to it. */
export interface Team {
  readonly id: string
  readonly tenantId: string
  readonly name: string
  readonly createdAt: Date
}

export const teamsPerTenantMax = 1_000

export const createTeamInput = z.object({ tenantId: shapes.id.nullish(), name: shapes.title })
export const renameTeamInput = z.object({ teamId: shapes.id, name: shapes.title })

export function auditTeam(team: Team) {
  return { name: team.name }
}
