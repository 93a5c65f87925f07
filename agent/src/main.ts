import { systemClock } from '../../proto/std/clock.js'
import { RefusalError } from '../../proto/std/refusal.js'
import { SettingsError } from '../../proto/std/settings-table.js'
import { Agent } from './agent.js'
import { tuneHeap } from './heap.js'
import { describeAgentSettings, describeMisspelt, readAgentSettings } from './settings.js'
import { createAgentLog } from './telemetry/log.js'

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
  const log = createAgentLog({ level: settings.logLevel, agentName: settings.agentName, clock: systemClock })
  for (const sentence of describeMisspelt()) log.warn({}, sentence)
  const agent = new Agent(settings, { clock: systemClock, log })
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

main().catch((fault: unknown) => {
  if (fault instanceof SettingsError) {
    const faults = [fault.message, ...describeMisspelt()].join('\n')
    process.stderr.write(`switchyard agent: ${faults}\n\nnpm run agent -- --help lists every setting\n`)
    process.exit(exitUsage)
  }
  const expected = fault instanceof RefusalError
  process.stderr.write(`switchyard agent: ${expected ? fault.message : ((fault as Error).stack ?? String(fault))}\n`)
  process.exit(1)
})
