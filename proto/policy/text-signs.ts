/**
 * One look over the text of a prompt, for everything that is estimated from it (`estimate-complexity.ts`,
 * `classify-prompt.ts`): numbers of signs, no meaning. A single pass without a regular expression, a tokenizer or an object
 * per word; words are known by a rolling hash of their letters. Words are English with the commonest German, French and
 * Spanish ones; code, formulas, lists and length are signs in any language.
 */
export interface TextSigns {
  /** UTF-16 units that were looked at. */
  readonly characterCount: number
  readonly wordCount: number
  readonly questionCount: number
  /** Why, prove, compare, trade-off, … */
  readonly reasoningCount: number
  /** Keywords, braces at line ends, arrows, fences (each counts as eight). */
  readonly codeCount: number
  /** Operators between operands, LaTeX, words of mathematics. */
  readonly mathCount: number
  /** List items, then, finally, first … second. */
  readonly stepCount: number
  /** What is asked for, by words; those among the first or last twelve words count four times. */
  readonly summaryCount: number
  readonly extractionCount: number
  readonly translationCount: number
}

/** A longer text is looked at from both ends: what is wanted stands at the beginning or at the end. */
export const signsCharactersMax = 16_384
const half = signsCharactersMax / 2

/** Bounded by `signsCharactersMax`, whatever is given. */
export function readSigns(text: string): TextSigns {
  return new Look(bothEnds(text)).signs()
}

/** What is looked at of `text`, and a line end where something was cut out. Cut once more it stays as it is. */
function bothEnds(text: string): string {
  return text.length <= signsCharactersMax ? text : `${text.slice(0, half)}\n${text.slice(-half)}`
}

/**
 * What is looked at of `count` texts that follow each other, one per line: the same signs are read from it as from all of
 * them joined, but no more of them is asked for than that takes. `textAt` may be asked twice for the same one, and gives ''
 * for one that is left out.
 */
export function bothEndsOf(count: number, textAt: (index: number) => string): string {
  let tail = ''
  let index = count
  while (index > 0 && tail.length <= signsCharactersMax) {
    index -= 1
    tail = joined(textAt(index), tail)
  }
  if (index === 0) return bothEnds(tail)
  let head = ''
  for (let at = 0; at < count && head.length < half; at++) head = joined(head, textAt(at))
  return `${head.slice(0, half)}\n${tail.slice(-half)}`
}

function joined(first: string, second: string): string {
  return first === '' ? second : second === '' ? first : `${first}\n${second}`
}

const reasoning = 1
const code = 2
const math = 4
const step = 8
const summary = 16
const extraction = 32
const translation = 64

const vocabulary: readonly (readonly [signs: number, words: string])[] = [
  [
    reasoning,
    `why prove proof derive deduce infer reason reasoning explain analyse analyze analysis compare contrast evaluate assess
     justify argue critique tradeoff tradeoffs implication implications consequences hypothesis design architect optimise
     optimize optimal optimization strategy plan diagnose debug root cause consider weigh pros cons theorem assumption
     assumptions constraint constraints feasible therefore warum beweise begründe vergleiche analysiere bewerte pourquoi
     démontre compare analyse justifie porque demuestra analiza justifica`,
  ],
  [
    code,
    `function const return import class def async await public static void interface struct lambda select from where join
     typescript javascript python rust golang java sql bash regex algorithm refactor compile compiler stacktrace exception
     unittest api endpoint json yaml dockerfile kubernetes println printf console elif enum`,
  ],
  [
    math,
    `integral derivative equation equations matrix eigenvalue probability polynomial logarithm sqrt sum theorem lemma
     calculate compute solve modulo prime vector variance gleichung berechne équation calcule ecuación calcula`,
  ],
  [
    step,
    `first firstly second secondly third then next finally afterwards lastly steps step additionally also zuerst dann danach
     schließlich schritt premièrement ensuite enfin étape primero luego después finalmente paso`,
  ],
  [
    summary,
    `summarise summarize summary summarising summarizing tldr condense shorten abridge digest recap zusammenfassen
     zusammenfassung fasse résume résumer résumé resume resumen resumir`,
  ],
  [
    extraction,
    `extract extraction extracting parse list identify find entities fields names dates emails addresses keywords label
     labels classify classification categorise categorize tag tags extrahiere extrahieren extrais extraire extrae extraer`,
  ],
  [
    translation,
    `translate translation translating translated traduire traduis traduction traduce traducir traducción übersetze übersetzen
     übersetzung`,
  ],
]

/** FNV-1a over lower-case UTF-16 units. */
const hashStart = 0x811c9dc5
const hashPrime = 0x01000193

const signsByHash: ReadonlyMap<number, readonly { readonly word: string; readonly signs: number }[]> = (() => {
  const signsOf = new Map<string, number>()
  for (const [signs, words] of vocabulary) {
    for (const word of words.split(/\s+/)) signsOf.set(word, (signsOf.get(word) ?? 0) | signs)
  }
  const byHash = new Map<number, { word: string; signs: number }[]>()
  for (const [word, signs] of signsOf) {
    let hash = hashStart
    for (let index = 0; index < word.length; index++) hash = Math.imul(hash ^ word.charCodeAt(index), hashPrime)
    const same = byHash.get(hash)
    if (same === undefined) byHash.set(hash, [{ word, signs }])
    else same.push({ word, signs })
  }
  return byHash
})()

/** Which hashes any word of the list has, by their last bits: all but a few words of a text are passed over by one look. */
const hashBits = 8_191
const possible: Uint8Array = (() => {
  const bits = new Uint8Array(hashBits + 1)
  for (const hash of signsByHash.keys()) bits[hash & hashBits] = 1
  return bits
})()

const wordCharactersMax = 20
/** Words at either end that say what is wanted. */
const edgeWords = 12
const edgeWeight = 4

class Look {
  readonly #text: string
  #wordCount = 0
  #questionCount = 0
  #reasoningCount = 0
  #codeCount = 0
  #mathCount = 0
  #stepCount = 0
  #summaryCount = 0
  #extractionCount = 0
  #translationCount = 0
  /** Signs of the last words, a ring: what is wanted may stand at the end. */
  readonly #last = new Uint8Array(edgeWords)

  constructor(text: string) {
    this.#text = text
  }

  signs(): TextSigns {
    this.#scan()
    if (this.#wordCount > 2 * edgeWords) for (const signs of this.#last) this.#countWanted(signs, edgeWeight - 1)
    return {
      characterCount: this.#text.length,
      wordCount: this.#wordCount,
      questionCount: this.#questionCount,
      reasoningCount: this.#reasoningCount,
      codeCount: this.#codeCount,
      mathCount: this.#mathCount,
      stepCount: this.#stepCount,
      summaryCount: this.#summaryCount,
      extractionCount: this.#extractionCount,
      translationCount: this.#translationCount,
    }
  }

  #scan(): void {
    const text = this.#text
    const { length } = text
    let hash = hashStart
    let wordLength = 0
    let lineStart = true
    for (let index = 0; index < length; index++) {
      const unit = text.charCodeAt(index)
      const lower = unit >= 65 && unit <= 90 ? unit + 32 : unit
      if ((lower >= 97 && lower <= 122) || lower >= 192) {
        // Capital letters beyond ASCII stay as they are: the list has no word that begins with one but ü and é.
        hash = Math.imul(hash ^ (lower === 0xdc ? 0xfc : lower === 0xc9 ? 0xe9 : lower), hashPrime)
        wordLength += 1
        lineStart = false
        continue
      }
      if (wordLength > 0) {
        this.#word(hash, wordLength, index)
        hash = hashStart
        wordLength = 0
      }
      if (unit === 32) continue
      if (unit === 10) {
        lineStart = true
        continue
      }
      this.#mark(unit, index, lineStart)
      lineStart = false
    }
    if (wordLength > 0) this.#word(hash, wordLength, length)
  }

  #word(hash: number, length: number, end: number): void {
    const place = this.#wordCount
    this.#wordCount += 1
    const signs = possible[hash & hashBits] === 0 || length > wordCharactersMax ? 0 : this.#signsOf(hash, length, end)
    this.#last[place % edgeWords] = signs
    if (signs === 0) return
    if (signs & reasoning) this.#reasoningCount += 1
    if (signs & code) this.#codeCount += 1
    if (signs & math) this.#mathCount += 1
    if (signs & step) this.#stepCount += 1
    this.#countWanted(signs, place < edgeWords ? edgeWeight : 1)
  }

  #signsOf(hash: number, length: number, end: number): number {
    const known = signsByHash.get(hash)
    if (known === undefined) return 0
    const found = this.#text.slice(end - length, end).toLowerCase()
    for (const { word, signs } of known) if (word === found) return signs
    return 0
  }

  #countWanted(signs: number, weight: number): void {
    if (signs & summary) this.#summaryCount += weight
    if (signs & extraction) this.#extractionCount += weight
    if (signs & translation) this.#translationCount += weight
  }

  /** A character that is no letter, blank or line end. */
  #mark(unit: number, index: number, lineStart: boolean): void {
    const text = this.#text
    switch (unit) {
      case 63: // ?
      case 0xbf: // ¿ comes with its ?
        if (unit === 63) this.#questionCount += 1
        return
      case 96: // `
        if (text.charCodeAt(index + 1) === 96 && text.charCodeAt(index + 2) === 96 && lineStart) this.#codeCount += 8
        return
      case 123: // {
      case 59: // ;
      case 125: // }
        if (isLineEnd(text.charCodeAt(index + 1))) this.#codeCount += 1
        return
      case 61: // =
      case 45: // -
        if (text.charCodeAt(index + 1) === 62) this.#codeCount += 1
        else if (unit === 61 && isOperand(text, index)) this.#mathCount += 1
        else if (unit === 45 && lineStart && text.charCodeAt(index + 1) === 32) this.#stepCount += 1
        return
      case 42: // *
        if (lineStart && text.charCodeAt(index + 1) === 32) this.#stepCount += 1
        else if (isOperand(text, index)) this.#mathCount += 1
        return
      case 43: // +
      case 94: // ^
      case 60: // <
      case 62: // >
        if (isOperand(text, index)) this.#mathCount += 1
        return
      case 92: // \ of LaTeX
        if (isLetter(text.charCodeAt(index + 1))) this.#mathCount += 1
        return
      default:
        if (unit >= 48 && unit <= 57) {
          // 1. and 1) at the beginning of a line.
          const next = text.charCodeAt(index + 1)
          if (lineStart && (next === 46 || next === 41)) this.#stepCount += 1
        } else if (unit >= 0x2200 && unit <= 0x22ff) this.#mathCount += 1
    }
  }
}

function isLineEnd(unit: number): boolean {
  return unit === 10 || Number.isNaN(unit)
}

function isLetter(unit: number): boolean {
  return (unit >= 97 && unit <= 122) || (unit >= 65 && unit <= 90)
}

/** `a=b`, `2 ^ 3`: between two operands, with or without blanks. */
function isOperand(text: string, index: number): boolean {
  const before = text.charCodeAt(text.charCodeAt(index - 1) === 32 ? index - 2 : index - 1)
  const after = text.charCodeAt(text.charCodeAt(index + 1) === 32 ? index + 2 : index + 1)
  return isTerm(before) && isTerm(after)
}

function isTerm(unit: number): boolean {
  return (unit >= 48 && unit <= 57) || isLetter(unit) || unit === 40 || unit === 41
}
