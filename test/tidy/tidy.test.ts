import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { repositoryFolder } from '../harness/repository-folder.js'
import { environmentInSettings, timeInStandardPieces } from './effect-rules.js'
import { type Exception, exceptions } from './exceptions.js'
import { everyFileIsUsed, noBarrel, noImportCycle, noRoomCycle } from './graph-rules.js'
import { planted } from './planted.js'
import { brokenLinks, markdownFiles } from './readme-links.js'
import {
  agentArrows,
  controlPlaneLayers,
  graphqlInItsPlaces,
  grpcInItsPlaces,
  importTable,
  planesDoNotImportDeploy,
  prismaInStoresOnly,
  queuesInTheirPlaces,
  storesStayInTheirRoom,
  testsAreNotImported,
} from './room-rules.js'
import type { Rule, Violation } from './rule.js'
import { readSourceFiles, sourceFile } from './source-file.js'

const root = repositoryFolder()
const files = readSourceFiles(root)
const rules: readonly Rule[] = [
  importTable,
  testsAreNotImported,
  planesDoNotImportDeploy,
  prismaInStoresOnly,
  controlPlaneLayers,
  storesStayInTheirRoom,
  graphqlInItsPlaces,
  queuesInTheirPlaces,
  grpcInItsPlaces,
  agentArrows,
  noImportCycle,
  noRoomCycle,
  noBarrel,
  everyFileIsUsed,
  environmentInSettings,
  timeInStandardPieces,
]

function excepts(rule: Rule, violation: Violation): (exception: Exception) => boolean {
  return (exception) =>
    exception.rule === rule.name &&
    (exception.file === '*' || exception.file === violation.file) &&
    exception.subject === violation.subject
}

function say(violations: readonly Violation[]): string[] {
  return violations.map(({ file, line, message }) => `${file}:${line} ${message}`)
}

describe('the house is tidy', () => {
  test.each(rules)('$name', (rule) => {
    const unexcused = rule.check(files).filter((violation) => !exceptions.some(excepts(rule, violation)))
    expect(say(unexcused)).toEqual([])
  })

  test('every exception is still needed and says why', () => {
    const idle = exceptions.filter((exception) => {
      const rule = rules.find((candidate) => candidate.name === exception.rule)
      return !rule?.check(files).some((violation) => excepts(rule, violation)(exception))
    })
    expect(idle).toEqual([])
    expect(exceptions.filter(({ reason }) => reason.length < 10)).toEqual([])
  })

  test('every link of every README leads somewhere', () => {
    const broken = markdownFiles(root).flatMap((file) =>
      brokenLinks(root, file, readFileSync(path.join(root, file), 'utf8')).map((link) => `${file}: ${link}`),
    )
    expect(broken).toEqual([])
  })

  test('the README lists every loop by its name', () => {
    const readme = readFileSync(path.join(root, 'README.md'), 'utf8')
    const names = files
      .filter(({ path: file }) => /^(control-plane|agent)\/src\//.test(file) && !file.endsWith('.test.ts'))
      .flatMap(({ text }) => (/\bimplements (\w+, )?Service\b/.test(text) ? [...text.matchAll(nameOfLoop)] : []))
      .map((match) => match[1] ?? '')
    expect(names.length).toBeGreaterThan(10)
    expect(names.filter((name) => !readme.includes(`\`${name}\``))).toEqual([])
  })

  // Decorators name their types by functions so that circular imports do no harm; a bundler would hide it if one did.
  test('the schema builds under plain Node', () => {
    const script = path.join(root, '.build/control-plane/src/api/export-schema.js')
    expect(existsSync(script), 'run npm run build first').toBe(true)
    expect(execFileSync(process.execPath, [script], { encoding: 'utf8' })).toContain('type Query {')
  }, 30_000)
})

const nameOfLoop = /\breadonly name = '([^']+)'/g

describe('a crime is found', () => {
  test.each(planted)('$rule: $what', ({ rule: name, files: crimes }) => {
    const rule = rules.find((candidate) => candidate.name === name)
    expect(rule, `there is a rule "${name}"`).toBeDefined()
    const before = new Set(say(rule?.check(files) ?? []))
    const with_ = [...files, ...crimes.map(([file, text]) => sourceFile(file, text))]
    const found = say(rule?.check(with_) ?? []).filter((line) => !before.has(line))
    expect(found.length).toBeGreaterThan(0)
    expect(found.every((line) => crimes.some(([file]) => line.includes(file.split('/')[2] ?? file)))).toBe(true)
  })

  test('every rule has a planted violation', () => {
    expect(rules.map(({ name }) => name).filter((name) => !planted.some(({ rule }) => rule === name))).toEqual([])
  })

  test('a link to nowhere, to a missing heading and out of the repository', () => {
    const text =
      '[a](nowhere.md) [b](#none) [c](../../etc/passwd) [ok](package.json) [web](https://nodejs.org)\n# Here\n[d](#here)'
    expect(brokenLinks(root, 'README.md', text)).toEqual(['nowhere.md', '#none', '../../etc/passwd'])
  })
})

describe('what looks like a crime and is none', () => {
  const innocent = (text: string) => {
    const file = sourceFile('agent/src/request/planted.ts', text)
    return [importTable, timeInStandardPieces, environmentInSettings].flatMap((rule) => say(rule.check([file])))
  }
  test.each([
    ["// setTimeout and import x from '../../../control-plane/src/main.js'"],
    ['/** process.env is read elsewhere; Date.now() too */'],
    ['const text = \'Math.random() from "pg"\''],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the text of a file
    ['const text = `Date.now() ${1 + 1} process.env`'],
    ["const pattern = /'Math.random()/\nconst other = 'x'"],
    ['const at = new Date(nowMs)'],
    ['clock.setTimeout(5)'],
    ['const half = a / b / c // Date.now()'],
  ])('%s', (text) => {
    expect(innocent(text)).toEqual([])
  })
})
