// Original file: proto/switchyard/v1/cache.proto

import type { Long } from '@grpc/proto-loader';

export interface CachePutRequest {
  'name'?: (Buffer | Uint8Array | string);
  'value'?: (Buffer | Uint8Array | string);
  'ttlSeconds'?: (number);
  'bornAtUnixMs'?: (number | string | Long);
}

export interface CachePutRequest__Output {
  'name': (Buffer);
  'value': (Buffer);
  'ttlSeconds': (number);
  'bornAtUnixMs': (number);
}
