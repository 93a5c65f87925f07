import type * as grpc from '@grpc/grpc-js';
import type { MessageTypeDefinition } from '@grpc/proto-loader';

import type { CacheGetRequest as _switchyard_v1_CacheGetRequest, CacheGetRequest__Output as _switchyard_v1_CacheGetRequest__Output } from './switchyard/v1/CacheGetRequest.js';
import type { CacheGetResponse as _switchyard_v1_CacheGetResponse, CacheGetResponse__Output as _switchyard_v1_CacheGetResponse__Output } from './switchyard/v1/CacheGetResponse.js';
import type { CachePutRequest as _switchyard_v1_CachePutRequest, CachePutRequest__Output as _switchyard_v1_CachePutRequest__Output } from './switchyard/v1/CachePutRequest.js';
import type { CachePutResponse as _switchyard_v1_CachePutResponse, CachePutResponse__Output as _switchyard_v1_CachePutResponse__Output } from './switchyard/v1/CachePutResponse.js';
import type { CacheServiceClient as _switchyard_v1_CacheServiceClient, CacheServiceDefinition as _switchyard_v1_CacheServiceDefinition } from './switchyard/v1/CacheService.js';

type SubtypeConstructor<Constructor extends new (...args: any) => any, Subtype> = {
  new(...args: ConstructorParameters<Constructor>): Subtype;
};

export interface ProtoGrpcType {
  switchyard: {
    v1: {
      CacheGetRequest: MessageTypeDefinition<_switchyard_v1_CacheGetRequest, _switchyard_v1_CacheGetRequest__Output>
      CacheGetResponse: MessageTypeDefinition<_switchyard_v1_CacheGetResponse, _switchyard_v1_CacheGetResponse__Output>
      CachePutRequest: MessageTypeDefinition<_switchyard_v1_CachePutRequest, _switchyard_v1_CachePutRequest__Output>
      CachePutResponse: MessageTypeDefinition<_switchyard_v1_CachePutResponse, _switchyard_v1_CachePutResponse__Output>
      CacheService: SubtypeConstructor<typeof grpc.Client, _switchyard_v1_CacheServiceClient> & { service: _switchyard_v1_CacheServiceDefinition }
    }
  }
}

