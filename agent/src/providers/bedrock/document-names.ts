/**
 * Names of documents as Converse takes them: letters, digits, hyphens, parentheses, square brackets and single spaces, 200
 * characters at most, no two alike in a request. Source: AWS's Bedrock API reference, "DocumentBlock".
 */
const lengthMax = 200
/** Names that share this much are counted together: a number of up to nine digits fits behind it. */
const stemLength = 190
/** What it advises where nothing is left of a name, or none was given: something neutral. */
const unnamed = 'document'

export class DocumentNames {
  /** In lower case: AWS is not told to mind the case. */
  readonly #taken = new Set<string>()
  /** By stem, in lower case: the number that comes next, so that the thousandth does not try all before it. */
  readonly #nextNumbers = new Map<string, number>()

  /** A name for the next document, as much like `given` as may be. */
  next(given: string | null): string {
    const name = plainName(given ?? '')
    if (this.#take(name)) return name
    const stem = name.slice(0, stemLength).toLowerCase()
    for (let number = this.#nextNumbers.get(stem) ?? 2; ; number += 1) {
      const suffix = ` ${number}`
      const candidate = `${name.slice(0, lengthMax - suffix.length).trimEnd()}${suffix}`
      if (!this.#take(candidate)) continue
      this.#nextNumbers.set(stem, number + 1)
      return candidate
    }
  }

  #take(name: string): boolean {
    const plain = name.toLowerCase()
    if (this.#taken.has(plain)) return false
    this.#taken.add(plain)
    return true
  }
}

function plainName(given: string): string {
  const plain = given
    .replace(/\.pdf$/i, '')
    .replace(/[^A-Za-z0-9\-()[\]]+/g, ' ')
    .trim()
  return plain === '' ? unnamed : plain.slice(0, lengthMax).trim()
}
