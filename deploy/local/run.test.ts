import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'

/** A clone of nothing but the launcher; npm, Prisma and the compiler are stand-ins that leave a mark. */
let clone: string

beforeEach(() => {
  clone = mkdtempSync(path.join(tmpdir(), 'run-'))
  mkdirSync(path.join(clone, 'deploy', 'local'), { recursive: true })
  for (const name of ['run.mjs', 'set-up.mjs']) {
    cpSync(path.join(import.meta.dirname, name), path.join(clone, 'deploy', 'local', name))
  }
})

afterEach(() => rmSync(clone, { recursive: true, force: true }))

function write(file: string, text: string): void {
  mkdirSync(path.dirname(path.join(clone, file)), { recursive: true })
  writeFileSync(path.join(clone, file), text)
}

const program = `process.stdout.write(JSON.stringify(process.argv.slice(2))); process.exitCode = 7`

function installed(): void {
  write('package-lock.json', '{"packages":{}}')
  write('node_modules/.package-lock.json', '{"packages":{}}')
  write('prisma/generate.mjs', '')
  const compile = `const fs = require('fs'); fs.mkdirSync('.build/agent/src', { recursive: true })
    fs.writeFileSync('.build/compiled', process.argv.slice(2).join(' '))
    fs.writeFileSync('.build/agent/src/main.js', ${JSON.stringify(program)})`
  write('node_modules/typescript/bin/tsc', compile)
}

function run(...args: readonly string[]) {
  const command = [path.join(clone, 'deploy/local/run.mjs'), 'agent', 'agent/src/main.js', ...args]
  return spawnSync(process.execPath, command, { encoding: 'utf8', cwd: tmpdir() })
}

test('what was never built is built, then run with its arguments and its exit code', () => {
  installed()
  const { status, stdout, stderr } = run('--help', 'x y')
  expect([status, stdout]).toEqual([7, '["--help","x y"]'])
  expect(stderr).toBe('compiling …\n')
  expect(readFileSync(path.join(clone, '.build/compiled'), 'utf8')).toBe('-b agent')
})

test('what is built is run as it is', () => {
  installed()
  write('.build/agent/src/main.js', program)
  rmSync(path.join(clone, 'node_modules/typescript'), { recursive: true })
  expect(run()).toMatchObject({ status: 7, stdout: '[]', stderr: '' })
})

test('what cannot be made ready is one line', () => {
  expect(run()).toMatchObject({ status: 1, stdout: '', stderr: expect.stringMatching(/^switchyard: .*clone again\n$/) })
})

test('every script that runs compiled code builds first or is launched', () => {
  const file = path.resolve(import.meta.dirname, '../../package.json')
  const { scripts } = JSON.parse(readFileSync(file, 'utf8')) as { scripts: Record<string, string> }
  const builds = /^(?:npm run --silent build && |exec node deploy\/local\/run\.mjs |.*tsc -b && )/
  const bare = Object.values(scripts).filter((command) => command.includes('.build/') && !builds.test(command))
  expect(bare).toEqual([])
  for (const name of ['control-plane', 'agent', 'switchyard', 'database']) {
    expect(scripts[name]).toMatch(/^exec node deploy\/local\/run\.mjs [a-z-]+ [a-z-]+\/\S+\/?main\.js$/)
  }
})
