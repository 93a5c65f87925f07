import { unreachable } from '../std/assert.js'
import {
  type BinaryOperator,
  type ConditionFlaw,
  type ConditionNode,
  isConditionFlaw,
  parseCondition,
} from './condition-syntax.js'
import { type ConditionValues, conditionVariables, isVariableName, type VariableName } from './condition-variables.js'
import { compilePattern } from './pattern.js'

/**
 * A condition, checked and compiled once to closures: no tree is walked and nothing is allocated while a request waits. Types
 * are known before it runs (a text is never compared with a number), so what can go wrong at run time is little: a header
 * that is not there, a fact that is not known here, a division by zero. That is a *failure*: the condition does not hold,
 * and says why. As in CEL, `&&` and `||` look at both sides before they give in to one: `false && failure` is false.
 *
 * Our own evaluator instead of a library's: see `proto/decisions/0001-conditions-compiled-by-us.md`.
 */
export interface Condition {
  readonly text: string
  /** What it may read. */
  readonly reads: ReadonlySet<VariableName>
  /** Lower-case names of the headers it may read. */
  readonly headers: ReadonlySet<string>
  /** True, false, or in words why neither can be said. */
  test(values: ConditionValues): boolean | string
}

/** Most headers that one condition may name. */
export const conditionHeadersMax = 20
/** Most patterns of one condition: each holds memory of its own. */
export const conditionPatternsMax = 8
/** Most steps that all patterns of one condition may have together. */
export const conditionPatternStepsMax = 500
/**
 * Steps times characters, of all patterns of one condition: 5 ms at 20 ns for one, which it takes where no automaton helps
 * (twice that with classes of Unicode). Patterns of 30 steps together look at texts of 8,192 characters, of 500 at 500.
 */
const patternWorkMax = 250_000

/** The condition that `text` writes, or its first flaw. */
export function compileCondition(text: string): Condition | ConditionFlaw {
  const tree = parseCondition(text)
  if (isConditionFlaw(tree)) return tree
  const compiler = new Compiler()
  try {
    const { type, run } = compiler.compile(tree)
    if (type !== 'bool') return { at: tree.at + 1, message: `is ${article(type)}; a condition is true or false` }
    return Object.freeze({
      text,
      reads: compiler.reads,
      headers: compiler.headers,
      test: (values: ConditionValues) => {
        const value = run(values)
        return typeof value === 'boolean' ? value : (value as Failure).why
      },
    })
  } catch (fault) {
    if (fault instanceof Ill) return { at: fault.at + 1, message: fault.message }
    throw fault
  }
}

export function isCondition(result: Condition | ConditionFlaw): result is Condition {
  return 'test' in result
}

type Type = 'bool' | 'int' | 'double' | 'string' | 'timestamp' | 'headers' | `list of ${ElementType}`
type ElementType = 'bool' | 'int' | 'double' | 'string' | 'timestamp' | 'nothing'
type Value = boolean | number | string | readonly (boolean | number | string)[] | Failure
type Run = (values: ConditionValues) => Value

/** Made when a condition is compiled, so that failing costs nothing either. */
class Failure {
  constructor(readonly why: string) {}
}

interface Compiled {
  readonly type: Type
  readonly run: Run
  /** Known without a request. */
  readonly constant?: Value
}

/** Unwinds the compiler; never leaves this file. */
class Ill extends Error {
  constructor(
    readonly at: number,
    message: string,
  ) {
    super(message)
  }
}

const functionsWords = 'size, startsWith, endsWith, contains, matches, timestamp'

class Compiler {
  readonly reads = new Set<VariableName>()
  readonly headers = new Set<string>()
  readonly #patterns: Patterns = { count: 0, stepCount: 0, charactersMax: textCharactersMax, tooLong }

  compile(node: ConditionNode): Compiled {
    switch (node.kind) {
      case 'literal':
        return constant(node.type, node.value)
      case 'variable':
        return this.#variable(node.name, node.at)
      case 'list':
        return this.#list(node.items, node.at)
      case 'index':
        return this.#index(node)
      case 'unary':
        return this.#unary(node)
      case 'binary':
        return this.#binary(node)
      case 'choice':
        return this.#choice(node)
      case 'call':
        return this.#call(node)
      default:
        return unreachable(node)
    }
  }

  #variable(name: string, at: number): Compiled {
    if (!isVariableName(name)) {
      throw new Ill(at, `there is no ${name}; there are ${Object.keys(conditionVariables).join(', ')}`)
    }
    this.reads.add(name)
    const { type } = conditionVariables[name]
    if (name === 'headers') return { type, run: () => unreadable }
    const unknown = new Failure(`${name} is not known here`)
    return { type, run: (values) => values[name] ?? unknown }
  }

  #list(nodes: readonly ConditionNode[], at: number): Compiled {
    const items = nodes.map((node) => this.compile(node))
    const [first] = items
    if (first === undefined) return constant('list of nothing', [])
    const numbers = items.every(({ type }) => isNumber(type))
    if (!numbers && items.some(({ type }) => type !== first.type)) throw new Ill(at, 'a list holds values of one type')
    if (first.type === 'headers' || first.type.startsWith('list')) throw new Ill(at, 'a list holds plain values')
    const type: Type = `list of ${numbers && items.some(({ type: one }) => one === 'double') ? 'double' : (first.type as ElementType)}`
    const values = items.map((item) => item.constant)
    if (values.every((value) => value !== undefined)) return constant(type, values as (boolean | number | string)[])
    return {
      type,
      run: (facts) => {
        const made: (boolean | number | string)[] = []
        for (const item of items) {
          const value = item.run(facts)
          if (value instanceof Failure) return value
          made.push(value as string)
        }
        return made
      },
    }
  }

  #index({ at, of, key }: ConditionNode & { kind: 'index' }): Compiled {
    if (of.kind !== 'variable' || of.name !== 'headers') throw new Ill(at, 'only headers have [ ]')
    this.reads.add('headers')
    const name = this.#headerName(key)
    const missing = new Failure(`the header ${name} is not there`)
    return { type: 'string', run: (values) => values.header(name) ?? missing }
  }

  #headerName(node: ConditionNode): string {
    if (node.kind !== 'literal' || typeof node.value !== 'string') {
      throw new Ill(node.at, 'a header is named by a text, for example headers["x-tier"]')
    }
    const name = node.value
    if (!/^[a-z0-9!#$%&'*+.^_`|~-]{1,100}$/.test(name)) {
      const lower = name.toLowerCase()
      throw new Ill(node.at, name === lower ? 'no name of a header' : `headers are lower case: write "${lower}"`)
    }
    if (secretHeaders.has(name)) throw new Ill(node.at, `${name} holds a secret; the variable key says who asks`)
    this.headers.add(name)
    if (this.headers.size > conditionHeadersMax) throw new Ill(node.at, `more than ${conditionHeadersMax} headers`)
    return name
  }

  #unary({ at, operator, of }: ConditionNode & { kind: 'unary' }): Compiled {
    const operand = this.compile(of)
    if (operator === '!') {
      if (operand.type !== 'bool') throw new Ill(at, `! is for true and false, not for ${article(operand.type)}`)
      return { type: 'bool', run: (values) => flipped(operand.run(values)) }
    }
    if (!isNumber(operand.type)) throw new Ill(at, `- is for numbers, not for ${article(operand.type)}`)
    return {
      type: operand.type,
      run: (values) => {
        const value = operand.run(values)
        return typeof value === 'number' ? -value : value
      },
    }
  }

  #choice({ at, test, yes, no }: ConditionNode & { kind: 'choice' }): Compiled {
    const [condition, first, second] = [this.compile(test), this.compile(yes), this.compile(no)]
    if (condition.type !== 'bool') throw new Ill(at, `before ? stands true or false, not ${article(condition.type)}`)
    if (first.type !== second.type)
      throw new Ill(at, `: has ${article(first.type)} before it and ${article(second.type)} after it`)
    if (first.type === 'headers') throw new Ill(at, 'headers are asked for one by one')
    return {
      type: first.type,
      run: (values) => {
        const value = condition.run(values)
        if (value instanceof Failure) return value
        return value === true ? first.run(values) : second.run(values)
      },
    }
  }

  #binary({ at, operator, left, right }: ConditionNode & { kind: 'binary' }): Compiled {
    if (operator === 'in') return this.#in(at, left, right)
    const [a, b] = [this.compile(left), this.compile(right)]
    if (operator === '&&' || operator === '||') {
      const wrong = [a, b].find(({ type }) => type !== 'bool')
      if (wrong) throw new Ill(at, `${operator} is for true and false, not for ${article(wrong.type)}`)
      return { type: 'bool', run: operator === '&&' ? both(a.run, b.run) : either(a.run, b.run) }
    }
    if (arithmetic.has(operator)) return this.#arithmetic(at, operator, a, b)
    if (a.type === 'headers' || a.type.startsWith('list') || !comparable(a.type, b.type)) {
      throw new Ill(at, `${operator} cannot compare ${article(a.type)} with ${article(b.type)}`)
    }
    if (a.type === 'bool' && operator !== '==' && operator !== '!=')
      throw new Ill(at, `${operator} is not for true and false`)
    return { type: 'bool', run: comparison(operator as '==', a, b) }
  }

  #arithmetic(at: number, operator: BinaryOperator, a: Compiled, b: Compiled): Compiled {
    if (operator === '+' && a.type === 'string' && b.type === 'string')
      return { type: 'string', run: joined(a.run, b.run) }
    if (a.type !== b.type || !isNumber(a.type) || (operator === '%' && a.type !== 'int')) {
      throw new Ill(at, `${operator} cannot take ${article(a.type)} and ${article(b.type)}`)
    }
    return { type: a.type, run: calculation(operator as '+', a, b) }
  }

  #in(at: number, left: ConditionNode, right: ConditionNode): Compiled {
    if (right.kind === 'variable' && right.name === 'headers') {
      this.reads.add('headers')
      const name = this.#headerName(left)
      return { type: 'bool', run: (values) => values.header(name) !== undefined }
    }
    const [item, list] = [this.compile(left), this.compile(right)]
    if (!list.type.startsWith('list of '))
      throw new Ill(at, `after in stands a list or headers, not ${article(list.type)}`)
    const element = list.type.slice('list of '.length) as ElementType
    if (element !== 'nothing' && !comparable(item.type, element)) {
      throw new Ill(at, `${article(item.type)} is never in a ${list.type}`)
    }
    if (Array.isArray(list.constant)) {
      const known = new Set<unknown>(list.constant)
      return {
        type: 'bool',
        run: (values) => {
          const value = item.run(values)
          return value instanceof Failure ? value : known.has(value)
        },
      }
    }
    return {
      type: 'bool',
      run: (values) => {
        const value = item.run(values)
        if (value instanceof Failure) return value
        const found = list.run(values)
        return found instanceof Failure ? found : (found as readonly unknown[]).includes(value)
      },
    }
  }

  #call({ at, name, receiver, args }: ConditionNode & { kind: 'call' }): Compiled {
    const [only, ...more] = args
    if (name === 'timestamp' && receiver === null && only !== undefined && more.length === 0) return timestamp(only)
    if (name === 'size') {
      const of = receiver ?? only
      if (of === undefined || args.length !== (receiver === null ? 1 : 0)) throw new Ill(at, 'size takes one value')
      const operand = this.compile(of)
      if (operand.type !== 'string' && !operand.type.startsWith('list')) {
        throw new Ill(at, `size is of a text or a list, not of ${article(operand.type)}`)
      }
      return { type: 'int', run: sizeOf(operand.run) }
    }
    const ask = receiver === null ? undefined : textQuestions.get(name)
    if (ask !== undefined && receiver !== null) {
      if (only === undefined || more.length > 0) throw new Ill(at, `${name} takes one text`)
      const [text, part] = [this.compile(receiver), this.compile(only)]
      if (text.type !== 'string' || part.type !== 'string') throw new Ill(at, `${name} is of a text and takes a text`)
      return {
        type: 'bool',
        run: (values) => {
          const whole = text.run(values)
          if (whole instanceof Failure) return whole
          const piece = part.run(values)
          return piece instanceof Failure ? piece : ask(whole as string, piece as string)
        },
      }
    }
    if (name === 'matches') return this.#matches(at, receiver === null ? args : [receiver, ...args])
    throw new Ill(at, `there is no function ${name} here; there are ${functionsWords}`)
  }

  #matches(at: number, [text, pattern, ...more]: readonly ConditionNode[]): Compiled {
    if (text === undefined || pattern === undefined || more.length > 0) {
      throw new Ill(at, 'matches takes a text and a pattern')
    }
    const searched = this.compile(text)
    if (searched.type !== 'string') throw new Ill(at, `matches is of a text, not of ${article(searched.type)}`)
    if (pattern.kind !== 'literal' || typeof pattern.value !== 'string') {
      throw new Ill(pattern.at, 'a pattern stands there as a text, for example user.matches("^bot-[0-9]+$")')
    }
    const compiled = compilePattern(pattern.value)
    if (typeof compiled === 'string') throw new Ill(pattern.at, compiled)
    const patterns = this.#patterns
    patterns.count += 1
    patterns.stepCount += compiled.stepCount
    if (patterns.count > conditionPatternsMax) throw new Ill(pattern.at, `more than ${conditionPatternsMax} patterns`)
    if (patterns.stepCount > conditionPatternStepsMax) {
      throw new Ill(pattern.at, `patterns of more than ${conditionPatternStepsMax} steps together`)
    }
    patterns.charactersMax = Math.min(textCharactersMax, Math.floor(patternWorkMax / patterns.stepCount))
    patterns.tooLong = new Failure(`a text longer than ${patterns.charactersMax} characters`)
    return {
      type: 'bool',
      run: (values) => {
        const value = searched.run(values)
        if (value instanceof Failure) return value
        const { length } = value as string
        // What it may be is known only once all patterns of the condition are.
        if (length > patterns.charactersMax) return patterns.tooLong
        if (values.takeWork?.(length * compiled.stepCount) === false) return tooMuchWork
        return compiled.isIn(value as string)
      },
    }
  }
}

/** Of one condition, together. */
interface Patterns {
  count: number
  stepCount: number
  /** Longest text that is looked at. */
  charactersMax: number
  tooLong: Failure
}

/** What was read stands in explanations and traces. */
const secretHeaders: ReadonlySet<string> = new Set([
  ...['authorization', 'proxy-authorization', 'x-api-key', 'api-key', 'cookie'],
])

const unreadable = new Failure('headers are asked for one by one')
const arithmetic: ReadonlySet<string> = new Set(['+', '-', '*', '/', '%'])

const textQuestions: ReadonlyMap<string, (text: string, part: string) => boolean> = new Map([
  ['startsWith', (text, part) => text.startsWith(part)],
  ['endsWith', (text, part) => text.endsWith(part)],
  ['contains', (text, part) => text.includes(part)],
])

function constant(type: Type, value: Exclude<Value, Failure>): Compiled {
  return { type, constant: value, run: () => value }
}

function isNumber(type: Type): boolean {
  return type === 'int' || type === 'double'
}

function comparable(a: Type, b: Type): boolean {
  return a === b || (isNumber(a) && isNumber(b))
}

function article(type: Type): string {
  const words: Partial<Record<Type, string>> = { bool: 'true or false', int: 'a whole number', double: 'a number' }
  return words[type] ?? (type === 'string' ? 'a text' : type === 'headers' ? 'headers' : `a ${type}`)
}

function flipped(value: Value): Value {
  return typeof value === 'boolean' ? !value : value
}

function both(a: Run, b: Run): Run {
  return (values) => {
    const left = a(values)
    if (left === false) return false
    const right = b(values)
    if (right === false) return false
    return left instanceof Failure ? left : right
  }
}

function either(a: Run, b: Run): Run {
  return (values) => {
    const left = a(values)
    if (left === true) return true
    const right = b(values)
    if (right === true) return true
    return left instanceof Failure ? left : right
  }
}

/** Texts are compared by code point, as CEL does, not by UTF-16 unit. */
function comparison(operator: '==' | '!=' | '<' | '<=' | '>' | '>=', a: Compiled, b: Compiled): Run {
  const texts = a.type === 'string'
  switch (operator) {
    case '==':
      return compared(a, b, (x, y) => x === y)
    case '!=':
      return compared(a, b, (x, y) => x !== y)
    case '<':
      return compared(a, b, texts ? (x, y) => order(x, y) < 0 : (x, y) => x < y)
    case '<=':
      return compared(a, b, texts ? (x, y) => order(x, y) <= 0 : (x, y) => x <= y)
    case '>':
      return compared(a, b, texts ? (x, y) => order(x, y) > 0 : (x, y) => x > y)
    case '>=':
      return compared(a, b, texts ? (x, y) => order(x, y) >= 0 : (x, y) => x >= y)
    default:
      return unreachable(operator)
  }
}

type Plain = boolean | number | string

function compared(a: Compiled, b: Compiled, ask: (x: Plain, y: Plain) => boolean): Run {
  const [left, right, known] = [a.run, b.run, b.constant]
  if (known !== undefined) {
    return (values) => {
      const value = left(values)
      return value instanceof Failure ? value : ask(value as Plain, known as Plain)
    }
  }
  return (values) => {
    const first = left(values)
    if (first instanceof Failure) return first
    const second = right(values)
    return second instanceof Failure ? second : ask(first as Plain, second as Plain)
  }
}

function order(x: Plain, y: Plain): number {
  const [a, b] = [x as string, y as string]
  const length = Math.min(a.length, b.length)
  for (let index = 0; index < length; index++) {
    if (a.charCodeAt(index) === b.charCodeAt(index)) continue
    // The first difference may be the second half of a pair: its first half then tells nothing, its code point does.
    const from = index > 0 && isHighHalf(a.charCodeAt(index - 1)) ? index - 1 : index
    return (a.codePointAt(from) ?? 0) - (b.codePointAt(from) ?? 0)
  }
  return a.length - b.length
}

function isHighHalf(code: number): boolean {
  return code >= 0xd800 && code <= 0xdbff
}

const overflow = new Failure('a number beyond what is exact')
const divided = new Failure('a division by zero')
/** A text that grows by joining, or is searched, stays one that can be looked at quickly. */
const textCharactersMax = 8_192
const tooMuchWork = new Failure('more to search than one decision may')
const tooLong = new Failure(`a text longer than ${textCharactersMax} characters`)

function joined(a: Run, b: Run): Run {
  return (values) => {
    const left = a(values)
    if (left instanceof Failure) return left
    const right = b(values)
    if (right instanceof Failure) return right
    const text = (left as string) + (right as string)
    return text.length > textCharactersMax ? tooLong : text
  }
}

function calculation(operator: '+' | '-' | '*' | '/' | '%', a: Compiled, b: Compiled): Run {
  const whole = a.type === 'int'
  return (values) => {
    const x = a.run(values)
    if (typeof x !== 'number') return x
    const y = b.run(values)
    if (typeof y !== 'number') return y
    if (whole && y === 0 && (operator === '/' || operator === '%')) return divided
    const result = calculated(operator, x, y, whole)
    return whole && !Number.isSafeInteger(result) ? overflow : result
  }
}

function calculated(operator: '+' | '-' | '*' | '/' | '%', x: number, y: number, whole: boolean): number {
  if (operator === '+') return x + y
  if (operator === '-') return x - y
  if (operator === '*') return x * y
  if (operator === '%') return x % y
  return whole ? Math.trunc(x / y) : x / y
}

/** In code points, as CEL counts. */
function sizeOf(run: Run): Run {
  return (values) => {
    const value = run(values)
    if (value instanceof Failure) return value
    if (typeof value !== 'string') return (value as readonly unknown[]).length
    let size = value.length
    for (let index = 1; index < value.length; index++) {
      const code = value.charCodeAt(index)
      if (code >= 0xdc00 && code <= 0xdfff && isHighHalf(value.charCodeAt(index - 1))) size -= 1
    }
    return size
  }
}

const instant = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})$/

/** An instant that stands in the text: it is read when the condition is compiled. */
function timestamp(node: ConditionNode): Compiled {
  if (node.kind !== 'literal' || typeof node.value !== 'string' || !instant.test(node.value)) {
    throw new Ill(node.at, 'timestamp takes an instant as a text, for example timestamp("2027-01-01T00:00:00Z")')
  }
  const ms = Date.parse(node.value)
  if (Number.isNaN(ms)) throw new Ill(node.at, `there is no instant ${node.value}`)
  return constant('timestamp', ms)
}
