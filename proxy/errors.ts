import { Alert, TlsError, TlsErrorCode } from '../tls-ext/index.ts';

/** Stable codes of what can go wrong in the proxy itself. Documented in docs/errors.md; a test compares the two. */
export const ProxyErrorCode = {
  /** The address to accept on is taken by another process or service. */
  addressInUse: 'ERR_PROXY_ADDRESS_IN_USE',
  /** The address to accept on can't be used: not ours, no permission, path not a socket. */
  listen: 'ERR_PROXY_LISTEN',
  /** Accepting a connection failed, usually for want of file descriptors; accepting goes on. */
  accept: 'ERR_PROXY_ACCEPT',
  /** `max-connections` is reached: the new connection was closed at once. */
  tooManyConnections: 'ERR_PROXY_TOO_MANY_CONNECTIONS',
  /** `max-pending-handshakes` is reached: the new connection was closed at once. */
  tooManyHandshakes: 'ERR_PROXY_TOO_MANY_HANDSHAKES',
  /** The other proxy could not be reached: refused, unreachable, name not found. */
  peerConnect: 'ERR_PROXY_PEER_CONNECT',
  /** The application behind the server could not be reached. */
  backendConnect: 'ERR_PROXY_BACKEND_CONNECT',
  /** The TLS handshake did not complete within its deadline. */
  handshakeTimeout: 'ERR_PROXY_HANDSHAKE_TIMEOUT',
  /** No byte in either direction for longer than the idle limit. */
  idleTimeout: 'ERR_PROXY_IDLE_TIMEOUT',
  /** The application's side of the connection was reset. */
  applicationReset: 'ERR_PROXY_APPLICATION_RESET',
  /** The connection to the other proxy was reset. */
  peerReset: 'ERR_PROXY_PEER_RESET',
  /** The proxy was stopping, and the connection outlived the drain's deadline. */
  shutdown: 'ERR_PROXY_SHUTDOWN',
  /** Policy refused the connection: it would not have met `require`. */
  policy: 'ERR_PROXY_POLICY',
  /** The peer's certificate names no admitted SAE, or not the one of its role. */
  peerSae: 'ERR_PROXY_PEER_SAE',
  /** The QKD key of a connection reached a limit of `rekey-after`, and there was no other. */
  keyExpired: 'ERR_PROXY_KEY_EXPIRED',
  /** `require-auth: pq`, and the peer's certificates are not ML-DSA's all the way up. */
  weakAuthentication: 'ERR_PROXY_WEAK_AUTHENTICATION',
  /** The key that the handshake used was burnt by another handshake in the meantime. */
  keyAlreadyUsed: 'ERR_PROXY_KEY_ALREADY_USED',
  /** The peer broke the key channel's protocol. */
  keyChannel: 'ERR_PROXY_KEY_CHANNEL',
  /** Keys of a simulator on an address that is not loopback, without `unsafe-allow-simulated`. */
  simulatedKeys: 'ERR_PROXY_SIMULATED_KEYS',
  /** A key's provenance is not what the service demands: `max-hops`, `max-key-age`, `unknown-provenance`. */
  keyProvenance: 'ERR_PROXY_KEY_PROVENANCE',
  /** A bug in this program, met while serving one connection; only that connection is lost. */
  internal: 'ERR_PROXY_INTERNAL',
} as const;
export type ProxyErrorCode = (typeof ProxyErrorCode)[keyof typeof ProxyErrorCode];

/** A failure of the proxy's own, with a stable code. The message is one line and holds no secret. */
export class ProxyError extends Error {
  override readonly name = 'ProxyError';
  readonly code: ProxyErrorCode;

  constructor(code: ProxyErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The `code` of any error that has one as text: ours, a library's or the system's. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** What to do about alerts that are about our certificate. */
const ALERT_ADVICE: Readonly<Record<number, string>> = {
  [Alert.certificateExpired]: ': it takes our certificate (cert) for expired; renew it, or compare the clocks',
  [Alert.unknownCa]: ': its ca file does not hold the CA that issued our certificate (cert)',
  [Alert.badCertificate]: ': it does not admit our certificate (cert); its log says why',
  [Alert.certificateUnknown]: ': it does not admit our certificate (cert); its log says why',
};

/** An error in one line, without its stack. */
export function errorText(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const isPeerAlert = error instanceof TlsError && error.code === TlsErrorCode.peerAlert;
  const advice = isPeerAlert ? (ALERT_ADVICE[error.alert ?? -1] ?? '') : '';
  return text.replace(/\s*\n\s*/g, ' ') + advice;
}

/** What was thrown, as an error. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}
