// Original file: proto/switchyard/v1/fleet.proto

import type { SectionUpdate as _switchyard_v1_SectionUpdate, SectionUpdate__Output as _switchyard_v1_SectionUpdate__Output } from '../../switchyard/v1/SectionUpdate.js';

export interface SnapshotUpdate {
  'header'?: (Buffer | Uint8Array | string);
  'signature'?: (Buffer | Uint8Array | string);
  'baseRootHash'?: (Buffer | Uint8Array | string);
  'resync'?: (boolean);
  'sections'?: (_switchyard_v1_SectionUpdate)[];
  'removedSections'?: (string)[];
}

export interface SnapshotUpdate__Output {
  'header': (Buffer);
  'signature': (Buffer);
  'baseRootHash': (Buffer);
  'resync': (boolean);
  'sections': (_switchyard_v1_SectionUpdate__Output)[];
  'removedSections': (string)[];
}
