import { readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { compileCondition, isCondition } from '../../../proto/policy/condition.js'
import { conditionVariables } from '../../../proto/policy/condition-variables.js'
import { parseSuite } from '../../../sdk/cli/route-suite.js'

const page = readFileSync(path.join(import.meta.dirname, '../../docs/routing-rules.md'), 'utf8')
const blocks = (language: string) =>
  [...page.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'gm'))].map((match) => match[1] ?? '')

test('the page of routing rules has every variable with its type and meaning, and no other', () => {
  const rows = [...page.matchAll(/^\| `(\w+)` \| (\w+) \| (.+) \|$/gm)].map(([, name, type, meaning]) => [
    name,
    type,
    meaning,
  ])
  expect(rows).toEqual(Object.entries(conditionVariables).map(([name, { type, meaning }]) => [name, type, meaning]))
})

test('its conditions compile, and its suites can be read', () => {
  const conditions = blocks('cel').flatMap((block) => block.trim().split('\n'))
  expect(conditions.length).toBeGreaterThan(5)
  for (const text of conditions) {
    const condition = compileCondition(text)
    expect(isCondition(condition) ? '' : `${text}: ${condition.message}`).toBe('')
  }
  const [suite, ...more] = blocks('yaml')
  expect(more).toEqual([])
  expect(parseSuite(suite ?? '', 'page').cases.length).toBe(5)
})
