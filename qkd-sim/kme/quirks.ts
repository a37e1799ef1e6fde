/** What key managers in the field do otherwise than the standards; for testing clients. All off by default. */
export interface KmeQuirks {
  readonly etsi004?: Etsi004Quirks;
  readonly etsi014?: Etsi014Quirks;
}

export interface Etsi004Quirks {
  /** The JSON metadata ends with a NUL. */
  readonly metadataTrailingNul?: boolean;
  /** `age` counts from 1970, beyond 32 bits. */
  readonly ageInEpochMs?: boolean;
  /** Status 7 allocates the stream all the same, with the QoS of the counter-proposal. */
  readonly allocatesOnQosNotMet?: boolean;
  /** A NULL open with the same Source and Destination returns the KSID of the last one. */
  readonly reusesKsid?: boolean;
  /** GET_KEY serves the next index, whatever was asked for. */
  readonly servesNextIndex?: boolean;
}

export interface Etsi014Quirks {
  /** Sizes, in requests and in the status, are in bytes. */
  readonly keySizeInBytes?: boolean;
  /** HTTP status for an unknown key_ID, which should be 400. */
  readonly unknownKeyStatus?: 404 | 500;
  /** A second enc_keys drops the keys of the first that were not fetched yet. */
  readonly dropsUnfetched?: boolean;
  /** target_KME_ID is a number. */
  readonly numericKmeIds?: boolean;
  /** A key can be fetched only this long after it was drawn. */
  readonly deliveryDelayMs?: number;
}
