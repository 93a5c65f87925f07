import { isGenerated } from './graph-rules.js'
import { eachImport, eachMatch, isTest, type Rule } from './rule.js'

/** Where the world may be touched without an argument: started by hand, before anything is wired, or tests. */
function isProduct(path: string): boolean {
  return /^(proto|prisma|control-plane|agent|sdk)\//.test(path) && path.endsWith('.ts') && !isTest(path)
}

export const environmentInSettings: Rule = {
  name: 'process.env only in settings',
  check: (files) =>
    eachMatch(
      files,
      (path) => isProduct(path) && !/\/settings\.ts$/.test(path) && !isGenerated(path),
      /\bprocess\s*\.\s*env\b|\bprocess\s*\[|\{[^{}]*\benv\b[^{}]*\}\s*=\s*process\b/g,
      'settings.ts is the only reader of the environment',
    ),
}

export const timeInStandardPieces: Rule = {
  name: 'clock, randomness and timers only in proto/std',
  check: (files) => [
    ...eachMatch(
      files,
      (path) => isProduct(path) && !path.startsWith('proto/std/') && !/\/main\.ts$/.test(path) && !isGenerated(path),
      /\bDate\.now\b|\bnew Date\(\s*\)|\bperformance\.\w+|(?<![.\w])set(?:Timeout|Interval)\b|\bMath\.random\b|\brandom(?:UUID|Bytes|Int|FillSync)\b|\bgetRandomValues\b/g,
      'take the Clock argument, or proto/std/ids',
    ),
    ...eachImport(
      files.filter((file) => isProduct(file.path)),
      (_, { packageName }) =>
        packageName && /^node:(timers|perf_hooks)/.test(packageName) ? 'take the Clock argument' : null,
    ),
  ],
}
