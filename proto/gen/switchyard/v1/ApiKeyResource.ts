// Original file: proto/switchyard/v1/resource.proto

import type { Long } from '@grpc/proto-loader';

export interface ApiKeyResource {
  'id'?: (string);
  'secretHash'?: (Buffer | Uint8Array | string);
  'teamId'?: (string);
  'allowedRoutes'?: (string)[];
  'expiresAtUnixMs'?: (number | string | Long);
  'inFlightMax'?: (number);
  'requestsPerMinuteMax'?: (number);
  'internalOnly'?: (boolean);
  'mayPin'?: (boolean);
}

export interface ApiKeyResource__Output {
  'id': (string);
  'secretHash': (Buffer);
  'teamId': (string);
  'allowedRoutes': (string)[];
  'expiresAtUnixMs': (number);
  'inFlightMax': (number);
  'requestsPerMinuteMax': (number);
  'internalOnly': (boolean);
  'mayPin': (boolean);
}
