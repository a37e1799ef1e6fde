/** What a server speaks besides TLS 1.3, by the runtime's own TLS. */
import { connect, type SecureVersion, type TLSSocket } from 'node:tls';
import type { SocketAddress } from '../data-path/index.ts';

export const OLDER_VERSIONS = ['TLSv1.2', 'TLSv1.1', 'TLSv1'] as const satisfies readonly SecureVersion[];
export type OlderVersion = (typeof OLDER_VERSIONS)[number];

export interface OlderVersionOutcome {
  /** Null: no answer in time, or the runtime does not speak it. */
  readonly spoken: boolean | null;
  /** DER of the leaf, if there was one. */
  readonly leaf?: Uint8Array;
}

/** OpenSSL refuses the oldest versions itself unless told otherwise; nothing is sent over them here. */
const ANY_SECURITY_LEVEL = 'DEFAULT:@SECLEVEL=0';

/** Errors that say nothing about the version: ours, or an objection to something else, such as a missing certificate. */
const UNDECIDED = /NO_PROTOCOLS_AVAILABLE|NO_CIPHERS|ALERT_HANDSHAKE_FAILURE|ALERT_CERTIFICATE|ALERT_BAD_CERTIFICATE/;

/** Never rejects. */
export function attemptOlderVersion(
  address: SocketAddress,
  version: OlderVersion,
  {
    serverName,
    timeoutMs,
    signal,
  }: { readonly serverName?: string; readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<OlderVersionOutcome> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve({ spoken: null });
      return;
    }
    let socket: TLSSocket;
    try {
      socket = connect({
        ...('path' in address ? { path: address.path } : address),
        ...(serverName === undefined ? {} : { servername: serverName }),
        minVersion: version,
        maxVersion: version,
        ciphers: ANY_SECURITY_LEVEL,
        // Nothing is said, and whoever it is is looked at elsewhere.
        rejectUnauthorized: false,
      });
    } catch {
      resolve({ spoken: null });
      return;
    }
    const settle = (outcome: OlderVersionOutcome): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onTimeout);
      socket.removeAllListeners('secureConnect').on('error', () => {});
      socket.destroy();
      resolve(outcome);
    };
    const onTimeout = (): void => settle({ spoken: null });
    const timer = setTimeout(onTimeout, timeoutMs);
    signal.addEventListener('abort', onTimeout);
    socket.once('secureConnect', () => {
      const { raw } = socket.getPeerCertificate();
      settle({ spoken: true, ...(raw === undefined ? {} : { leaf: Uint8Array.from(raw) }) });
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      settle({ spoken: UNDECIDED.test(error.code ?? '') ? null : false });
    });
    socket.once('close', () => settle({ spoken: false }));
  });
}
