// Original file: proto/switchyard/v1/fleet.proto

import type { ResourceEntry as _switchyard_v1_ResourceEntry, ResourceEntry__Output as _switchyard_v1_ResourceEntry__Output } from '../../switchyard/v1/ResourceEntry.js';
import type { Long } from '@grpc/proto-loader';

export interface SectionUpdate {
  'name'?: (string);
  'hash'?: (Buffer | Uint8Array | string);
  'intentRevision'?: (number | string | Long);
  'changed'?: (_switchyard_v1_ResourceEntry)[];
  'removed'?: (string)[];
}

export interface SectionUpdate__Output {
  'name': (string);
  'hash': (Buffer);
  'intentRevision': (number);
  'changed': (_switchyard_v1_ResourceEntry__Output)[];
  'removed': (string)[];
}
