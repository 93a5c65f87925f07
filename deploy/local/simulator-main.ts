import { parseArgs } from 'node:util'
import { Simulator } from './simulator.js'
import { parseBehaviour } from './simulator-behaviour.js'

const help = `The Switchyard simulator: a stand-in for an inference server. It is not a model; its words are random.

  node .build/deploy/local/simulator-main.js [options]

  --port N              port to listen on, 0 for any (default 7406)
  --host H              address to listen on (default 127.0.0.1)
  --seed N              same seed, same words (default 1)
  --api-key K           refuse requests without this key
  --log FILE            append every accepted request to FILE before it is answered
  --behaviour JSON      knobs, for example '{"ttftMs":30,"tokensPerSecond":120}'
  --help

While it runs:
  curl -s localhost:7406/simulator/requests                       what it accepted, as JSON lines
  curl -s localhost:7406/simulator/behaviour -d '{"failure":"http_error","failureRatio":0.2}'
`

/** The simulator as a process: settings from its arguments, one line when it listens, gone on SIGTERM. */
async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      port: { type: 'string', default: '7406' },
      host: { type: 'string', default: '127.0.0.1' },
      seed: { type: 'string', default: '1' },
      'api-key': { type: 'string' },
      log: { type: 'string' },
      behaviour: { type: 'string', default: '{}' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    process.stdout.write(help)
    return
  }
  const behaviour = parseBehaviour(JSON.parse(values.behaviour))
  if (typeof behaviour === 'string') throw new Error(behaviour)
  const simulator = new Simulator({
    port: Number(values.port),
    host: values.host,
    seed: Number(values.seed),
    apiKey: values['api-key'] ?? null,
    logFile: values.log ?? null,
    behaviour,
  })
  await simulator.start()
  process.stdout.write(`${JSON.stringify({ message: 'the simulator listens', url: simulator.url })}\n`)
  const stop = () => {
    void simulator.stop().then(() => process.exit(0))
  }
  process.once('SIGTERM', stop)
  process.once('SIGINT', stop)
}

main().catch((fault: unknown) => {
  process.stderr.write(`simulator: ${fault instanceof Error ? fault.message : String(fault)}\n`)
  process.exitCode = 1
})
