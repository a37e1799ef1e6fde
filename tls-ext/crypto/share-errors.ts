import { Alert } from '../alert.ts';
import { TlsError, TlsErrorCode } from '../tls-error.ts';

/** A peer's key share that its group forbids. */
export function illegalShare(what: string, cause?: unknown): TlsError {
  return new TlsError(
    TlsErrorCode.illegalParameter,
    Alert.illegalParameter,
    what,
    cause === undefined ? undefined : { cause },
  );
}

/** Rejects a share whose length isn't exactly the group's. */
export function expectShareLength(name: string, share: Uint8Array, lengthBytes: number): void {
  if (share.length !== lengthBytes) {
    throw illegalShare(`${name} share of ${share.length} bytes, ${lengthBytes} wanted`);
  }
}
