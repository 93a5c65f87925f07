// Original file: proto/switchyard/v1/report.proto

import type { Long } from '@grpc/proto-loader';

export interface Record {
  'sequence'?: (number | string | Long);
  'payload'?: (Buffer | Uint8Array | string);
}

export interface Record__Output {
  'sequence': (number);
  'payload': (Buffer);
}
