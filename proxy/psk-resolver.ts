/**
 * The one place that knows both TLS and key delivery: it joins the key
 * channel's state machines to the pools and stores of kdi-client, and says
 * what the words of one mean in the other. No handshake waits behind it for a
 * key manager.
 */
import { randomBytes } from 'node:crypto';
import {
  type Clock,
  FileLedger,
  KdiErrorCode,
  type KeySource,
  type KmeTls,
  MemoryLedger,
  type PskTls,
  referenceText,
  type SpentLedger,
  systemClock,
} from '../kdi-client/index.ts';
import {
  DrawerGreeting,
  INSTANCE_BYTES,
  KeyChannelAnswerer,
  KeyChannelDrawer,
  type MismatchReport,
  type ServiceRequirement,
  StateReason,
  StreamFailure,
} from '../tls-ext/index.ts';
import { errorCode, errorText, ProxyErrorCode } from './errors.ts';
import { AnswererKeys } from './key-service/answerer-keys.ts';
import { AnswererLink } from './key-service/answerer-link.ts';
import { DrawerLink } from './key-service/drawer-link.ts';
import { DrawerSupply } from './key-service/drawer-supply.ts';
import { createKmeClient, type KmeSettings, type KmesSettings } from './key-service/kme.ts';
import { type EventLog, RepeatLimiter } from './log.ts';

export type { Clock, KmeSettings, KmesSettings, KmeTls, PskTls, SpentLedger };
export { systemClock };

/** What both sides need. */
export interface KeyServiceSettings {
  readonly ownSae: string;
  readonly kmes: KmesSettings;
  readonly log: EventLog;
  /** Longest life of a key that nobody used. */
  readonly keyTtlMs: number;
  readonly ledger: SpentLedger;
  readonly clock: Clock;
}

/** Most keys outstanding with one peer. */
const QUOTA = 4_096;

/**
 * Keys for client services, and what their channels greet peers with.
 *
 * @throws KdiError for an unusable key manager: an error of the configuration is one now, and not at the first connection.
 */
export function createDrawerSupply(settings: KeyServiceSettings) {
  const { ownSae, clock, log } = settings;
  const source = kmeClient(settings);
  const instance = newInstance();
  const notFound = new RepeatLimiter({ perWindow: 1 });
  const supply = new DrawerSupply({
    ...settings,
    quota: QUOTA,
    source,
    createLink: (peerSae) =>
      new DrawerLink({
        machine: new KeyChannelDrawer({ ownSae, peerSae, instance, quota: QUOTA, kmeName: source.kme, services: [] }),
        nowMs: () => clock.now(),
        referenceText,
        stateReason: (reason) => STATE_REASONS[reason],
        onMismatch: (report) => logMismatch(settings, peerSae, report),
        onNotFound: (reference) => {
          const passed = notFound.pass(peerSae);
          if (passed === undefined) return;
          log.warn({
            ...{ event: 'key-not-found', sae: ownSae, peer: peerSae, role: 'drawer' },
            ...{ keyId: referenceText(reference), kme: source.kme },
            message:
              'the peer did not get a key that our key manager gave out: see its log; if it lasts, the two may not be the ends of one link',
            ...(passed.suppressed === 0 ? {} : passed),
          });
        },
        onBug: (error) => logBug(settings, error),
        onQuarantine: (quarantined, ownKme) => {
          const event = { event: 'kme', kme: ownKme, sae: ownSae } as const;
          if (quarantined) log.warn({ ...event, state: 'quarantined' });
          else log.info({ ...event, state: 'reachable' });
        },
      }),
  });
  const createGreeting = (services: readonly ServiceRequirement[]) =>
    new DrawerGreeting({ instance, quota: QUOTA, services });
  return { supply, createGreeting };
}

/**
 * Keys for the server services of one SAE.
 *
 * @throws KdiError for an unusable key manager.
 */
export function createAnswererKeys(settings: KeyServiceSettings): AnswererKeys {
  const { ownSae, clock } = settings;
  const source = kmeClient(settings);
  const instance = newInstance();
  return new AnswererKeys({
    ...settings,
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

/** A single-use ledger: in a file, or for the life of the process. Rejects with KdiError `ERR_KDI_LEDGER`. */
export async function openLedger(path: string | undefined): Promise<SpentLedger> {
  const nowMs = (): number => Date.now();
  return path === undefined ? new MemoryLedger({ nowMs }) : await FileLedger.open({ path, nowMs });
}

/**
 * The ledger, which tells the log when it fails, when something else is in the way than before, and when it works
 * again: meanwhile no key is used, and that would look like a key manager that gives none.
 */
export function toldLedger(ledger: SpentLedger, log: EventLog): SpentLedger {
  /** What was in the way last; undefined while it works. */
  let said: string | undefined;
  let closing = false;
  return {
    async spend(ids) {
      try {
        const spent = await ledger.spend(ids);
        if (said !== undefined && !closing)
          log.info({ event: 'ledger', state: 'written', message: 'the ledger is written again: QKD keys are used' });
        said = undefined;
        return spent;
      } catch (thrown) {
        const error = errorText(thrown);
        if (said !== error && !closing) {
          const code = errorCode(thrown) ?? ProxyErrorCode.internal;
          const message = 'no QKD key is used until the ledger can be written again; this is tried with every new key';
          log.error({ event: 'ledger', state: 'failed', code, error, message });
        }
        said = error;
        throw thrown;
      }
    },
    close() {
      // What is cut short by the end is no failure.
      closing = true;
      return ledger.close();
    },
  };
}

/**
 * Names what this process holds for a peer: a new name means that the keys of
 * the old one are gone. Services with key managers of their own hold keys of
 * their own, and have a name of their own.
 */
function newInstance(): Uint8Array {
  return Uint8Array.from(randomBytes(INSTANCE_BYTES));
}

function kmeClient({ kmes, ownSae, log, clock }: KeyServiceSettings): KeySource {
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
    message: `our key manager ${ownKme} and the peer's ${peerKme || '(name unknown)'} gave different keys under one ID; the stream or batch is under quarantine`,
  });
}
