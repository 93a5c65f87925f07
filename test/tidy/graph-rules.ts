import { roomOf } from './room-rules.js'
import { isTest, type Rule, type Violation } from './rule.js'

export const noImportCycle: Rule = {
  name: 'no import cycle, types count',
  check: (files) => {
    const arrows = new Map(
      files.map((file) => [file.path, file.imports.flatMap(({ target }) => (target === null ? [] : [target]))]),
    )
    return cyclesOf(arrows).map((cycle) => ({
      file: cycle[0] ?? '',
      line: 1,
      message: `a cycle of imports: ${[...cycle, cycle[0]].join(' → ')}`,
      subject: cycle[0] ?? '',
    }))
  },
}

export const noRoomCycle: Rule = {
  name: 'the arrows between rooms of a plane have no cycle',
  check: (files) =>
    ['control-plane/src/', 'agent/src/'].flatMap((plane) => {
      const arrows = new Map<string, string[]>()
      const example = new Map<string, string>()
      for (const file of files) {
        const from = roomOf(file.path)
        if (!file.path.startsWith(plane) || isTest(file.path) || from === null) continue
        for (const { target } of file.imports) {
          const to = target?.startsWith(plane) ? roomOf(target) : null
          if (to === null || to === from) continue
          arrows.set(from, [...(arrows.get(from) ?? []), to])
          example.set(`${from}>${to}`, `${file.path} → ${target}`)
        }
      }
      return cyclesOf(arrows).map((cycle) => {
        const steps = cycle.map((room, i) => example.get(`${room}>${cycle[(i + 1) % cycle.length]}`) ?? room)
        return {
          file: plane,
          line: 1,
          message: `a cycle of rooms: ${[...cycle, cycle[0]].join(' → ')}\n    ${steps.join('\n    ')}`,
          subject: [...cycle].sort().join(' '),
        }
      })
    }),
}

/** One cycle of each knot of the graph, as short as a search from its smallest member finds it. */
function cyclesOf(arrows: ReadonlyMap<string, readonly string[]>): string[][] {
  return knotsOf(arrows).map((knot) => {
    const inside = new Set(knot)
    const start = [...knot].sort()[0] ?? ''
    const reachedFrom = new Map<string, string>()
    const queue = [start]
    for (let node = queue.shift(); node !== undefined; node = queue.shift()) {
      for (const next of arrows.get(node) ?? []) {
        if (next === start) {
          const cycle = [node]
          for (let step = node; step !== start; ) {
            step = reachedFrom.get(step) ?? start
            cycle.unshift(step)
          }
          return cycle
        }
        if (!inside.has(next) || reachedFrom.has(next)) continue
        reachedFrom.set(next, node)
        queue.push(next)
      }
    }
    return [start]
  })
}

/** Strongly connected parts of more than one node, and nodes that point at themselves (Tarjan, without recursion). */
function knotsOf(arrows: ReadonlyMap<string, readonly string[]>): string[][] {
  const index = new Map<string, number>()
  const low = new Map<string, number>()
  const stack: string[] = []
  const onStack = new Set<string>()
  const knots: string[][] = []
  let count = 0
  const enter = (node: string) => {
    index.set(node, count)
    low.set(node, count)
    count += 1
    stack.push(node)
    onStack.add(node)
    return { node, next: 0 }
  }
  for (const root of arrows.keys()) {
    if (index.has(root)) continue
    const work = [enter(root)]
    for (let frame = work.at(-1); frame; frame = work.at(-1)) {
      const target = (arrows.get(frame.node) ?? [])[frame.next]
      if (target !== undefined) {
        frame.next += 1
        if (!index.has(target)) work.push(enter(target))
        else if (onStack.has(target)) low.set(frame.node, Math.min(low.get(frame.node) ?? 0, index.get(target) ?? 0))
        continue
      }
      work.pop()
      const parent = work.at(-1)
      if (parent) low.set(parent.node, Math.min(low.get(parent.node) ?? 0, low.get(frame.node) ?? 0))
      if (low.get(frame.node) !== index.get(frame.node)) continue
      const knot = stack.splice(stack.indexOf(frame.node))
      for (const member of knot) onStack.delete(member)
      if (knot.length > 1 || (arrows.get(frame.node) ?? []).includes(frame.node)) knots.push(knot)
    }
  }
  return knots
}

export const noBarrel: Rule = {
  name: 'no barrel',
  check: (files) =>
    files.flatMap((file): Violation[] => {
      if (isGenerated(file.path)) return []
      const statements = file.code
        .split(/\n(?=\S)/)
        .map((statement) => statement.trim())
        .filter((statement) => statement !== '' && !statement.startsWith('#!'))
      const onlyReexports =
        statements.length > 0 &&
        statements.every((statement) => /^(export\b[\s\S]*\bfrom\b|import\b)/.test(statement)) &&
        statements.some((statement) => statement.startsWith('export'))
      const named = /\/index\.(ts|mjs)$/.test(file.path)
      if (!onlyReexports && !named) return []
      const message = named ? 'index files say nothing about what they hold' : 'a file that only re-exports'
      return [{ file: file.path, line: 1, message, subject: file.path }]
    }),
}

/** Started by name: by a script in package.json, by the test runner, or as a process of the product. */
const entryPoint =
  /(^|\/)(main|simulator-main|export-schema|global-setup|write-migration|generate)\.ts$|\.mjs$|\.test\.ts$|^prisma\/prisma\.config\.ts$|^test\/(bench|sim|simulation)\/[^/]*\.ts$/

export const everyFileIsUsed: Rule = {
  name: 'no file that nobody imports',
  check: (files) => {
    const used = new Set(
      files.flatMap((file) =>
        // A test beside a file does not make the file used.
        file.imports.flatMap(({ target }) => (target === null || file.path === testOf(target) ? [] : [target])),
      ),
    )
    return files
      .filter((file) => !used.has(file.path) && !entryPoint.test(file.path) && !isGenerated(file.path))
      .map((file) => ({ file: file.path, line: 1, message: 'nobody imports this file', subject: file.path }))
  },
}

function testOf(path: string): string {
  return path.replace(/\.ts$/, '.test.ts')
}

export function isGenerated(path: string): boolean {
  return /(^|\/)(gen|generated)\//.test(path)
}
