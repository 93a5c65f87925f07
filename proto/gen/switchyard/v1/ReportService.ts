// Original file: proto/switchyard/v1/report.proto

import type * as grpc from '@grpc/grpc-js'
import type { MethodDefinition } from '@grpc/proto-loader'
import type { ReportMessage as _switchyard_v1_ReportMessage, ReportMessage__Output as _switchyard_v1_ReportMessage__Output } from '../../switchyard/v1/ReportMessage.js';
import type { ReportReply as _switchyard_v1_ReportReply, ReportReply__Output as _switchyard_v1_ReportReply__Output } from '../../switchyard/v1/ReportReply.js';

export interface ReportServiceClient extends grpc.Client {
  Report(metadata: grpc.Metadata, options?: grpc.CallOptions): grpc.ClientDuplexStream<_switchyard_v1_ReportMessage, _switchyard_v1_ReportReply__Output>;
  Report(options?: grpc.CallOptions): grpc.ClientDuplexStream<_switchyard_v1_ReportMessage, _switchyard_v1_ReportReply__Output>;
  report(metadata: grpc.Metadata, options?: grpc.CallOptions): grpc.ClientDuplexStream<_switchyard_v1_ReportMessage, _switchyard_v1_ReportReply__Output>;
  report(options?: grpc.CallOptions): grpc.ClientDuplexStream<_switchyard_v1_ReportMessage, _switchyard_v1_ReportReply__Output>;
  
}

export interface ReportServiceHandlers extends grpc.UntypedServiceImplementation {
  Report: grpc.handleBidiStreamingCall<_switchyard_v1_ReportMessage__Output, _switchyard_v1_ReportReply>;
  
}

export interface ReportServiceDefinition extends grpc.ServiceDefinition {
  Report: MethodDefinition<_switchyard_v1_ReportMessage, _switchyard_v1_ReportReply, _switchyard_v1_ReportMessage__Output, _switchyard_v1_ReportReply__Output>
}
