/**
 * The text of a condition to a tree. The language is a part of CEL (github.com/google/cel-spec): literals, variables,
 * `headers["x"]`, lists, `! && || == != < <= > >= in + - * / %`, `c ? a : b`, and calls. What the tree means is said in
 * `condition.ts`; here is only how it is written. Bounded in length, nesting and size before anything is built, because
 * tenants write conditions and agents compile them.
 */
export type ConditionNode =
  | { readonly kind: 'literal'; readonly at: number; readonly type: LiteralType; readonly value: LiteralValue }
  | { readonly kind: 'variable'; readonly at: number; readonly name: string }
  | { readonly kind: 'list'; readonly at: number; readonly items: readonly ConditionNode[] }
  | { readonly kind: 'index'; readonly at: number; readonly of: ConditionNode; readonly key: ConditionNode }
  | { readonly kind: 'unary'; readonly at: number; readonly operator: '!' | '-'; readonly of: ConditionNode }
  | {
      readonly kind: 'binary'
      readonly at: number
      readonly operator: BinaryOperator
      readonly left: ConditionNode
      readonly right: ConditionNode
    }
  | {
      readonly kind: 'choice'
      readonly at: number
      readonly test: ConditionNode
      readonly yes: ConditionNode
      readonly no: ConditionNode
    }
  | {
      readonly kind: 'call'
      readonly at: number
      readonly name: string
      /** What stands before the dot; null: a function of its own. */
      readonly receiver: ConditionNode | null
      readonly args: readonly ConditionNode[]
    }

export type LiteralType = 'bool' | 'int' | 'double' | 'string'
export type LiteralValue = boolean | number | string
export type BinaryOperator = '&&' | '||' | '==' | '!=' | '<' | '<=' | '>' | '>=' | 'in' | '+' | '-' | '*' | '/' | '%'

/** Why a text is no condition, and the character (from 1) at which that shows. */
export interface ConditionFlaw {
  readonly at: number
  readonly message: string
}

export const conditionCharactersMax = 2_000
/** Parentheses, brackets, signs and choices inside each other. */
export const conditionDepthMax = 24
/** Literals, variables and operators together. */
export const conditionNodesMax = 400

/** The tree of `text`, or its first flaw. */
export function parseCondition(text: string): ConditionNode | ConditionFlaw {
  if (text.length > conditionCharactersMax) {
    return { at: conditionCharactersMax + 1, message: `longer than ${conditionCharactersMax} characters` }
  }
  try {
    return new Parser(text).parse()
  } catch (fault) {
    if (fault instanceof Flawed) return { at: fault.at + 1, message: fault.message }
    throw fault
  }
}

export function isConditionFlaw(result: ConditionNode | ConditionFlaw): result is ConditionFlaw {
  return !('kind' in result)
}

/** Unwinds the parser; never leaves this file. */
class Flawed extends Error {
  constructor(
    readonly at: number,
    message: string,
  ) {
    super(message)
  }
}

type Token =
  | {
      readonly kind: 'number' | 'string'
      readonly at: number
      readonly literal: LiteralValue
      readonly type: LiteralType
    }
  | { readonly kind: 'name' | 'sign' | 'end'; readonly at: number; readonly text: string }

const relations: ReadonlySet<string> = new Set(['==', '!=', '<', '<=', '>', '>=', 'in'])
/** Words that CEL keeps for itself, and values that nothing here has. */
const reserved: ReadonlySet<string> = new Set([
  ...['null', 'as', 'break', 'const', 'continue', 'else', 'for', 'function', 'if', 'import', 'let', 'loop'],
  ...['package', 'namespace', 'return', 'var', 'void', 'while', 'in'],
])

class Parser {
  readonly #text: string
  #position = 0
  #token: Token
  #depth = 0
  #nodes = 0

  constructor(text: string) {
    this.#text = text
    this.#token = this.#read()
  }

  parse(): ConditionNode {
    if (this.#isSign('')) throw new Flawed(0, 'empty; leave the condition out where the rule always applies')
    const node = this.#choice()
    if (!this.#isSign('')) throw new Flawed(this.#token.at, `expected an operator or the end, found ${this.#shown()}`)
    return node
  }

  // ------------------------------------------------------------------------------------------------------- grammar

  #choice(): ConditionNode {
    this.#enter()
    const test = this.#or()
    if (!this.#isSign('?')) {
      this.#depth -= 1
      return test
    }
    const { at } = this.#take()
    const yes = this.#or()
    this.#expect(':', 'the other value of c ? a : b')
    const no = this.#choice()
    this.#depth -= 1
    return this.#made({ kind: 'choice', at, test, yes, no })
  }

  #or(): ConditionNode {
    return this.#chain(['||'], () => this.#chain(['&&'], () => this.#relation()))
  }

  #relation(): ConditionNode {
    return this.#chain(relations, () =>
      this.#chain(['+', '-'], () => this.#chain(['*', '/', '%'], () => this.#unary())),
    )
  }

  /** Operators of one rank, from the left. */
  #chain(operators: Iterable<string>, operand: () => ConditionNode): ConditionNode {
    const known = operators instanceof Set ? (operators as ReadonlySet<string>) : new Set(operators)
    let left = operand()
    for (;;) {
      const token = this.#token
      if ((token.kind !== 'sign' && token.kind !== 'name') || !known.has(token.text)) return left
      this.#take()
      const right = operand()
      left = this.#made({ kind: 'binary', at: token.at, operator: token.text as BinaryOperator, left, right })
    }
  }

  #unary(): ConditionNode {
    const token = this.#token
    if (!this.#isSign('!') && !this.#isSign('-')) return this.#member()
    this.#take()
    this.#enter()
    const of = this.#unary()
    this.#depth -= 1
    if (this.#textOf(token) === '-' && of.kind === 'literal' && typeof of.value === 'number') {
      return { ...of, at: token.at, value: -of.value }
    }
    return this.#made({ kind: 'unary', at: token.at, operator: this.#textOf(token) as '!' | '-', of })
  }

  #member(): ConditionNode {
    let node = this.#primary()
    for (;;) {
      const { at } = this.#token
      if (this.#isSign('[')) {
        this.#take()
        const key = this.#choice()
        this.#expect(']', 'the end of [ ]')
        node = this.#made({ kind: 'index', at, of: node, key })
      } else if (this.#isSign('.')) {
        this.#take()
        const name = this.#name('a function after the dot')
        if (!this.#isSign('(')) {
          throw new Flawed(at, `there are no members; a header is written headers["${name}"]`)
        }
        node = this.#made({ kind: 'call', at, name, receiver: node, args: this.#args() })
      } else return node
    }
  }

  #primary(): ConditionNode {
    const token = this.#token
    if (token.kind === 'number' || token.kind === 'string') {
      this.#take()
      return this.#made({ kind: 'literal', at: token.at, type: token.type, value: token.literal })
    }
    if (this.#isSign('(')) {
      this.#take()
      const node = this.#choice()
      this.#expect(')', 'the end of ( )')
      return node
    }
    if (this.#isSign('[')) return this.#made({ kind: 'list', at: token.at, items: this.#items('[', ']') })
    if (token.kind === 'name') {
      this.#take()
      const { at, text } = token
      if (text === 'true' || text === 'false') {
        return this.#made({ kind: 'literal', at, type: 'bool', value: text === 'true' })
      }
      if (reserved.has(text)) throw new Flawed(at, `${text} is no value here`)
      if (this.#isSign('(')) return this.#made({ kind: 'call', at, name: text, receiver: null, args: this.#args() })
      return this.#made({ kind: 'variable', at, name: text })
    }
    throw new Flawed(token.at, `expected a value, found ${this.#shown()}`)
  }

  #args(): readonly ConditionNode[] {
    return this.#items('(', ')')
  }

  #items(open: string, close: string): readonly ConditionNode[] {
    this.#expect(open, 'a list')
    const items: ConditionNode[] = []
    while (!this.#isSign(close)) {
      items.push(this.#choice())
      if (!this.#isSign(',')) break
      this.#take()
    }
    this.#expect(close, `the end of ${open} ${close}`)
    return items
  }

  #made(node: ConditionNode): ConditionNode {
    this.#nodes += 1
    if (this.#nodes > conditionNodesMax) {
      throw new Flawed(node.at, `more than ${conditionNodesMax} values and operators; split the rule`)
    }
    return node
  }

  #enter(): void {
    this.#depth += 1
    if (this.#depth > conditionDepthMax) throw new Flawed(this.#token.at, `nested deeper than ${conditionDepthMax}`)
  }

  // -------------------------------------------------------------------------------------------------------- tokens

  #take(): Token {
    const token = this.#token
    this.#token = this.#read()
    return token
  }

  #isSign(text: string): boolean {
    const { kind } = this.#token
    return (kind === 'sign' || kind === 'end') && this.#textOf(this.#token) === text
  }

  #textOf(token: Token): string {
    return 'text' in token ? token.text : ''
  }

  #expect(sign: string, what: string): void {
    if (!this.#isSign(sign)) throw new Flawed(this.#token.at, `expected ${sign} (${what}), found ${this.#shown()}`)
    this.#take()
  }

  #name(what: string): string {
    const token = this.#token
    if (token.kind !== 'name') throw new Flawed(token.at, `expected ${what}, found ${this.#shown()}`)
    this.#take()
    return token.text
  }

  #shown(): string {
    const token = this.#token
    if (token.kind === 'end') return 'the end'
    return 'text' in token ? token.text : JSON.stringify(token.literal)
  }

  #read(): Token {
    const text = this.#text
    while (this.#position < text.length && /\s/.test(text[this.#position] ?? '')) this.#position += 1
    const at = this.#position
    if (at >= text.length) return { kind: 'end', at, text: '' }
    const rest = text.slice(at)
    const string = /^[rRbB]?["']/.exec(rest)
    if (string !== null) return this.#readString(at, string[0])
    const number = /^(?:0x[0-9a-fA-F]+|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)/.exec(rest)
    if (number !== null) return this.#readNumber(at, number[0])
    const name = /^[A-Za-z_][A-Za-z0-9_]*/.exec(rest)
    if (name !== null) {
      this.#position += name[0].length
      return { kind: 'name', at, text: name[0] }
    }
    const sign = /^(?:&&|\|\||[=!<>]=|[<>!?:()[\],.+\-*/%])/.exec(rest)
    if (sign === null) throw new Flawed(at, unknownSign(rest))
    this.#position += sign[0].length
    return { kind: 'sign', at, text: sign[0] }
  }

  #readNumber(at: number, text: string): Token {
    this.#position += text.length
    if (/^[A-Za-z0-9_]/.test(this.#text.slice(this.#position))) {
      throw new Flawed(at, `${text}${this.#text[this.#position]}… is no number`)
    }
    const literal = Number(text)
    const type = /^(?:0x|\d+$)/.test(text) ? 'int' : 'double'
    if (type === 'int' ? !Number.isSafeInteger(literal) : !Number.isFinite(literal)) {
      throw new Flawed(at, `${text} is too large`)
    }
    return { kind: 'number', at, literal, type }
  }

  #readString(at: number, opening: string): Token {
    if (/^[bB]/.test(opening)) throw new Flawed(at, 'bytes are no value here')
    const raw = opening.length === 2
    const quote = opening.at(-1) ?? ''
    if (this.#text.startsWith(quote.repeat(3), at + opening.length - 1)) {
      throw new Flawed(at, 'strings over several lines are not known here')
    }
    let value = ''
    let position = at + opening.length
    for (;;) {
      const character = this.#text[position]
      if (character === undefined || character === '\n') throw new Flawed(at, `the string has no closing ${quote}`)
      if (character === quote) break
      if (character === '\\' && !raw) {
        const found = escapes.exec(this.#text.slice(position))
        const decoded = found === null ? null : decodeEscape(found[0])
        if (found === null || decoded === null) throw new Flawed(position, 'no such escape in a string')
        value += decoded
        position += found[0].length
      } else {
        value += character
        position += 1
      }
    }
    this.#position = position + 1
    return { kind: 'string', at, literal: value, type: 'string' }
  }
}

const escapes = /^\\(?:[abfnrtv\\?"'`]|[xX][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-3][0-7]{2})/
const plainEscapes: Readonly<Record<string, string>> = {
  ...{ a: '\x07', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' },
  ...{ '\\': '\\', '?': '?', '"': '"', "'": "'", '`': '`' },
}

/** What an escape stands for; null for a code point that does not exist or is half a pair. */
function decodeEscape(text: string): string | null {
  const plain = text.length === 2 ? plainEscapes[text[1] ?? ''] : undefined
  if (plain !== undefined) return plain
  const code = /^\\[xXuU]/.test(text) ? Number.parseInt(text.slice(2), 16) : Number.parseInt(text.slice(1), 8)
  return code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff) ? null : String.fromCodePoint(code)
}

function unknownSign(rest: string): string {
  const [first = ''] = rest
  if (first === '=') return 'a single = compares nothing; write =='
  if (first === '&' || first === '|') return `a single ${first} means nothing; write ${first}${first}`
  if (first === '{') return 'maps are no value here'
  return `${JSON.stringify(first)} means nothing here`
}
