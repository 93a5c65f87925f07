// Original file: proto/switchyard/v1/fleet.proto


export interface CredentialEnvelope {
  'credentialId'?: (string);
  'version'?: (number);
  'sealed'?: (Buffer | Uint8Array | string);
  'reference'?: (string);
  'secret'?: "sealed"|"reference";
}

export interface CredentialEnvelope__Output {
  'credentialId': (string);
  'version': (number);
  'sealed'?: (Buffer);
  'reference'?: (string);
  'secret'?: "sealed"|"reference";
}
