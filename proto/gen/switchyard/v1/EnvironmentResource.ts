// Original file: proto/switchyard/v1/resource.proto


export interface EnvironmentResource {
  'tenantId'?: (string);
  'tenantName'?: (string);
  'environmentId'?: (string);
  'environmentName'?: (string);
  'permittedRegions'?: (string)[];
  'routingPreference'?: (string);
}

export interface EnvironmentResource__Output {
  'tenantId': (string);
  'tenantName': (string);
  'environmentId': (string);
  'environmentName': (string);
  'permittedRegions': (string)[];
  'routingPreference': (string);
}
