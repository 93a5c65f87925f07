/**
 * What a fresh clone needs before any of our own code can run: locked dependencies, the Prisma client, compiled
 * TypeScript. `npm start` and `npm test` call it first; when everything is in place it costs a few hundred milliseconds.
 * Plain JavaScript on Node's own modules, because nothing else is there yet.
 */
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'

export const root = path.resolve(import.meta.dirname, '..', '..')
const nodeOldest = [20, 19]

/** What to tell the user; printed as it is, without a stack. */
export class SetUpFault extends Error {}

/**
 * Makes the clone ready to run; `say` gets a line before anything that takes longer than a second. Two at once on one
 * clone wait for each other. `compile: false` leaves out the compiler (the test run shows its complaints itself);
 * `projects` compiles only these and what they need, so that a start does not depend on whether the tests compile.
 */
export async function setUp({ say = console.log, compile = true, projects = [] } = {}) {
  refuseOldNode()
  const release = await lock(say)
  try {
    const reason = whyInstall()
    if (reason) {
      say(`installing the locked dependencies (${reason}); about half a minute …`)
      await run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'])
    }
    await run(process.execPath, [path.join(root, 'prisma', 'generate.mjs')])
    if (!compile) return
    if (!fs.existsSync(path.join(root, '.build', `${projects[0] ?? 'test'}.tsbuildinfo`))) say('compiling …')
    await run(process.execPath, [path.join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-b', ...projects])
  } finally {
    release()
  }
}

function refuseOldNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major > nodeOldest[0] || (major === nodeOldest[0] && minor >= nodeOldest[1])) return
  throw new SetUpFault(
    `Node ${process.versions.node} is too old: Switchyard needs ${nodeOldest.join('.')} or newer (tested on 20 and 24), see https://nodejs.org`,
  )
}

/** Null when node_modules holds what package-lock.json asks for, else a word about why not. */
function whyInstall() {
  const wanted = readJson(path.join(root, 'package-lock.json'))
  // npm's own note of what it installed. Packages of other platforms are optional and rightly absent.
  const found = readJson(path.join(root, 'node_modules', '.package-lock.json'))
  if (!wanted) throw new SetUpFault(`package-lock.json is missing in ${root}: clone again`)
  if (!found) return 'none yet'
  for (const [name, entry] of Object.entries(wanted.packages)) {
    if (!name.includes('node_modules/') || entry.link || entry.optional) continue
    if (found.packages[name]?.version !== entry.version) return `${name.replace(/^.*node_modules\//, '')} is stale`
  }
  return null
}

function readJson(file) {
  try {
    return JSON.parse(fs.readFileSync(file, 'utf8'))
  } catch {
    return null
  }
}

/** Output goes to the user only when it fails. */
function run(command, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        output = (output + text).slice(-20_000)
      })
    }
    child.once('error', (error) => reject(new SetUpFault(`${command} cannot be run: ${error.message}`)))
    child.once('close', (code) => {
      if (code === 0) return resolve()
      const what = [path.basename(command), ...args.map((arg) => path.basename(arg))].join(' ')
      reject(new SetUpFault(`"${what}" failed:\n${output.trim()}`))
    })
  })
}

/** One set-up at a time per clone; a lock whose process is gone counts for nothing. */
async function lock(say) {
  const file = path.join(root, '.build', 'set-up.lock')
  fs.mkdirSync(path.dirname(file), { recursive: true })
  for (let told = false; ; ) {
    try {
      fs.writeFileSync(file, String(process.pid), { flag: 'wx' })
      const release = () => fs.rmSync(file, { force: true })
      process.once('exit', release)
      return () => {
        process.removeListener('exit', release)
        release()
      }
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
    }
    if (!isAlive(Number(fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : 0))) fs.rmSync(file, { force: true })
    else if (!told) {
      told = true
      say('waiting for another set-up of this clone …')
    }
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

function isAlive(pid) {
  if (!pid) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}
