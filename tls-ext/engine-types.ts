/**
 * The engine's public face: bytes in, bytes and events out. No socket, timer,
 * clock or ambient randomness; the adapter in proxy/ owns those.
 *
 * Deadlines: none of them is the engine's, since it has no clock. A peer that
 * says nothing is waited for, in a handshake, in a rekey, and in a `closeWrite`
 * behind that rekey. Whoever owns the engine gives each its time, and calls
 * `abort` when that has passed: the alert goes out at once, whatever waits.
 *
 * Ownership: bytes passed into a method are borrowed for that call only. Bytes
 * in an event belong to the receiver until it calls `release` (if there is
 * one), at the latest; after that they are overwritten.
 */
import type { Alert } from './alert.ts';
import type { SecretBytes } from './bytes/index.ts';
import type { KeyAgreementProvider } from './crypto/index.ts';
import type { TlsError } from './tls-error.ts';

/** Which API delivered a key, and which key it is. Wire form: `encodeQkdKeyReference`. */
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

/** What an imported PSK is bound to (RFC 9258 `context`). */
export interface QkdPskContext {
  readonly purpose: 'handshake' | 'rekey';
  readonly drawer: string;
  readonly answerer: string;
}

/** A QKD key ready to be imported. The engine takes ownership of `secret` and wipes it after import. */
export interface QkdPsk {
  readonly kind: 'qkd';
  readonly reference: QkdKeyReference;
  readonly context: QkdPskContext;
  readonly secret: SecretBytes;
}

/** A plain external PSK, for stock peers (`auth: psk`); SHA-256 suites only. */
export interface PlainPsk {
  readonly kind: 'plain';
  readonly identity: Uint8Array;
  readonly secret: SecretBytes;
}

/**
 * The PSK of a single-use ticket (RFC 9846, "New Session Ticket Message"), from `issueTicket` at the
 * server and the event `ticket` at the client. The engine takes ownership of `secret` and wipes it.
 */
export interface ResumptionPsk {
  readonly kind: 'resumption';
  /** The ticket: a handle that means nothing to anybody but the server. */
  readonly identity: Uint8Array;
  readonly secret: SecretBytes;
  /** CipherSuite of the session that it came from: it serves suites of the same hash only. */
  readonly cipherSuite: number;
  /** Client only: milliseconds since the ticket came, plus its `ageAdd`, modulo 2^32 (RFC 8446, 4.2.11.1). Default 0. */
  readonly obfuscatedTicketAge?: number;
}

/** Tickets that a client wants (RFC 9149), 0 … 255 each. */
export interface TicketRequest {
  /** After a full handshake. */
  readonly newSessionCount: number;
  /** After a resumption. */
  readonly resumptionCount: number;
}

/** Why a client offers no key; on the wire in `qkd_psk`. */
export const NoOfferReason = {
  streamOpening: 'stream_opening',
  channelDown: 'channel_down',
  poolEmpty: 'pool_empty',
  kmeUnreachable: 'kme_unreachable',
  peerKmeUnreachable: 'peer_kme_unreachable',
  keyMismatch: 'key_mismatch',
  budget: 'budget',
  policy: 'policy',
} as const;
export type NoOfferReason = (typeof NoOfferReason)[keyof typeof NoOfferReason];

export type QkdOffer =
  | { readonly offer: 'key' }
  | { readonly offer: 'ticket' }
  | { readonly offer: 'none'; readonly reason: NoOfferReason };
export type QkdResult = 'used' | 'resumed' | 'not_offered' | 'unavailable' | 'policy';

/** Our certificate chain (DER, leaf first) and the key that signs CertificateVerify. */
export interface EngineIdentity {
  readonly chain: readonly Uint8Array[];
  /** Schemes this key can make, in order of preference (SignatureScheme code points). */
  readonly signatureSchemes: readonly number[];
  /** Signs `content` (already the RFC's padded context string ‖ hash). Synchronous. */
  sign(scheme: number, content: Uint8Array): Uint8Array;
  /** OCSPResponse (DER) for the leaf, stapled where the peer asks for it. */
  readonly ocspResponse?: Uint8Array;
}

/** Judgement on a peer's certificate chain: made by certs/, wired in proxy/. `publicKeySpki` is DER SubjectPublicKeyInfo. */
export type PeerVerdict =
  | { readonly ok: true; readonly publicKeySpki: Uint8Array }
  | { readonly ok: false; readonly alert: Alert; readonly error: Error };

/** Memory for bulk output; the default allocates, the proxy injects a pool. */
export interface BufferPool {
  /** A buffer of exactly `BULK_BUFFER_BYTES`. Contents undefined. */
  acquire(): Uint8Array;
  release(buffer: Uint8Array): void;
}

/** Settings both roles share. */
export interface EngineOptions {
  /** Cryptographically secure random bytes; injected so that vectors are deterministic. */
  readonly random: (lengthBytes: number) => Uint8Array;
  /** NamedGroup code points in order of preference. A client sends a share of the first. */
  readonly groups: readonly number[];
  /** CipherSuite code points in order of preference. */
  readonly cipherSuites: readonly number[];
  /** SignatureSchemes accepted from the peer. */
  readonly signatureSchemes: readonly number[];
  /** SignatureSchemes accepted inside certificates, where they differ (`signature_algorithms_cert`). */
  readonly signatureSchemesCert?: readonly number[];
  readonly alpnProtocols?: readonly string[];
  readonly bufferPool?: BufferPool;
  /** Key agreements by group; the default is the runtime's. Injected for test vectors. */
  readonly keyAgreements?: KeyAgreementProvider;
  /** Staple wanted with the peer's certificate; handed to the verdict as `ocspResponse`. */
  readonly requestOcspStaple?: boolean;
  /** DER names of the authorities whose certificates we accept, told to the peer. */
  readonly certificateAuthorities?: readonly Uint8Array[];
  /** Longest inner plaintext we want to receive in a record, 64 … 2^14 + 1 (RFC 8449). Absent: not announced by a client; a server announces 2^14 + 1. */
  readonly recordSizeLimitBytes?: number;
  /** Pads protected records to a multiple of this. Default 1: no padding. */
  readonly paddingMultipleBytes?: number;
  /** Sets the feature bit for rekeying in `qkd_psk`. Default false. */
  readonly offerRekey?: boolean;
  /** Receives lines of an SSLKEYLOGFILE (RFC 9850). Whoever has them reads the connection. */
  readonly unsafeKeyLog?: (line: string) => void;
  /** Private-use code point of `qkd_psk`, the same at both ends. Default 0xff51. */
  readonly qkdPskExtension?: number;
}

export interface ClientEngineOptions extends EngineOptions {
  /** SNI, host names only. */
  readonly serverName?: string;
  readonly identity?: EngineIdentity;
  /** What to offer: a key or a ticket, never both (RFC 9973, 5.1). A ticket goes without extension 33. */
  readonly psk?: QkdPsk | PlainPsk | ResumptionPsk;
  /** Sent in `qkd_psk`; absent = a stock client without the extension, also for tickets of stock servers. Must agree with `psk`. */
  readonly qkdOffer?: QkdOffer;
  /** `certificate`: the server must send one, PSK or not (extension 33 beside a PSK). `psk`: the PSK alone authenticates. */
  readonly auth: 'certificate' | 'psk';
  /** Reserved code points in lists, so that peers stay used to unknown ones (RFC 8701). Default true. */
  readonly grease?: boolean;
  /** Asks for tickets, which come as events `ticket`. Absent: none are wanted, and those that come are dropped. */
  readonly ticketRequest?: TicketRequest;
  /**
   * Policy's word on what the handshake came to, asked when the server's Finished has been verified and before
   * anything is sent under it: `false` ends it with `insufficient_security`, and the server, which has no Finished
   * of ours, neither counts it as complete nor passes anything on. Absent: everything is admitted.
   */
  readonly admit?: (summary: HandshakeSummary) => boolean;
}

export interface ServerEngineOptions extends EngineOptions {
  readonly identity?: EngineIdentity;
  /** Ask the client for a certificate, and refuse it without one. */
  readonly requestClientCertificate: boolean;
  readonly auth: 'certificate' | 'psk';
  /** Answer `qkd_psk` of clients that send it. */
  readonly qkd: boolean;
  /**
   * Key of the MAC over HelloRetryRequest's cookie, ≥ 32 bytes, borrowed. With it the engine holds
   * nothing between the two ClientHellos (RFC 8446, 4.2.2); without it no cookie is sent.
   */
  readonly cookieKey?: Uint8Array;
  /**
   * Look at tickets: with `auth` `certificate` and without extension 33, `psk-required` then lists the
   * identities that may be handles of ours, and a `ResumptionPsk` may be used; the owner of the tickets
   * answers for who the peer is. Default false: such identities are as if they were not there.
   */
  readonly acceptTickets?: boolean;
  /**
   * What to answer to a rekey without a QKD key: `without_key`, or `refused`. Default `accept`. Near an AEAD's limit,
   * from three quarters of it in either direction, it is accepted all the same: the connection could not go on.
   */
  readonly rekeyWithoutKey?: 'accept' | 'refuse';
}

/** One of the identities of a ClientHello, still unverified. At most 4 are looked at. */
export interface OfferedPsk {
  /** The identity as sent; of a ticket, the handle. */
  readonly identity: Uint8Array;
  /** Decoded, if it is an RFC 9258 ImportedIdentity around a QkdKeyReference of ours. */
  readonly reference?: QkdKeyReference;
}

/**
 * The answer to `psk-required`. For `qkd` the engine rebuilds the
 * ImportedIdentity from reference and context and compares bytes with what was
 * offered. `continue` = handshake without the PSK (fallback), said as
 * `unavailable` or `policy`; `refuse` = say so under encryption, then
 * `insufficient_security`. Where certificates are asked for, extension 33 is the condition for a QKD or plain
 * key, its absence that for a ticket: anything else is misuse.
 */
export type PskDecision =
  | { readonly action: 'use'; readonly psk: QkdPsk | PlainPsk | ResumptionPsk }
  | { readonly action: 'continue'; readonly result: 'unavailable' | 'policy' }
  | { readonly action: 'refuse'; readonly result: 'unavailable' | 'policy' };

/** Facts about a completed (or refused) handshake, for policy, log and audit. No secrets. */
export interface HandshakeSummary {
  readonly group: number;
  readonly cipherSuite: number;
  readonly alpnProtocol?: string;
  readonly serverName?: string;
  /** Which PSK the key schedule holds. `resumption`: no certificates were exchanged; the session that the ticket came from says who the peer is. */
  readonly psk: 'none' | 'qkd' | 'plain' | 'resumption';
  readonly reference?: QkdKeyReference;
  readonly peerCertificate: boolean;
  /** What the client said in `qkd_psk`, as both ends know it. */
  readonly qkdOffer?: QkdOffer;
  /** What the server answered. Absent: the peer has no `qkd_psk`. */
  readonly qkdResult?: QkdResult;
  readonly helloRetryRequest: boolean;
  /** Both ends set the feature bit: `rekey` and `wantRekey` work. */
  readonly rekey: boolean;
  /** The client listed `psk_dhe_ke`, so it has a use for tickets (RFC 8446, 4.2.9). */
  readonly tickets: boolean;
  /** What the client asked for (RFC 9149). */
  readonly ticketRequest?: TicketRequest;
}

/**
 * Why a rekey came to nothing; the connection lives on in its epoch, and its key is not used again. A client
 * learns of `closed` only. `unavailable`: the server does not have the key; `binder`: it has another one under
 * the same reference; `policy`: it wants no rekey without a key; `closed`: close_notify came first.
 */
export type RekeyRefusal = 'unavailable' | 'binder' | 'policy' | 'closed';

export type EngineEvent =
  /** Send these bytes, in order, also when a `failed` event follows (it is the alert). */
  | { readonly type: 'write'; readonly bytes: Uint8Array; readonly release?: () => void }
  /** Server only; also emitted with an empty list when the client has no external PSK and `qkd` is on, so that policy decides in one place. Answer with `providePsk`. */
  | {
      readonly type: 'psk-required';
      readonly offered: readonly OfferedPsk[];
      readonly certWithExternPsk: boolean;
      readonly qkdOffer?: QkdOffer;
      readonly serverName?: string;
      readonly alpnProtocols: readonly string[];
    }
  /** Answer with `provideVerdict`. `context` is that of the QKD key in use, whose SAE IDs the certificate must name. `signatureSchemes`: what we said we accept. */
  | {
      readonly type: 'peer-certificate';
      readonly chain: readonly Uint8Array[];
      readonly context?: QkdPskContext;
      readonly ocspResponse?: Uint8Array;
    }
  | { readonly type: 'handshake-complete'; readonly summary: HandshakeSummary }
  | { readonly type: 'plaintext'; readonly bytes: Uint8Array; readonly release?: () => void }
  /** Client: a ticket, of the epoch given; a completed rekey voids those of earlier epochs. The receiver owns `psk.secret`. */
  | {
      readonly type: 'ticket';
      readonly psk: ResumptionPsk;
      readonly epoch: number;
      /** At most 604,800 (RFC 8446, 4.6.1). */
      readonly lifetimeSeconds: number;
      readonly ageAdd: number;
    }
  /** Client: new keys are wanted, by the server, or because an AEAD's limit is near. Answer with `rekey`. */
  | { readonly type: 'rekey-wanted'; readonly by: 'peer' | 'limit' }
  /**
   * Server: the client names a key for a rekey. Take it out of where it is kept, so that nothing else can use it, and
   * answer with `provideRekeyKey`; data goes on meanwhile. The request is its single use, whatever comes of it.
   */
  | { readonly type: 'rekey-key-required'; readonly reference: QkdKeyReference }
  /** A rekey is complete: `epoch` protects both directions. Tickets of earlier epochs are void. */
  | {
      readonly type: 'rekeyed';
      readonly epoch: number;
      readonly status: 'used' | 'without_key';
      readonly reference?: QkdKeyReference;
    }
  | { readonly type: 'rekey-refused'; readonly reference?: QkdKeyReference; readonly why?: RekeyRefusal }
  /** The peer's close_notify: nothing more will be received; sending goes on until `closeWrite`. */
  | { readonly type: 'closed' }
  /** Terminal. A `write` with the alert precedes it if one is due. `peerAlert`: the peer sent it. */
  | {
      readonly type: 'failed';
      readonly error: TlsError;
      /** What EncryptedExtensions said, if the handshake came so far: the reason of a refusal. */
      readonly qkdResult?: QkdResult;
    };

/** A ticket to be issued. */
export interface TicketHandle {
  /** 16 to 255 random bytes. */
  readonly handle: Uint8Array;
  /** 1 … 604,800 (RFC 8446, 4.6.1). */
  readonly lifetimeSeconds: number;
}

/** What `issueTicket` did: events to send, and the PSK to keep, of the epoch given. */
export interface IssuedTicket {
  readonly events: EngineEvent[];
  readonly psk: ResumptionPsk;
  readonly epoch: number;
}

export interface TlsEngine {
  /** Client: the ClientHello. Server: nothing. Call once, first. */
  start(): EngineEvent[];
  /**
   * Bytes from the peer, cut anywhere. Between `psk-required` or `peer-certificate` and its answer they are
   * kept, up to a bound (64 KiB, 1 MiB) beyond which the handshake fails: stop reading meanwhile.
   */
  receive(bytes: Uint8Array): EngineEvent[];
  /** The transport ended. Before close_notify it is a truncation: `failed` with `ERR_TLS_TRUNCATED`. */
  receiveEnd(): EngineEvent[];
  /** Application data. Only after `handshake-complete`. */
  send(plaintext: Uint8Array): EngineEvent[];
  /**
   * The bulk path: application data `buffer[start, end)`, sealed without a copy.
   * Byte `buffer[end]` must exist: it is overwritten during the call and restored.
   */
  sendInPlace(buffer: Uint8Array, start: number, end: number): EngineEvent[];
  providePsk(decision: PskDecision): EngineEvent[];
  provideVerdict(verdict: PeerVerdict): EngineEvent[];
  /**
   * Sends close_notify; receiving goes on (half-close). A client with a rekey under way sends it when that has ended:
   * then the call has no `write`, and the one of close_notify comes with `rekeyed` or `rekey-refused`. A peer that never
   * answers keeps it waiting for ever, so the owner needs a deadline, and `abort`s when it passes.
   */
  closeWrite(): EngineEvent[];
  /** Sends this alert and ends, at once: what waited, as a close for a rekey, comes to nothing, and no event tells of it. */
  abort(alert: Alert): EngineEvent[];
  /** RFC 9846 exporter (RFC 8446, 7.5). After `handshake-complete`. */
  exportKeyingMaterial(label: string, context: Uint8Array, lengthBytes: number): Uint8Array;
  /**
   * Server, after a handshake whose summary says `tickets`: sends NewSessionTicket. The caller keeps the PSK under
   * the handle, and takes it away with the first use. `undefined`: nothing can be sent any more, or not before the
   * finish of the rekey under way: ask again at `rekeyed`.
   */
  issueTicket(ticket: TicketHandle): IssuedTicket | undefined;
  /**
   * Client: starts a rekey, with a key (whose context has purpose `rekey`) or without. Takes ownership of the key.
   * Only while `rekeyPossible`; ends in `rekeyed` or `rekey-refused`, or with the connection.
   */
  rekey(key?: QkdPsk): EngineEvent[];
  /** Server: asks the client for a rekey, once in an epoch. Does nothing if that was done, or a rekey is under way or no longer possible. */
  wantRekey(): EngineEvent[];
  /** Server: the answer to `rekey-key-required`, whose ownership the engine takes; `undefined` = we don't have it, or not any more. */
  provideRekeyKey(key: QkdPsk | undefined): EngineEvent[];
  /** Client: whether `rekey` may be called. Server: whether a rekey may still happen. Needs to be negotiated, none under way, neither end closed. */
  readonly rekeyPossible: boolean;
  /** Completed rekeys. */
  readonly epoch: number;
  /** Exporter of the current epoch. `exportKeyingMaterial` and channel bindings stay those of the handshake, epoch 0. */
  exportEpochKeyingMaterial(label: string, context: Uint8Array, lengthBytes: number): Uint8Array;
  /** Wipes every secret. Idempotent; after it every other call throws `TlsMisuseError`. */
  destroy(): void;
}
