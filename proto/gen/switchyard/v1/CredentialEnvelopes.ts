// Original file: proto/switchyard/v1/fleet.proto

import type { CredentialEnvelope as _switchyard_v1_CredentialEnvelope, CredentialEnvelope__Output as _switchyard_v1_CredentialEnvelope__Output } from '../../switchyard/v1/CredentialEnvelope.js';

export interface CredentialEnvelopes {
  'envelopes'?: (_switchyard_v1_CredentialEnvelope)[];
}

export interface CredentialEnvelopes__Output {
  'envelopes': (_switchyard_v1_CredentialEnvelope__Output)[];
}
