// Original file: proto/switchyard/v1/report.proto

import type { Lane as _switchyard_v1_Lane, Lane__Output as _switchyard_v1_Lane__Output } from '../../switchyard/v1/Lane.js';
import type { Long } from '@grpc/proto-loader';

export interface Watermark {
  'lane'?: (_switchyard_v1_Lane | null);
  'nextSequence'?: (number | string | Long);
}

export interface Watermark__Output {
  'lane': (_switchyard_v1_Lane__Output | null);
  'nextSequence': (number);
}
