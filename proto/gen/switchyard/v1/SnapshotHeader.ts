// Original file: proto/switchyard/v1/fleet.proto

import type { Long } from '@grpc/proto-loader';

export interface SnapshotHeader {
  'epoch'?: (number | string | Long);
  'view'?: (string);
  'generation'?: (number | string | Long);
  'rootHash'?: (Buffer | Uint8Array | string);
  'keyId'?: (string);
}

export interface SnapshotHeader__Output {
  'epoch': (number);
  'view': (string);
  'generation': (number);
  'rootHash': (Buffer);
  'keyId': (string);
}
