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
  readonly uriTemplate?: string;
}

/** The lines of the configuration, in one place: `configHint` of a check. */
export const ConfigHint = {
  keySizeInBytes: 'key-size-in-bytes: true',
  oneBatchAtATime: 'one-batch-at-a-time: true',
  unknownKeyStatus: (status: number) => `unknown-key-status: ${status}`,
  minKeyAge: (ms: number) => `min-key-age: ${ms}ms`,
  getOnly: 'get-only: true',
  upperCaseKeyIds: 'upper-case-key-ids: true',
  ksidChosen: 'ksid: chosen',
  openAsSwapped: 'open-as: swapped',
  uriTemplate: (template: string) => `uri-template: "${template}"`,
  kme: (url: string) => `kme: ${url}`,
  sae: (saeId: string) => `sae: ${saeId}`,
} as const;
