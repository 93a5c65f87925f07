// Original file: proto/switchyard/v1/fleet.proto

import type { SigningKey as _switchyard_v1_SigningKey, SigningKey__Output as _switchyard_v1_SigningKey__Output } from '../../switchyard/v1/SigningKey.js';

export interface SigningKeys {
  'keys'?: (_switchyard_v1_SigningKey)[];
}

export interface SigningKeys__Output {
  'keys': (_switchyard_v1_SigningKey__Output)[];
}
