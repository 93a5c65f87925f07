import { createRequire } from 'node:module'

/**
 * Patterns that tenants write: RE2's syntax, searched for anywhere in a text, by `re2js`, whose time grows with the text and
 * not with what stands in it (V8's own takes seconds for `^(a+)+$` and 30 characters). No look-around and no references to
 * groups, for those cannot be had in linear time.
 *
 * Linear is not yet little: each character may cost as much as the pattern has steps. So the steps are bounded here, and
 * whoever searches bounds steps times characters (`condition.ts`). Automata that are built while searching are held to
 * 64 KiB a pattern, where the library would take 8 MiB; beyond that a search goes on without one, at those costs.
 *
 * The library is loaded with the first pattern: it takes 7 MiB and 20 ms of each process, and most never see a pattern.
 */
export interface Pattern {
  /** Steps of the compiled pattern; what each character of a text may cost. */
  readonly stepCount: number
  /** Whether it is somewhere in `text`. Never throws. */
  isIn(text: string): boolean
}

export const patternCharactersMax = 256
/** Most steps of one compiled pattern: a letter is one, `[a-z]{20}` are 20. */
export const patternStepsMax = 500
/** Of what is looked at before anything is compiled, which is counted more roughly. */
const roughStepsMax = 4 * patternStepsMax
const automatonBytesMax = 64 * 1024

/** The pattern that `text` writes, or in words why it is none. */
export function compilePattern(text: string): Pattern | string {
  if (text.length > patternCharactersMax) return `the pattern is longer than ${patternCharactersMax} characters`
  // Compiling writes repetitions out: `((…){30}){30}` would be nine hundred times as long before it could be counted.
  if (roughStepCount(text) > roughStepsMax) return tooLarge
  const { RE2JS, RE2Set } = loadLibrary()
  try {
    const stepCount = RE2JS.compile(text).programSize()
    if (stepCount > patternStepsMax) return tooLarge
    // A set of one: the only way to say how large an automaton may become.
    const set = new RE2Set(RE2Set.UNANCHORED, 0, automatonBytesMax)
    set.add(text)
    set.compile()
    return Object.freeze({ stepCount, isIn: (searched: string) => set.match(searched).length > 0 })
  } catch (fault) {
    return `no pattern of RE2: ${reasonOf(fault)}`
  }
}

const tooLarge = `the pattern repeats too much: it has more than ${patternStepsMax} steps when repetitions are written out`

type Library = typeof import('re2js')

function loadLibrary(): Library {
  // Conditions are compiled synchronously, so no `import()`. Node keeps what was loaded.
  return createRequire(import.meta.url)('re2js') as Library
}

/** "error parsing regexp: missing closing ]: `[a`" without what the reader knows. */
function reasonOf(fault: unknown): string {
  const message = fault instanceof Error ? fault.message : String(fault)
  return message.replace(/^error parsing regexp: /, '')
}

/**
 * About how many steps `pattern` has with its repetitions written out, from its text alone. It need not be right, for what
 * was compiled is counted: only never far too small for what would take long to compile, and never too large for what is
 * usual. A text that is no pattern has some number, too.
 */
function roughStepCount(pattern: string): number {
  const outer: number[] = []
  let sum = 0
  /** Of what a repetition right behind it would repeat. */
  let last = 0
  for (const [token, least, most] of pattern.matchAll(tokens)) {
    if (token === '(') {
      outer.push(sum)
      sum = 0
      last = 0
    } else if (token === ')') {
      last = sum + 2
      sum = (outer.pop() ?? 0) + last
    } else if (least !== undefined) {
      const times = Math.max(1, Number(least), Number(most ?? 0))
      sum += last * (times - 1)
      last *= times
    } else {
      last = token.startsWith('\\Q') ? token.length : 1
      sum += last
    }
  }
  return outer.reduce((whole, one) => whole + one, sum)
}

/** A quotation, an escape, a class (whose first `]` is a member), a counted repetition, or one character. */
const tokens =
  /\\Q(?:(?!\\E).)*|\\(?:[pPx]\{[^}]*\}|.)|\[\^?\]?(?:\\.|\[:\^?[a-z]+:\]|[^\]\\])*\]|\{(\d+)(?:,(\d*))?\}|./gs
