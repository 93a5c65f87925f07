import type { Log } from '../../../proto/std/service.js'

/** Traces of the plane's own work, while somebody collects them. */
export interface Telemetry {
  stop(): Promise<void>
}

/**
 * Starts the OpenTelemetry SDK towards an OTLP/HTTP endpoint (`<endpoint>/v1/traces` unless it names a path). The SDK is
 * loaded here and only then: it costs half a second and half of our memory, which nobody pays who does not collect.
 * A collector that is away costs spans, never requests.
 */
export async function startTelemetry(endpoint: string, log: Log): Promise<Telemetry> {
  const [{ NodeSDK }, { OTLPTraceExporter }] = await Promise.all([
    import('@opentelemetry/sdk-node'),
    import('@opentelemetry/exporter-trace-otlp-proto'),
  ])
  const url = new URL(endpoint)
  if (url.pathname === '/') url.pathname = '/v1/traces'
  const sdk = new NodeSDK({
    serviceName: 'switchyard-control-plane',
    traceExporter: new OTLPTraceExporter({ url: url.href, timeoutMillis: 5_000 }),
    metricReaders: [],
    logRecordProcessors: [],
    instrumentations: [],
  })
  sdk.start()
  log.info({ endpoint: url.origin }, 'traces of the control plane are exported')
  return {
    stop: async () => {
      try {
        await sdk.shutdown()
      } catch (fault) {
        log.warn({ fault }, 'the last traces could not be exported')
      }
    },
  }
}
