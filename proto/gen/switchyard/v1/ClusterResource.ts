// Original file: proto/switchyard/v1/resource.proto


export interface ClusterResource {
  'id'?: (string);
  'name'?: (string);
  'region'?: (string);
  'cloud'?: (string);
  'spanSamplePpm'?: (number);
}

export interface ClusterResource__Output {
  'id': (string);
  'name': (string);
  'region': (string);
  'cloud': (string);
  'spanSamplePpm': (number);
}
