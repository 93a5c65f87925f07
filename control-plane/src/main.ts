import { systemClock } from '../../proto/std/clock.js'
import type { Log } from '../../proto/std/service.js'
import { SettingsError } from '../../proto/std/settings-table.js'
import { describeAllSettings, describeMisspelt, loadSettings, type Settings } from './settings.js'

// The rest of the product is loaded when it is needed: help, and a setting that is refused, should not wait for it.

const usage = `switchyard control plane: GraphQL for people, gRPC for agents

  npm run control-plane                  serve until SIGTERM or SIGINT
  npm run control-plane -- rotate-keys   seal every secret in the database under the first of SWITCHYARD_WRAP_KEYS,
                                         while everything keeps running. Before: give the new key to every replica as
                                         the second of the list, then as the first. After: take the old one out.
  npm run control-plane -- --help        this text

Settings are environment variables:
`

const exitUsage = 64
const rewrapBatchCount = 200

async function main(argument: string | undefined): Promise<void> {
  if (argument === '--help' || argument === '-h' || argument === 'help') {
    process.stdout.write(`${usage}\n${describeAllSettings()}\n`)
    return
  }
  if (argument !== undefined && argument !== 'rotate-keys') {
    process.stderr.write(`unknown command ${argument}\n\n${usage}`)
    process.exitCode = exitUsage
    return
  }
  let settings: Settings
  try {
    settings = loadSettings()
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error
    const faults = [error.message, ...describeMisspelt()].join('\n')
    process.stderr.write(`${faults}\n\nnpm run control-plane -- --help lists every setting\n`)
    process.exitCode = exitUsage
    return
  }
  if (argument === 'rotate-keys') await runRotation(settings)
  else await serve(settings)
}

async function serve(settings: Settings): Promise<void> {
  const [{ ControlPlane }, { createLog }, { describeStartRefusal }] = await Promise.all([
    import('./control-plane.js'),
    import('./observability/log.js'),
    import('./start-refusal.js'),
  ])
  const log = createLog({ level: settings.logLevel, clock: systemClock })
  for (const sentence of describeMisspelt()) log.warn({}, sentence)
  const controlPlane = new ControlPlane(settings, { clock: systemClock, log })
  let stopping = false
  const stop = (signal: string) => {
    // A second signal means now.
    if (stopping) process.exit(1)
    stopping = true
    log.info({ signal }, 'stopping')
    controlPlane.drain().then(
      () => process.exit(0),
      (fault: unknown) => die(log, fault, 'could not stop cleanly'),
    )
  }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
  process.on('uncaughtException', (fault) => die(log, fault, 'a fault that nobody caught'))
  process.on('unhandledRejection', (fault) => die(log, fault, 'a rejection that nobody caught'))
  try {
    await controlPlane.start()
  } catch (fault) {
    const refusal = describeStartRefusal(fault, settings)
    if (refusal === null) die(log, fault, 'could not start')
    log.error({}, `could not start: ${refusal}`)
    process.exit(1)
  }
  log.info({ ...controlPlane.addresses }, 'ready')
}

/** A process in an unknown state is worth less than a fresh one. */
function die(log: Log, fault: unknown, message: string): never {
  log.error({ fault }, message)
  process.exit(1)
}

/** A person waits for this one: what it cannot do is a sentence, without the log's dress. */
async function runRotation(settings: Settings): Promise<void> {
  const [{ describeStartRefusal }, { unavailableRefusal }] = await Promise.all([
    import('./start-refusal.js'),
    import('./database/database-error.js'),
  ])
  try {
    await rotateKeys(settings)
  } catch (fault) {
    const away =
      unavailableRefusal(fault) && 'the database cannot be reached: is it running, and is DATABASE_URL right?'
    const refusal = describeStartRefusal(fault, settings) ?? away
    if (refusal === null) throw fault
    process.stderr.write(`switchyard control plane: ${refusal}\n`)
    process.exitCode = 1
  }
}

async function rotateKeys(settings: Settings): Promise<void> {
  const [{ KeyRing }, { WrappedSecretStore }, { Database }] = await Promise.all([
    import('./access/encryption.js'),
    import('./access/wrapped-secret-store.js'),
    import('./database/database.js'),
  ])
  const database = new Database({ url: settings.databaseUrl, poolMax: 2, sqlPoolMax: 2 })
  try {
    const keyRing = KeyRing.parse(settings.wrapKeys)
    const store = new WrappedSecretStore(database)
    for (const { name, rewrapped } of await store.rewrapAll(keyRing, rewrapBatchCount)) {
      process.stdout.write(`${name}: ${rewrapped} sealed anew\n`)
    }
    for (const [id, count] of await store.countByKey()) {
      process.stdout.write(`key ${id}: ${count} secrets${id === keyRing.activeKeyId ? ' (active)' : ''}\n`)
    }
  } finally {
    await database.close()
  }
}

await main(process.argv[2])
