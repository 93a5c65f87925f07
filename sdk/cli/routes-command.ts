import { readFileSync } from 'node:fs'
import { type Command, Option } from 'commander'
import type { ExplainRouteInput, RouteExplanationFieldsFragment } from '../client.js'
import { mismatchesOf, namesIn, parseSuite, type RouteSuite, type SuiteCase } from './route-suite.js'
import { fetchRouteTargets, type RouteTargets, targetName } from './route-targets.js'
import type { Session } from './session.js'
import { CliFault } from './settings.js'
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

A request has model, and may have: key, team, internalOnly, operation, user, session, headers, prompt, turns, tools,
complexity, class, tokensIn, maxTokens, stream, region, at, draw, health ([{ target, state, latencyMs, inFlight }]).
A target is called model@provider, by its model alone, or by its id, everywhere; of health, all that are called so are meant,
and one that is none of the route's is refused. Prints each decision; exit code 1 when one is not as expected.

Example, in CI:
  SWITCHYARD_URL=https://switchyard.example.com SWITCHYARD_TOKEN=… switchyard routes test routing.yaml
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
    .addHelpText('after', suiteHelp)
    .action(async (file: string, options: { environment?: string }) => {
      const suite = parseSuite(readText(file), file)
      const session = open()
      const name = options.environment ?? suite.environment ?? undefined
      const tenantId = await session.fetchTenantId()
      const environmentId = await session.fetchEnvironmentId(tenantId, name)
      const targets = await fetchRouteTargets(session, { tenantId, environmentId }, namesIn(suite))
      const requests = suite.cases.map(({ name: called, request }) => ({
        ...request,
        health: targets.healthOf(request, `${file}: ${called}: health`),
      }))
      const results = await runSuite(session, environmentId, { suite, requests, targets })
      session.print(results, () => textOf(results))
      const failed = results.filter(({ mismatches }) => mismatches.length > 0).length
      if (failed > 0) throw new CliFault(`${failed} of ${results.length} decisions are not as expected`)
    })
}

interface SuiteResult {
  readonly name: string
  readonly outcome: string
  readonly rule: string | null
  readonly targets: readonly string[]
  readonly mismatches: readonly string[]
}

interface ReadySuite {
  readonly suite: RouteSuite
  /** Of its cases, with ids for names. */
  readonly requests: readonly SuiteCase['request'][]
  readonly targets: RouteTargets
}

/** One after the other: a suite is short, and the control plane is everybody's. */
async function runSuite(session: Session, environmentId: string, ready: ReadySuite): Promise<readonly SuiteResult[]> {
  const results: SuiteResult[] = []
  for (const [index, request] of ready.requests.entries()) {
    const { explainRoute } = await session.client.explainRoute({ input: { environmentId, ...request } })
    const one = ready.suite.cases[index]
    if (one !== undefined) results.push(resultOf(one, explainRoute, ready.targets))
  }
  return results
}

function resultOf(
  { name, expect }: SuiteCase,
  found: RouteExplanationFieldsFragment,
  named: RouteTargets,
): SuiteResult {
  return {
    ...{ name, outcome: found.outcome, rule: found.ruleName, targets: found.targets.map(targetName) },
    mismatches: mismatchesOf(expect, found, named),
  }
}

function textOf(results: readonly SuiteResult[]): string {
  const table = formatTable(
    ['', 'case', 'rule', 'first', 'not as expected'],
    results.map(({ name, outcome, rule, targets, mismatches }) => [
      ...[mismatches.length === 0 ? 'ok' : 'no', name, rule],
      ...[targets[0] ?? outcome, mismatches.join('; ') || null],
    ]),
  )
  const passed = results.filter(({ mismatches }) => mismatches.length === 0).length
  return `${table}${passed} passed, ${results.length - passed} failed\n`
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

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (fault) {
    throw new CliFault(`${file} cannot be read: ${(fault as NodeJS.ErrnoException).code}`)
  }
}
