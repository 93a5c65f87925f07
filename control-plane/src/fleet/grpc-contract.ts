import grpc from '@grpc/grpc-js'
import protoLoader from '@grpc/proto-loader'
import type { ProtoGrpcType as CachePackage } from '../../../proto/gen/cache.js'
import { descriptor } from '../../../proto/gen/descriptor.js'
import type { ProtoGrpcType as EnrolmentPackage } from '../../../proto/gen/enrolment.js'
import type { ProtoGrpcType as FleetPackage } from '../../../proto/gen/fleet.js'
import type { ProtoGrpcType as ReportPackage } from '../../../proto/gen/report.js'

type Contract = CachePackage['switchyard']['v1'] &
  EnrolmentPackage['switchyard']['v1'] &
  FleetPackage['switchyard']['v1'] &
  ReportPackage['switchyard']['v1']

export interface GrpcContract {
  readonly cache: Contract['CacheService']['service']
  readonly enrolment: Contract['EnrolmentService']['service']
  readonly fleet: Contract['FleetService']['service']
  readonly report: Contract['ReportService']['service']
}

/**
 * The services of the wire, from the generated descriptor. An answer that is bytes already goes out as it is, so that one
 * encoded update serves every agent of a view.
 */
export function loadGrpcContract(): GrpcContract {
  const definition = protoLoader.fromJSON(descriptor, {
    ...{ longs: Number, enums: String },
    ...{ defaults: true, arrays: true, oneofs: true },
  })
  const loaded = grpc.loadPackageDefinition(definition) as unknown as { switchyard: { v1: Contract } }
  const { CacheService, EnrolmentService, FleetService, ReportService } = loaded.switchyard.v1
  return Object.freeze({
    cache: passingBytes(CacheService.service),
    enrolment: passingBytes(EnrolmentService.service),
    fleet: passingBytes(FleetService.service),
    report: passingBytes(ReportService.service),
  })
}

function passingBytes<Service extends grpc.ServiceDefinition>(service: Service): Service {
  const methods = Object.entries(service as grpc.ServiceDefinition).map(([name, method]) => [
    name,
    {
      ...method,
      responseSerialize: (value: unknown) => (Buffer.isBuffer(value) ? value : method.responseSerialize(value)),
    },
  ])
  return Object.fromEntries(methods) as Service
}
