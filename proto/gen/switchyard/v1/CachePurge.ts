// Original file: proto/switchyard/v1/resource.proto

import type { Long } from '@grpc/proto-loader';

export interface CachePurge {
  'id'?: (string);
  'atUnixMs'?: (number | string | Long);
  'routeId'?: (string);
  'promptId'?: (string);
  'promptVersion'?: (string);
  'tag'?: (string);
  'documentId'?: (string);
}

export interface CachePurge__Output {
  'id': (string);
  'atUnixMs': (number);
  'routeId': (string);
  'promptId': (string);
  'promptVersion': (string);
  'tag': (string);
  'documentId': (string);
}
