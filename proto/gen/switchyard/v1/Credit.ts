// Original file: proto/switchyard/v1/report.proto

import type { SpoolClass as _switchyard_v1_SpoolClass, SpoolClass__Output as _switchyard_v1_SpoolClass__Output } from '../../switchyard/v1/SpoolClass.js';
import type { Long } from '@grpc/proto-loader';

export interface Credit {
  'class'?: (_switchyard_v1_SpoolClass);
  'bytes'?: (number | string | Long);
}

export interface Credit__Output {
  'class': (_switchyard_v1_SpoolClass__Output);
  'bytes': (number);
}
