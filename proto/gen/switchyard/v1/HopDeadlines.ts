// Original file: proto/switchyard/v1/resource.proto


export interface HopDeadlines {
  'connectMs'?: (number);
  'firstTokenMs'?: (number);
  'idleMs'?: (number);
  'totalMs'?: (number);
}

export interface HopDeadlines__Output {
  'connectMs': (number);
  'firstTokenMs': (number);
  'idleMs': (number);
  'totalMs': (number);
}
