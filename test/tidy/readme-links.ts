import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'

const skipped = new Set(['node_modules', 'generated', 'dist'])

/** Every Markdown file of ours, relative to `root`. */
export function markdownFiles(root: string, folder = ''): string[] {
  return readdirSync(path.join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const name = path.posix.join(folder, entry.name)
    if (entry.isDirectory()) {
      if (skipped.has(entry.name) || (entry.name.startsWith('.') && entry.name !== '.ci')) return []
      return markdownFiles(root, name)
    }
    return entry.name.endsWith('.md') ? [name] : []
  })
}

/** Links of a Markdown file that lead nowhere: to a file that is not there, or to a heading that is not in it. */
export function brokenLinks(root: string, file: string, text: string): string[] {
  const prose = text.replaceAll(/```[\s\S]*?```/g, '')
  return [...prose.matchAll(/\[[^\]]*\]\(([^)\s]+)\)/g)]
    .map((match) => match[1] ?? '')
    .filter((link) => !/^[a-z]+:/.test(link))
    .filter((link) => {
      const [target = '', anchor] = link.split('#')
      const meant = target === '' ? file : path.posix.join(path.posix.dirname(file), decodeURIComponent(target))
      if (meant !== file && (meant.startsWith('..') || !existsSync(path.join(root, meant)))) return true
      if (anchor === undefined || !meant.endsWith('.md')) return false
      const headings = (meant === file ? text : readFileSync(path.join(root, meant), 'utf8')).matchAll(/^#+ (.*)$/gm)
      return ![...headings].some((heading) => slugOf(heading[1] ?? '') === anchor)
    })
}

/** The anchor that GitHub gives a heading. */
function slugOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\- ]/gu, '')
    .replaceAll(' ', '-')
}
