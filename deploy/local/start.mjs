#!/usr/bin/env node
/**
 * `npm start`: everything on this machine, for trying and for developing. Plain JavaScript without dependencies, because
 * it runs before they are installed; the work itself is main.ts.
 */
import path from 'node:path'

const help = `Switchyard on this machine: PostgreSQL, control plane, one agent and a simulated upstream.

  npm start                                        the simulator answers; nothing leaves this machine
  npm start -- --upstream http://host:8000/v1      vLLM, Ollama or any OpenAI-compatible server answers
  OPENAI_API_KEY=sk-… npm start -- --upstream openai

Options
  --upstream URL|openai   who answers instead of the simulator; UPSTREAM_API_KEY is its key, when it wants one
  --model NAME            the upstream's model to use (default: the first that the upstream lists; openai: gpt-4o-mini)
  --port-base N           first of eight ports (default 7400): GraphQL, metrics, fleet, enrolment, agent, agent metrics,
                          simulator, PostgreSQL
  --fresh                 begin anew: removes the local data folder's contents first
  --folder DIR            where data, secrets and logs are kept (default .switchyard)
  --help                  this text

Environment
  DATABASE_URL            a PostgreSQL 14 or newer of yours instead of the embedded one
  REDIS_URL               a Redis 6.2 or newer of yours; without it the queues run on PostgreSQL

Examples
  npm start -- --port-base 7500 --fresh
  npm start -- --upstream http://127.0.0.1:11434/v1 --model llama3.2
`

/** Says one line and what to do, then ends. */
function refuse(line) {
  process.stderr.write(`switchyard: ${line}\n`)
  process.exit(1)
}

const [major, minor] = process.versions.node.split('.').map(Number)
if (major < 20 || (major === 20 && minor < 19))
  refuse(
    `Node.js ${process.versions.node} is too old; install 20.19 or newer (https://nodejs.org), then run npm start again`,
  )

const { parseArgs } = await import('node:util')
const { root, setUp, SetUpFault } = await import('./set-up.mjs')

function readOptions() {
  const { values } = parseArgs({
    args: process.argv.slice(2),
    options: {
      upstream: { type: 'string' },
      model: { type: 'string' },
      'port-base': { type: 'string', default: '7400' },
      fresh: { type: 'boolean', default: false },
      folder: { type: 'string', default: path.join(root, '.switchyard') },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    process.stdout.write(help)
    process.exit(0)
  }
  const portBase = Number(values['port-base'])
  if (!/^\d+$/.test(values['port-base']) || portBase < 1024 || portBase > 65_528)
    refuse(`--port-base is ${JSON.stringify(values['port-base'])}: expected a number from 1024 to 65528`)
  const { upstream } = values
  if (upstream === 'openai' && !process.env.OPENAI_API_KEY)
    refuse('--upstream openai needs your key: OPENAI_API_KEY=sk-… npm start -- --upstream openai')
  if (upstream !== undefined && upstream !== 'openai' && !/^https?:\/\/[^\s/]+/.test(upstream))
    refuse(`--upstream is ${JSON.stringify(upstream)}: expected openai or a URL such as http://127.0.0.1:8000/v1`)
  return {
    root,
    folder: path.resolve(values.folder),
    portBase,
    fresh: values.fresh,
    upstream: upstream ?? null,
    model: values.model ?? null,
  }
}

let options
try {
  options = readOptions()
} catch (error) {
  refuse(`${error.message.split('\n')[0].replace(/\.? To specify .*$/, '')}; see npm start -- --help`)
}
try {
  await setUp({ projects: ['control-plane', 'agent', 'deploy', 'sdk'] })
} catch (error) {
  if (!(error instanceof SetUpFault)) throw error
  refuse(error.message)
}
const { runLocally } = await import(path.join(root, '.build/deploy/local/main.js'))
process.exitCode = await runLocally(options)
