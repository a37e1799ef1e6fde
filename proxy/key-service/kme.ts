/** The key manager of a service: how its client is made, and what its errors mean to a channel. */
import {
  type Etsi004QosSettings,
  Etsi004Source,
  KdiError,
  KdiErrorCode,
  type KeySource,
  type KmeTls,
  parseKmeUrl,
} from '../../kdi-client/index.ts';

/** A key manager, as configured. */
export interface KmeSettings {
  /** `etsi004://HOST:PORT[?dialect=qubip]`. */
  readonly url: string;
  /** `unsafe-plaintext`, only ever by the setting of that name: plain TCP, and every key can be read on the wire. */
  readonly tls: KmeTls | 'unsafe-plaintext';
  readonly ksid?: 'allocated' | 'chosen';
  readonly openAs?: 'same' | 'swapped';
  readonly qos?: Etsi004QosSettings;
}

/**
 * Makes the client of a key manager. Nothing is sent before the first key is wanted.
 *
 * @throws KdiError `ERR_KDI_URL`, `ERR_KDI_CONFIG` or `ERR_KDI_UNSUPPORTED`.
 */
export function createKeySource(kme: KmeSettings, ownSae: string): KeySource {
  const address = parseKmeUrl(kme.url);
  if (address.api !== 'etsi004') {
    throw new KdiError(
      KdiErrorCode.unsupported,
      `${address.api} is not served by tunnels yet; write etsi004://HOST:PORT`,
    );
  }
  return new Etsi004Source({
    address,
    saeId: ownSae,
    ...(kme.tls === 'unsafe-plaintext' ? { unsafePlainTcp: true } : { tls: kme.tls }),
    ...(kme.ksid === undefined ? {} : { ksid: kme.ksid }),
    ...(kme.openAs === undefined ? {} : { openAs: kme.openAs }),
    ...(kme.qos === undefined ? {} : { qos: kme.qos }),
  });
}

/** Whether nobody useful answers at the key manager's address, as against one that answers no. */
export function isUnreachable(error: KdiError): boolean {
  switch (error.code) {
    case KdiErrorCode.connect:
    case KdiErrorCode.tls:
    case KdiErrorCode.kmeIdentity:
    case KdiErrorCode.timeout:
    case KdiErrorCode.closed:
    case KdiErrorCode.malformed:
    case KdiErrorCode.dialect:
    case KdiErrorCode.circuitOpen:
      return true;
    default:
      return false;
  }
}
