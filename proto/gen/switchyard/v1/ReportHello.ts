// Original file: proto/switchyard/v1/report.proto

import type { Lane as _switchyard_v1_Lane, Lane__Output as _switchyard_v1_Lane__Output } from '../../switchyard/v1/Lane.js';

export interface ReportHello {
  'protocolVersion'?: (number);
  'agentVersion'?: (string);
  'lanes'?: (_switchyard_v1_Lane)[];
}

export interface ReportHello__Output {
  'protocolVersion': (number);
  'agentVersion': (string);
  'lanes': (_switchyard_v1_Lane__Output)[];
}
