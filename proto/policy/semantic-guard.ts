import {
  type Gap,
  type Language,
  lexicons,
  numberWords,
  speechWords,
  type Template,
  units,
} from './semantic-lexicon.js'

/**
 * Whether a kept answer to one question may be given to another that is close to it by embedding. Closeness does not see
 * what an answer hangs on: "enable" and "disable", 10 mg and 100 mg, Paris to London and London to Paris lie side by side.
 * So nothing may differ but what is known to be harmless.
 *
 * Two questions get one answer when they say the same, piece by piece and in the same order: every word as it is written,
 * every number, sign, bracket and comma. What may differ is little, and said in `semantic-lexicon.ts`: politeness around a
 * question, whole ways of asking ("How do I …", "How can I …"), phrases that mean the same, spellings of a unit; and here:
 * contractions, the mark at the very end, the capital at the beginning of a sentence. A language without a lexicon gets only
 * what is equal piece by piece.
 *
 * Dropping single words ("a", "is", "of", "does") and letting others stand anywhere gave more hits and wrong ones among
 * them: the words that carry nothing in one question carry all of it in another. In doubt it says no: that costs a hit, the
 * other would be a wrong answer.
 */
export type Difference =
  | 'length'
  | 'language'
  | 'quote'
  | 'code'
  | 'number'
  | 'unit'
  | 'date'
  | 'negation'
  | 'comparison'
  | 'pronoun'
  | 'entity'
  | 'question'
  | 'word'
  | 'order'

/** In UTF-16 units. Longer ones are read by nobody here, so that a candidate costs a few milliseconds at most. */
const lengthMax = 10_000

/** What keeps the answer to `kept` from being one to `asked`; null for nothing. Beyond `lengthMax` only the very same is. */
export function findDifference(asked: string, kept: string): Difference | null {
  if (asked === kept) return null
  if (Math.max(asked.length, kept.length) > lengthMax) return 'length'
  const left = tokensOf(asked)
  const right = tokensOf(kept)
  const language = languageOf(left, right)
  if (language === 'differ') return 'language'
  return compare(said(left, language), said(right, language))
}

// ----------------------------------------------------------------------------------------------------------- tokens

type Kind = 'word' | 'number' | 'code' | 'quote' | 'symbol'

interface Token {
  readonly kind: Kind
  readonly written: string
  /** In small letters. */
  readonly key: string
  readonly isCapital: boolean
  /** The shouted word WHO is not the word who. */
  readonly isAllCapitals: boolean
  readonly beginsSentence: boolean
  /** Whether a blank, or the beginning or end of the text, is beside it. */
  readonly isAfterBlank: boolean
  readonly isBeforeBlank: boolean
}

/** Lengths are bounded where a piece looks for its end, so that reading takes as long as the text is long. */
const pieces = [
  // Quoted, in the marks of four languages and of code.
  ...['```[\\s\\S]{0,4000}?```', '`[^`\\n]{1,400}`', '"[^"\\n]{0,400}"', '“[^“”\\n]{0,400}”'],
  ...['„[^„“”\\n]{0,400}[“”]', '«[^«»\\n]{0,400}»'],
  "(?<![\\p{L}\\p{N}])'[^'\\n]{1,400}'(?![\\p{L}\\p{N}])",
  // Closed by ’, which is read as an apostrophe.
  "‘[^‘'\\n]{1,400}'(?!\\p{L})",
  // Addresses, and what only a program would spell like that.
  '(?:https?://|www\\.)\\S{0,2000}[^\\s.,;:!?]',
  '[\\p{L}\\p{N}._%+-]{1,64}@[\\p{L}\\p{N}.-]{1,253}\\.\\p{L}{2,}',
  '[\\p{L}_$][\\p{L}\\p{N}_$]{0,64}(?:(?:\\.|::|->|/)[\\p{L}_$][\\p{L}\\p{N}_$]{0,64})+(?:\\(\\))?',
  '[\\p{L}_$][\\p{L}\\p{N}_$]{0,64}(?:\\(\\)|\\+\\+|#)',
  '\\.[\\p{L}][\\p{L}\\p{N}]+',
  '(?<=^|\\s)--?\\p{L}[\\p{L}\\p{N}-]*',
  '\\p{L}{0,64}_[\\p{L}\\p{N}_]*',
  // Numbers with what belongs to them: signs, dates, times, ranges, versions; a dash may be a sign and a stop begin .5.
  "(?<![\\p{L}\\p{N}])[-+−–]?[.,]?\\p{N}+(?:[.,:/'–-]\\p{N}+)*",
  '\\p{N}+',
  "\\p{L}[\\p{L}\\p{M}]*(?:['-]\\p{L}[\\p{L}\\p{M}]*)*",
  // A line with how far it is set in: in a program that says something.
  '\\n[^\\S\\n]*',
]
const tokenPattern = new RegExp(`${pieces.map((piece) => `(${piece})`).join('|')}|([^\\s\\p{L}\\p{N}])`, 'gu')
const quoteCount = 8
const codeCount = 15
const numberCount = 17
const wordCount = 18

function tokensOf(text: string): Token[] {
  const plain = text
    .normalize('NFC')
    .replaceAll('’', "'")
    .replaceAll(/\r\n?|[\u2028\u2029]/g, '\n')
    .trim()
  const isAboutWords = speaksOfWords(plain)
  const tokens: Token[] = []
  let beginsSentence = true
  for (const match of plain.matchAll(tokenPattern)) {
    const index = match.findIndex((group, at) => at > 0 && group !== undefined)
    const [written] = match
    const place = {
      beginsSentence,
      isAfterBlank: isBlank(plain, match.index - 1),
      isBeforeBlank: isBlank(plain, match.index + written.length),
    }
    const add = (kind: Kind, spelling = written) => tokens.push(tokenOf(kind, spelling, place))
    // Upside down they are only how a Spanish sentence begins.
    if (/^[¿¡]$/.test(written)) {
      beginsSentence = true
      continue
    }
    if (index <= quoteCount) add('quote', written.replaceAll(/[“”„]/g, '"'))
    else if (index <= codeCount) add('code')
    else if (index <= numberCount) add('number', written.replace(/^[−–]/, '-'))
    else if (index > wordCount) add('symbol')
    else if (/\p{Ll}\p{Lu}/u.test(written)) add('code')
    else if (isAboutWords) add('word')
    else for (const part of contracted(written)) add('word', part)
    beginsSentence = index > wordCount && /^[.!?:。！？\n]/.test(written)
  }
  return tokens
}

type Beside = Pick<Token, 'beginsSentence' | 'isAfterBlank' | 'isBeforeBlank'>

function tokenOf(kind: Kind, written: string, { beginsSentence, isAfterBlank, isBeforeBlank }: Beside): Token {
  const key = written.toLowerCase()
  const isCapital = kind === 'word' && key !== written && /^\p{Lu}/u.test(written)
  const isAllCapitals = isCapital && written.length > 1 && written === written.toUpperCase()
  return { kind, written, key, isCapital, isAllCapitals, beginsSentence, isAfterBlank, isBeforeBlank }
}

/** Also beyond both ends. */
function isBlank(text: string, at: number): boolean {
  const code = text.charCodeAt(at)
  return Number.isNaN(code) || code === 32 || ((code < 32 || code > 126) && /\s/.test(text.charAt(at)))
}

const speech = new Set(speechWords.split('|'))

function speaksOfWords(text: string): boolean {
  return (text.toLowerCase().match(/\p{L}+/gu) ?? []).some((word) => speech.has(word))
}

const irregular: Readonly<Record<string, readonly string[]>> = Object.freeze({
  cannot: ['can', 'not'],
  "can't": ['can', 'not'],
  "won't": ['will', 'not'],
  "shan't": ['shall', 'not'],
})
const whole = new Set(["let's", "ain't", "qu'est-ce", "aujourd'hui", "s'il", "o'clock"])

/** One word, or several that are written as one: don't, France's, l'eau. */
function contracted(written: string): readonly string[] {
  const key = written.toLowerCase()
  const apart = irregular[key]
  // With the capital that it had.
  if (apart !== undefined) return [written.slice(0, 1) + (apart[0] ?? '').slice(1), ...apart.slice(1)]
  const apostrophe = written.indexOf("'")
  if (apostrophe === -1 || [...whole].some((word) => key.startsWith(word))) return [written]
  if (key.endsWith("n't")) return [written.slice(0, -3), 'not']
  const [stem, ending] = [written.slice(0, apostrophe), written.slice(apostrophe + 1)]
  switch (ending) {
    // Is, has, does or belongs to; had or would: what it is, only the rest of the sentence says.
    case 's':
    case 'd':
      return [stem, `'${ending}`]
    case 'm':
      return [stem, 'am']
    case 're':
      return [stem, 'are']
    case 've':
      return [stem, 'have']
    case 'll':
      return [stem, 'will']
    default:
      // French: l'eau, d'eau, n'est, qu'il.
      return stem.length <= 2 ? [stem === 'qu' ? 'que' : stem, ending] : [written]
  }
}

// -------------------------------------------------------------------------------------------------------- languages

interface Opening {
  readonly template: Template
  /** What has to come at the end. */
  readonly ending: readonly string[]
}

interface Words {
  readonly language: Language
  /** Every word of the lexicon. */
  readonly known: ReadonlySet<string>
  /** Those of them whose capital at the beginning of a sentence says nothing: not Sie, which may be sie. */
  readonly small: ReadonlySet<string>
  readonly phrases: Readonly<Record<Place, Phrases>>
  /** By what comes before the gap, joined with blanks; '' where nothing does. */
  readonly templates: ReadonlyMap<string, readonly Opening[]>
  readonly templateWordsMax: number
  readonly asks: ReadonlySet<string>
  readonly yesOrNo: ReadonlySet<string>
  readonly be: ReadonlySet<string>
  readonly adverbs: ReadonlySet<string>
  readonly states: ReadonlySet<string>
  readonly selves: ReadonlySet<string>
  readonly pronouns: ReadonlySet<string>
  /** Small letters → as it is written. */
  readonly names: ReadonlyMap<string, string>
  readonly units: ReadonlyMap<string, string>
}

type Place = 'opening' | 'giving' | 'asking' | 'request' | 'greeting' | 'thanks' | 'clauses' | 'same'

interface Phrases {
  /** Phrase, joined with blanks → what it stands for. */
  readonly meanings: ReadonlyMap<string, string>
  /** First word → the most words of a phrase that begins with it. */
  readonly lengths: ReadonlyMap<string, number>
}

const languages = Object.keys(lexicons) as readonly Language[]
const wordsBy: ReadonlyMap<Language, Words> = new Map(languages.map((language) => [language, readLexicon(language)]))

function readLexicon(language: Language): Words {
  const lexicon = lexicons[language]
  const numbers = numberWords[language].split(' ').map((pair) => pair.split(':').reverse() as [string, string])
  const phrases = {
    opening: phrasesOf([['', lexicon.opening.join('|')]]),
    giving: phrasesOf([['', lexicon.giving]]),
    asking: phrasesOf([['', lexicon.asking]]),
    request: phrasesOf([['', lexicon.request]]),
    greeting: phrasesOf([['', lexicon.greeting]]),
    thanks: phrasesOf([['', lexicon.thanks]]),
    clauses: phrasesOf(Object.entries(lexicon.clauses)),
    same: phrasesOf([...Object.entries(lexicon.same), ...numbers]),
  }
  const templates = new Map<string, Opening[]>()
  for (const template of lexicon.templates) {
    for (const pattern of template.patterns) {
      const [before = '', after = ''] = pattern.split('…').map((part) => part.trim())
      const openings = templates.get(before) ?? []
      openings.push({ template, ending: after === '' ? [] : after.split(' ') })
      templates.set(before, openings)
    }
  }
  for (const openings of templates.values()) openings.sort((a, b) => b.ending.length - a.ending.length)
  const setOf = (line: string) => new Set(line.split(/[| ]/).filter(Boolean))
  const spoken = [...templates].flatMap(([before, openings]) => [before, ...openings.flatMap(({ ending }) => ending)])
  const all = [...Object.values(phrases).flatMap(({ meanings }) => [...meanings.keys()]), ...spoken, lexicon.asks]
  const known = setOf([...all, lexicon.marks, lexicon.yesOrNo].join('|'))
  const [marks, pronouns] = [setOf(lexicon.marks), setOf(lexicon.pronouns)]
  return {
    ...{ language, phrases, templates, known, pronouns },
    small: new Set([...known].filter((word) => marks.has(word) || !pronouns.has(word))),
    templateWordsMax: Math.max(...[...templates.keys()].map((before) => before.split(' ').length)),
    ...{ asks: setOf(lexicon.asks), yesOrNo: setOf(lexicon.yesOrNo), be: setOf(lexicon.be) },
    ...{ adverbs: setOf(lexicon.adverbs), states: setOf(lexicon.states), selves: setOf(lexicon.selves) },
    names: new Map([...setOf(lexicon.names)].map((name) => [name.toLowerCase(), name])),
    units: new Map(
      units.flatMap((unit, index) =>
        [unit.sign, unit[language]].flatMap((line) => line?.split('|') ?? []).map((name) => [name, `unit ${index}`]),
      ),
    ),
  }
}

function phrasesOf(lines: readonly (readonly [name: string, line: string])[]): Phrases {
  const meanings = new Map(
    lines.flatMap(([name, line]) => line.split('|').map((phrase) => [phrase, name] as const)).filter(([one]) => one),
  )
  const lengths = new Map<string, number>()
  for (const phrase of meanings.keys()) {
    const words = phrase.split(' ')
    const [first = ''] = words
    lengths.set(first, Math.max(words.length, lengths.get(first) ?? 0))
  }
  return { meanings, lengths }
}

/** The language that both are in; null where no lexicon knows them, or two know them as well. */
function languageOf(left: readonly Token[], right: readonly Token[]): Language | 'differ' | null {
  const known = languages.map((language) => ({
    ...{ language, left: knownIn(language, left), right: knownIn(language, right) },
  }))
  const best = known.reduce((a, b) => (b.left + b.right > a.left + a.right ? b : a))
  if (known.some((one) => one.left > best.left + 1 || one.right > best.right + 1)) return 'differ'
  const isClear = known.every((one) => one === best || one.left + one.right < best.left + best.right)
  return isClear ? best.language : null
}

function knownIn(language: Language, tokens: readonly Token[]): number {
  const known = wordsBy.get(language)?.known
  return tokens.filter(({ kind, key }) => kind === 'word' && known?.has(key)).length
}

// -------------------------------------------------------------------------------------------------- what a question says

interface Saying {
  readonly text: string
  /** What another text here would be; null for what the text itself says. */
  readonly difference: Difference | null
  readonly isName: boolean
}

interface Said {
  readonly sayings: readonly Saying[]
  /** Where a late verb stood that was put where a question has it; null where none was. */
  readonly verbAt: number | null
}

function said(tokens: readonly Token[], language: Language | null): Said {
  const words = (language !== null && wordsBy.get(language)) || null
  const bare = withoutEnd(tokens)
  const { sayings, verbAt, isQuestion } =
    words === null ? { ...verbatim(bare), isQuestion: false } : new Reader(words).read(spelledOut(bare, words))
  // Without it "The server is down?" would only say so.
  const isMarked = !isQuestion && bare.length < tokens.length && asksAtEnd(tokens)
  return { sayings: isMarked ? [...sayings, { text: '?', difference: 'question', isName: false }] : sayings, verbAt }
}

function verbatim(tokens: readonly Token[]): Said {
  return { sayings: tokens.map((token, at) => plainSaying(token, tokens[at - 1], null)), verbAt: null }
}

/** "What's the" is "what is the"; "what's he" may be "what has he". English thousands lose their commas. */
function spelledOut(tokens: readonly Token[], words: Words): readonly Token[] {
  if (words.language !== 'en') return tokens
  const isAboutWords = tokens.some(({ kind, key }) => kind === 'word' && speech.has(key))
  return tokens.map((token, at) => {
    const [before, next] = [tokens[at - 1], tokens[at + 1]]
    if (token.written === "'s" && words.asks.has(before?.key ?? '')) {
      const isVerb = next?.kind === 'number' || /^(?:the|an?|my|your|our|their|his)$/.test(next?.key ?? '')
      return isVerb ? { ...token, written: 'is', key: 'is' } : token
    }
    const isThousands = token.kind === 'number' && /^[-+]?\d{1,3}(?:,\d{3})+$/.test(token.written)
    // In brackets a comma may part two numbers.
    const isAlone =
      (token.isAfterBlank || /^[$€£]$/.test(before?.written ?? '')) && (token.isBeforeBlank || !isList(next))
    return isThousands && isAlone && !isAboutWords ? { ...token, written: token.written.replaceAll(',', '') } : token
  })
}

function isList(token: Token | undefined): boolean {
  return token?.kind === 'symbol' && /^[\])}>,;]$/.test(token.written)
}

/** Marks after the last word. After a number, a letter or a sign they may be more: 5!, n!, 5. of C, a+? of a pattern. */
function withoutEnd(tokens: readonly Token[]): readonly Token[] {
  let length = tokens.length
  while (isEnd(tokens[length - 1])) length -= 1
  const last = tokens[length - 1]
  const marks = tokens.slice(length).map(({ written }) => written)
  if (last === undefined || (last.kind === 'symbol' && /^[-+*/=<>&|^~\\$@#]$/.test(last.written))) return tokens
  const isPlain = last.kind === 'quote' || (last.kind === 'word' && last.written.length > 1)
  if (isPlain || (marks.length === 1 && /^[?？.。]$/.test(marks[0] ?? ''))) return tokens.slice(0, length)
  return asksAtEnd(tokens) ? tokens.slice(0, -1) : tokens
}

function isEnd(token: Token | undefined): boolean {
  return token?.kind === 'symbol' && /^[.?!…。？！]$/.test(token.written)
}

function asksAtEnd(tokens: readonly Token[]): boolean {
  return /^[?？]$/.test(tokens.at(-1)?.written ?? '')
}

/** What no lexicon has. */
const nowhere = '\0'

/** Reads one question in one language. */
class Reader {
  readonly #words: Words

  constructor(words: Words) {
    this.#words = words
  }

  read(tokens: readonly Token[]): Said & { readonly isQuestion: boolean } {
    const { asked, isTold, isAsked } = this.#bareQuestion(tokens)
    const clause = this.#phraseAt('clauses', asked, 0)
    const [first] = asked
    const isClause = clause !== null && first !== undefined
    const question = isClause
      ? [{ ...first, written: clause.name, key: clause.name }, ...asked.slice(clause.length)]
      : asked
    const { turned, verbAt } = isTold || isClause ? this.#turned(question) : { turned: question, verbAt: null }
    const match = this.#templateOf(turned)
    const { asks, yesOrNo } = this.#words
    const [one, two] = [this.#keyOf(turned[0]), this.#keyOf(turned[1])]
    // Also "in which year".
    const hasTemplate = match !== null && !match.isRequest
    const isQuestion = isTold || isAsked || hasTemplate || asks.has(one) || yesOrNo.has(one) || asks.has(two)
    if (match === null) return { sayings: this.#plain(turned), verbAt, isQuestion }
    const template = { text: match.name, difference: 'question', isName: false } as const
    return { sayings: [template, ...this.#plain(match.gap)], verbAt, isQuestion }
  }

  /**
   * Without what is said around it. `isTold`: it is what somebody wants to be told, so it may be a clause; `isAsked`: it
   * is asked for, so a question mark says nothing more.
   */
  #bareQuestion(tokens: readonly Token[]): { asked: readonly Token[]; isTold: boolean; isAsked: boolean } {
    let asked = tokens
    let isTold = false
    let isAsked = false
    // Greeted, asked whether one may ask, asked to tell; more than that nobody is polite.
    for (let count = 0; count < 4; count++) {
      const greeting = this.#phraseAt('greeting', asked, 0)
      if (greeting !== null && isPause(asked[greeting.length]) && this.#isQuestion(asked.slice(greeting.length + 1))) {
        asked = asked.slice(greeting.length + 1)
        continue
      }
      const asking = this.#phraseAt('asking', asked, 0)
      if (asking !== null && this.#phraseAt('request', asked, asking.length) !== null) {
        asked = asked.slice(asking.length)
        isAsked = true
        continue
      }
      const opened = this.#afterOpening(asked)
      if (opened === null) break
      asked = opened
      isTold = true
    }
    return { asked: this.#withoutThanks(asked, isTold), isTold, isAsked }
  }

  #afterOpening(asked: readonly Token[]): readonly Token[] | null {
    const giving = this.#phraseAt('giving', asked, 0)
    if (giving !== null && this.#hasBeginning(asked.slice(giving.length))) return asked.slice(giving.length)
    const opening = this.#phraseAt('opening', asked, 0)
    if (opening === null) return null
    const hasPause = isPause(asked[opening.length]) || asked[opening.length]?.written === ':'
    const rest = asked.slice(opening.length + (hasPause ? 1 : 0))
    const [first] = rest
    if (first === undefined || rest.length < 2) return null
    const key = this.#keyOf(first)
    const isQuestion = this.#words.asks.has(key) || (hasPause && this.#words.yesOrNo.has(key))
    return isQuestion || this.#hasBeginning(rest) ? rest : null
  }

  /** After a question, and only there: "Translate: thank you" thanks nobody. */
  #withoutThanks(asked: readonly Token[], isTold: boolean): readonly Token[] {
    const isPlain = asked.every(({ kind, written, key }) => kind !== 'quote' && written !== ':' && !speech.has(key))
    if (!isPlain || !(isTold || this.#isQuestion(asked))) return asked
    for (let length = 1; length <= 4 && length < asked.length - 1; length++) {
      const thanks = this.#phraseAt('thanks', asked, asked.length - length)
      const pause = asked.length - length - 1
      if (thanks?.length !== length || !isPause(asked[pause])) continue
      return withoutEnd(asked.slice(0, isEnd(asked[pause]) ? pause + 1 : pause))
    }
    return asked
  }

  /** Begins as questions do. */
  #isQuestion(tokens: readonly Token[]): boolean {
    const [first] = tokens
    if (first === undefined || tokens.length < 2) return false
    const key = this.#keyOf(first)
    if (this.#words.asks.has(key) || this.#words.yesOrNo.has(key) || this.#hasBeginning(tokens)) return true
    const places = ['opening', 'giving', 'asking', 'request'] as const
    return places.some((place) => this.#phraseAt(place, tokens, 0) !== null)
  }

  #hasBeginning(tokens: readonly Token[]): boolean {
    const match = this.#templateOf(tokens)
    return match !== null && (match.gap.length === 0 || match.gap[0] !== tokens[0])
  }

  /**
   * A clause as the question that it stands for: "what the capital is" → "what is the capital", and after an adverb "why the
   * sky is blue" → "why is the sky blue". With a second verb it could be either's.
   */
  #turned(asked: readonly Token[]): { turned: readonly Token[]; verbAt: number | null } {
    const same = { turned: asked, verbAt: null }
    const keys = asked.map((token) => this.#keyOf(token))
    const [first = ''] = keys
    const { be, asks, adverbs, yesOrNo } = this.#words
    if (!asks.has(first) || keys.length < 3 || asked.some((token) => isPause(token))) return same
    const verbs = keys.flatMap((key, at) => (be.has(key) || yesOrNo.has(key) ? [at] : []))
    const [verbAt = -1] = verbs
    const isLast = verbAt === keys.length - 1
    // "How old he is" asks "how old is he", not "how is old he".
    const isMovable = isLast || adverbs.has(first)
    if (verbs.length !== 1 || verbAt < 2 || !be.has(keys[verbAt] ?? '') || !isMovable) return same
    const verb = asked.slice(verbAt, verbAt + 1)
    return { turned: [...asked.slice(0, 1), ...verb, ...asked.slice(1, verbAt), ...asked.slice(verbAt + 1)], verbAt }
  }

  #templateOf(asked: readonly Token[]): { name: string; isRequest: boolean; gap: readonly Token[] } | null {
    const keys = asked.slice(0, this.#words.templateWordsMax).map((token) => this.#keyOf(token))
    for (let length = Math.min(keys.length, asked.length); length >= 0; length--) {
      for (const { template, ending } of this.#words.templates.get(keys.slice(0, length).join(' ')) ?? []) {
        const end = asked.length - ending.length
        if (end < length || !ending.every((word, at) => this.#keyOf(asked[end + at]) === word)) continue
        const gap = asked.slice(length, end)
        if (this.#fits(template.gap, gap)) return { name: template.name, isRequest: template.isRequest === true, gap }
      }
    }
    return null
  }

  #fits(kind: Gap, gap: readonly Token[]): boolean {
    const [first] = gap
    if (first === undefined || kind === 'nothing') return first === undefined && kind === 'nothing'
    const areNames = gap.length <= 4 && gap.every((token) => this.#isName(token))
    switch (kind) {
      case 'any':
        return true
      case 'doing':
        if (gap.length < 2 || first.kind !== 'word' || this.#words.states.has(first.key)) return false
        return !gap.some(({ kind, key }) => kind === 'word' && this.#isSelf(key))
      case 'names':
        return areNames
      case 'names or a word':
        return areNames || (gap.length === 1 && first.kind === 'word' && !this.#words.known.has(first.key))
      case 'thing':
        return gap.length <= 8 && gap.every(({ kind, key }) => kind === 'word' && !this.#words.pronouns.has(key))
      case 'abbreviation':
        return gap.length === 1 && (first.kind === 'quote' || /^\p{Lu}{2,}$/u.test(this.#spelling(first)))
      case 'code':
        return gap.length === 1 && (first.kind === 'quote' || first.kind === 'code')
    }
  }

  /** Also at the end of a Spanish verb: ayudarme. */
  #isSelf(key: string): boolean {
    return this.#words.selves.has(key) || (this.#words.language === 'es' && /[aeiáéí]r(?:me|nos|se)$/.test(key))
  }

  #isName(token: Token): boolean {
    return token.kind === 'word' && /^\p{Lu}/u.test(this.#spelling(token))
  }

  #plain(tokens: readonly Token[]): Saying[] {
    const isAboutWords = tokens.some(({ kind, key }) => kind === 'word' && speech.has(key))
    const sayings: Saying[] = []
    for (let at = 0; at < tokens.length; ) {
      const token = tokens[at]
      if (token === undefined) break
      const before = tokens[at - 1]
      const unit = isAboutWords ? null : unitOf(token, before, this.#words.units)
      // A German capital makes a noun of a number: the Elf are a team.
      const isNoun = this.#words.language === 'de' && token.isCapital && !token.beginsSentence
      const phrase = unit === null && !isAboutWords && !isNoun ? this.#phraseAt('same', tokens, at) : null
      if (phrase !== null) sayings.push({ text: phrase.name, difference: null, isName: false })
      else sayings.push(unit ?? plainSaying(token, before, this.#spelling(token)))
      at += phrase?.length ?? 1
    }
    return amountsFirst(sayings, this.#words.units)
  }

  /** The longest phrase of `place` that begins at `at`. */
  #phraseAt(place: Place, tokens: readonly Token[], at: number): { name: string; length: number } | null {
    const { meanings, lengths } = this.#words.phrases[place]
    const first = this.#keyOf(tokens[at])
    for (let length = Math.min(lengths.get(first) ?? 0, tokens.length - at); length > 0; length--) {
      const keys = tokens.slice(at, at + length).map((token) => this.#keyOf(token))
      const name = meanings.get(keys.join(' '))
      if (name !== undefined) return { name, length }
    }
    return null
  }

  /** As the lexicon writes it; `nowhere` for names, numbers and signs. */
  #keyOf(token: Token | undefined): string {
    if (token?.kind !== 'word') return nowhere
    // German nouns begin with one, names or not.
    const isOwnCapital = this.#words.language !== 'de' && token.isCapital && !token.beginsSentence
    const isI = this.#words.language === 'en' && token.written === 'I'
    return (isOwnCapital || token.isAllCapitals) && !isI ? nowhere : token.key
  }

  /** A capital that only the beginning of the sentence made is none; a name has its own even if it was not written. */
  #spelling(token: Token): string {
    const { small, names } = this.#words
    const isFreeCapital = token.isCapital && token.beginsSentence && !token.isAllCapitals && token.written !== 'I'
    if (isFreeCapital && small.has(token.key)) return token.key
    return token.written === token.key ? (names.get(token.key) ?? token.written) : token.written
  }
}

function isPause(token: Token | undefined): boolean {
  return token?.kind === 'symbol' && /^[,.!?，。！？]$/.test(token.written)
}

/** After a number a unit is a unit, whatever else the word may mean; short ones as they are cased: mW and MW are two. */
function unitOf(token: Token, before: Token | undefined, names: ReadonlyMap<string, string>): Saying | null {
  const isSign = token.kind === 'symbol'
  if (!isSign && !(token.kind === 'word' && before?.kind === 'number')) return null
  const name = names.get(token.written)
  if (name !== undefined) return { text: name, difference: 'unit', isName: false }
  return isSign || token.written.length > 2 ? null : { text: token.written, difference: 'unit', isName: false }
}

function plainSaying(token: Token, before: Token | undefined, spelling: string | null): Saying {
  const { kind, written, isAfterBlank } = token
  const isGlued = !isAfterBlank && before !== undefined && (kind === 'number') !== (before.kind === 'number')
  const isName = token.isCapital && !token.beginsSentence
  switch (kind) {
    case 'quote':
    case 'code':
      return { text: `${kind} ${written}`, difference: kind, isName }
    case 'symbol':
      // What stands close together may be one sign: !=, x--y.
      return {
        text: `${isAfterBlank ? ' ' : ''}${written}${token.isBeforeBlank ? ' ' : ''}`,
        ...{ difference: 'word', isName },
      }
    case 'number':
      return { text: isGlued && before.kind === 'word' ? `~${written}` : written, difference: kind, isName }
    case 'word': {
      const text = spelling ?? written
      return { text: isGlued && before.kind === 'number' ? `~${text}` : text, difference: null, isName }
    }
  }
}

/** $5 says what 5 dollars do. */
function amountsFirst(sayings: Saying[], names: ReadonlyMap<string, string>): Saying[] {
  const signs = new Set(['$', '€'].map((sign) => names.get(sign)))
  for (let at = 0; at + 1 < sayings.length; at++) {
    const [sign, amount] = [sayings[at], sayings[at + 1]]
    if (sign === undefined || amount?.difference !== 'number' || !signs.has(sign.text)) continue
    if (sayings[at - 1]?.difference === 'number') continue
    sayings[at] = amount
    sayings[at + 1] = sign
  }
  return sayings
}

// -------------------------------------------------------------------------------------------------------- comparison

function compare(left: Said, right: Said): Difference | null {
  const isSame =
    left.sayings.length === right.sayings.length &&
    left.sayings.every(({ text }, at) => text === right.sayings[at]?.text)
  if (!isSame) return reasonOf(left.sayings, right.sayings)
  // "Why the man eating fish is ill" and "why the man is eating fish ill" are both the question "why is the man …".
  const isTwice = left.verbAt !== null && right.verbAt !== null
  return isTwice && left.verbAt !== right.verbAt ? 'order' : null
}

/** What one says and the other nowhere. */
function reasonOf(left: readonly Saying[], right: readonly Saying[]): Difference {
  const [leftTexts, rightTexts] = [left, right].map((sayings) => new Set(sayings.map(({ text }) => text)))
  const missing = [
    ...left.filter(({ text }) => !rightTexts?.has(text)),
    ...right.filter(({ text }) => !leftTexts?.has(text)),
  ]
  if (missing.length === 0) return 'order'
  for (const saying of missing) {
    const difference = differenceOf(saying)
    if (difference !== 'word') return difference
  }
  return 'word'
}

/** Only for saying why; nothing is decided by these. */
const reasons: readonly (readonly [Difference, RegExp])[] = [
  [
    'negation',
    /^(?:not|no|never|none|without|neither|nor|nothing|nobody|hardly|except|nicht|ohne|nie|niemals|kein|keine|keinen|pas|ne|sans|jamais|sin|nunca|ni)$/,
  ],
  [
    'comparison',
    /^(?:more|less|than|most|least|better|worse|best|worst|before|after|above|below|over|under|mehr|weniger|als|vor|nach|plus|moins|avant|après|más|menos|antes|después|maximum|minimum|larger|smaller|bigger|higher|lower|faster|slower|older|younger)$/,
  ],
  [
    'pronoun',
    /^(?:i|me|my|mine|you|your|he|him|his|she|her|it|its|we|us|our|they|them|their|\w+sel(?:f|ves)|ich|du|er|sie|wir|ihr|mein|dein|sein|je|tu|il|elle|nous|vous|mon|ton|son|sa|ses|yo|tú|él|ella|mi|su|sus|nos)$/i,
  ],
  [
    'date',
    /^(?:january|february|march|april|may|june|july|august|september|october|november|december|monday|tuesday|wednesday|thursday|friday|saturday|sunday|today|yesterday|tomorrow|montag|dienstag|mittwoch|donnerstag|freitag|samstag|sonntag|lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche|lunes|martes|miércoles|jueves|viernes|sábado|domingo)$/i,
  ],
  ['number', /^\d+$/],
]

function differenceOf({ text, difference, isName }: Saying): Difference {
  if (difference !== null) return difference
  return reasons.find(([, pattern]) => pattern.test(text))?.[0] ?? (isName ? 'entity' : 'word')
}
