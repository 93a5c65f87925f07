// Original file: proto/switchyard/v1/cache.proto

import type * as grpc from '@grpc/grpc-js'
import type { MethodDefinition } from '@grpc/proto-loader'
import type { CacheGetRequest as _switchyard_v1_CacheGetRequest, CacheGetRequest__Output as _switchyard_v1_CacheGetRequest__Output } from '../../switchyard/v1/CacheGetRequest.js';
import type { CacheGetResponse as _switchyard_v1_CacheGetResponse, CacheGetResponse__Output as _switchyard_v1_CacheGetResponse__Output } from '../../switchyard/v1/CacheGetResponse.js';
import type { CachePutRequest as _switchyard_v1_CachePutRequest, CachePutRequest__Output as _switchyard_v1_CachePutRequest__Output } from '../../switchyard/v1/CachePutRequest.js';
import type { CachePutResponse as _switchyard_v1_CachePutResponse, CachePutResponse__Output as _switchyard_v1_CachePutResponse__Output } from '../../switchyard/v1/CachePutResponse.js';

export interface CacheServiceClient extends grpc.Client {
  Get(argument: _switchyard_v1_CacheGetRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_switchyard_v1_CacheGetResponse__Output>): grpc.ClientUnaryCall;
  Get(argument: _switchyard_v1_CacheGetRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_switchyard_v1_CacheGetResponse__Output>): grpc.ClientUnaryCall;
  Get(argument: _switchyard_v1_CacheGetRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_switchyard_v1_CacheGetResponse__Output>): grpc.ClientUnaryCall;
  Get(argument: _switchyard_v1_CacheGetRequest, callback: grpc.requestCallback<_switchyard_v1_CacheGetResponse__Output>): grpc.ClientUnaryCall;
  get(argument: _switchyard_v1_CacheGetRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_switchyard_v1_CacheGetResponse__Output>): grpc.ClientUnaryCall;
  get(argument: _switchyard_v1_CacheGetRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_switchyard_v1_CacheGetResponse__Output>): grpc.ClientUnaryCall;
  get(argument: _switchyard_v1_CacheGetRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_switchyard_v1_CacheGetResponse__Output>): grpc.ClientUnaryCall;
  get(argument: _switchyard_v1_CacheGetRequest, callback: grpc.requestCallback<_switchyard_v1_CacheGetResponse__Output>): grpc.ClientUnaryCall;
  
  Put(argument: _switchyard_v1_CachePutRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_switchyard_v1_CachePutResponse__Output>): grpc.ClientUnaryCall;
  Put(argument: _switchyard_v1_CachePutRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_switchyard_v1_CachePutResponse__Output>): grpc.ClientUnaryCall;
  Put(argument: _switchyard_v1_CachePutRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_switchyard_v1_CachePutResponse__Output>): grpc.ClientUnaryCall;
  Put(argument: _switchyard_v1_CachePutRequest, callback: grpc.requestCallback<_switchyard_v1_CachePutResponse__Output>): grpc.ClientUnaryCall;
  put(argument: _switchyard_v1_CachePutRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_switchyard_v1_CachePutResponse__Output>): grpc.ClientUnaryCall;
  put(argument: _switchyard_v1_CachePutRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_switchyard_v1_CachePutResponse__Output>): grpc.ClientUnaryCall;
  put(argument: _switchyard_v1_CachePutRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_switchyard_v1_CachePutResponse__Output>): grpc.ClientUnaryCall;
  put(argument: _switchyard_v1_CachePutRequest, callback: grpc.requestCallback<_switchyard_v1_CachePutResponse__Output>): grpc.ClientUnaryCall;
  
}

export interface CacheServiceHandlers extends grpc.UntypedServiceImplementation {
  Get: grpc.handleUnaryCall<_switchyard_v1_CacheGetRequest__Output, _switchyard_v1_CacheGetResponse>;
  
  Put: grpc.handleUnaryCall<_switchyard_v1_CachePutRequest__Output, _switchyard_v1_CachePutResponse>;
  
}

export interface CacheServiceDefinition extends grpc.ServiceDefinition {
  Get: MethodDefinition<_switchyard_v1_CacheGetRequest, _switchyard_v1_CacheGetResponse, _switchyard_v1_CacheGetRequest__Output, _switchyard_v1_CacheGetResponse__Output>
  Put: MethodDefinition<_switchyard_v1_CachePutRequest, _switchyard_v1_CachePutResponse, _switchyard_v1_CachePutRequest__Output, _switchyard_v1_CachePutResponse__Output>
}
