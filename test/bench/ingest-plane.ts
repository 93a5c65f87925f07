import { Database } from '../../control-plane/src/database/database.js'
import { JobQueues } from '../../control-plane/src/jobs/job-queues.js'
import { Metrics } from '../../control-plane/src/observability/metrics.js'
import { SpanStore } from '../../control-plane/src/traces/span-store.js'
import { BatchService } from '../../control-plane/src/usage/batch-service.js'
import { LaneStore } from '../../control-plane/src/usage/lane-store.js'
import { PlacementReader } from '../../control-plane/src/usage/placement-reader.js'
import { UsageIntake } from '../../control-plane/src/usage/usage-intake.js'
import { UsageStore } from '../../control-plane/src/usage/usage-store.js'
import { UsageWorker } from '../../control-plane/src/usage/usage-worker.js'
import { WatermarkReader } from '../../control-plane/src/usage/watermark-reader.js'
import { systemClock } from '../../proto/std/clock.js'
import { randomUnit } from '../../proto/std/ids.js'
import type { Log } from '../../proto/std/service.js'
import { serveReports } from '../paths/usage-report-server.js'

/**
 * The receiving half of a control plane, in a process of its own: `ingest-plane.js <database url> <redis url or ->`.
 * Sends its address when it stands; ends with its parent.
 */
const [databaseUrl = '', redisUrl = '-'] = process.argv.slice(2)
const say = (level: string) => (fields: object, message: string) => {
  if (level === 'warn' || level === 'error') console.error(level, message, fields)
}
const log: Log = { debug: say('debug'), info: say('info'), warn: say('warn'), error: say('error'), child: () => log }
const shared = { clock: systemClock, random: randomUnit, log }

const database = new Database({ url: databaseUrl, poolMax: 1, sqlPoolMax: 8 })
const queues = new JobQueues({ redisUrl: redisUrl === '-' ? null : redisUrl, databaseUrl, ...shared })
await queues.run()
const intake = new UsageIntake({
  queues: { usage: queues.queue('usage'), spans: queues.queue('spans') },
  watermarks: new WatermarkReader(database),
  metrics: new Metrics(),
  ...shared,
})
await intake.run()
const stores = { database, lanes: new LaneStore(), placement: new PlacementReader(database, systemClock) }
const usage = new BatchService({ ...stores, sink: new UsageStore() })
const spans = new BatchService({ ...stores, sink: new SpanStore() })
const onStored = () => intake.wake()
await new UsageWorker({ queues, queue: 'usage', batches: usage, onStored, ...shared }).run()
await new UsageWorker({ queues, queue: 'spans', batches: spans, onStored, ...shared }).run()
const server = await serveReports(intake, (metadata) => String(metadata.get('agent')[0] ?? ''), 'clu_bench')
process.on('disconnect', () => process.exit(0))
process.send?.({ address: server.address })
