import { readFileSync } from 'node:fs'
import { type Command, Option } from 'commander'
import type { ExplainRouteInput, RouteExplanationFieldsFragment } from '../client.js'
import {
  isMisrouted,
  type Labelled,
  type Misroutes,
  mismatchesOf,
  misroutesOf,
  namesIn,
  parseSuite,
  type RouteSuite,
  type SuiteCase,
} from './route-suite.js'
import { fetchRouteTargets, type RouteTargets, targetName } from './route-targets.js'
import type { Session } from './session.js'
import { CliFault, readClassifierToken } from './settings.js'
import { askClassifier, type ClassifierAddress, classifierAddress } from './suite-classifier.js'
import { formatTable } from './table.js'

interface ExplainOptions {
  environment?: string
  key?: string
  team?: string
  internalOnly?: boolean
  operation?: string
  user?: string
  session?: string
  header?: string[]
  prompt?: string
  promptFile?: string
  complexity?: string
  class?: string
  tokens?: string
  maxTokens?: string
  stream?: boolean
  region?: string
  at?: string
  draw?: string
  open?: string[]
}

interface TestOptions {
  environment?: string
  classifier?: string
  misrouteMax?: string
}

const operations = ['chat_completions', 'completions', 'responses', 'messages', 'count_tokens', 'embeddings']
const classes = ['summarisation', 'extraction', 'translation', 'code', 'reasoning', 'chat', 'other']

const suiteHelp = `
A suite is YAML or JSON:

  environment: production
  cases:
    - name: the law team gets the large model
      request:
        model: chat
        team: team_01hx…
        headers: { x-tier: gold }
        prompt: Compare these two contracts, clause by clause.
      expect:
        rule: law
        target: large@openai-eu
    - name: easy prompts stay small
      request: { model: chat, complexity: 0.1 }
      expect: { targets: [small@local, middle@openai-eu, large@openai-eu] }
    - name: nothing outside for internal keys
      request: { model: outside, internalOnly: true }
      expect: { refused: no_eligible_target }
    - name: hard, says a person
      request: { model: chat, prompt: Prove that the sum of two odd numbers is even. }
      label: HIGH

A request has model, and may have: key, team, internalOnly, operation, user, session, headers, prompt, turns, tools,
complexity, class, tokensIn, maxTokens, stream, region, at, draw, health ([{ target, state, latencyMs, inFlight }]).
A target is called model@provider, by its model alone, or by its id, everywhere; of health, all that are called so are meant,
and one that is none of the route's is refused. Prints each decision; exit code 1 when one is not as expected.

A label is the tier that a prompt is of: LOW, MEDIUM or HIGH. A labelled case need not expect anything. It is misrouted when
who is tried first is of another tier, or of none. Prints how many are; with --misroute-max, exit code 1 when the share is
larger.

Prompts are estimated as agents estimate them without a classifier. With --classifier, it is asked about each case that has a
prompt and leaves complexity or class open (POST <url>/classify), with SWITCHYARD_CLASSIFIER_TOKEN as a bearer if that is set.

Example, in CI:
  SWITCHYARD_URL=https://switchyard.example.com SWITCHYARD_TOKEN=… switchyard routes test routing.yaml --misroute-max 0.1
`

const explainHelp = `
Example:
  switchyard routes explain chat --prompt "Why is the sky blue?" --header x-tier=gold --team team_01hx…
`

/** `switchyard routes …`: where requests would go, without sending any. */
export function addRoutesCommand(program: Command, open: () => Session): void {
  const routes = program.command('routes').description('where requests go, and why')

  routes
    .command('explain')
    .description('where a request would go, and why; nothing is sent')
    .argument('<model>', 'what a client would put into model')
    .option('--environment <name>', 'default: production, or the only one')
    .option('--key <id>', 'API key that asks')
    .option('--team <id>', 'without a key: its team')
    .option('--internal-only', 'without a key: may not call external models')
    .addOption(new Option('--operation <door>', 'default: chat_completions').choices(operations))
    .option('--user <id>', 'the end user')
    .option('--session <id>')
    .option('--header <name=value...>', 'headers of the request')
    .option('--prompt <text>', 'what the user says: complexity, class and tokens are estimated from it')
    .option('--prompt-file <file>', 'the same, from a file')
    .option('--complexity <score>', 'instead of the estimate, 0 to 1')
    .addOption(new Option('--class <name>', 'instead of the estimate').choices(classes))
    .option('--tokens <count>', 'instead of the estimate')
    .option('--max-tokens <count>', 'what the client asks for')
    .option('--stream', 'the client wants a stream')
    .option('--region <name>', 'of the cluster that would decide')
    .option('--at <instant>', 'for example 2026-12-31T00:00:00Z (default: now)')
    .option('--draw <number>', 'what is drawn, from 0, below 1 (default: 0)')
    .option('--open <target...>', 'targets to suppose left alone: model@provider, model or id')
    .addHelpText('after', explainHelp)
    .action(async (model: string, options: ExplainOptions) => {
      const request = requestOf(model, options)
      const session = open()
      const tenantId = await session.fetchTenantId()
      const environmentId = await session.fetchEnvironmentId(tenantId, options.environment)
      const targets = await fetchRouteTargets(session, { tenantId, environmentId }, options.open ?? [])
      const health = targets.healthOf(request, '--open')
      const { explainRoute } = await session.client.explainRoute({ input: { environmentId, ...request, health } })
      session.print(explainRoute, () => `${explainRoute.sentences.join('\n')}\n`)
    })

  routes
    .command('test')
    .description('decisions as expected, for CI; nothing is sent')
    .argument('<suite>', 'a file, YAML or JSON')
    .option('--environment <name>', "default: the suite's, else production or the only one")
    .option('--classifier <url>', 'ask it about prompts, as agents would, and suppose what it says')
    .option('--misroute-max <ratio>', 'fail when a larger share of labelled cases is misrouted, 0 to 1')
    .addHelpText('after', suiteHelp)
    .action(async (file: string, options: TestOptions) => {
      const classifier =
        options.classifier === undefined ? null : classifierAddress(options.classifier, readClassifierToken())
      const misrouteRatioMax = ratioOf('--misroute-max', options.misrouteMax)
      const suite = parseSuite(readText(file), file)
      if (misrouteRatioMax !== null && suite.cases.every(({ label }) => label === null)) {
        throw new CliFault(`${file}: no case has a label, so --misroute-max would always hold`)
      }
      const session = open()
      const name = options.environment ?? suite.environment ?? undefined
      const tenantId = await session.fetchTenantId()
      const environmentId = await session.fetchEnvironmentId(tenantId, name)
      const targets = await fetchRouteTargets(session, { tenantId, environmentId }, namesIn(suite))
      const requests = suite.cases.map(({ name: called, request }) => ({
        ...request,
        health: targets.healthOf(request, `${file}: ${called}: health`),
      }))
      const results = await runSuite(session, environmentId, { suite, requests, targets, classifier })
      session.print(results, () => textOf(results))
      const failed = results.filter(({ mismatches }) => mismatches.length > 0).length
      const unmeasured = unmeasuredOf(results)
      if (unmeasured !== null && unmeasured.count === unmeasured.askedCount) {
        throw new CliFault(`the classifier measured none of ${unmeasured.askedCount} prompts: ${unmeasured.reason}`)
      }
      const misroutes = misroutesOf(results)
      const isOften = misrouteRatioMax !== null && misroutes.misroutedCount / misroutes.labelledCount > misrouteRatioMax
      const faults = [
        ...(failed > 0 ? [`${failed} of ${results.length} decisions are not as expected`] : []),
        ...(isOften ? [`${misrouteWords(misroutes)}; at most ${percent(misrouteRatioMax)} may be`] : []),
      ]
      if (faults.length > 0) throw new CliFault(faults.join('; '))
    })
}

interface SuiteResult extends Labelled {
  readonly name: string
  readonly outcome: string
  readonly rule: string | null
  readonly targets: readonly string[]
  readonly mismatches: readonly string[]
  readonly misrouted: boolean
  /** What came of asking a classifier: `measured`, or why the built-in estimate counts; null: it was not asked. */
  readonly classified: string | null
}

interface ReadySuite {
  readonly suite: RouteSuite
  /** Of its cases, with ids for names. */
  readonly requests: readonly SuiteCase['request'][]
  readonly targets: RouteTargets
  /** Null: nobody is asked. */
  readonly classifier: ClassifierAddress | null
}

/** One after the other: a suite is short, and the control plane is everybody's. */
async function runSuite(session: Session, environmentId: string, ready: ReadySuite): Promise<readonly SuiteResult[]> {
  const results: SuiteResult[] = []
  for (const [index, request] of ready.requests.entries()) {
    const input = { environmentId, ...request }
    const { explainRoute: estimated } = await session.client.explainRoute({ input })
    const supposed = ready.classifier === null ? null : await suppose(ready.classifier, request, estimated)
    const isMeasured = supposed !== null && typeof supposed !== 'string'
    const found = isMeasured
      ? (await session.client.explainRoute({ input: { ...input, ...supposed } })).explainRoute
      : estimated
    const one = ready.suite.cases[index]
    const classified = isMeasured ? measured : supposed
    if (one !== undefined) results.push({ ...resultOf(one, found, ready.targets), classified })
  }
  return results
}

const measured = 'measured'

/** What the classifier says of what the case does not suppose; in words why nothing; null: there is nothing to ask. */
async function suppose(
  classifier: ClassifierAddress,
  { prompt, turnCount, toolCount, complexity, promptClass, headers, model }: SuiteCase['request'],
  { tokensIn }: RouteExplanationFieldsFragment,
): Promise<Pick<ExplainRouteInput, 'complexity' | 'promptClass'> | string | null> {
  // The client's own word counts before a classifier's.
  const isClassSaid = promptClass != null || headers?.some(({ name }) => name.toLowerCase() === promptClassHeader)
  if (prompt == null || (complexity != null && isClassSaid)) return null
  const answer = await askClassifier(classifier, {
    ...{ prompt, turnCount: turnCount ?? 1, toolCount: toolCount ?? 0, tokensIn: tokensIn ?? 0, model },
  })
  if (typeof answer === 'string') return answer
  return {
    complexity: complexity ?? answer.complexity,
    promptClass: isClassSaid ? (promptClass ?? null) : (answer.promptClass ?? null),
  }
}

const promptClassHeader = 'x-switchyard-prompt-class'

/** Prompts that a classifier was asked about and did not measure, with a reason; null: it was not asked. */
function unmeasuredOf(results: readonly SuiteResult[]) {
  const asked = results.flatMap(({ classified }) => classified ?? [])
  const reasons = asked.filter((classified) => classified !== measured)
  return asked.length === 0 ? null : { askedCount: asked.length, count: reasons.length, reason: reasons[0] ?? '' }
}

function resultOf(
  { name, expect, label }: SuiteCase,
  found: RouteExplanationFieldsFragment,
  named: RouteTargets,
): Omit<SuiteResult, 'classified'> {
  const tier = found.targets[0]?.tier ?? null
  return {
    ...{ label, tier, misrouted: isMisrouted({ label, tier }) },
    ...{ name, outcome: found.outcome, rule: found.ruleName, targets: found.targets.map(targetName) },
    mismatches: mismatchesOf(expect, found, named),
  }
}

function textOf(results: readonly SuiteResult[]): string {
  const misroutes = misroutesOf(results)
  const isLabelled = misroutes.labelledCount > 0
  const table = formatTable(
    ['', 'case', 'rule', 'first', ...(isLabelled ? ['label', 'tier'] : []), 'not as expected'],
    results.map(({ name, outcome, rule, targets, mismatches, label, tier }) => [
      ...[mismatches.length === 0 ? 'ok' : 'no', name, rule, targets[0] ?? outcome],
      ...(isLabelled ? [label, tier] : []),
      mismatches.join('; ') || null,
    ]),
  )
  const passed = results.filter(({ mismatches }) => mismatches.length === 0).length
  const unmeasured = unmeasuredOf(results)
  const left =
    unmeasured === null || unmeasured.count === 0
      ? ''
      : `${unmeasured.count} of ${unmeasured.askedCount} prompts were not measured by the classifier (${unmeasured.reason}): estimates count\n`
  const rate = isLabelled ? `${misrouteWords(misroutes)}\n` : ''
  return `${table}${passed} passed, ${results.length - passed} failed\n${left}${rate}`
}

function misrouteWords({ labelledCount, misroutedCount, kinds }: Misroutes): string {
  const which = kinds.map(([kind, count]) => `${count} ${kind}`).join(', ')
  const share = `${misroutedCount} of ${labelledCount} labelled cases are misrouted (${percent(misroutedCount / labelledCount)})`
  return which === '' ? share : `${share}: ${which}`
}

function percent(ratio: number): string {
  return `${Number((ratio * 100).toFixed(2))} %`
}

function requestOf(model: string, options: ExplainOptions): Omit<ExplainRouteInput, 'environmentId'> {
  if (options.prompt !== undefined && options.promptFile !== undefined)
    throw new CliFault('--prompt and --prompt-file say the same: leave one out')
  const { operation, class: promptClass } = options
  return {
    ...{ model, apiKeyId: options.key ?? null, teamId: options.team ?? null },
    internalOnly: options.internalOnly ?? null,
    operation: (operation?.toUpperCase() ?? null) as ExplainRouteInput['operation'],
    ...{ userId: options.user ?? null, sessionId: options.session ?? null },
    headers: options.header?.map(headerOf) ?? null,
    prompt: options.promptFile === undefined ? (options.prompt ?? null) : readText(options.promptFile),
    complexity: numberOf('--complexity', options.complexity),
    promptClass: (promptClass?.toUpperCase() ?? null) as ExplainRouteInput['promptClass'],
    tokensIn: numberOf('--tokens', options.tokens),
    outputTokensMax: numberOf('--max-tokens', options.maxTokens),
    ...{ stream: options.stream ?? null, region: options.region ?? null, at: options.at ?? null },
    draw: numberOf('--draw', options.draw),
    health: options.open?.map((targetId) => ({ targetId, state: 'OPEN' as const })) ?? null,
  }
}

function headerOf(text: string): { name: string; value: string } {
  const at = text.indexOf('=')
  if (at <= 0) throw new CliFault(`--header is ${JSON.stringify(text)}: expected name=value`)
  return { name: text.slice(0, at), value: text.slice(at + 1) }
}

function numberOf(option: string, text: string | undefined): number | null {
  if (text === undefined) return null
  const value = Number(text)
  if (text.trim() === '' || !Number.isFinite(value))
    throw new CliFault(`${option} is ${JSON.stringify(text)}: expected a number`)
  return value
}

function ratioOf(option: string, text: string | undefined): number | null {
  const value = numberOf(option, text)
  if (value !== null && (value < 0 || value > 1))
    throw new CliFault(`${option} is ${text}: expected a number from 0 to 1`)
  return value
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (fault) {
    throw new CliFault(`${file} cannot be read: ${(fault as NodeJS.ErrnoException).code}`)
  }
}
