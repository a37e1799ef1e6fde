/** What shared key is reserved for: the name by which the two applications ask for it. */
export type KeyPurpose =
  /** One chunk of a GS QKD 004 key stream. `ksid` in hex. */
  | { readonly api: 'etsi004'; readonly ksid: string; readonly index: number }
  /** One key with an ID of its own, for GS QKD 014 or SKIP. */
  | {
      readonly api: 'etsi014' | 'skip';
      readonly keyId: string;
      readonly masterSaeId: string;
      readonly slaveSaeIds: readonly string[];
    };
