/** The key managers of a service: how their client is made, and what its errors mean to a channel. */
import {
  type Clock,
  createKeySource,
  type DrawerPoolStatus,
  type FailoverEvent,
  FailoverSource,
  type KdiError,
  KdiErrorCode,
  type KeySource,
  type KeySourceSettings,
  type KmeTls,
  type PskTls,
} from '../../kdi-client/index.ts';
import { errorText } from '../errors.ts';
import { type EventLog, RepeatLimiter } from '../log.ts';
import { randomFraction } from './random-fraction.ts';

/** A key manager as configured, with what its files hold. */
export interface KmeSettings extends Pick<KeySourceSettings, 'url' | 'etsi004' | 'etsi014' | 'skip'> {
  /** `unsafe-plaintext`, only ever by the setting of that name: plain TCP, and every key can be read on the wire. */
  readonly tls: KmeTls | PskTls | 'unsafe-plaintext';
  readonly weight?: number;
}

/** All key managers of one service: several stand in for each other. */
export interface KmesSettings {
  readonly kmes: readonly KmeSettings[];
  readonly choose?: 'ordered' | 'weighted';
  readonly failBackAfterMs?: number;
}

export interface KmeClientOptions {
  readonly ownSae: string;
  readonly clock: Clock;
  readonly log: EventLog;
}

/**
 * Makes the client of one or several key managers. Nothing is sent before the first key is wanted.
 *
 * @throws KdiError `ERR_KDI_URL` or `ERR_KDI_CONFIG`.
 */
export function createKmeClient(settings: KmesSettings, { ownSae, clock, log }: KmeClientOptions): KeySource {
  const { choose, failBackAfterMs } = settings;
  const members = settings.kmes.map(({ weight, tls, ...kme }) => ({
    source: createKeySource({
      ...kme,
      saeId: ownSae,
      clock,
      ...(tls === 'unsafe-plaintext' ? { unsafePlainTcp: true } : { tls }),
    }),
    ...(weight === undefined ? {} : { weight }),
  }));
  const [only] = members;
  // A single one is rested by the pauses of those who ask it.
  if (members.length === 1 && only !== undefined) return only.source;
  const repeats = new RepeatLimiter({ perWindow: 1 });
  return new FailoverSource({
    members,
    clock,
    random: randomFraction,
    onEvent: (event) => logFailover(event, ownSae, log, repeats),
    ...(choose === undefined ? {} : { choose }),
    ...(failBackAfterMs === undefined ? {} : { failBackAfterMs }),
  });
}

function logFailover(event: FailoverEvent, sae: string, log: EventLog, repeats: RepeatLimiter): void {
  const line = { event: 'kme', kme: event.kme, sae } as const;
  switch (event.type) {
    case 'kme-chosen':
      log.info({ ...line, state: 'chosen' });
      return;
    case 'kme-restored':
      log.info({ ...line, state: 'reachable', circuit: 'closed' });
      return;
    case 'kme-failed': {
      const { state: circuit, error } = event;
      const { code } = error;
      if (repeats.pass(`${event.kme} ${circuit} ${code}`) === undefined) return;
      log.warn({ ...line, state: 'failed', circuit, code, error: errorText(error) });
    }
  }
}

/** Why a pool has no key, as its key manager said it last. */
export function lastFailure({ lastErrorCode: code, lastError: error }: DrawerPoolStatus): {
  readonly code?: string;
  readonly error?: string;
} {
  return { ...(code === undefined ? {} : { code }), ...(error === undefined ? {} : { error: errorText(error) }) };
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

/** What an error says of the key manager's health: that it does its work, or does not; undefined for neither. */
export function healthOf(error: KdiError): boolean | undefined {
  if (isUnreachable(error)) return false;
  const answers = error.code === KdiErrorCode.keyNotFound || error.code === KdiErrorCode.peerNotConnected;
  return answers ? true : undefined;
}
