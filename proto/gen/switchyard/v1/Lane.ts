// Original file: proto/switchyard/v1/report.proto

import type { SpoolClass as _switchyard_v1_SpoolClass, SpoolClass__Output as _switchyard_v1_SpoolClass__Output } from '../../switchyard/v1/SpoolClass.js';
import type { Long } from '@grpc/proto-loader';

export interface Lane {
  'bootEpoch'?: (number | string | Long);
  'lane'?: (number);
  'class'?: (_switchyard_v1_SpoolClass);
}

export interface Lane__Output {
  'bootEpoch': (number);
  'lane': (number);
  'class': (_switchyard_v1_SpoolClass__Output);
}
