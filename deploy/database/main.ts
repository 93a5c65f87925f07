import { systemClock } from '../../proto/std/clock.js'
import { runDatabaseCommand } from './command.js'

process.exitCode = await runDatabaseCommand(process.argv.slice(2), {
  environment: process.env,
  folder: process.cwd(),
  clock: systemClock,
  out: (line) => process.stdout.write(`${line}\n`),
  complain: (line) => process.stderr.write(`switchyard: ${line}\n`),
})
