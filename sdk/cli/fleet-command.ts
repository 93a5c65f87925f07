import type { Command } from 'commander'
import { type AgentFieldsFragment, everyNode } from '../client.js'
import type { Session } from './session.js'
import { formatTable } from './table.js'

/** `switchyard fleet`: what each agent should have, has, and last tried. */
export function addFleetCommand(program: Command, open: () => Session): void {
  program
    .command('fleet')
    .description('the agents: what they should have, have, and last tried (platform admins)')
    .option('--all', 'revoked ones too')
    .action(async (options: { all?: boolean }) => {
      const session = open()
      const agents: AgentFieldsFragment[] = []
      const filter = { includeRevoked: options.all ?? false }
      for await (const agent of everyNode(async (after) => (await session.client.agents({ filter, after })).agents))
        agents.push(agent)
      session.print(agents, () =>
        formatTable(
          [
            'agent',
            'cluster',
            'region',
            'state',
            'desired',
            'applied',
            'last try',
            'spool',
            'certificate until',
            'version',
          ],
          agents.map((agent) => [
            agent.name,
            agent.cluster?.name ?? agent.clusterId,
            agent.cluster?.region ?? null,
            stateOf(agent),
            agent.desired?.generation ?? null,
            agent.applied?.generation ?? null,
            attemptOf(agent),
            `${agent.spool.recordCount} records`,
            agent.certificateNotAfter,
            agent.version,
          ]),
        ),
      )
    })
}

function stateOf(agent: AgentFieldsFragment): string {
  if (agent.revokedAt !== null) return 'revoked'
  if (!agent.connected) return agent.lastSeenAt === null ? 'never seen' : `away since ${agent.lastSeenAt}`
  return agent.inSync ? 'in sync' : 'behind'
}

function attemptOf({ lastAttempt }: AgentFieldsFragment): string | null {
  if (lastAttempt === null) return null
  const codes = lastAttempt.refusals.map(({ code }) => code).join(', ')
  return `${lastAttempt.outcome.toLowerCase()}${codes ? ` (${codes})` : ''}`
}
