// Original file: proto/switchyard/v1/fleet.proto

import type * as grpc from '@grpc/grpc-js'
import type { MethodDefinition } from '@grpc/proto-loader'
import type { AgentMessage as _switchyard_v1_AgentMessage, AgentMessage__Output as _switchyard_v1_AgentMessage__Output } from '../../switchyard/v1/AgentMessage.js';
import type { ControlMessage as _switchyard_v1_ControlMessage, ControlMessage__Output as _switchyard_v1_ControlMessage__Output } from '../../switchyard/v1/ControlMessage.js';

export interface FleetServiceClient extends grpc.Client {
  Configure(metadata: grpc.Metadata, options?: grpc.CallOptions): grpc.ClientDuplexStream<_switchyard_v1_AgentMessage, _switchyard_v1_ControlMessage__Output>;
  Configure(options?: grpc.CallOptions): grpc.ClientDuplexStream<_switchyard_v1_AgentMessage, _switchyard_v1_ControlMessage__Output>;
  configure(metadata: grpc.Metadata, options?: grpc.CallOptions): grpc.ClientDuplexStream<_switchyard_v1_AgentMessage, _switchyard_v1_ControlMessage__Output>;
  configure(options?: grpc.CallOptions): grpc.ClientDuplexStream<_switchyard_v1_AgentMessage, _switchyard_v1_ControlMessage__Output>;
  
}

export interface FleetServiceHandlers extends grpc.UntypedServiceImplementation {
  Configure: grpc.handleBidiStreamingCall<_switchyard_v1_AgentMessage__Output, _switchyard_v1_ControlMessage>;
  
}

export interface FleetServiceDefinition extends grpc.ServiceDefinition {
  Configure: MethodDefinition<_switchyard_v1_AgentMessage, _switchyard_v1_ControlMessage, _switchyard_v1_AgentMessage__Output, _switchyard_v1_ControlMessage__Output>
}
