/**
 * Stable codes of what can go wrong between us and a key manager, or in the
 * keeping of its keys. Documented in docs/errors.md; a test compares the two.
 */
export const KdiErrorCode = {
  /** A KME URL that can't be used; the message says what to write instead. */
  url: 'ERR_KDI_URL',
  /** A setting that can't be used: certificate, SAE ID, size, bound. */
  config: 'ERR_KDI_CONFIG',
  /** No TCP connection: refused, unreachable, name not found. */
  connect: 'ERR_KDI_CONNECT',
  /** The TLS handshake failed, or the KME's certificate is not trusted. */
  tls: 'ERR_KDI_TLS',
  /** The KME's certificate is valid but names another KME than configured. */
  kmeIdentity: 'ERR_KDI_KME_IDENTITY',
  /** Our deadline passed before the KME's reply was complete. */
  timeout: 'ERR_KDI_TIMEOUT',
  /** The caller gave up. */
  aborted: 'ERR_KDI_ABORTED',
  /** The KME closed or reset the connection before its reply was complete. */
  closed: 'ERR_KDI_CLOSED',
  /** A reply that its API doesn't allow: lengths, JSON, types, bounds. */
  malformed: 'ERR_KDI_MALFORMED',
  /** A 004 reply in the other dialect than the one configured. */
  dialect: 'ERR_KDI_DIALECT',
  /** 004 status 1 or 3: the peer application has not yet opened the stream. */
  peerNotConnected: 'ERR_KDI_PEER_NOT_CONNECTED',
  /** 004 status 2, 014 503, SKIP 503: the KME has not enough key. */
  insufficientKey: 'ERR_KDI_INSUFFICIENT_KEY',
  /** 004 status 4: no QKD connection between the two ends. */
  noQkdConnection: 'ERR_KDI_NO_QKD_CONNECTION',
  /** 004 status 5: the Key_stream_ID is already in use. */
  ksidInUse: 'ERR_KDI_KSID_IN_USE',
  /** 004 status 6: the KME's own time-out. */
  kmeTimeout: 'ERR_KDI_KME_TIMEOUT',
  /** 004 status 7: the QoS can't be met, and the counter-proposal is outside the configured bounds. */
  qosNotMet: 'ERR_KDI_QOS_NOT_MET',
  /** 004 status 8: metadata larger than we are ready to take. */
  metadataTooLarge: 'ERR_KDI_METADATA_TOO_LARGE',
  /** A 004 status that the standard doesn't define. */
  unknownStatus: 'ERR_KDI_UNKNOWN_STATUS',
  /** The stream is closed, exhausted or unknown here. */
  stream: 'ERR_KDI_STREAM',
  /** The KME gave a key ID or index a second time; the key is not used. */
  duplicateKey: 'ERR_KDI_DUPLICATE_KEY',
  /** 014 401, SKIP 401/403: our certificate is not admitted, or was not named for this key. */
  unauthorized: 'ERR_KDI_UNAUTHORIZED',
  /** 014 400, SKIP 400: the KME refuses the request as it stands. */
  badRequest: 'ERR_KDI_BAD_REQUEST',
  /** The KME doesn't know the key ID (yet). */
  keyNotFound: 'ERR_KDI_KEY_NOT_FOUND',
  /** Another HTTP status than the API defines, a redirect included. */
  http: 'ERR_KDI_HTTP',
  /** The API has no such operation, or the KME says that it can't do it. */
  unsupported: 'ERR_KDI_UNSUPPORTED',
  /** No request was made: the KME failed too often and is being rested. */
  circuitOpen: 'ERR_KDI_CIRCUIT_OPEN',
  /** A quota, per peer or in total, is used up. */
  quota: 'ERR_KDI_QUOTA',
  /** The ledger says that this key was used before. */
  alreadyUsed: 'ERR_KDI_ALREADY_USED',
  /** The ledger can't be read or written. Keys are not used without it. */
  ledger: 'ERR_KDI_LEDGER',
  /** A fault of ours; `cause` has it. */
  internal: 'ERR_KDI_INTERNAL',
} as const;
export type KdiErrorCode = (typeof KdiErrorCode)[keyof typeof KdiErrorCode];

/** Codes after which the same request may succeed later, from the same KME. */
const RETRYABLE: ReadonlySet<KdiErrorCode> = new Set([
  KdiErrorCode.connect,
  KdiErrorCode.timeout,
  KdiErrorCode.closed,
  KdiErrorCode.peerNotConnected,
  KdiErrorCode.insufficientKey,
  KdiErrorCode.noQkdConnection,
  KdiErrorCode.kmeTimeout,
  KdiErrorCode.keyNotFound,
  KdiErrorCode.circuitOpen,
  KdiErrorCode.quota,
]);

export interface KdiErrorOptions extends ErrorOptions {
  /** Overrides the default of the code. */
  readonly retryable?: boolean;
  readonly httpStatus?: number;
}

/** A key manager's misbehaviour, refusal or absence. Never holds key material. */
export class KdiError extends Error {
  override readonly name = 'KdiError';
  readonly code: KdiErrorCode;
  /** Whether the same request may succeed later. */
  readonly retryable: boolean;
  /** Status of the HTTP reply, for 014 and SKIP. */
  readonly httpStatus?: number;

  constructor(code: KdiErrorCode, message: string, options: KdiErrorOptions = {}) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.code = code;
    this.retryable = options.retryable ?? RETRYABLE.has(code);
    if (options.httpStatus !== undefined) this.httpStatus = options.httpStatus;
  }
}

/** The caller broke the API's contract: a bug on our side, never something a KME can cause. */
export class KdiMisuseError extends Error {
  override readonly name = 'KdiMisuseError';
}

/** Whether `error` is a `KdiError`, with that code if one is given. */
export function isKdiError(error: unknown, code?: KdiErrorCode): error is KdiError {
  return error instanceof KdiError && (code === undefined || error.code === code);
}
