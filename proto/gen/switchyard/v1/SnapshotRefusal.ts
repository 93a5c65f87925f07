// Original file: proto/switchyard/v1/fleet.proto


export interface SnapshotRefusal {
  'code'?: (string);
  'section'?: (string);
  'resource'?: (string);
  'path'?: (string);
  'message'?: (string);
  'retryable'?: (boolean);
}

export interface SnapshotRefusal__Output {
  'code': (string);
  'section': (string);
  'resource': (string);
  'path': (string);
  'message': (string);
  'retryable': (boolean);
}
