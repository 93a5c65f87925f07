import { parse } from 'yaml'
import type { ExplainRouteInput, RouteExplanationFieldsFragment } from '../client.js'
import { isNamed, RouteTargets, targetName } from './route-targets.js'
import { CliFault } from './settings.js'

/**
 * A suite of routing decisions: requests that nobody sends, and where each is expected to go. YAML or JSON:
 *
 *     environment: production            # unless --environment says otherwise
 *     cases:
 *       - name: the law team gets the large model
 *         request: { model: chat, team: team_01…, prompt: "Review this contract …" }
 *         expect: { rule: law, target: large@openai-eu }
 *       - name: nobody outside for internal keys
 *         request: { model: chat, internalOnly: true }
 *         expect: { refused: no_eligible_target }
 *       - name: a person found this one hard   # counts for the misroute rate, and need not expect anything
 *         request: { model: chat, prompt: "Prove that …" }
 *         label: HIGH
 *
 * What is written wrong is refused with its path: a case that asks for nothing would always pass.
 */
export interface RouteSuite {
  readonly environment: string | null
  readonly cases: readonly SuiteCase[]
}

export interface SuiteCase {
  readonly name: string
  /** Its `health` names targets as people do; `RouteTargets` knows their ids. */
  readonly request: Omit<ExplainRouteInput, 'environmentId'>
  readonly expect: Expectation
  /** The tier that somebody says the prompt is of; null: nobody did. Without one at least one thing is expected. */
  readonly label: Label | null
}

export const labels = ['LOW', 'MEDIUM', 'HIGH'] as const
export type Label = (typeof labels)[number]

/** What of a decision is held against what it is. */
export interface Expectation {
  /** Name of the rule that decides. */
  readonly rule: string | null
  /** Who is tried first: `model@provider`, model alone, or the id of a target. */
  readonly target: string | null
  /** Everybody who is tried, in order. */
  readonly targets: readonly string[] | null
  /** Who must be left out, called likewise. */
  readonly excluded: readonly string[] | null
  /** Code of the refusal. */
  readonly refused: string | null
}

export const suiteBytesMax = 1_048_576
export const suiteCasesMax = 1_000

/** The suite that `text` writes; `file` is what people call it. */
export function parseSuite(text: string, file: string): RouteSuite {
  if (Buffer.byteLength(text) > suiteBytesMax) throw new CliFault(`${file} is larger than ${suiteBytesMax} bytes`)
  let value: unknown
  try {
    value = parse(text)
  } catch (fault) {
    throw new CliFault(`${file} is no YAML: ${(fault as Error).message.split('\n')[0]}`)
  }
  const suite = new Node(value, file, ': ').members(['environment', 'cases'])
  const cases = suite('cases').list()
  if (cases.length === 0) throw new CliFault(`${file}: cases: expected at least one`)
  if (cases.length > suiteCasesMax) throw new CliFault(`${file}: cases: at most ${suiteCasesMax}`)
  return {
    environment: suite('environment').optional((node) => node.text()),
    cases: cases.map(readCase),
  }
}

function readCase(node: Node, index: number): SuiteCase {
  const member = node.members(['name', 'request', 'expect', 'label'])
  const label = member('label').optional((one) => one.oneOf(labels))
  const expectation = member('expect')
  return {
    name: member('name').optional((name) => name.text()) ?? `case ${index + 1}`,
    request: readRequest(member('request')),
    expect: label === null ? readExpectation(expectation) : (expectation.optional(readExpectation) ?? nothingExpected),
    label,
  }
}

const nothingExpected: Expectation = Object.freeze({
  ...{ rule: null, target: null, targets: null, excluded: null, refused: null },
})

const operations = ['chat_completions', 'completions', 'responses', 'messages', 'count_tokens', 'embeddings'] as const
const promptClasses = ['summarisation', 'extraction', 'translation', 'code', 'reasoning', 'chat', 'other'] as const
const states = ['closed', 'open', 'half_open'] as const

function readRequest(node: Node): SuiteCase['request'] {
  const member = node.members([
    ...['model', 'key', 'team', 'internalOnly', 'operation', 'user', 'session', 'headers', 'prompt', 'turns', 'tools'],
    ...['complexity', 'class', 'tokensIn', 'maxTokens', 'stream', 'region', 'at', 'draw', 'health'],
  ])
  const text = (name: string) => member(name).optional((one) => one.text())
  const number = (name: string) => member(name).optional((one) => one.number())
  const flag = (name: string) => member(name).optional((one) => one.flag())
  return {
    model: member('model').text(),
    ...{ apiKeyId: text('key'), teamId: text('team'), internalOnly: flag('internalOnly') },
    operation: upper(member('operation').optional((one) => one.oneOf(operations))),
    ...{ userId: text('user'), sessionId: text('session') },
    headers: member('headers').optional((one) => one.entries().map(([name, value]) => ({ name, value: value.text() }))),
    ...{ prompt: text('prompt'), turnCount: number('turns'), toolCount: number('tools') },
    ...{
      complexity: number('complexity'),
      promptClass: upper(member('class').optional((one) => one.oneOf(promptClasses))),
    },
    ...{ tokensIn: number('tokensIn'), outputTokensMax: number('maxTokens'), stream: flag('stream') },
    ...{ region: text('region'), at: text('at'), draw: number('draw') },
    health: member('health').optional((one) =>
      one.list().map((entry) => {
        const of = entry.members(['target', 'state', 'latencyMs', 'inFlight'])
        return {
          targetId: of('target').text(),
          state: upper(of('state').optional((state) => state.oneOf(states))),
          latencyMs: of('latencyMs').optional((value) => value.number()),
          inFlightCount: of('inFlight').optional((value) => value.number()),
        }
      }),
    ),
  }
}

function readExpectation(node: Node): Expectation {
  const member = node.members(['rule', 'target', 'targets', 'excluded', 'refused'])
  const text = (name: string) => member(name).optional((one) => one.text())
  const list = (name: string) => member(name).optional((one) => one.list().map((entry) => entry.text()))
  const expected = {
    ...{ rule: text('rule'), target: text('target'), refused: text('refused') },
    ...{ targets: list('targets'), excluded: list('excluded') },
  }
  if (Object.values(expected).every((value) => value === null)) {
    throw new CliFault(`${node.path}: expects nothing: name a rule, target, targets, excluded or refused`)
  }
  if (expected.refused !== null && (expected.target !== null || expected.targets !== null)) {
    throw new CliFault(`${node.path}: a request that is refused has no target`)
  }
  return expected
}

function upper<const Word extends string>(word: Word | null): Uppercase<Word> | null {
  return word === null ? null : (word.toUpperCase() as Uppercase<Word>)
}

/** A place in the suite, which knows what to call itself. */
class Node {
  readonly #value: unknown
  readonly path: string

  readonly #separator: string

  /** `separator`: between this place and what is in it; `: ` after the name of a file. */
  constructor(value: unknown, path: string, separator = '.') {
    this.#value = value
    this.path = path
    this.#separator = separator
  }

  /** A function to the members of an object that has no others than `names`. */
  members(names: readonly string[]): (name: string) => Node {
    const value = this.#object()
    const unknown = Object.keys(value).find((name) => !names.includes(name))
    if (unknown !== undefined) throw new CliFault(`${this.path}: there is no ${unknown}; there are ${names.join(', ')}`)
    return (name) => new Node(value[name], `${this.path}${this.#separator}${name}`)
  }

  entries(): readonly (readonly [name: string, value: Node])[] {
    return Object.entries(this.#object()).map(([name, value]) => [name, new Node(value, `${this.path}.${name}`)])
  }

  list(): readonly Node[] {
    if (!Array.isArray(this.#value)) throw this.#no('a list')
    return this.#value.map((value, index) => new Node(value, `${this.path}[${index}]`))
  }

  optional<T>(read: (node: Node) => T): T | null {
    return this.#value === undefined || this.#value === null ? null : read(this)
  }

  text(): string {
    if (typeof this.#value !== 'string' || this.#value === '') throw this.#no('a text (numbers in quotation marks)')
    return this.#value
  }

  number(): number {
    if (typeof this.#value !== 'number' || !Number.isFinite(this.#value)) throw this.#no('a number')
    return this.#value
  }

  flag(): boolean {
    if (typeof this.#value !== 'boolean') throw this.#no('true or false')
    return this.#value
  }

  oneOf<const Word extends string>(words: readonly Word[]): Word {
    const found = words.find((word) => word === this.#value)
    if (found === undefined) throw this.#no(`one of ${words.join(', ')}`)
    return found
  }

  #object(): Readonly<Record<string, unknown>> {
    const value = this.#value
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw this.#no('names with values')
    return value as Readonly<Record<string, unknown>>
  }

  #no(expected: string): CliFault {
    const found = this.#value === undefined ? 'nothing' : JSON.stringify(this.#value).slice(0, 60)
    return new CliFault(`${this.path}: expected ${expected}, found ${found}`)
  }
}

// ------------------------------------------------------------------------------------------------------------ comparison

/** Every target that a suite supposes something of, or expects to be left out, as it is written. */
export function namesIn({ cases }: RouteSuite): readonly string[] {
  return cases.flatMap(({ request, expect }) => [
    ...(request.health ?? []).map(({ targetId }) => targetId),
    ...(expect.excluded ?? []),
  ])
}

/** How often who is tried first is of another tier than the prompt is said to be of. */
export interface Misroutes {
  readonly labelledCount: number
  readonly misroutedCount: number
  /** Labels and tiers that differ, as `LOW→HIGH`; `none`: no tier, or a refusal. By how many there are. */
  readonly kinds: readonly (readonly [kind: string, count: number])[]
}

/** A decision's label, and the tier of who is tried first; null: it has none, or the request is refused. */
export interface Labelled {
  readonly label: Label | null
  readonly tier: Label | null
}

export function isMisrouted({ label, tier }: Labelled): boolean {
  return label !== null && label !== tier
}

export function misroutesOf(decisions: readonly Labelled[]): Misroutes {
  const wrong = decisions.filter(isMisrouted)
  const kinds = new Map<string, number>()
  for (const { label, tier } of wrong) {
    const kind = `${label}→${tier ?? 'none'}`
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
  }
  return {
    labelledCount: decisions.filter(({ label }) => label !== null).length,
    misroutedCount: wrong.length,
    kinds: [...kinds].sort(([, a], [, b]) => b - a),
  }
}

/**
 * What is not as expected, in words; empty: all is. A refusal that nobody expected is wrong; where nothing was expected at all
 * it counts as misrouted, unless there is no such route. `targets`: who is called how, of those that are left out.
 */
export function mismatchesOf(
  expected: Expectation,
  found: RouteExplanationFieldsFragment,
  targets: RouteTargets = RouteTargets.none,
): readonly string[] {
  const wrong: string[] = []
  const refused = found.outcome === 'chosen' ? null : found.outcome
  // A name that no route has is a slip of whoever wrote the suite, not a route to nobody.
  if (expected === nothingExpected) return refused === 'model_not_found' ? [`refused: ${refused}`] : wrong
  const names = found.targets.map(targetName)
  if (refused !== expected.refused && (refused !== null || expected.refused !== null)) {
    wrong.push(refused === null ? `not refused, but ${expected.refused} was expected` : `refused: ${refused}`)
  }
  if (expected.rule !== null && expected.rule !== found.ruleName) {
    wrong.push(`rule ${found.ruleName ?? 'none'} decides, ${expected.rule} was expected`)
  }
  const [first] = found.targets
  if (expected.target !== null && refused === null && !(first && isNamed(first, expected.target))) {
    wrong.push(`${names[0] ?? 'nobody'} comes first, ${expected.target} was expected`)
  }
  if (expected.targets !== null && refused === null) {
    const same =
      expected.targets.length === found.targets.length &&
      expected.targets.every((name, index) => {
        const target = found.targets[index]
        return target !== undefined && isNamed(target, name)
      })
    if (!same) wrong.push(`the order is ${names.join(', ') || 'empty'}; ${expected.targets.join(', ')} was expected`)
  }
  const missing = (expected.excluded ?? []).filter((name) =>
    found.excluded.every(({ targetId }) => !targets.isNamed(targetId, name)),
  )
  if (missing.length > 0) wrong.push(`${missing.join(', ')} should be left out`)
  return wrong
}
