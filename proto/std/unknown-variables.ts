import type { SettingsTable } from './settings-table.js'

/**
 * A misspelt variable is the quietest fault there is: the default holds and nothing says so. One sentence for each variable
 * of `environment` that `table` does not have and that is `own`: named as only a setting of this program would be, or all
 * but one of its names. Never its value.
 */
export function describeUnknownVariables(
  table: SettingsTable,
  environment: Readonly<Record<string, string | undefined>>,
  own: RegExp,
): readonly string[] {
  const known = Object.values(table).map(({ variable }) => variable)
  const sentences: string[] = []
  for (const name of Object.keys(environment).sort()) {
    if (!name.startsWith('SWITCHYARD_') || known.includes(name) || ofKubernetes.test(name)) continue
    const nearest = nearestOf(name, known)
    if (!own.test(name) && nearest.distance > slipMax) continue
    const hint = nearest.distance <= guessMax ? `did you mean ${nearest.name}?` : '--help lists every setting'
    sentences.push(`${name} is not a setting and has no effect: ${hint}`)
  }
  return sentences
}

/** A service called switchyard-… puts these into every container beside it. */
const ofKubernetes = /_SERVICE_(?:HOST|PORT(?:_[A-Z0-9_]+)?)$|_PORT_\d+_(?:TCP|UDP|SCTP)(?:_[A-Z]+)?$/
/** So near to a setting that it is meant, whatever else it looks like. */
const slipMax = 2
/** So far a guess still helps. */
const guessMax = 6

function nearestOf(name: string, known: readonly string[]): { name: string; distance: number } {
  let nearest = { name: '', distance: Number.POSITIVE_INFINITY }
  for (const candidate of known) {
    const distance = editDistance(name, candidate)
    if (distance < nearest.distance) nearest = { name: candidate, distance }
  }
  return nearest
}

/** Least number of letters to insert, delete or replace (Levenshtein). */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}
