/**
 * What each check of the doctor rests on. GS QKD 014's subclauses are named by
 * number; of GS QKD 004 the call is named, since its replies and parameters
 * stand in one clause.
 */
export const Clause = {
  etsi004Connection: 'ETSI GS QKD 004 V2.1.1, 6',
  etsi004Open: 'ETSI GS QKD 004 V2.1.1, 6, OPEN_CONNECT',
  etsi004Qos: 'ETSI GS QKD 004 V2.1.1, 6, OPEN_CONNECT: QoS',
  etsi004Ksid: 'ETSI GS QKD 004 V2.1.1, 6, OPEN_CONNECT: Key_stream_ID',
  etsi004GetKey: 'ETSI GS QKD 004 V2.1.1, 6, GET_KEY',
  etsi004Index: 'ETSI GS QKD 004 V2.1.1, 6, GET_KEY: index',
  etsi004Metadata: 'ETSI GS QKD 004 V2.1.1, 6, GET_KEY: Metadata',
  etsi004Close: 'ETSI GS QKD 004 V2.1.1, 6, CLOSE',
  etsi014Https: 'ETSI GS QKD 014 V1.1.1, 5.1',
  etsi014GetStatus: 'ETSI GS QKD 014 V1.1.1, 5.2',
  etsi014GetKey: 'ETSI GS QKD 014 V1.1.1, 5.3',
  etsi014GetKeyWithIds: 'ETSI GS QKD 014 V1.1.1, 5.4',
  etsi014Status: 'ETSI GS QKD 014 V1.1.1, 6.1',
  etsi014KeyRequest: 'ETSI GS QKD 014 V1.1.1, 6.2',
  etsi014KeyContainer: 'ETSI GS QKD 014 V1.1.1, 6.3',
  etsi014Error: 'ETSI GS QKD 014 V1.1.1, 6.5',
  skipTls: 'draft-cisco-skip-02, TLS',
  skipCapabilities: 'draft-cisco-skip-02, /capabilities',
  skipKey: 'draft-cisco-skip-02, /key',
  skipKeyById: 'draft-cisco-skip-02, /key/{keyId}',
  skipEntropy: 'draft-cisco-skip-02, /entropy',
} as const;
export type Clause = (typeof Clause)[keyof typeof Clause];
