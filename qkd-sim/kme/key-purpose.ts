/** What shared key is reserved for: the name by which the two applications ask for it. */
export type KeyPurpose =
  /** One chunk of a GS QKD 004 key stream. `ksid` in hex. */
  | { readonly api: 'etsi004'; readonly ksid: string; readonly index: number }
  /** Keys of equal length with IDs of their own, for GS QKD 014 or SKIP: the parts of the reserved bytes, in order. */
  | {
      readonly api: IdentifiedApi;
      readonly keyIds: readonly string[];
      /** Who drew them, and who may fetch them. */
      readonly masterSaeId: string;
      readonly slaveSaeIds: readonly string[];
    };

/** The APIs whose keys have IDs. */
export type IdentifiedApi = 'etsi014' | 'skip';
