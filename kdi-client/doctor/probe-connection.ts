/**
 * A connection to a KME as the doctor needs it: it looks at the certificate
 * before it decides whether to trust it, so that it can say what is wrong.
 * Every connection is opened for a real request: some servers die when a
 * client connects and says nothing.
 */
import { X509Certificate } from 'node:crypto';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, type SecureVersion, type TLSSocket } from 'node:tls';
import type { Clock } from '../clock.ts';
import { KdiError, KdiErrorCode } from '../errors.ts';
import { connectionError, type KmeTls, type PskTls, tlsConnectionOptions } from '../kme-tls.ts';
import type { KmeAddress } from '../kme-url.ts';
import { type CertificateFacts, certificateFacts } from './certificates.ts';

export interface ProbeTarget {
  readonly address: KmeAddress;
  /** Absent: plain TCP. */
  readonly tls?: KmeTls | PskTls;
  /** Whether it is the KME at the peer's end. */
  readonly isPeer: boolean;
}

/** The option of the command line about this KME. */
export function optionOf({ isPeer }: Pick<ProbeTarget, 'isPeer'>, name: string): string {
  return `--${isPeer ? 'peer-' : ''}${name}`;
}

export interface ProbeOptions {
  readonly clock: Clock;
  /** Until TCP and TLS stand. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** Milliseconds since 1970, to judge the certificate's period. */
  readonly nowMs: number;
  readonly maxVersion?: SecureVersion;
}

/** What TLS showed of the KME. */
export interface TlsFacts {
  /** `TLSv1.3` */
  readonly protocol: string;
  readonly cipher: string;
  /** Absent where a pre-shared key took its place. */
  readonly certificate?: CertificateFacts;
  /** Why the KME is not to be trusted; nothing must be sent then. */
  readonly distrust?: KdiError;
}

export interface OpenProbe {
  readonly socket: Socket;
  readonly connectedInMs: number;
  /** Absent over plain TCP. */
  readonly tls?: TlsFacts;
}

/** How far a connection came before `error`. */
export class ProbeFailure extends Error {
  override readonly name = 'ProbeFailure';
  readonly stage: 'connect' | 'tls';
  readonly error: KdiError;

  constructor(stage: 'connect' | 'tls', error: KdiError) {
    super(error.message);
    this.stage = stage;
    this.error = error;
  }
}

/** Opens a connection; the caller owns and ends the socket. Rejects with `ProbeFailure`. */
export function openProbe(target: ProbeTarget, options: ProbeOptions): Promise<OpenProbe> {
  const { address, tls } = target;
  const { clock, signal, timeoutMs } = options;
  return new Promise((resolve, reject) => {
    const startedMs = clock.now();
    let connectedInMs = 0;
    let phase: 'connecting' | 'handshake' = 'connecting';
    let settled = false;
    let socket: Socket;
    try {
      socket = dial(target, options.maxVersion);
    } catch (error) {
      const message = `unusable certificate, key or CA for KME ${address.name}`;
      reject(new ProbeFailure('tls', new KdiError(KdiErrorCode.config, message, { cause: error })));
      return;
    }
    const settle = (): boolean => {
      if (settled) return false;
      settled = true;
      cancelDeadline();
      signal.removeEventListener('abort', onTimeout);
      socket.off('error', onError).off('close', onClose);
      return true;
    };
    const fail = (error: KdiError): void => {
      if (!settle()) return;
      socket.on('error', () => {});
      socket.destroy();
      reject(new ProbeFailure(phase === 'connecting' ? 'connect' : 'tls', error));
    };
    const onTimeout = (): void => {
      const doing = phase === 'connecting' ? 'accept the connection' : 'answer the TLS handshake';
      const message = `KME ${address.name} did not ${doing} within ${Math.round(clock.now() - startedMs)} ms`;
      fail(new KdiError(KdiErrorCode.timeout, message));
    };
    const onError = (error: Error): void => {
      const told = connectionError(error, address.name, phase);
      fail(explained(told, error, target));
    };
    const onClose = (): void =>
      fail(new KdiError(KdiErrorCode.closed, `KME ${address.name} closed the connection before it stood`));
    const onReady = (): void => {
      if (!settle()) return;
      const facts = tls === undefined ? undefined : tlsFacts(socket as TLSSocket, tls, address, options.nowMs);
      resolve({ socket, connectedInMs, ...(facts === undefined ? {} : { tls: facts }) });
    };
    const cancelDeadline = clock.schedule(onTimeout, timeoutMs);
    signal.addEventListener('abort', onTimeout);
    socket.on('error', onError).on('close', onClose);
    socket.once('connect', () => {
      phase = 'handshake';
      connectedInMs = clock.now() - startedMs;
      if (tls === undefined) onReady();
    });
    if (tls !== undefined) socket.once('secureConnect', onReady);
  });
}

function dial({ address, tls }: ProbeTarget, maxVersion: SecureVersion | undefined): Socket {
  const where = { host: address.host, port: address.port };
  if (tls === undefined) return connectTcp({ ...where, noDelay: true });
  return connectTls({
    ...tlsConnectionOptions(tls, address.host),
    ...where,
    ...(maxVersion === undefined ? {} : { maxVersion }),
    // Judged by `tlsFacts`, which can say more about it; whoever is distrusted gets no request.
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
  }).setNoDelay(true);
}

function tlsFacts(socket: TLSSocket, tls: KmeTls | PskTls, address: KmeAddress, nowMs: number): TlsFacts {
  const peer = socket.getPeerCertificate();
  // A certificate in place of the pre-shared key is distrusted below.
  const certificate = peer?.raw === undefined ? undefined : certificateFacts(new X509Certificate(peer.raw), nowMs);
  const isPsk = 'psk' in tls;
  const identity =
    socket.authorized || isPsk
      ? tlsConnectionOptions(tls, address.host).checkServerIdentity?.(address.host, peer)
      : undefined;
  const distrust =
    socket.authorized || isPsk
      ? identity === undefined
        ? undefined
        : connectionError(identity, address.name, 'handshake')
      : new KdiError(KdiErrorCode.tls, `KME ${address.name} is not trusted: ${socket.authorizationError}`);
  return {
    protocol: socket.getProtocol() ?? 'unknown',
    cipher: socket.getCipher().standardName,
    ...(certificate === undefined ? {} : { certificate }),
    ...(distrust === undefined ? {} : { distrust }),
  };
}

/** OpenSSL's codes for what is no TLS. */
export const NOT_TLS = /WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|RECORD_TOO_SMALL|UNEXPECTED_MESSAGE/;

/** What to do about the alerts and errors of TLS; `$` is the option of our certificate. */
const EXPLANATIONS: readonly (readonly [RegExp, string])[] = [
  [/ALERT_UNKNOWN_CA/, 'it does not know the CA that issued our certificate ($)'],
  [/ALERT_CERTIFICATE_REQUIRED/, 'it wants a client certificate, and took none of ours'],
  [/ALERT_CERTIFICATE_EXPIRED/, 'for it our certificate ($) has expired; compare the clocks'],
  [/ALERT_(?:BAD_CERTIFICATE|CERTIFICATE_UNKNOWN|UNSUPPORTED_CERTIFICATE)/, 'it does not admit our certificate ($)'],
  [/ALERT_ACCESS_DENIED/, 'our certificate is valid, and is not admitted'],
  [/ALERT_PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL/, 'it speaks TLS older than 1.2, which is not used here'],
  [/ALERT_HANDSHAKE_FAILURE/, 'no cipher suite, group or signature algorithm in common'],
  [NOT_TLS, 'what answers there is not TLS'],
];

/** What a proxy's log asks, and the doctor answers. */
const ASKED = /: does it speak TLS on this port\?$/;

/** `error` with what to do about it, if that is known of `cause`. */
export function explained(error: KdiError, cause: unknown, target: ProbeTarget): KdiError {
  const explanation = explanationOf((cause as NodeJS.ErrnoException | undefined)?.code ?? '', target);
  return explanation === undefined
    ? error
    : new KdiError(error.code, `${error.message.replace(ASKED, '')}: ${explanation}`, {
        cause,
        retryable: error.retryable,
      });
}

function explanationOf(code: string, target: ProbeTarget): string | undefined {
  const { tls } = target;
  if (tls !== undefined && 'psk' in tls && /ALERT/.test(code)) {
    // The key is all that both ends could agree by.
    return `it has no such identity, or another key for it (${optionOf(target, 'psk')}), or no TLS by pre-shared key with SHA-256`;
  }
  const [, explanation] = EXPLANATIONS.find(([pattern]) => pattern.test(code)) ?? [];
  return explanation?.replace('$', optionOf(target, 'cert'));
}
