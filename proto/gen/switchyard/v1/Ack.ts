// Original file: proto/switchyard/v1/fleet.proto

import type { SnapshotRefusal as _switchyard_v1_SnapshotRefusal, SnapshotRefusal__Output as _switchyard_v1_SnapshotRefusal__Output } from '../../switchyard/v1/SnapshotRefusal.js';
import type { Long } from '@grpc/proto-loader';

// Original file: proto/switchyard/v1/fleet.proto

export const _switchyard_v1_Ack_Outcome = {
  OUTCOME_UNSPECIFIED: 'OUTCOME_UNSPECIFIED',
  APPLIED: 'APPLIED',
  PARTIAL: 'PARTIAL',
  REFUSED: 'REFUSED',
} as const;

export type _switchyard_v1_Ack_Outcome =
  | 'OUTCOME_UNSPECIFIED'
  | 0
  | 'APPLIED'
  | 1
  | 'PARTIAL'
  | 2
  | 'REFUSED'
  | 3

export type _switchyard_v1_Ack_Outcome__Output = typeof _switchyard_v1_Ack_Outcome[keyof typeof _switchyard_v1_Ack_Outcome]

export interface Ack {
  'epoch'?: (number | string | Long);
  'generation'?: (number | string | Long);
  'rootHash'?: (Buffer | Uint8Array | string);
  'outcome'?: (_switchyard_v1_Ack_Outcome);
  'refusals'?: (_switchyard_v1_SnapshotRefusal)[];
  'appliedGeneration'?: (number | string | Long);
  'appliedRootHash'?: (Buffer | Uint8Array | string);
}

export interface Ack__Output {
  'epoch': (number);
  'generation': (number);
  'rootHash': (Buffer);
  'outcome': (_switchyard_v1_Ack_Outcome__Output);
  'refusals': (_switchyard_v1_SnapshotRefusal__Output)[];
  'appliedGeneration': (number);
  'appliedRootHash': (Buffer);
}
