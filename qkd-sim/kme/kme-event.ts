/** What a key manager tells whoever watches it. Never holds key. */
export type KmeEvent =
  | {
      readonly type: 'key-delivered';
      readonly kmeId: string;
      readonly saeId: string;
      readonly api: 'etsi004' | 'etsi014' | 'skip';
      /** By which the key is known: `KSID/index` or the key's ID. */
      readonly reference: string;
      readonly lengthBytes: number;
    }
  /** A client that failed its TLS handshake or broke the protocol. */
  | { readonly type: 'client-rejected'; readonly kmeId: string; readonly remote: string; readonly reason: string };

export type KmeEventListener = (event: KmeEvent) => void;
