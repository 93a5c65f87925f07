// Original file: proto/switchyard/v1/fleet.proto

import type { HeldSection as _switchyard_v1_HeldSection, HeldSection__Output as _switchyard_v1_HeldSection__Output } from '../../switchyard/v1/HeldSection.js';
import type { Long } from '@grpc/proto-loader';

export interface AgentHello {
  'protocolVersion'?: (number);
  'agentVersion'?: (string);
  'bootEpoch'?: (number | string | Long);
  'epoch'?: (number | string | Long);
  'generation'?: (number | string | Long);
  'rootHash'?: (Buffer | Uint8Array | string);
  'sections'?: (_switchyard_v1_HeldSection)[];
  'snapshotBytesMax'?: (number | string | Long);
  'resourcesMax'?: (number);
  'encodings'?: (string)[];
}

export interface AgentHello__Output {
  'protocolVersion': (number);
  'agentVersion': (string);
  'bootEpoch': (number);
  'epoch': (number);
  'generation': (number);
  'rootHash': (Buffer);
  'sections': (_switchyard_v1_HeldSection__Output)[];
  'snapshotBytesMax': (number);
  'resourcesMax': (number);
  'encodings': (string)[];
}
