import { systemClock } from '../../proto/std/clock.js'
import { RefusalError } from '../../proto/std/refusal.js'
import { LocalFolder } from './local-folder.js'
import { LocalInstallation, type StartOptions } from './local-installation.js'
import { Progress } from './progress.js'
import { welcomeScreen } from './welcome-screen.js'

/**
 * `npm start`: takes the folder, ends leftovers, starts everything, tells how to use it, and ends it all on Ctrl-C. The
 * answer is the exit code.
 */
export async function runLocally(options: StartOptions): Promise<number> {
  const clock = systemClock
  const progress = new Progress(process.stdout, clock)
  const stopAsked = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stopAsked.abort(signal))
  const folder = new LocalFolder(options.folder)
  const installation = new LocalInstallation({ options, folder, environment: process.env, clock, progress })
  let exitCode = 0
  try {
    folder.lock()
    const left = await folder.reap(clock)
    if (left.length > 0)
      progress.line(`  ended what an earlier start had left: ${left.map(({ name }) => name).join(', ')}`)
    const starting = installation.start()
    // A fault while somebody presses Ctrl-C is not news.
    starting.catch(() => {})
    const facts = await Promise.race([starting, aborted(stopAsked.signal)])
    if (facts) {
      progress.line(welcomeScreen(facts, options))
      await aborted(stopAsked.signal)
    }
    progress.line('\n  stopping …')
  } catch (fault) {
    process.stderr.write(
      `switchyard: ${fault instanceof RefusalError ? fault.refusal.message : describeFault(fault)}\n`,
    )
    exitCode = 1
  }
  await installation.stop()
  folder.unlock()
  return exitCode
}

function aborted(signal: AbortSignal): Promise<null> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(null)
    signal.addEventListener('abort', () => resolve(null), { once: true })
  })
}

function describeFault(fault: unknown): string {
  return fault instanceof Error ? (fault.stack ?? fault.message) : String(fault)
}
