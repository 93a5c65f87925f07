import { Command } from 'commander'
import { addFleetCommand } from './fleet-command.js'
import { addKeysCommand } from './keys-command.js'
import { addRoutesCommand } from './routes-command.js'
import { type GlobalOptions, Session } from './session.js'
import { addStatusCommand } from './status-command.js'
import { addUsageCommand } from './usage-command.js'

const examples = `
Examples:
  switchyard status
  switchyard fleet
  switchyard keys create ci --environment production --route chat
  switchyard keys rotate ci --overlap 30
  switchyard keys revoke key_01hx… --abort
  switchyard usage --last 5
  switchyard usage --by model --since 7d --json
  switchyard routes explain chat --prompt "Why is the sky blue?"
  switchyard routes test routing.yaml

Which control plane: --url and --token, else SWITCHYARD_URL and SWITCHYARD_TOKEN, else .switchyard/local.json of this
folder or one above it, which npm start writes.
`

/** The whole command line; `write` gets what it prints. */
export function buildProgram(version: string, write: (text: string) => void, nowMs: () => number): Command {
  const program = new Command('switchyard')
    .description('The command line of Switchyard, the control plane for a fleet of LLM gateways.')
    .version(version)
    .option('--url <url>', 'address of the control plane')
    .option('--token <token>', 'token to ask with')
    .option('--tenant <name>', 'slug or id of the tenant, for platform admins')
    .option('--json', 'print JSON instead of tables')
    .showHelpAfterError('(add --help to see what it takes)')
    .addHelpText('after', examples)
  const open = () => new Session(program.opts<GlobalOptions>(), write, nowMs)
  addStatusCommand(program, open)
  addFleetCommand(program, open)
  addUsageCommand(program, open)
  addKeysCommand(program, open)
  addRoutesCommand(program, open)
  return program
}
