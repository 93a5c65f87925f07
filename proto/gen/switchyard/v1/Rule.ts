// Original file: proto/switchyard/v1/resource.proto

import type { Target as _switchyard_v1_Target, Target__Output as _switchyard_v1_Target__Output } from '../../switchyard/v1/Target.js';

export interface Rule {
  'id'?: (string);
  'condition'?: (string);
  'targets'?: (_switchyard_v1_Target)[];
  'strategy'?: (string);
  'stickyBy'?: (string);
  'complexityLowPpm'?: (number);
  'complexityHighPpm'?: (number);
  'name'?: (string);
}

export interface Rule__Output {
  'id': (string);
  'condition': (string);
  'targets': (_switchyard_v1_Target__Output)[];
  'strategy': (string);
  'stickyBy': (string);
  'complexityLowPpm': (number);
  'complexityHighPpm': (number);
  'name': (string);
}
