/**
 * Names of documents as Converse takes them: letters, digits, hyphens, parentheses, square brackets and single spaces, 200
 * characters at most, no two alike in a request. Source: AWS's Bedrock API reference, "DocumentBlock".
 */
const lengthMax = 200
/** What it advises where nothing is left of a name, or none was given: something neutral. */
const unnamed = 'document'

export class DocumentNames {
  /** In lower case: AWS is not told to mind the case. */
  readonly #taken = new Set<string>()

  /** A name for the next document, as much like `given` as may be. */
  next(given: string | null): string {
    const name = plainName(given ?? '')
    for (let count = 1; ; count += 1) {
      const suffix = count === 1 ? '' : ` ${count}`
      const candidate = `${name.slice(0, lengthMax - suffix.length)}${suffix}`
      if (this.#taken.has(candidate.toLowerCase())) continue
      this.#taken.add(candidate.toLowerCase())
      return candidate
    }
  }
}

function plainName(given: string): string {
  const plain = given
    .replace(/\.pdf$/i, '')
    .replace(/[^A-Za-z0-9\-()[\]]+/g, ' ')
    .trim()
  return plain === '' ? unnamed : plain.slice(0, lengthMax).trim()
}
