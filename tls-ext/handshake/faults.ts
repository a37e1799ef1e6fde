/** What a peer did wrong, by name; and the one place that turns any error into a `TlsError` with its alert. */
import { Alert } from '../alert.ts';
import { DecodeError } from '../bytes/index.ts';
import { TlsError, TlsErrorCode, TlsMisuseError } from '../tls-error.ts';

/**
 * The `TlsError` to fail with. Ours pass as they are; a `DecodeError` is
 * `decode_error`; anything else is a bug of ours or of a provider and is told
 * to the peer as `internal_error` only. `TlsMisuseError` is the caller's bug and is thrown on.
 */
export function toTlsError(error: unknown): TlsError {
  if (error instanceof TlsError) return error;
  if (error instanceof TlsMisuseError) throw error;
  if (error instanceof DecodeError) {
    return new TlsError(TlsErrorCode.decode, Alert.decodeError, error.message, { cause: error });
  }
  return new TlsError(TlsErrorCode.internal, Alert.internalError, 'internal error', { cause: error });
}

export function unexpectedMessage(message: string): TlsError {
  return new TlsError(TlsErrorCode.unexpectedMessage, Alert.unexpectedMessage, message);
}

export function illegalParameter(message: string): TlsError {
  return new TlsError(TlsErrorCode.illegalParameter, Alert.illegalParameter, message);
}

export function missingExtension(message: string): TlsError {
  return new TlsError(TlsErrorCode.missingExtension, Alert.missingExtension, message);
}

export function unsupportedExtension(message: string): TlsError {
  return new TlsError(TlsErrorCode.unsupportedExtension, Alert.unsupportedExtension, message);
}

export function handshakeFailure(message: string): TlsError {
  return new TlsError(TlsErrorCode.handshakeFailure, Alert.handshakeFailure, message);
}

/** Refused by policy. */
export function insufficientSecurity(message: string): TlsError {
  return new TlsError(TlsErrorCode.insufficientSecurity, Alert.insufficientSecurity, message);
}

export function decryptError(message: string): TlsError {
  return new TlsError(TlsErrorCode.decrypt, Alert.decryptError, message);
}

/**
 * PSKs were offered, none of them can be used, and nothing else authenticates. The alert is that of a failed binder
 * (RFC 9846, "Error Alerts", allows it in place of `unknown_psk_identity`), so that it tells no stranger which exist.
 */
export function unusablePsk(message: string): TlsError {
  return new TlsError(TlsErrorCode.handshakeFailure, Alert.decryptError, message);
}

/** RFC 9973 has `illegal_parameter` for a binder beside extension 33; TLS 1.3 has `decrypt_error`. */
export function badBinder(certWithExternPsk: boolean): TlsError {
  const alert = certWithExternPsk ? Alert.illegalParameter : Alert.decryptError;
  return new TlsError(TlsErrorCode.badBinder, alert, 'the PSK binder does not verify');
}

/** A bound of ours on what one peer may make us do. */
export function limitExceeded(message: string, alert: Alert = Alert.unexpectedMessage): TlsError {
  return new TlsError(TlsErrorCode.limit, alert, message);
}
