// Original file: proto/switchyard/v1/report.proto

import type { Lane as _switchyard_v1_Lane, Lane__Output as _switchyard_v1_Lane__Output } from '../../switchyard/v1/Lane.js';
import type { Record as _switchyard_v1_Record, Record__Output as _switchyard_v1_Record__Output } from '../../switchyard/v1/Record.js';

export interface Batch {
  'lane'?: (_switchyard_v1_Lane | null);
  'records'?: (_switchyard_v1_Record)[];
}

export interface Batch__Output {
  'lane': (_switchyard_v1_Lane__Output | null);
  'records': (_switchyard_v1_Record__Output)[];
}
