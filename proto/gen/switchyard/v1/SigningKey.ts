// Original file: proto/switchyard/v1/enrolment.proto


export interface SigningKey {
  'keyId'?: (string);
  'publicKey'?: (Buffer | Uint8Array | string);
}

export interface SigningKey__Output {
  'keyId': (string);
  'publicKey': (Buffer);
}
