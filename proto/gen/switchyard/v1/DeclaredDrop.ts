// Original file: proto/switchyard/v1/report.proto

import type { Lane as _switchyard_v1_Lane, Lane__Output as _switchyard_v1_Lane__Output } from '../../switchyard/v1/Lane.js';
import type { Long } from '@grpc/proto-loader';

export interface DeclaredDrop {
  'lane'?: (_switchyard_v1_Lane | null);
  'firstSequence'?: (number | string | Long);
  'lastSequence'?: (number | string | Long);
  'reason'?: (string);
}

export interface DeclaredDrop__Output {
  'lane': (_switchyard_v1_Lane__Output | null);
  'firstSequence': (number);
  'lastSequence': (number);
  'reason': (string);
}
