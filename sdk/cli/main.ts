#!/usr/bin/env node
import { SwitchyardError } from '../client.js'
import { buildProgram } from './program.js'
import { CliFault } from './settings.js'

const version = '0.1.0'

try {
  await buildProgram(version, (text) => process.stdout.write(text), Date.now).parseAsync()
} catch (fault) {
  if (!(fault instanceof CliFault) && !(fault instanceof SwitchyardError)) throw fault
  const code = fault instanceof SwitchyardError ? ` [${fault.code}${fault.field ? ` ${fault.field}` : ''}]` : ''
  process.stderr.write(`switchyard: ${fault.message}${code}\n`)
  process.exitCode = 1
}
