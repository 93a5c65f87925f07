import { readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'

const read = (name: string) => readFileSync(path.join(import.meta.dirname, name), 'utf8')

test('the page about deploying names every fact of local.json', () => {
  const fields = [...read('local-file.ts').matchAll(/^ {2}readonly (\w+):/gm)].map(([, name]) => name)
  expect(fields).toContain('graphqlUrl')
  const page = read('../README.md')
  expect(fields.filter((name) => !page.includes(`\`${name}\``))).toEqual([])
})
