import path from 'node:path'
import type { LocalFile } from './local-file.js'
import type { StartOptions } from './local-installation.js'

/** What a person sees when everything runs: where it is, and three things to paste. */
export function welcomeScreen(facts: LocalFile, options: StartOptions): string {
  const answering =
    facts.simulatorUrl === null
      ? `Answers come from ${options.upstream}.`
      : `Answers come from the simulator (${facts.simulatorUrl}): random words, no model.`
  const localFile = path.relative(process.cwd(), path.join(options.folder, 'local.json'))
  return `
  Switchyard runs.

    GraphQL    ${facts.graphqlUrl}     (explorer: ${facts.explorerUrl})
    Agent      ${facts.agentUrl}/v1     metrics: ${facts.agentMetricsUrl}
    API key    ${facts.apiKey}
    Admin      the bootstrap token is in ${localFile}

  ${answering} Ask:

    curl ${facts.agentUrl}/v1/chat/completions \\
      -H 'authorization: Bearer ${facts.apiKey}' -H 'content-type: application/json' \\
      -d '{"model":"${facts.route}","messages":[{"role":"user","content":"Hello"}]}'

  The same with the openai SDK:

    const client = new OpenAI({ baseURL: '${facts.agentUrl}/v1', apiKey: '${facts.apiKey}' })
    await client.chat.completions.create({ model: '${facts.route}', messages: [{ role: 'user', content: 'Hello' }] })

  What it used, in the explorer (header authorization: Bearer <admin token>) or: npm run switchyard -- usage

${usageQuery(facts.tenantId)
  .split('\n')
  .map((line) => `    ${line}`)
  .join('\n')}

  Ctrl-C stops everything; the data stays in ${path.relative(process.cwd(), options.folder) || '.'}.
`
}

/** The query that shows the newest calls. */
export function usageQuery(tenantId: string): string {
  return `query { usage(tenantId: "${tenantId}", first: 5) { edges { node {
  timestamp requestId traceId routeName model tokensIn tokensOut costUsd latencyMs status } } } }`
}
