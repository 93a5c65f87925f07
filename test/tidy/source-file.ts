import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'

/** One file of ours and what it refers to, as far as the rules of the house need to know. */
export interface SourceFile {
  /** Relative to the repository, with `/`. */
  readonly path: string
  readonly text: string
  /** The text with comments and the insides of strings blanked, same length. */
  readonly code: string
  readonly imports: readonly Import[]
}

export interface Import {
  readonly specifier: string
  /** Path of the file of ours that it means; null for packages and built-ins. */
  readonly target: string | null
  /** Package name or `node:x`; null for files of ours. */
  readonly packageName: string | null
  readonly line: number
}

export const rooms = ['proto', 'prisma', 'control-plane', 'agent', 'sdk', 'deploy', 'test'] as const

const skipped = new Set(['node_modules', 'generated', 'dist', '.build', '.switchyard'])

/** Every TypeScript and plain JavaScript file of the rooms, generated ones included where they are committed. */
export function readSourceFiles(root: string): SourceFile[] {
  const files: SourceFile[] = []
  const walk = (folder: string) => {
    for (const entry of readdirSync(path.join(root, folder), { withFileTypes: true })) {
      const name = `${folder}/${entry.name}`
      if (entry.isDirectory()) {
        if (!skipped.has(entry.name) && !entry.name.startsWith('.')) walk(name)
      } else if (/\.(ts|mts|mjs|js)$/.test(entry.name) && !entry.name.endsWith('.d.ts')) {
        files.push(sourceFile(name, readFileSync(path.join(root, name), 'utf8')))
      }
    }
  }
  for (const room of rooms) if (existsSync(path.join(root, room))) walk(room)
  return files
}

/** A file from its text; planted violations are made this way. */
export function sourceFile(filePath: string, text: string): SourceFile {
  const { code, strings } = blank(text)
  const imports: Import[] = []
  // `from '…'`, `import '…'`, `import('…')` (also as a type) and `require('…')`.
  for (const match of code.matchAll(/(?:\bfrom\s*|\bimport\s*\(?\s*|\brequire\s*\(\s*)(['"])/g)) {
    const start = match.index + match[0].length
    const specifier = strings.get(start)
    if (specifier === undefined) continue
    const line = text.slice(0, start).split('\n').length
    imports.push({ specifier, ...resolve(filePath, specifier), line })
  }
  return { path: filePath, text, code, imports }
}

function resolve(from: string, specifier: string): { target: string | null; packageName: string | null } {
  if (specifier.startsWith('.')) {
    const target = path.posix.join(path.posix.dirname(from), specifier)
    return { target: target.replace(/\.js$/, '.ts'), packageName: null }
  }
  if (specifier.startsWith('node:')) return { target: null, packageName: specifier }
  const parts = specifier.split('/')
  return { target: null, packageName: parts.slice(0, specifier.startsWith('@') ? 2 : 1).join('/') }
}

/** Comments and the insides of strings as spaces; the strings by the offset of their first character. */
function blank(text: string): { code: string; strings: Map<number, string> } {
  const strings = new Map<number, string>()
  const out = text.split('')
  const erase = (from: number, to: number) => {
    for (let i = from; i < to; i++) if (out[i] !== '\n') out[i] = ' '
  }
  // Depths of braces at which a template literal goes on.
  const templates: number[] = []
  let depth = 0
  let i = 0
  const template = (from: number): number => {
    let j = from
    while (j < text.length && text[j] !== '`') {
      if (text[j] === '\\') j += 2
      else if (text[j] === '$' && text[j + 1] === '{') {
        erase(from, j)
        templates.push(depth)
        depth += 1
        return j + 2
      } else j += 1
    }
    erase(from, j)
    return j + 1
  }
  while (i < text.length) {
    const char = text[i]
    const next = text[i + 1]
    if (char === '/' && next === '/') {
      const end = text.indexOf('\n', i)
      erase(i, end < 0 ? text.length : end)
      i = end < 0 ? text.length : end
    } else if (char === '/' && next === '*') {
      const end = text.indexOf('*/', i + 2)
      erase(i, end < 0 ? text.length : end + 2)
      i = end < 0 ? text.length : end + 2
    } else if (char === "'" || char === '"') {
      let j = i + 1
      while (j < text.length && text[j] !== char && text[j] !== '\n') j += text[j] === '\\' ? 2 : 1
      strings.set(i + 1, text.slice(i + 1, j))
      erase(i + 1, j)
      i = j + 1
    } else if (char === '`') i = template(i + 1)
    else if (char === '{') {
      depth += 1
      i += 1
    } else if (char === '}') {
      depth -= 1
      i += 1
      if (templates.at(-1) === depth) {
        templates.pop()
        i = template(i)
      }
    } else if (char === '/' && startsRegularExpression(out, i)) {
      let j = i + 1
      let inClass = false
      while (j < text.length && text[j] !== '\n' && (inClass || text[j] !== '/')) {
        if (text[j] === '[') inClass = true
        else if (text[j] === ']') inClass = false
        j += text[j] === '\\' ? 2 : 1
      }
      erase(i + 1, j)
      i = j + 1
    } else i += 1
  }
  return { code: out.join(''), strings }
}

/** A slash begins a pattern unless a value stands before it. */
function startsRegularExpression(out: readonly string[], at: number): boolean {
  let j = at - 1
  while (j >= 0 && /\s/.test(out[j] ?? '')) j -= 1
  if (j < 0) return true
  const before = out[j] ?? ''
  if (!/[\w)\]}'"`$]/.test(before)) return true
  const word = out.slice(Math.max(0, j - 10), j + 1).join('')
  return /\b(return|typeof|case|in|of|await|yield)$/.test(word)
}
