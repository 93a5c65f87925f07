import grpc from '@grpc/grpc-js'
import protoLoader from '@grpc/proto-loader'
import type { ProtoGrpcType as CachePackage } from '../../../proto/gen/cache.js'
import { descriptor } from '../../../proto/gen/descriptor.js'
import type { ProtoGrpcType as EnrolmentPackage } from '../../../proto/gen/enrolment.js'
import type { ProtoGrpcType as FleetPackage } from '../../../proto/gen/fleet.js'
import type { ProtoGrpcType as ReportPackage } from '../../../proto/gen/report.js'

/**
 * The one place of this plane where gRPC's callbacks become promises and async iterables. Nothing else in the agent touches
 * a call: the configuration stream, the report stream, enrolment and shared answers go through here.
 */
type Contract = CachePackage['switchyard']['v1'] &
  EnrolmentPackage['switchyard']['v1'] &
  FleetPackage['switchyard']['v1'] &
  ReportPackage['switchyard']['v1']

/** Client classes of the contract, made from the descriptor; no .proto file is read. */
export function loadContract(): Pick<Contract, 'CacheService' | 'EnrolmentService' | 'FleetService' | 'ReportService'> {
  const definition = protoLoader.fromJSON(descriptor, {
    longs: Number,
    enums: String,
    defaults: true,
    arrays: true,
    oneofs: true,
  })
  const loaded = grpc.loadPackageDefinition(definition) as unknown as { switchyard: { v1: Contract } }
  return loaded.switchyard.v1
}

export interface ChannelLimits {
  /** Bytes of one received message. */
  messageBytesMax: number
  /** A silent connection is probed this often; one unanswered probe for `keepaliveTimeoutMs` ends it. */
  keepaliveIntervalMs: number
  keepaliveTimeoutMs: number
}

/** Options for a client of its own connection: a renewed certificate must never ride on a connection of the old one. */
export function channelOptions(limits: ChannelLimits): grpc.ChannelOptions {
  return {
    'grpc.max_receive_message_length': limits.messageBytesMax,
    'grpc.max_send_message_length': limits.messageBytesMax,
    'grpc.keepalive_time_ms': limits.keepaliveIntervalMs,
    'grpc.keepalive_timeout_ms': limits.keepaliveTimeoutMs,
    'grpc.keepalive_permit_without_calls': 1,
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_retries': 0,
    'grpc.service_config_disable_resolution': 1,
    'grpc.enable_http_proxy': 0,
    // The caller's own backoff decides when to try again; the channel must not sit on a longer one of its own.
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': 1_000,
  }
}

/** Why a call ended, in words for a log; `code` is gRPC's name, for example `UNAVAILABLE`. */
export class CallFault extends Error {
  override readonly name = 'CallFault'
  readonly code: string

  constructor(code: grpc.status, details: string, cause?: unknown) {
    super(`${grpc.status[code] ?? code}: ${details}`, { cause })
    this.code = grpc.status[code] ?? String(code)
  }

  static of(fault: unknown): CallFault {
    if (fault instanceof CallFault) return fault
    const { code, details, message } = fault as Partial<grpc.ServiceError>
    return new CallFault(code ?? grpc.status.UNKNOWN, details || message || String(fault), fault)
  }
}

export interface BidiStream<Sent, Received> {
  /** Resolves once the transport wants more: awaiting it is the back-pressure. Rejects with `CallFault` when the call ended. */
  send(message: Sent): Promise<void>
  /** One message at a time; the next is read from the connection when it is asked for. Ends at a clean end, throws `CallFault` else. */
  messages(): AsyncGenerator<Received, void>
  /** Resolves when the other side answered the call at all: connected, certificate accepted. Rejects when the call ended first. */
  readonly answered: Promise<void>
  /** No more will be sent; the other side may finish. */
  end(): void
  /** Ends the call now. `messages` then ends without a fault. */
  cancel(): void
  /** Ends the call now, with this as its fault. */
  fail(reason: string): void
}

/** Wraps a call that was just opened. */
export function bidiStream<Sent, Received>(call: grpc.ClientDuplexStream<Sent, Received>): BidiStream<Sent, Received> {
  let ended: CallFault | null = null
  let cancelled = false
  const answered = new Promise<void>((resolve, reject) => {
    call.once('metadata', () => resolve())
    call.once('error', (fault) => reject(CallFault.of(fault)))
    call.once('status', (status) => reject(new CallFault(status.code, status.details || 'the call ended')))
  })
  answered.catch(() => {})
  // An error event without a listener would end the process; a call may fail after everybody has turned away.
  call.on('error', (fault) => {
    ended ??= CallFault.of(fault)
  })
  call.on('status', (status) => {
    ended ??= new CallFault(status.code, status.details || 'the call ended')
  })

  return {
    answered,
    async send(message) {
      if (ended) throw ended
      if (call.write(message)) return
      await new Promise<void>((resolve) => {
        const settle = () => {
          for (const event of ['drain', 'error', 'status', 'close']) call.off(event, settle)
          resolve()
        }
        for (const event of ['drain', 'error', 'status', 'close']) call.on(event, settle)
      })
      if (ended) throw ended
    },
    async *messages() {
      try {
        for await (const message of call) yield message as Received
      } catch (fault) {
        if (!cancelled) throw ended ?? CallFault.of(fault)
      } finally {
        call.cancel()
      }
    },
    end: () => call.end(),
    cancel: () => {
      cancelled = true
      call.cancel()
    },
    fail: (reason) => {
      ended ??= new CallFault(grpc.status.UNAVAILABLE, reason)
      call.cancel()
    },
  }
}

/** A unary call as a promise; `CallFault` when it fails or `timeoutMs` passed. */
export function unaryCall<Response>(
  start: (callback: grpc.requestCallback<Response>) => grpc.ClientUnaryCall,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    start((fault, response) => {
      if (fault) reject(CallFault.of(fault))
      else if (response === undefined) reject(new CallFault(grpc.status.INTERNAL, 'an empty answer'))
      else resolve(response)
    })
  })
}
