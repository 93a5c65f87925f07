import grpc from '@grpc/grpc-js'
import type { UsageIntake } from '../../control-plane/src/usage/usage-intake.js'
import type { ReportMessage__Output } from '../../proto/gen/switchyard/v1/ReportMessage.js'
import type { ReportReply } from '../../proto/gen/switchyard/v1/ReportReply.js'

export interface ReportServer {
  /** `host:port`. */
  readonly address: string
  /** Ends every call at once, as a killed process would. */
  stop(): void
}

/**
 * The report service without TLS, for tests of what lies behind the door: whoever calls is who `agentIdOf` says. The door
 * itself is tested in fleet.
 */
export async function serveReports(
  intake: UsageIntake,
  agentIdOf: (metadata: grpc.Metadata) => string,
  clusterId: string,
  port = 0,
): Promise<ReportServer> {
  const server = new grpc.Server()
  const { service } = intake.registration()
  server.addService(service, {
    Report: (call: grpc.ServerDuplexStream<ReportMessage__Output, ReportReply | Buffer>) => {
      const over = new AbortController()
      const end = () => over.abort(new Error('the call is over'))
      for (const event of ['error', 'cancelled', 'close']) call.on(event, end)
      intake
        .serve({
          peer: {
            installationId: 'ins_test',
            clusterId,
            agentId: agentIdOf(call.metadata),
            serial: '01',
            certificateNotAfterMs: Number.MAX_SAFE_INTEGER,
          },
          signal: over.signal,
          async *messages() {
            try {
              for await (const message of call) yield message as ReportMessage__Output
            } catch (fault) {
              if (!over.signal.aborted) throw fault
            }
          },
          async send(message) {
            over.signal.throwIfAborted()
            call.write(message)
          },
        })
        .then(
          () => call.end(),
          (fault: Error) => call.emit('error', { code: grpc.status.INVALID_ARGUMENT, details: fault.message }),
        )
        .finally(end)
    },
  })
  const bound = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${port}`, grpc.ServerCredentials.createInsecure(), (fault, number) =>
      fault ? reject(fault) : resolve(number),
    )
  })
  return { address: `127.0.0.1:${bound}`, stop: () => server.forceShutdown() }
}
