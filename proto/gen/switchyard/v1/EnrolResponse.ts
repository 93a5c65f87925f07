// Original file: proto/switchyard/v1/enrolment.proto

import type { Certificate as _switchyard_v1_Certificate, Certificate__Output as _switchyard_v1_Certificate__Output } from '../../switchyard/v1/Certificate.js';
import type { SigningKey as _switchyard_v1_SigningKey, SigningKey__Output as _switchyard_v1_SigningKey__Output } from '../../switchyard/v1/SigningKey.js';

export interface EnrolResponse {
  'certificate'?: (_switchyard_v1_Certificate | null);
  'installationId'?: (string);
  'clusterId'?: (string);
  'agentId'?: (string);
  'signingKeys'?: (_switchyard_v1_SigningKey)[];
}

export interface EnrolResponse__Output {
  'certificate': (_switchyard_v1_Certificate__Output | null);
  'installationId': (string);
  'clusterId': (string);
  'agentId': (string);
  'signingKeys': (_switchyard_v1_SigningKey__Output)[];
}
