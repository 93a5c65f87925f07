// Original file: proto/switchyard/v1/fleet.proto

import type { TargetStatus as _switchyard_v1_TargetStatus, TargetStatus__Output as _switchyard_v1_TargetStatus__Output } from '../../switchyard/v1/TargetStatus.js';
import type { Long } from '@grpc/proto-loader';

export interface AgentStatus {
  'spoolBytes'?: (number | string | Long);
  'spoolBytesMax'?: (number | string | Long);
  'spoolRecordCount'?: (number | string | Long);
  'inFlightCount'?: (number);
  'certificateNotAfterUnixMs'?: (number | string | Long);
  'appliedEpoch'?: (number | string | Long);
  'appliedGeneration'?: (number | string | Long);
  'appliedRootHash'?: (Buffer | Uint8Array | string);
  'targets'?: (_switchyard_v1_TargetStatus)[];
}

export interface AgentStatus__Output {
  'spoolBytes': (number);
  'spoolBytesMax': (number);
  'spoolRecordCount': (number);
  'inFlightCount': (number);
  'certificateNotAfterUnixMs': (number);
  'appliedEpoch': (number);
  'appliedGeneration': (number);
  'appliedRootHash': (Buffer);
  'targets': (_switchyard_v1_TargetStatus__Output)[];
}
