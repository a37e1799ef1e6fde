/** A reply as it would go out, were nothing wrong with the wire. */
export interface Spoken {
  readonly bytes: Uint8Array;
  /** Keys that are spent with it. */
  readonly names: readonly string[];
  /** The server ends the connection after it. */
  readonly closes: boolean;
}
