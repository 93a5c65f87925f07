// Original file: proto/switchyard/v1/fleet.proto

import type { SnapshotUpdate as _switchyard_v1_SnapshotUpdate, SnapshotUpdate__Output as _switchyard_v1_SnapshotUpdate__Output } from '../../switchyard/v1/SnapshotUpdate.js';
import type { Certificate as _switchyard_v1_Certificate, Certificate__Output as _switchyard_v1_Certificate__Output } from '../../switchyard/v1/Certificate.js';
import type { CredentialEnvelopes as _switchyard_v1_CredentialEnvelopes, CredentialEnvelopes__Output as _switchyard_v1_CredentialEnvelopes__Output } from '../../switchyard/v1/CredentialEnvelopes.js';
import type { QuarantineLift as _switchyard_v1_QuarantineLift, QuarantineLift__Output as _switchyard_v1_QuarantineLift__Output } from '../../switchyard/v1/QuarantineLift.js';
import type { SigningKeys as _switchyard_v1_SigningKeys, SigningKeys__Output as _switchyard_v1_SigningKeys__Output } from '../../switchyard/v1/SigningKeys.js';

export interface ControlMessage {
  'update'?: (_switchyard_v1_SnapshotUpdate | null);
  'certificate'?: (_switchyard_v1_Certificate | null);
  'envelopes'?: (_switchyard_v1_CredentialEnvelopes | null);
  'lift'?: (_switchyard_v1_QuarantineLift | null);
  'signingKeys'?: (_switchyard_v1_SigningKeys | null);
  'updateGzip'?: (Buffer | Uint8Array | string);
  'body'?: "update"|"certificate"|"envelopes"|"lift"|"signingKeys"|"updateGzip";
}

export interface ControlMessage__Output {
  'update'?: (_switchyard_v1_SnapshotUpdate__Output | null);
  'certificate'?: (_switchyard_v1_Certificate__Output | null);
  'envelopes'?: (_switchyard_v1_CredentialEnvelopes__Output | null);
  'lift'?: (_switchyard_v1_QuarantineLift__Output | null);
  'signingKeys'?: (_switchyard_v1_SigningKeys__Output | null);
  'updateGzip'?: (Buffer);
  'body'?: "update"|"certificate"|"envelopes"|"lift"|"signingKeys"|"updateGzip";
}
