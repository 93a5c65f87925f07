#!/usr/bin/env node
/**
 * `npm run control-plane`, `agent`, `switchyard`, `database`: runs a compiled program, and makes a fresh clone ready first,
 * so that the first command a person tries is not answered with a missing module. What is built is run as it is: a server
 * needs neither npm nor a compiler. Says what it does on standard error; standard output is the program's.
 *   node deploy/local/run.mjs <project> <script under .build> [arguments of the program]
 */
import fs from 'node:fs'
import path from 'node:path'
import { root, SetUpFault, setUp } from './set-up.mjs'

const [project, script] = process.argv.slice(2, 4)
const program = path.join(root, '.build', script)
const isReady = [program, path.join(root, 'node_modules', '.package-lock.json')].every((file) => fs.existsSync(file))
try {
  if (!isReady) await setUp({ say: (line) => process.stderr.write(`${line}\n`), projects: [project] })
} catch (error) {
  if (!(error instanceof SetUpFault)) throw error
  process.stderr.write(`switchyard: ${error.message}\n`)
  process.exit(1)
}
// In this process, so that signals and the exit code are the program's own.
process.argv.splice(1, 3, program)
await import(program)
