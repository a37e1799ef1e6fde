/** What whoever uses a TLS connection hears of it: the handshake, then data and keys. */
import type { EngineEvent, HandshakeSummary, TlsEngine } from '../../tls-ext/index.ts';

export type PskRequired = Extract<EngineEvent, { type: 'psk-required' }>;
export type PeerCertificate = Extract<EngineEvent, { type: 'peer-certificate' }>;

/** What happens during the handshake. Each method may answer at once, from inside the call. */
export interface HandshakeHandler {
  /** Server only. Answer with `providePsk`. */
  pskRequired?(event: PskRequired): void;
  /** Answer with `provideVerdict`. */
  peerCertificate(event: PeerCertificate): void;
  /** Set the data handler in here: the first application data may follow in the same chunk. */
  handshakeComplete(summary: HandshakeSummary): void;
  /** Once, last of all, when the socket is gone: `failure` says why, if not by an orderly close. */
  ended(failure: Error | undefined): void;
}

/** What happens after it. */
export interface DataHandler {
  /** Application data, the handler's until it calls `release`. */
  plaintext(bytes: Uint8Array, release: (() => void) | undefined): void;
  /** The peer's close_notify: nothing more will come. */
  readEnded(): void;
  /** After `congested` was true: there is room again. */
  relieved(): void;
  /** No byte in either direction for the time set by `setIdleTimeout`. */
  idle(): void;
}

export type KeyEvent = Extract<
  EngineEvent,
  { type: 'ticket' | 'rekey-wanted' | 'rekey-key-required' | 'rekeyed' | 'rekey-refused' }
>;

/** What concerns the keys of an open connection. */
export interface KeyHandler {
  /** Each event as the engine documents it; a `ticket`'s secret is the handler's. */
  keyEvent(event: KeyEvent): void;
  /** As many bytes of data as `setDataAlarm` named have gone through. */
  dataAlarm(): void;
}

export interface TlsConnectionOptions {
  readonly engine: TlsEngine;
  readonly handler: HandshakeHandler;
  /** From the first byte (accepted) or the start of dialling to the end of the handshake. */
  readonly handshakeTimeoutMs: number;
}
