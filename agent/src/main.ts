import { fileURLToPath } from 'node:url'
import { systemClock } from '../../proto/std/clock.js'
import { RefusalError } from '../../proto/std/refusal.js'
import { SettingsError } from '../../proto/std/settings-table.js'
import { tuneHeap } from './heap.js'
import { describeAgentSettings, describeMisspelt, readAgentSettings } from './settings.js'
import { createAgentLog } from './telemetry/log.js'
import { isRequestWorker, primaryChannel } from './workers/cluster-workers.js'
import { LineOutput } from './workers/line-output.js'
import { WorkerProcess } from './workers/worker-process.js'

/** As the control plane's: a supervisor need not try again. */
const exitUsage = 64

/** Settings → Agent → signals → drain. A second signal ends it at once. */
async function main(): Promise<void> {
  if (process.argv.includes('--help')) {
    process.stdout.write(describeAgentSettings())
    return
  }
  tuneHeap()
  const settings = readAgentSettings()
  const clock = systemClock
  const workers =
    settings.workers === 1 ? null : { script: fileURLToPath(import.meta.url), output: LineOutput.open(clock) }
  const log = createAgentLog({
    ...{ level: settings.logLevel, agentName: settings.agentName, clock },
    ...(workers === null ? {} : { destination: workers.output }),
  })
  for (const sentence of describeMisspelt()) log.warn({}, sentence)
  const { Agent } = await import('./agent.js')
  const agent = new Agent(settings, { clock, log, ...(workers === null ? {} : { workers }) })
  let draining = false
  const onSignal = (signal: NodeJS.Signals) => {
    if (draining) process.exit(1)
    draining = true
    log.info({ signal }, 'draining')
    void agent
      .drain()
      .then(() => agent.stop())
      .then(
        () => process.exit(0),
        (fault) => {
          log.error({ fault: String(fault) }, 'the agent did not stop cleanly')
          process.exit(1)
        },
      )
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
  try {
    await agent.start()
  } catch (fault) {
    if (draining) return
    await agent.stop()
    throw fault
  }
}

/**
 * A request worker: the same program, told by its primary what to be. Signals are the primary's to act upon; a terminal
 * sends them to all. Each of the two loads only what it needs.
 */
async function serveRequests(): Promise<void> {
  tuneHeap()
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => {})
  const { RequestWorker } = await import('./request-worker.js')
  new WorkerProcess({
    channel: primaryChannel(),
    clock: systemClock,
    makeLog: ({ settings: { logLevel, agentName } }) =>
      createAgentLog({ level: logLevel, agentName, clock: systemClock }),
    makeServing: (parts) => new RequestWorker(parts),
    exit: (code) => process.exit(code),
  }).run()
}

const running = isRequestWorker() ? serveRequests() : main()
running.catch(onFault)

function onFault(fault: unknown): void {
  if (fault instanceof SettingsError) {
    const faults = [fault.message, ...describeMisspelt()].join('\n')
    process.stderr.write(`switchyard agent: ${faults}\n\nnpm run agent -- --help lists every setting\n`)
    process.exit(exitUsage)
  }
  const expected = fault instanceof RefusalError
  process.stderr.write(`switchyard agent: ${expected ? fault.message : ((fault as Error).stack ?? String(fault))}\n`)
  process.exit(1)
}
