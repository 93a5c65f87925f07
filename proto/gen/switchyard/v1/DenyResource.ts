// Original file: proto/switchyard/v1/resource.proto

import type { Long } from '@grpc/proto-loader';

export interface DenyResource {
  'subjectKind'?: (string);
  'subjectId'?: (string);
  'secretHash'?: (Buffer | Uint8Array | string);
  'abort'?: (boolean);
  'expiresAtUnixMs'?: (number | string | Long);
}

export interface DenyResource__Output {
  'subjectKind': (string);
  'subjectId': (string);
  'secretHash': (Buffer);
  'abort': (boolean);
  'expiresAtUnixMs': (number);
}
