// Original file: proto/switchyard/v1/resource.proto


export interface ProviderResource {
  'id'?: (string);
  'name'?: (string);
  'kind'?: (string);
  'baseUrl'?: (string);
  'region'?: (string);
  'credentialId'?: (string);
  'credentialVersion'?: (number);
  'connectionsMax'?: (number);
  'apiVersion'?: (string);
  'vendorRegion'?: (string);
  'vendorProject'?: (string);
  'external'?: (boolean);
  'replicaUrls'?: (string)[];
  'replicaScrapeMs'?: (number);
}

export interface ProviderResource__Output {
  'id': (string);
  'name': (string);
  'kind': (string);
  'baseUrl': (string);
  'region': (string);
  'credentialId': (string);
  'credentialVersion': (number);
  'connectionsMax': (number);
  'apiVersion': (string);
  'vendorRegion': (string);
  'vendorProject': (string);
  'external': (boolean);
  'replicaUrls': (string)[];
  'replicaScrapeMs': (number);
}
