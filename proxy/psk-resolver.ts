/**
 * The one place that knows both TLS and key delivery: it joins the key
 * channel's state machines to the pools and stores of kdi-client, and says
 * what the words of one mean in the other. No handshake waits behind it for a
 * key manager.
 */
import {
  type Clock,
  KdiErrorCode,
  type KeySource,
  type KmeTls,
  type PskTls,
  referenceText,
  systemClock,
} from '../kdi-client/index.ts';
import {
  KeyChannelAnswerer,
  KeyChannelDrawer,
  type MismatchReport,
  type ServiceRequirement,
  StateReason,
  StreamFailure,
} from '../tls-ext/index.ts';
import { errorText, ProxyErrorCode } from './errors.ts';
import { AnswererKeys } from './key-service/answerer-keys.ts';
import { AnswererLink } from './key-service/answerer-link.ts';
import { DrawerKeys } from './key-service/drawer-keys.ts';
import { DrawerLink } from './key-service/drawer-link.ts';
import { createKmeClient, type KmeSettings, type KmesSettings } from './key-service/kme.ts';
import type { EventLog } from './log.ts';

export type { KmeSettings, KmesSettings, KmeTls, PskTls };

/** What both sides need. */
export interface KeyServiceSettings {
  readonly ownSae: string;
  readonly kmes: KmesSettings;
  /** Names this process to its peers: 16 random bytes. */
  readonly instance: Uint8Array;
  readonly log: EventLog;
  /** Longest life of a key that nobody used. */
  readonly keyTtlMs: number;
  readonly clock?: Clock;
}

export interface DrawerSettings extends KeyServiceSettings {
  /** The client services of the channel. */
  readonly services: readonly ServiceRequirement[];
  /** Where the channel leads, for the log. */
  readonly address: string;
  /** Whether keys that a simulator made may be used on this path. */
  readonly simulatedAllowed: boolean;
  /** Keys kept agreed ahead of need. */
  readonly keysAhead: number;
}

/** Most keys outstanding with one peer. */
const QUOTA = 4_096;

/** Keys for the client services of one channel. */
export function createDrawerKeys(settings: DrawerSettings): DrawerKeys {
  const { ownSae, instance, services, clock = systemClock, log } = settings;
  // An unusable URL is an error of the configuration: now, and not at the first connection.
  let first: KeySource | undefined = kmeClient(settings);
  return new DrawerKeys({
    ...settings,
    clock,
    quota: QUOTA,
    createSource: () => {
      const source = first ?? kmeClient(settings);
      first = undefined;
      return source;
    },
    createLink: (peerSae, kmeName) =>
      new DrawerLink({
        machine: new KeyChannelDrawer({ ownSae, peerSae, instance, quota: QUOTA, kmeName, services }),
        nowMs: () => clock.now(),
        referenceText,
        stateReason: (reason) => STATE_REASONS[reason],
        onMismatch: (report) => logMismatch(settings, peerSae, report),
        onBug: (error) => logBug(settings, error),
        onQuarantine: (quarantined, ownKme) => {
          const event = { event: 'kme', kme: ownKme, sae: ownSae } as const;
          if (quarantined) log.warn({ ...event, state: 'quarantined' });
          else log.info({ ...event, state: 'reachable' });
        },
      }),
  });
}

/** Keys for the server services of one SAE. */
export function createAnswererKeys(settings: KeyServiceSettings): AnswererKeys {
  const { ownSae, instance, clock = systemClock } = settings;
  const source = kmeClient(settings);
  return new AnswererKeys({
    ...settings,
    clock,
    quota: QUOTA,
    source,
    createLink: (peerSae, onKeys) =>
      new AnswererLink({
        machine: new KeyChannelAnswerer({ ownSae, peerSae, instance, quota: QUOTA, kmeName: source.kme }),
        nowMs: () => clock.now(),
        streamFailure: (code, unreachable) =>
          STREAM_FAILURES[code] ?? (unreachable ? StreamFailure.kmeUnreachable : StreamFailure.other),
        onMismatch: (report) => logMismatch(settings, peerSae, report),
        onBug: (error) => logBug(settings, error),
        onKeys,
      }),
  });
}

function kmeClient({ kmes, ownSae, log, clock = systemClock }: KeyServiceSettings): KeySource {
  return createKmeClient(kmes, { ownSae, clock, log });
}

/** Why the pool has no key, as the peer's operators are told. */
const STATE_REASONS: Readonly<Record<string, StateReason>> = {
  kme_unreachable: StateReason.kmeUnreachable,
  stream_opening: StateReason.streamOpening,
  pool_empty: StateReason.noKey,
  key_mismatch: StateReason.keyMismatch,
  budget: StateReason.budget,
};

/** Why our key manager did not open a stream, as the drawer is told. */
const STREAM_FAILURES: Readonly<Record<string, StreamFailure>> = {
  [KdiErrorCode.noQkdConnection]: StreamFailure.noQkdConnection,
  [KdiErrorCode.ksidInUse]: StreamFailure.ksidInUse,
  [KdiErrorCode.qosNotMet]: StreamFailure.qosNotMet,
};

function logBug({ log }: KeyServiceSettings, error: unknown): void {
  log.error({ event: 'internal-error', code: ProxyErrorCode.internal, error: errorText(error) });
}

function logMismatch({ ownSae, log }: KeyServiceSettings, peer: string, report: MismatchReport): void {
  const { ownKme, peerKme, reference } = report;
  log.error({
    event: 'key-mismatch',
    sae: ownSae,
    peer,
    ...(reference === undefined ? {} : { keyId: referenceText(reference) }),
    kme: ownKme,
    peerKme,
    message: `our key manager ${ownKme} and the peer's ${peerKme || '(name unknown)'} gave different keys under one ID; the stream is under quarantine`,
  });
}
