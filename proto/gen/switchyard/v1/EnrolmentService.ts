// Original file: proto/switchyard/v1/enrolment.proto

import type * as grpc from '@grpc/grpc-js'
import type { MethodDefinition } from '@grpc/proto-loader'
import type { EnrolRequest as _switchyard_v1_EnrolRequest, EnrolRequest__Output as _switchyard_v1_EnrolRequest__Output } from '../../switchyard/v1/EnrolRequest.js';
import type { EnrolResponse as _switchyard_v1_EnrolResponse, EnrolResponse__Output as _switchyard_v1_EnrolResponse__Output } from '../../switchyard/v1/EnrolResponse.js';

export interface EnrolmentServiceClient extends grpc.Client {
  Enrol(argument: _switchyard_v1_EnrolRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_switchyard_v1_EnrolResponse__Output>): grpc.ClientUnaryCall;
  Enrol(argument: _switchyard_v1_EnrolRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_switchyard_v1_EnrolResponse__Output>): grpc.ClientUnaryCall;
  Enrol(argument: _switchyard_v1_EnrolRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_switchyard_v1_EnrolResponse__Output>): grpc.ClientUnaryCall;
  Enrol(argument: _switchyard_v1_EnrolRequest, callback: grpc.requestCallback<_switchyard_v1_EnrolResponse__Output>): grpc.ClientUnaryCall;
  enrol(argument: _switchyard_v1_EnrolRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_switchyard_v1_EnrolResponse__Output>): grpc.ClientUnaryCall;
  enrol(argument: _switchyard_v1_EnrolRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_switchyard_v1_EnrolResponse__Output>): grpc.ClientUnaryCall;
  enrol(argument: _switchyard_v1_EnrolRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_switchyard_v1_EnrolResponse__Output>): grpc.ClientUnaryCall;
  enrol(argument: _switchyard_v1_EnrolRequest, callback: grpc.requestCallback<_switchyard_v1_EnrolResponse__Output>): grpc.ClientUnaryCall;
  
}

export interface EnrolmentServiceHandlers extends grpc.UntypedServiceImplementation {
  Enrol: grpc.handleUnaryCall<_switchyard_v1_EnrolRequest__Output, _switchyard_v1_EnrolResponse>;
  
}

export interface EnrolmentServiceDefinition extends grpc.ServiceDefinition {
  Enrol: MethodDefinition<_switchyard_v1_EnrolRequest, _switchyard_v1_EnrolResponse, _switchyard_v1_EnrolRequest__Output, _switchyard_v1_EnrolResponse__Output>
}
