import { type Alert, alertName } from './alert.ts';

/** Stable codes of what can go wrong in TLS. Documented in docs/errors.md; a test compares the two. */
export const TlsErrorCode = {
  /** The peer sent an alert. */
  peerAlert: 'ERR_TLS_PEER_ALERT',
  /** A message, extension or record is malformed. */
  decode: 'ERR_TLS_DECODE',
  /** A message or record that this state does not allow. */
  unexpectedMessage: 'ERR_TLS_UNEXPECTED_MESSAGE',
  /** A field has a value that the RFC or the draft forbids here. */
  illegalParameter: 'ERR_TLS_ILLEGAL_PARAMETER',
  /** The peer does not speak TLS 1.3, or not TLS at all. */
  protocolVersion: 'ERR_TLS_PROTOCOL_VERSION',
  /** No group, suite, signature scheme or PSK mode in common. */
  handshakeFailure: 'ERR_TLS_HANDSHAKE_FAILURE',
  missingExtension: 'ERR_TLS_MISSING_EXTENSION',
  unsupportedExtension: 'ERR_TLS_UNSUPPORTED_EXTENSION',
  badRecordMac: 'ERR_TLS_BAD_RECORD_MAC',
  recordOverflow: 'ERR_TLS_RECORD_OVERFLOW',
  /** A signature, Finished or binder does not verify. */
  decrypt: 'ERR_TLS_DECRYPT',
  badBinder: 'ERR_TLS_BAD_BINDER',
  noApplicationProtocol: 'ERR_TLS_NO_APPLICATION_PROTOCOL',
  certificateRequired: 'ERR_TLS_CERTIFICATE_REQUIRED',
  /** The verdict on the peer's certificate was no; `cause` says why. */
  peerCertificate: 'ERR_TLS_PEER_CERTIFICATE',
  /** Refused by policy, here or there. */
  insufficientSecurity: 'ERR_TLS_INSUFFICIENT_SECURITY',
  /** The transport ended without close_notify. */
  truncated: 'ERR_TLS_TRUNCATED',
  /** A bound on what one peer may make us do was reached. */
  limit: 'ERR_TLS_LIMIT',
  internal: 'ERR_TLS_INTERNAL',
} as const;
export type TlsErrorCode = (typeof TlsErrorCode)[keyof typeof TlsErrorCode];

/**
 * A peer's misbehaviour or a failed negotiation. `alert` is what was sent, or what the peer sent when `code` is
 * `ERR_TLS_PEER_ALERT`; absent for a truncation, which nobody is left to be told of.
 */
export class TlsError extends Error {
  override readonly name = 'TlsError';
  readonly code: TlsErrorCode;
  readonly alert: Alert | undefined;

  constructor(code: TlsErrorCode, alert: Alert | undefined, message: string, options?: ErrorOptions) {
    super(alert === undefined ? message : `${message} (${alertName(alert)})`, options);
    this.code = code;
    this.alert = alert;
  }
}

/** The caller broke the API's contract: a bug here, never something a peer can cause. */
export class TlsMisuseError extends Error {
  override readonly name = 'TlsMisuseError';
}
