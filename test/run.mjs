#!/usr/bin/env node
/**
 * `npm test`: everything, on a fresh clone, with its own set-up; the time of each stage and one last line
 * `N passed, N failed`. A stage that fails does not stop the next one, so one run shows all there is to mend.
 *   npm test                    all stages
 *   npm test -- unit e2e        only these
 *   npm run check               what needs no test: types, format and lint, generated code
 * Plain JavaScript on Node's own modules: it runs before dependencies are installed.
 */
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { root, setUp } from '../deploy/local/set-up.mjs'

const bin = (name) => path.join(root, 'node_modules', '.bin', name)
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'switchyard-test-report-'))
process.once('exit', () => fs.rmSync(folder, { recursive: true, force: true }))

const check = (title, command, args) => ({ title, run: () => execute(command, args).then(countOne) })
const vitest = (title, projects, environment = {}, files = []) => ({
  title,
  run: () => runVitest(title, [...projects.flatMap((name) => ['--project', name]), ...files], environment),
})

const stages = {
  types: check('types and build', bin('tsc'), ['-b']),
  lint: check('format and lint', bin('biome'), ['check', '.']),
  generated: { title: 'generated code is what its sources say', run: runGeneratedChecks },
  unit: vitest('unit', ['unit']),
  integration: vitest('integration: Postgres 18, Redis 7', ['pg', 'redis']),
  // The oldest major we promise: the schema, the migrations, and the rooms that speak SQL of their own.
  postgres15: vitest('integration: Postgres 15', ['pg'], { SWITCHYARD_TEST_POSTGRES: '15' }, [
    'prisma/',
    'control-plane/src/database/',
    'control-plane/src/usage/',
    'control-plane/src/jobs/',
    'control-plane/src/snapshots/',
  ]),
  e2e: vitest('end to end', ['e2e']),
}
const groups = { check: ['types', 'lint', 'generated'] }

const total = { passed: 0, failed: 0 }
const times = []
await main()

async function main() {
  const names = process.argv.slice(2).flatMap((name) => groups[name] ?? [name])
  const unknown = names.filter((name) => !stages[name])
  if (unknown.length > 0) {
    console.error(
      `unknown: ${unknown.join(', ')}; there are ${[...Object.keys(stages), ...Object.keys(groups)].join(', ')}`,
    )
    process.exit(2)
  }
  const chosen = names.length === 0 ? Object.keys(stages) : names
  // Tests of whole processes, and the generators, run what the compiler wrote.
  const compiled = ['generated', 'integration', 'postgres15', 'e2e']
  if (!chosen.includes('types') && chosen.some((name) => compiled.includes(name))) chosen.unshift('types')
  const nothing = { passed: 0, failed: 0 }
  const ready = await stage('set-up', () => setUp({ say: console.log, compile: false }).then(() => nothing))
  if (ready) for (const name of chosen) await stage(stages[name].title, stages[name].run)
  console.log(`\n${times.map(([title, ms, failed]) => row(title, ms, failed)).join('\n')}`)
  console.log(`${total.passed} passed, ${total.failed} failed`)
  process.exitCode = total.failed === 0 ? 0 : 1
}

/** Runs one stage, prints what it is and how long it took, adds its counts; true when nothing failed. */
async function stage(title, run) {
  console.log(`\n── ${title}`)
  const startedAt = performance.now()
  const counts = await run().catch((error) => {
    console.error(error.message)
    return { passed: 0, failed: 1 }
  })
  times.push([title, performance.now() - startedAt, counts.failed])
  total.passed += counts.passed
  total.failed += counts.failed
  console.log(row(...times.at(-1)))
  return counts.failed === 0
}

function row(title, ms, failed) {
  return `${failed === 0 ? '✓' : '✗'} ${title.padEnd(44)} ${(ms / 1000).toFixed(1).padStart(7)} s`
}

function execute(command, args, environment = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { ...ownEnvironment(), ...environment },
    })
    child.once('error', reject)
    child.once('close', (code) => resolve(code))
  })
}

/** A database or a setting of the caller's shell must not reach the tests. */
function ownEnvironment() {
  const foreign = /^(DATABASE_URL|REDIS_URL|OPENAI_API_KEY|SWITCHYARD_(?!TEST_).*|PG[A-Z]+)$/
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !foreign.test(name)))
}

function countOne(code) {
  return code === 0 ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 }
}

/** Each generator compares with what is committed when it is told `--check`. */
async function runGeneratedChecks() {
  const counts = { passed: 0, failed: 0 }
  for (const script of ['proto/generate.mjs', '.build/sdk/generate.js']) {
    if (!fs.existsSync(path.join(root, script))) continue
    const one = countOne(await execute(process.execPath, [script, '--check']))
    if (one.failed) console.error(`${script} would write something else: run "npm run generate" and commit`)
    counts.passed += one.passed
    counts.failed += one.failed
  }
  return counts
}

async function runVitest(title, args, environment) {
  const report = path.join(folder, `${title.replaceAll(/\W+/g, '-')}.json`)
  const reporters = ['--reporter=dot', '--reporter=json', `--outputFile.json=${report}`]
  const code = await execute(bin('vitest'), ['run', '--passWithNoTests', ...reporters, ...args], environment)
  const counts = { passed: 0, failed: 0 }
  if (fs.existsSync(report)) {
    const { numPassedTests, numFailedTests } = JSON.parse(fs.readFileSync(report, 'utf8'))
    counts.passed = numPassedTests
    counts.failed = numFailedTests
  }
  // A file that does not load, or an unhandled rejection, fails the run and counts no test.
  if (code !== 0 && counts.failed === 0) counts.failed = 1
  return counts
}
