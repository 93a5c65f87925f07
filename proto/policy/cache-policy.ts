import { assert } from '../std/assert.js'
import { type Refusal, refuse } from '../std/refusal.js'
import type { CacheTable } from './tables.js'

/**
 * What may be kept of an answer and given again. Pure: the agent enforces it, the control plane explains it.
 *
 * A request that repeats itself (temperature 0, or embeddings) gets a kept answer where its route has a policy; any other
 * only where the policy or the client says so. An answer is *fresh* for as long as the class of its prompt allows, then
 * *stale* for as long as the policy allows, then *dead*. A route whose last resort may be a kept answer keeps answers for
 * that alone, whatever the temperature: who configured it asked for it.
 */

/**
 * The header with which a client has its own say. `on`: also where the temperature is not 0; `refresh`: the same, but a new
 * answer is made and kept; `off`: neither kept nor given.
 */
export const cacheHeader = 'x-switchyard-cache'
export type CacheWord = 'on' | 'off' | 'refresh'

/** What an answer rests on, in the client's words: what a purge can name. */
export const tagsHeader = 'x-switchyard-cache-tags'
export const documentsHeader = 'x-switchyard-cache-documents'
export const labelsMax = 16
const labelPattern = /^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}$/
export const labelShape = 'up to 128 letters, digits and . _ : / @ -, beginning with a letter or digit'

/** Nobody's answer is given after this, whatever a policy says; purges need not be remembered longer. */
export const ageSecondsMax = 30 * 86_400
/** Purges that an environment's section holds; older ones are folded into one that fits everything. */
export const purgesMax = 128
/** Until somebody says otherwise. */
export const cacheDefaults = Object.freeze({
  ttls: Object.freeze({ factual: 86_400, dynamic: 3_600 }),
  ttlSeconds: 3_600,
  ageMaxSeconds: 7 * 86_400,
  thresholdPpm: 950_000,
})

export function isLabel(text: string): boolean {
  return labelPattern.test(text)
}

/** Null where the client said nothing. */
export function readCacheWord(header: string | undefined): CacheWord | null | Refusal<'invalid_value'> {
  if (header === undefined) return null
  const word = header.trim().toLowerCase()
  if (word === 'on' || word === 'off' || word === 'refresh') return word
  return refuse('invalid_value', `'${cacheHeader}' is on, off or refresh.`, { field: cacheHeader })
}

/** The labels of a header, sorted, each once. */
export function readLabels(name: string, header: string | undefined): readonly string[] | Refusal<'invalid_value'> {
  if (header === undefined || header.trim() === '') return none
  const labels = [...new Set(header.split(',').map((label) => label.trim()))]
  if (labels.length > labelsMax) {
    return refuse('invalid_value', `'${name}' names more than ${labelsMax}.`, { field: name })
  }
  const wrong = labels.findIndex((label) => !isLabel(label))
  if (wrong === -1) return labels.sort()
  return refuse('invalid_value', `'${name}': number ${wrong + 1} is not ${labelShape}.`, { field: name })
}

const none: readonly string[] = Object.freeze([])

const cachedOperations: ReadonlySet<string> = new Set([
  ...['chat_completions', 'completions', 'responses', 'messages', 'embeddings'],
])

export interface CacheFacts {
  readonly operation: string
  /** As it goes upstream: the client's own, else what the target sends; null: the vendor's own. */
  readonly temperature: number | null
  readonly word: CacheWord | null
  /** Whom the client serves; null where it did not say. */
  readonly user: string | null
  /** The client wants its vendor to keep the exchange: a kept answer would not do that. */
  readonly storesUpstream: boolean
}

/** Both false: the request has nothing to do with the cache. */
export interface CacheConduct {
  /** A kept answer may be given. */
  readonly gives: boolean
  readonly keeps: boolean
}

/** `lastResortSeconds`: how old an answer may be that is given when every target failed; 0: none. */
export function cacheConduct(facts: CacheFacts, policy: CacheTable | null, lastResortSeconds: number): CacheConduct {
  const { operation, temperature, word, user, storesUpstream } = facts
  if (word === 'off' || storesUpstream || !cachedOperations.has(operation)) return aside
  // Nobody knows whose answer it would be.
  if (policy?.sharedBy === 'user' && user === null) return aside
  const repeats =
    policy !== null && (operation === 'embeddings' || temperature === 0 || policy.anyTemperature || word !== null)
  if (!repeats) return lastResortSeconds > 0 ? keepsOnly : aside
  return word === 'refresh' ? keepsOnly : givesAndKeeps
}

const aside: CacheConduct = Object.freeze({ gives: false, keeps: false })
const keepsOnly: CacheConduct = Object.freeze({ gives: false, keeps: true })
const givesAndKeeps: CacheConduct = Object.freeze({ gives: true, keeps: true })

/** Seconds that an answer to a prompt of these classes is fresh: the shortest that fits. */
export function freshSecondsOf(policy: CacheTable, classes: readonly string[]): number {
  let seconds = Number.POSITIVE_INFINITY
  for (const name of classes) seconds = Math.min(seconds, policy.ttlSeconds.get(name) ?? Number.POSITIVE_INFINITY)
  return Math.min(Number.isFinite(seconds) ? seconds : policy.otherTtlSeconds, ageMaxOf(policy))
}

export type AgeState = 'fresh' | 'stale' | 'dead'

/** Its last second counts. */
export function ageStateOf(policy: CacheTable, classes: readonly string[], ageSeconds: number): AgeState {
  const freshSeconds = freshSecondsOf(policy, classes)
  if (ageSeconds <= freshSeconds) return 'fresh'
  return ageSeconds <= Math.min(freshSeconds + policy.staleSeconds, ageMaxOf(policy)) ? 'stale' : 'dead'
}

function freshUpTo(policy: CacheTable, classes: readonly string[]): number {
  if (classes.length > 0) return freshSecondsOf(policy, classes)
  let seconds = policy.otherTtlSeconds
  for (const other of policy.ttlSeconds.values()) if (other > seconds) seconds = other
  return Math.min(seconds, ageMaxOf(policy))
}

/** Seconds after which nobody may give it any more, not even as a last resort. No classes: they are not known yet. */
export function keptSecondsOf(
  policy: CacheTable | null,
  classes: readonly string[],
  lastResortSeconds: number,
): number {
  const given = policy === null ? 0 : freshUpTo(policy, classes) + policy.staleSeconds
  return Math.min(Math.max(given, lastResortSeconds), ageMaxOf(policy))
}

/** Seconds beyond which nothing is given, whatever else is said. */
export function ageMaxOf(policy: CacheTable | null): number {
  return policy === null ? ageSecondsMax : Math.min(policy.ageMaxSeconds, ageSecondsMax)
}

/**
 * Whether the answer to a question goes out of date by itself. `dynamic` where it speaks of now, or of what changes by the
 * hour; otherwise `factual`. English, German, French, Spanish; in doubt a word counts as dynamic, which only costs a hit.
 * A question that cannot be read is dynamic.
 */
export function freshnessOf(question: string | null): 'factual' | 'dynamic' {
  if (question === null) return 'dynamic'
  // The end of a long one, where the question is.
  return saysDynamic(question.slice(-questionLengthMax)) ? 'dynamic' : 'factual'
}

const questionLengthMax = 4_096

const dynamicWords = [
  // Now.
  'now|nowadays|today|tonight|yesterday|tomorrow|current|currently|latest|recent|recently|live|upcoming|ongoing',
  'as of|so far|this (?:morning|afternoon|evening|week|weekend|month|quarter|year|season)',
  'last (?:night|hour|day|week|weekend|month|quarter|year|season|\\d+)',
  'next (?:night|hour|day|week|weekend|month|quarter|year|season|\\d+)',
  'past (?:night|hour|day|week|weekend|month|quarter|year|season|\\d+)',
  'heute|gestern|morgen|jetzt|gerade|aktuell|aktuelle[mnrs]?|derzeit|momentan|neueste[mnrs]?|letzte[mnrs]? woche',
  'diese[mnrs]? (?:woche|monat|jahr)|nächste[mnrs]? (?:woche|monat|jahr)|zurzeit|zur zeit',
  "aujourd['’]hui|hier|demain|maintenant|actuel|actuelle|actuels|actuelles|actuellement|dernier|dernière|derniers|dernières",
  'en ce moment|cette (?:semaine|année)|ce (?:mois|soir|matin)|récent|récente|récemment',
  'hoy|ayer|mañana|ahora|actual|actuales|actualmente|último|última|últimos|últimas|reciente|recientes|recientemente',
  'est[ae] (?:semana|mes|año|noche)|en este momento',
  // What changes by the hour.
  'weather|forecast|temperature outside|news|headlines|breaking|stock|stocks|share price|exchange rate|price of|prices',
  'score|scores|standings|traffic|availability|available|in stock|status|outage|schedule|opening hours|balance|queue',
  'wetter|vorhersage|nachrichten|schlagzeilen|aktie|aktien|aktienkurs|wechselkurs|kurs|preis|preise|verkehr|verfügbar',
  'öffnungszeiten|kontostand|spielstand|störung|météo|actualités|cours|bourse|prix|taux de change|horaires|solde|trafic',
  'tiempo hace|noticias|titulares|bolsa|cotización|tipo de cambio|precio|precios|tráfico|horario|saldo|disponible',
]

/** One of the words, with neither a letter nor a digit on either side. */
const dynamicPattern = wordPattern('iu')
/** The same at one place. */
const dynamicPatternAt = wordPattern('iuy')

function wordPattern(flags: string): RegExp {
  return new RegExp(`(?<![\\p{L}\\p{N}])(?:${dynamicWords.join('|')})(?![\\p{L}\\p{N}])`, flags)
}

/**
 * Every answer that is kept asks this. In a text of nothing but ASCII a word begins where no letter or digit stands before
 * it, and what its first three letters do not promise need not be tried: a fraction of what the pattern alone takes.
 */
function saysDynamic(text: string): boolean {
  const { length } = text
  let isInWord = 0
  for (let at = 0; at < length; at++) {
    const unit = text.charCodeAt(at)
    if (unit > 127) return dynamicPattern.test(text)
    const wasInWord = isInWord
    isInWord = lettersAndDigits[unit] as number
    if (isInWord === 0 || wasInWord === 1 || at + 2 >= length) continue
    if (beginnings[beginningOf(unit, text.charCodeAt(at + 1), text.charCodeAt(at + 2))] === 0) continue
    dynamicPatternAt.lastIndex = at
    if (dynamicPatternAt.test(text)) return true
  }
  return false
}

/** By ASCII code: 1 for a letter or digit. */
const lettersAndDigits = Uint8Array.from({ length: 128 }, (_, code) =>
  /[A-Za-z0-9]/.test(String.fromCharCode(code)) ? 1 : 0,
)

/** Whether some word begins so. */
const beginnings = beginningsOf(dynamicWords)

/** Of three letters the lowest five bits, which are the same for large and small ones. */
function beginningOf(first: number, second: number, third: number): number {
  return ((first & 31) << 10) | ((second & 31) << 5) | (third & 31)
}

function beginningsOf(lists: readonly string[]): Uint8Array {
  const marked = new Uint8Array(1 << 15)
  for (const list of lists) {
    // Alternatives inside a word are none of their own.
    for (const word of list.replace(/\([^)]*\)|\[[^\]]*\]/g, '?').split('|')) {
      assert(/^\p{L}{2}[\p{L} ]/u.test(word), 'a word begins with three characters that are what they are')
      marked[beginningOf(word.charCodeAt(0), word.charCodeAt(1), word.charCodeAt(2))] = 1
    }
  }
  return marked
}
