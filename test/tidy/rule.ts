import type { SourceFile } from './source-file.js'

/** Something in a file that a rule of the house forbids. */
export interface Violation {
  readonly file: string
  readonly line: number
  readonly message: string
  /** What an exception may name besides the file: an import's target or package, or the forbidden word. */
  readonly subject: string
}

/** A rule of `design`, section 6, as a check over all files. */
export interface Rule {
  readonly name: string
  check(files: readonly SourceFile[]): Violation[]
}

/** A planted violation must be found, or the rule is not enforced. */
export interface Planted {
  readonly rule: string
  readonly what: string
  readonly files: readonly (readonly [path: string, text: string])[]
}

export function isTest(path: string): boolean {
  return path.startsWith('test/') || /\.test\.ts$/.test(path)
}

/** One violation per import that `forbids` has a sentence for. */
export function eachImport(
  files: readonly SourceFile[],
  forbids: (file: SourceFile, target: { path: string | null; packageName: string | null }) => string | null,
): Violation[] {
  return files.flatMap((file) =>
    file.imports.flatMap((one) => {
      const message = forbids(file, { path: one.target, packageName: one.packageName })
      const subject = one.target ?? one.packageName ?? one.specifier
      return message === null ? [] : [{ file: file.path, line: one.line, message: `${message}: ${subject}`, subject }]
    }),
  )
}

/** One violation per match of `pattern` in the code of files that `applies` names; comments and strings do not count. */
export function eachMatch(
  files: readonly SourceFile[],
  applies: (path: string) => boolean,
  pattern: RegExp,
  message: string,
): Violation[] {
  return files
    .filter((file) => applies(file.path))
    .flatMap((file) =>
      [...file.code.matchAll(pattern)].map((match) => ({
        file: file.path,
        line: file.code.slice(0, match.index).split('\n').length,
        message: `${message}: ${match[0]}`,
        subject: match[0].replaceAll(/\s+/g, ''),
      })),
    )
}
