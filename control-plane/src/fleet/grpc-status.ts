import grpc from '@grpc/grpc-js'
import { newId } from '../../../proto/std/ids.js'
import { RefusalError } from '../../../proto/std/refusal.js'
import type { Log } from '../../../proto/std/service.js'
import { unavailableRefusal } from '../database/database-error.js'

/** The one place where refusals and faults become gRPC statuses. */
const statusOfCode: Readonly<Record<string, grpc.status>> = {
  bad_input: grpc.status.INVALID_ARGUMENT,
  unauthenticated: grpc.status.UNAUTHENTICATED,
  forbidden: grpc.status.PERMISSION_DENIED,
  not_found: grpc.status.NOT_FOUND,
  conflict: grpc.status.FAILED_PRECONDITION,
  other_region: grpc.status.FAILED_PRECONDITION,
  limit_exceeded: grpc.status.RESOURCE_EXHAUSTED,
  unavailable: grpc.status.UNAVAILABLE,
  deadline: grpc.status.DEADLINE_EXCEEDED,
}

/** A refusal says why; of a fault the other side gets a reference and the log the rest. */
export function grpcStatusOf(
  error: unknown,
  context: { log: Log; method: string; nowMs: number },
): Pick<grpc.StatusObject, 'code' | 'details'> {
  const refusal = error instanceof RefusalError ? error.refusal : unavailableRefusal(error)
  if (refusal !== null) {
    const { code, message } = refusal
    return { code: statusOfCode[code] ?? grpc.status.FAILED_PRECONDITION, details: `${code}: ${message}` }
  }
  const reference = newId('request', context.nowMs)
  context.log.error({ err: error, method: context.method, reference }, 'a call failed')
  return { code: grpc.status.INTERNAL, details: `internal fault, reference ${reference}` }
}
