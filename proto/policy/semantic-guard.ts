import { type Language, type Lexicon, lexicons, numberWords, units } from './semantic-lexicon.js'

/**
 * Whether a kept answer to one question may be given to another that is close to it by embedding. Closeness does not see
 * what an answer hangs on: "enable" and "disable", 10 mg and 100 mg, Paris to London and London to Paris lie side by side.
 * So nothing may differ but what is known to be harmless.
 *
 * Each question becomes a list of what it says, in order: numbers, units, names, negations, comparisons, pronouns, code and
 * quoted text as they are, and every other word, but for those that the lexicon of its language drops, lets stand anywhere
 * or knows as the same. Two questions get one answer when both lists are equal. A word that nobody listed counts, and so
 * does its place; a language without a lexicon gets only what is equal word for word. In doubt it says no: that costs a
 * hit, the other would be a wrong answer.
 */
export type Difference =
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

/** What keeps the answer to `kept` from being one to `asked`; null for nothing. */
export function findDifference(asked: string, kept: string): Difference | null {
  if (asked === kept) return null
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
  /** As compared: words in lower case, unless they are all capitals. */
  readonly text: string
  readonly written: string
  /** Begins with a capital although no sentence does. */
  readonly isName: boolean
  /** A comma, a stop or the like stands before it. */
  readonly isAfterPause: boolean
}

/** Lengths are bounded where a piece looks for its end, so that reading takes as long as the text is long. */
const pieces = [
  // Quoted, in the marks of four languages and of code.
  ...['```[\\s\\S]{0,4000}?```', '`[^`\\n]{1,400}`', '"[^"\\n]{0,400}"', '“[^”\\n]{0,400}”'],
  ...['„[^“”\\n]{0,400}[“”]', '«[^»\\n]{0,400}»'],
  "(?<![\\p{L}\\p{N}])'[^'\\n]{1,400}'(?![\\p{L}\\p{N}])",
  '‘[^’\\n]{1,400}’(?![\\p{L}])',
  // Addresses, and what only a program would spell like that.
  '(?:https?://|www\\.)\\S+',
  '[\\p{L}\\p{N}._%+-]{1,64}@[\\p{L}\\p{N}.-]{1,253}\\.\\p{L}{2,}',
  '[\\p{L}_$][\\p{L}\\p{N}_$]*(?:(?:\\.|::|->|/)[\\p{L}_$][\\p{L}\\p{N}_$]*)+(?:\\(\\))?',
  '[\\p{L}_$][\\p{L}\\p{N}_$]*(?:\\(\\)|\\+\\+|#)',
  '\\.[\\p{L}][\\p{L}\\p{N}]+',
  '(?<=^|\\s)--?\\p{L}[\\p{L}\\p{N}-]*',
  '\\p{L}{0,64}_[\\p{L}\\p{N}_]*',
  // Numbers with what belongs to them: dates, times, ranges, versions.
  "(?<![\\p{L}\\p{N}])[-+−]?\\p{N}+(?:[.,:/'’–-]\\p{N}+)*",
  '\\p{N}+',
  "\\p{L}[\\p{L}\\p{M}]*(?:['’-]\\p{L}[\\p{L}\\p{M}]*)*",
]
const tokenPattern = new RegExp(`${pieces.map((piece) => `(${piece})`).join('|')}|([^\\s\\p{L}\\p{N}])`, 'gu')
const quoteCount = 8
const codeCount = 15
const numberCount = 17

/** Says nothing by itself. Everything else that is no letter does. */
const plainPunctuation = /^[.,;:!?…()[\]{}"'’‘“”„«»¿¡\u2010-\u2015。，、！？：；-]$/u

function tokensOf(text: string): Token[] {
  const plain = text.normalize('NFC').replaceAll('’', "'").replaceAll('\u00a0', ' ')
  const isShouted = plain === plain.toUpperCase()
  const tokens: Token[] = []
  let beginsSentence = true
  let isAfterPause = false
  for (const match of plain.matchAll(tokenPattern)) {
    const index = match.findIndex((group, at) => at > 0 && group !== undefined)
    const [written] = match
    if (index > pieces.length && plainPunctuation.test(written)) {
      if (/[.!?:¿¡]/.test(written)) beginsSentence = true
      isAfterPause = true
      continue
    }
    const rest = { written, isName: false, isAfterPause }
    if (index <= quoteCount) tokens.push({ kind: 'quote', text: written.slice(1, -1), ...rest })
    else if (index <= codeCount) tokens.push({ kind: 'code', text: trimmed(written), ...rest })
    else if (index <= numberCount) tokens.push({ kind: 'number', text: numberOf(written), ...rest })
    else if (index > pieces.length) tokens.push({ kind: 'symbol', text: written, ...rest })
    else if (/\p{Ll}\p{Lu}/u.test(written)) tokens.push({ kind: 'code', text: written, ...rest })
    else tokens.push(...wordsOf(written, { isShouted, beginsSentence, isAfterPause }))
    beginsSentence = false
    isAfterPause = false
  }
  return tokens
}

/** Without the punctuation of the sentence around it. */
function trimmed(code: string): string {
  return code.replace(/[.,;:!?)\]]+$/, '')
}

/** English thousands without their commas; whatever else stands as it is written. */
function numberOf(text: string): string {
  const bare = text.replace('−', '-').replace('’', "'")
  return /^[-+]?\d{1,3}(?:,\d{3})+$/.test(bare) ? bare.replaceAll(',', '') : bare
}

/** One word, or several that are written as one: don't, what's, l'eau. */
function wordsOf(
  written: string,
  place: { isShouted: boolean; beginsSentence: boolean; isAfterPause: boolean },
): readonly Token[] {
  const { isAfterPause } = place
  // The shouted word WHO is not the word who, unless everything is shouted.
  const isCapitals =
    !place.isShouted && written.length > 1 && written === written.toUpperCase() && /^\p{Lu}/u.test(written)
  if (isCapitals) return [{ kind: 'word', text: written, written, isName: true, isAfterPause }]
  const isName = !place.beginsSentence && /^\p{Lu}/u.test(written) && written !== 'I' && !written.startsWith("I'")
  return contracted(written.toLowerCase()).map((text, at) => ({
    ...{ kind: 'word', text, written, isName: isName && at === 0, isAfterPause: isAfterPause && at === 0 },
  }))
}

const irregular: Readonly<Record<string, readonly string[]>> = Object.freeze({
  cannot: ['can', 'not'],
  "can't": ['can', 'not'],
  "won't": ['will', 'not'],
  "shan't": ['shall', 'not'],
  "let's": ['let', 'us'],
  "i'm": ['i', 'am'],
  "qu'est-ce": ["qu'est-ce"],
  "aujourd'hui": ["aujourd'hui"],
  "s'il": ["s'il"],
})

function contracted(word: string): readonly string[] {
  const whole = irregular[word]
  if (whole !== undefined) return whole
  const apostrophe = word.indexOf("'")
  if (apostrophe === -1) return [word]
  if (word.endsWith("n't")) return [word.slice(0, -3), 'not']
  const [stem, ending] = [word.slice(0, apostrophe), word.slice(apostrophe + 1)]
  switch (ending) {
    case 's':
      // Is, or belongs to.
      return questionStems.has(stem) ? [stem, 'is'] : [stem]
    case 're':
      return [stem, 'are']
    case 've':
      return [stem, 'have']
    case 'll':
      return [stem, 'will']
    case 'd':
      return [stem, 'would']
    default:
      // French: l'eau, d'eau, n'est, qu'il.
      return stem.length <= 2 ? [stem === 'qu' ? 'que' : stem, ...contracted(ending)] : [word]
  }
}

const questionStems = new Set(['what', 'who', 'where', 'when', 'why', 'how', 'it', 'that', 'there', 'he', 'she'])

// -------------------------------------------------------------------------------------------------------- languages

type Place = 'dropped' | 'opening' | 'asking' | 'request' | 'greeting' | 'form' | 'attribute' | 'bound'

interface Words {
  /** Phrase → what it stands for, by where it may stand; a phrase of several words is joined with blanks. */
  readonly meanings: ReadonlyMap<string, ReadonlyMap<Place, string>>
  readonly phraseWordsMax: number
  readonly yesOrNo: ReadonlySet<string>
}

const languages = Object.keys(lexicons) as readonly Language[]
const wordsBy: ReadonlyMap<Language, Words> = new Map(
  languages.map((language) => [language, readLexicon(lexicons[language], numberWords[language])]),
)

function readLexicon(lexicon: Lexicon, numbers: string): Words {
  const meanings = new Map<string, Map<Place, string>>()
  const add = (place: Place, name: string, line: string) => {
    for (const phrase of line.split('|')) {
      const places = meanings.get(phrase) ?? new Map<Place, string>()
      meanings.set(phrase, places.set(place, name))
    }
  }
  add('dropped', '', lexicon.dropped)
  add('opening', '', lexicon.opening.join('|'))
  for (const place of ['asking', 'request', 'greeting'] as const) add(place, '', lexicon[place])
  for (const place of ['form', 'attribute', 'bound'] as const) {
    for (const [name, line] of Object.entries(lexicon[place])) add(place, name, line)
  }
  for (const pair of numbers.split(' ')) {
    const [word = '', value = ''] = pair.split(':')
    add('bound', value, word)
  }
  const phraseWordsMax = Math.max(...[...meanings.keys()].map((phrase) => phrase.split(' ').length))
  return { meanings, phraseWordsMax, yesOrNo: new Set(lexicon.asksYesOrNo.split('|')) }
}

/** The language that both are in; null where no lexicon knows them. */
function languageOf(left: readonly Token[], right: readonly Token[]): Language | 'differ' | null {
  const known = languages.map((language) => ({
    ...{ language, left: knownIn(language, left), right: knownIn(language, right) },
  }))
  const best = known.reduce((a, b) => (b.left + b.right > a.left + a.right ? b : a))
  if (best.left + best.right === 0) return null
  const isElsewhere = known.some((one) => one.left > best.left + 1 || one.right > best.right + 1)
  return isElsewhere ? 'differ' : best.language
}

function knownIn(language: Language, tokens: readonly Token[]): number {
  const meanings = wordsBy.get(language)?.meanings
  return tokens.filter(({ kind, text }) => kind === 'word' && meanings?.has(text)).length
}

// -------------------------------------------------------------------------------------------------- what a question says

interface Saying {
  readonly text: string
  readonly difference: Difference
  readonly isName: boolean
  /** May stand elsewhere where there is nothing else that it could belong to. */
  readonly isAttribute: boolean
}

interface Said {
  readonly bound: readonly Saying[]
  /** Sorted, each once. */
  readonly free: readonly string[]
}

const unitNames: ReadonlyMap<string, string> = new Map(
  units.flatMap((line) => {
    const spellings = line.split('|')
    return spellings.map((spelling) => [spelling, spellings[0] ?? ''] as const)
  }),
)

function said(tokens: readonly Token[], language: Language | null): Said {
  const words = (language !== null && wordsBy.get(language)) || null
  const bound: Saying[] = []
  const form = new Set<string>()
  // Until something is said that counts.
  let isOpening = true
  for (let at = 0; at < tokens.length; ) {
    const token = tokens[at]
    if (token === undefined) break
    const unit = unitOf(token, tokens[at - 1])
    const phrase: Phrase | null = words === null || unit !== null ? null : longestPhrase(words, tokens, at, isOpening)
    const isPolite: boolean = phrase?.place === 'opening' || phrase?.place === 'asking' || phrase?.place === 'greeting'
    if (isOpening && !isPolite && words?.yesOrNo.has(token.text)) form.add('yes or no')
    if (phrase === null) bound.push(unit ?? plainSaying(token))
    else if (phrase.place === 'form') form.add(phrase.name)
    else if (phrase.place === 'attribute' || phrase.place === 'bound') {
      const difference = differenceOf(phrase.name, token)
      bound.push({ text: phrase.name, difference, isName: false, isAttribute: phrase.place === 'attribute' })
    }
    isOpening &&= isPolite
    at += phrase?.length ?? 1
  }
  return floated(amountsFirst(bound), form)
}

/** An attribute may stand anywhere while there is only one that it can belong to: one word, or one name. */
function floated(bound: readonly Saying[], form: ReadonlySet<string>): Said {
  const attributes = bound.filter(({ isAttribute }) => isAttribute)
  const rest = bound.filter(({ isAttribute }) => !isAttribute)
  if (attributes.length === 1 && (rest.length <= 1 || rest.every(({ isName }) => isName))) {
    return { bound: rest, free: [...form, ...attributes.map(({ text }) => text)].sort() }
  }
  return { bound, free: [...form].sort() }
}

interface Phrase {
  readonly place: Place
  readonly name: string
  readonly length: number
}

/** The longest phrase that begins at `at` and may stand there. */
function longestPhrase(words: Words, tokens: readonly Token[], at: number, isOpening: boolean): Phrase | null {
  for (let length = Math.min(words.phraseWordsMax, tokens.length - at); length > 0; length--) {
    const found = placesOf(words, tokens, at, length)
    if (found === undefined) continue
    const next = at + length
    for (const place of ['greeting', 'opening', 'asking', 'form', 'attribute', 'bound', 'dropped'] as const) {
      const name = found.get(place)
      if (name === undefined) continue
      if (place === 'greeting' && !isSetOff(tokens, at, next, isOpening)) continue
      if (place === 'opening' && !isOpening) continue
      if (place === 'asking' && !(isOpening && isRequest(words, tokens, next))) continue
      return { place, name, length }
    }
  }
  return null
}

function placesOf(words: Words, tokens: readonly Token[], at: number, length: number) {
  let phrase = ''
  for (let index = at; index < at + length; index++) {
    const token = tokens[index]
    if (token?.kind !== 'word' || (index > at && token.isAfterPause)) return undefined
    phrase = phrase === '' ? token.text : `${phrase} ${token.text}`
  }
  return words.meanings.get(phrase)
}

/** At the beginning and followed by a pause, or at the end and after one. */
function isSetOff(tokens: readonly Token[], at: number, next: number, isOpening: boolean): boolean {
  const following = tokens[next]
  if (isOpening) return following?.isAfterPause === true
  return following === undefined && tokens[at]?.isAfterPause === true
}

function isRequest(words: Words, tokens: readonly Token[], at: number): boolean {
  for (let length = Math.min(words.phraseWordsMax, tokens.length - at); length > 0; length--) {
    if (placesOf(words, tokens, at, length)?.has('request')) return true
  }
  return false
}

/** After a number a unit is a unit, whatever else the word may mean; short ones as they are cased: mW and MW are two. */
function unitOf(token: Token, before: Token | undefined): Saying | null {
  const isSign = token.kind === 'symbol'
  if (!isSign && !(token.kind === 'word' && before?.kind === 'number')) return null
  const name = unitNames.get(token.written.length <= 2 ? token.written : token.text)
  if (name !== undefined) return { text: name, difference: 'unit', isName: false, isAttribute: false }
  return isSign || token.written.length > 2
    ? null
    : { text: token.written, difference: 'unit', isName: false, isAttribute: false }
}

function plainSaying(token: Token): Saying {
  const { kind, text, isName } = token
  const rest = { isName, isAttribute: false }
  switch (kind) {
    case 'quote':
    case 'code':
      return { text: `${kind} ${text}`, difference: kind, ...rest }
    case 'number':
      return { text, difference: kind, ...rest }
    default:
      return { text, difference: isName ? 'entity' : differenceOf(text, token), ...rest }
  }
}

/** $5 says what 5 dollars do. */
function amountsFirst(bound: readonly Saying[]): readonly Saying[] {
  const turned = [...bound]
  for (let at = 0; at + 1 < turned.length; at++) {
    const [sign, amount] = [turned[at], turned[at + 1]]
    if (sign === undefined || amount?.difference !== 'number' || !/^[$€£]$/.test(sign.text)) continue
    if (turned[at - 1]?.difference === 'number') continue
    turned[at] = amount
    turned[at + 1] = sign
  }
  return turned
}

// -------------------------------------------------------------------------------------------------------- comparison

function compare(left: Said, right: Said): Difference | null {
  const length = Math.max(left.bound.length, right.bound.length)
  for (let at = 0; at < length; at++) {
    const [a, b] = [left.bound[at], right.bound[at]]
    if (a?.text === b?.text) continue
    if (isSameSet(left.bound, right.bound)) return 'order'
    // What one says and the other nowhere.
    const missing =
      left.bound.find(({ text }) => !right.bound.some((other) => other.text === text)) ??
      right.bound.find(({ text }) => !left.bound.some((other) => other.text === text))
    return (missing ?? a ?? b)?.difference ?? 'word'
  }
  return left.free.join('|') === right.free.join('|') ? null : 'question'
}

function isSameSet(left: readonly Saying[], right: readonly Saying[]): boolean {
  const sorted = (sayings: readonly Saying[]) =>
    sayings
      .map(({ text }) => text)
      .sort()
      .join('\n')
  return left.length === right.length && sorted(left) === sorted(right)
}

/** Only for saying why; nothing is decided by these. */
const reasons: readonly (readonly [Difference, RegExp])[] = [
  [
    'negation',
    /^(?:not|no|never|none|without|neither|nor|nothing|nobody|hardly|except|nicht|ohne|nie|niemals|pas|ne|sans|jamais|sin|nunca|ni)$/,
  ],
  [
    'comparison',
    /^(?:more|less|than|most|least|better|worse|best|worst|\w+er than|at least|at most|more than|less than|before|after|above|below|over|under|mehr|weniger|als|vor|nach|plus|moins|avant|après|más|menos|antes|después|maximum|minimum|larger|smaller|bigger|higher|lower|faster|slower|older|younger)$/,
  ],
  ['pronoun', /^(?:p1|we|you|he|she|they|it|du|er|nous|tu|vous|il|nos|ihr|sie|elle|ella|él|su|sus|son|sa|ses)$/],
  [
    'date',
    /^(?:january|february|march|april|may|june|july|august|september|october|november|december|monday|tuesday|wednesday|thursday|friday|saturday|sunday|today|yesterday|tomorrow|montag|dienstag|mittwoch|donnerstag|freitag|samstag|sonntag|lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche|lunes|martes|miércoles|jueves|viernes|sábado|domingo)$/,
  ],
  ['number', /^\d+(?:st|nd|rd|th)?$/],
]

function differenceOf(name: string, token: Token): Difference {
  const reason = reasons.find(([, pattern]) => pattern.test(name))
  return reason?.[0] ?? (token.isName ? 'entity' : 'word')
}
