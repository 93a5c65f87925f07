import type { Command } from 'commander'
import type { Session } from './session.js'

/** `switchyard status`: is it there, who am I, whose tenant. */
export function addStatusCommand(program: Command, open: () => Session): void {
  program
    .command('status')
    .description('is the control plane there, and who am I to it')
    .action(async () => {
      const session = open()
      const { viewer } = await session.client.viewer()
      const facts = { url: session.settings.url, source: session.settings.source, viewer }
      session.print(facts, () =>
        [
          `control plane   ${facts.url} answers`,
          `known from      ${facts.source}`,
          `you are         ${viewer.subject} (${viewer.roles.join(', ') || 'no roles'})`,
          `tenant          ${viewer.tenantId ?? 'all of them'}`,
          '',
        ].join('\n'),
      )
    })
}
