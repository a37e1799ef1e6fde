/**
 * One view of the three key-delivery APIs. The drawer opens a `DrawStream` to
 * a peer and draws keys in batches; the answerer, told over the key channel
 * which stream and which references, opens a `LookupStream` and looks the same
 * keys up. 004 has real streams; 014 and SKIP have none, and their stream
 * objects only remember the peer.
 */
import { hexOf, type SecretBytes } from '../tls-ext/bytes/index.ts';
import { type Etsi004Qos, uuidOfBytes } from './wire/index.ts';

export type KdiApi = 'etsi004' | 'etsi014' | 'skip';

/** Length of every key that this project uses: what a TLS external PSK of SHA-256 or SHA-384 suites takes. */
export const KEY_BYTES = 32;

/**
 * Which API delivered a key, and which key it is. `drawer` is the drawer's SAE
 * ID. 004: a chunk (`index`) may hold many keys; `slice` counts them from 0.
 * 014 and SKIP: the key's ID as raw bytes. The same type stands in tls-ext/,
 * since neither folder may know the other; the compiler compares the two in
 * proxy/psk-resolver.ts.
 */
export type QkdKeyReference =
  | {
      readonly api: 'etsi004';
      readonly drawer: string;
      readonly ksid: Uint8Array;
      readonly index: number;
      readonly slice: number;
    }
  | { readonly api: 'etsi014'; readonly drawer: string; readonly keyId: Uint8Array }
  | { readonly api: 'skip'; readonly drawer: string; readonly keyId: Uint8Array };

/** What the KME said about a key. Unknown stays absent. */
export interface KeyMetadata {
  /** Age of the key when it was delivered. */
  readonly ageMs?: number;
  /** Trusted nodes crossed; 0 = a direct link. */
  readonly hops?: number;
  /** The KME says that no quantum hardware made this key. */
  readonly simulated?: boolean;
  /** The KME that delivered it, as `host:port`. */
  readonly kme: string;
}

/** What is known of a key's making, at one moment. Unknown stays absent. */
export interface KeyProvenance {
  readonly hops?: number;
  /** Since the key was made. */
  readonly ageMs?: number;
  readonly simulated?: boolean;
}

/** The provenance at `nowMs` of a key that was delivered at `deliveredAtMs`, both on one clock. */
export function provenanceAt(metadata: KeyMetadata, deliveredAtMs: number, nowMs: number): KeyProvenance {
  const { hops, ageMs, simulated } = metadata;
  return {
    ...(hops === undefined ? {} : { hops }),
    ...(ageMs === undefined ? {} : { ageMs: Math.round(ageMs + nowMs - deliveredAtMs) }),
    ...(simulated === undefined ? {} : { simulated }),
  };
}

/** A key as a KME delivered it. The receiver owns `secret` and wipes it. */
export interface DeliveredKey {
  readonly reference: QkdKeyReference;
  /** `KEY_BYTES` long. */
  readonly secret: SecretBytes;
  readonly metadata: KeyMetadata;
  /** On the injected clock: after it the KME may have forgotten the key. Absent: the KME sets no limit. */
  readonly expiresAtMs?: number;
}

/** What the answerer must know to open the same 004 stream. Public. */
export interface StreamAnnouncement {
  readonly ksid: Uint8Array;
  /** With an allocated KSID what the KME granted, with a chosen one what was asked. */
  readonly qos: Etsi004Qos;
}

export interface CallOptions {
  /** Gives up: the call rejects with `ERR_KDI_ABORTED`. */
  readonly signal?: AbortSignal;
}

export interface OpenDrawOptions extends CallOptions {
  /**
   * 004 only; called once, as soon as the KSID is known: with `ksid: chosen`
   * before the KME is asked, so that both sides can open at the same time.
   */
  readonly onAnnouncement?: (announcement: StreamAnnouncement) => void;
  /**
   * 004 only: writes a KSID down as drawn from. False if it was before, by
   * whatever process: the KME did not allocate a fresh one, and another is used.
   */
  readonly claimKsid?: (ksid: Uint8Array) => Promise<boolean>;
}

/** The drawer's end. One call in flight at a time; a second one waits for the first. */
export interface DrawStream {
  /** 004 only. */
  readonly announcement?: StreamAnnouncement;
  /** No further draw will succeed here, whatever the last error was: open a fresh stream. */
  readonly ended: boolean;
  /**
   * Between 1 and `count` keys, or more where they come in chunks. Rejects
   * with a `KdiError`; see `ended` for whether the stream is still usable.
   */
  draw(count: number, options?: CallOptions): Promise<DeliveredKey[]>;
  /** The KME, where the source has several. */
  readonly kme?: string;
  /**
   * The peer can not use what comes from here. Where there are several KMEs,
   * this stream ends, and for a while others go elsewhere. Absent: there is
   * only one.
   */
  blame?(): void;
  /** Tells the KME, if the API can, and wipes what is held. Never rejects. */
  close(): Promise<void>;
}

/** The answerer's end. */
export interface LookupStream {
  /** 004 only: what our KME granted. */
  readonly announcement?: StreamAnnouncement | undefined;
  /** 004 only: false if our KME does not know yet that the drawer has opened the stream. */
  readonly peerConnected?: boolean;
  /** The key of a reference that the peer announced. Rejects with a `KdiError`. */
  lookup(reference: QkdKeyReference, options?: CallOptions): Promise<DeliveredKey>;
  close(): Promise<void>;
}

export interface OpenLookupOptions extends CallOptions {
  /** 004 only, and required there: what the drawer announced. */
  readonly announcement?: StreamAnnouncement;
}

/** What is known of a KME without drawing a key. Absent = the API doesn't tell. */
export interface KmeStatus {
  readonly storedKeyCount?: number;
  readonly maxKeyCount?: number;
  readonly maxKeysPerRequest?: number;
  readonly keySizeBits?: number;
  readonly entropy?: boolean;
  readonly sourceKmeId?: string;
  readonly targetKmeId?: string;
}

/** A key manager, over one of the three APIs. */
export interface KeySource {
  readonly api: KdiApi;
  /** `host:port`, for logs and metadata. */
  readonly kme: string;
  /** Whether keys come from a stream that the answerer must open too, before the first draw. */
  readonly needsStream: boolean;
  /** Another draw would make the KME forget keys that the peer has not fetched yet. */
  readonly oneBatchAtATime?: boolean;
  openDraw(peerSaeId: string, options?: OpenDrawOptions): Promise<DrawStream>;
  openLookup(drawerSaeId: string, options?: OpenLookupOptions): Promise<LookupStream>;
  /** Rejects with `ERR_KDI_UNSUPPORTED` where the API has no such call (004). */
  status(peerSaeId: string, options?: CallOptions): Promise<KmeStatus>;
  /** Closes every stream and connection; calls in flight reject with `ERR_KDI_ABORTED`. */
  close(): Promise<void>;
}

/** A string that is equal exactly for equal references: a map's key, and what logs show. No secret. */
export function referenceText(reference: QkdKeyReference): string {
  switch (reference.api) {
    case 'etsi004':
      return `etsi004:${reference.drawer}:${uuidText(reference.ksid)}:${reference.index}:${reference.slice}`;
    case 'etsi014':
      return `etsi014:${reference.drawer}:${uuidText(reference.keyId)}`;
    case 'skip':
      return `skip:${reference.drawer}:${hexOf(reference.keyId)}`;
  }
}

/** 16 bytes in the usual form of a UUID; other lengths as plain hex. */
export function uuidText(bytes: Uint8Array): string {
  return bytes.length === 16 ? uuidOfBytes(bytes) : hexOf(bytes);
}
