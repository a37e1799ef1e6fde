/** What the doctor is told of the KMEs, named as in the configuration. */

/** Settings that the configuration has already: a check passes when the one that it needs is set. */
export interface KnownQuirks {
  readonly keySizeInBytes?: boolean;
  readonly oneBatchAtATime?: boolean;
  readonly unknownKeyStatuses?: readonly number[];
  readonly minKeyAgeMs?: number;
  readonly getOnly?: boolean;
  readonly upperCaseKeyIds?: boolean;
  readonly ksid?: 'allocated' | 'chosen';
  readonly openAs?: 'same' | 'swapped';
  /** `sae-uri` in the configuration. */
  readonly uriTemplate?: string;
}

/** The lines of the configuration, in one place: `configHint` of a check. */
export const ConfigHint = {
  keySizeInBytes: 'key-size-in-bytes: true',
  oneBatchAtATime: 'one-batch-at-a-time: true',
  unknownKeyStatus: (status: number) => `unknown-key-status: [${status}]`,
  minKeyAge: (ms: number) => `min-key-age: ${ms}ms`,
  getOnly: 'get-only: true',
  upperCaseKeyIds: 'upper-case-key-ids: true',
  ksidChosen: 'ksid: chosen',
  openAs: (how: 'same' | 'swapped') => `open-as: ${how}`,
  saeUri: 'sae-uri: SCHEME://HOST/{sae}, in the form that this KME wants',
  keyChunkSize: (bytes: number) => `key-chunk-size: ${bytes}`,
  peerSae: (saeId: string) => `peer-sae: [${saeId}]`,
  kmeServerName: (name: string) => `kme-server-name: ${name}`,
  kmeId: (id: string) => `kme-id: ${id}`,
  kmePin: (sha256: string) => `kme-pin: [${sha256}]`,
  kmeCa: "kme-ca: FILE with the CA of the KME's certificate",
  unsafePlaintextKme: 'unsafe-plaintext-kme: true',
  kme: (url: string) => `kme: ${url}`,
  sae: (saeId: string) => `sae: ${saeId}`,
} as const;
