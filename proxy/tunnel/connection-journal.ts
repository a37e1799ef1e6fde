/** Collects what becomes known of one connection, and writes its lines in the log. */
import {
  alertName,
  cipherSuiteName,
  type HandshakeSummary,
  hexOf,
  namedGroupInfo,
  namedGroupName,
  TlsError,
  TlsErrorCode,
} from '../../tls-ext/index.ts';
import type { RelayCounts, TlsConnection } from '../data-path/index.ts';
import { errorCode, errorText, ProxyErrorCode } from '../errors.ts';
import type { ConnectionRecord, EventLog } from '../log.ts';
import { explainReason, type HandshakeFacts, modeOf, type PolicyVerdict } from '../policy.ts';
import type { KeyDescent } from './key-budget.ts';
import type { Rekeyed, RekeyRefused } from './rekey-outcome.ts';
import type { KeyProvenance } from './settings.ts';

/** Exporter label of the fingerprint that both ends log. */
const FINGERPRINT_LABEL = 'EXPORTER-qstunnel-fingerprint';
const FINGERPRINT_BYTES = 8;
/** How connections end every day, in no order and for no fault of ours or of whom we connect to. */
const ORDINARY_ENDS: ReadonlySet<string> = new Set([
  ProxyErrorCode.applicationReset,
  ProxyErrorCode.peerReset,
  ProxyErrorCode.idleTimeout,
  ProxyErrorCode.shutdown,
  TlsErrorCode.truncated,
]);
const NOTHING_MOVED: RelayCounts = { bytesToPeer: 0, bytesFromPeer: 0 };

/** The key of a handshake, as the log shows it. */
export interface UsedKey {
  readonly keyId: string;
  readonly provenance?: KeyProvenance;
}

type Known = Partial<Omit<ConnectionRecord, 'service' | 'role' | 'connectionId' | 'clientAddress'>>;

export class ConnectionJournal {
  readonly #log: EventLog;
  readonly #startMs = performance.now();
  #record: ConnectionRecord;
  #handshakeStartMs = this.#startMs;
  #finished = false;
  #groupIsPostQuantum = false;
  #rekeys = 0;

  constructor(log: EventLog, who: Pick<ConnectionRecord, 'service' | 'role' | 'connectionId' | 'clientAddress'>) {
    this.#log = log;
    this.#record = who;
  }

  get record(): ConnectionRecord {
    return this.#record;
  }

  note(known: Known): void {
    this.#record = { ...this.#record, ...known };
  }

  /** The time that `handshakeMs` counts from: what comes before it is waiting for a key. */
  handshakeStarts(): void {
    this.#handshakeStartMs = performance.now();
    this.note({ waitedMs: hundredths(this.#handshakeStartMs - this.#startMs) });
  }

  /** The handshake is complete; whether it is good enough is `judged`. */
  handshakeComplete(connection: TlsConnection, summary: HandshakeSummary, key: UsedKey | undefined): void {
    this.#groupIsPostQuantum = namedGroupInfo(summary.group)?.postQuantum ?? false;
    this.note({
      group: namedGroupName(summary.group),
      cipher: cipherSuiteName(summary.cipherSuite),
      handshakeMs: hundredths(performance.now() - this.#handshakeStartMs),
      fingerprint: hexOf(connection.exportKeyingMaterial(FINGERPRINT_LABEL, FINGERPRINT_BYTES)),
      ...(key === undefined ? {} : { keyId: key.keyId, ...key.provenance }),
    });
  }

  /** Policy's verdict: from here on the connection has a mode. */
  judged(verdict: PolicyVerdict): void {
    const { mode, reason } = verdict;
    this.note({ mode, ...(reason === undefined ? {} : { reason }) });
    if (verdict.mode === 'refused') return;
    this.#log.debug({ event: 'established', ...this.#record });
    if (reason === undefined) return;
    const message = `no QKD key in this connection: ${explainReason(reason)}`;
    this.#log.warn({ event: 'fallback', message, ...this.#record });
  }

  /** It goes on where another one was: the QKD key is that one's. */
  resumed(descent: KeyDescent): void {
    this.note({ resumed: true, keyId: descent.keyId, keyAgeMs: Math.round(descent.ageMs(performance.now())) });
  }

  /** A rekey is complete. With a QKD key it raises the mode of a connection that had none. */
  rekeyed({ epoch, key }: Rekeyed): void {
    this.#rekeys++;
    this.note({ rekeys: this.#rekeys });
    if (key !== undefined) {
      // What was known of the key before, or of there being none.
      const { reason: _, keyAgeMs: __, hops: ___, ageMs: ____, simulated: _____, ...kept } = this.#record;
      const mode = modeOf({ psk: 'qkd', groupIsPostQuantum: this.#groupIsPostQuantum });
      this.#record = { ...kept, mode, keyId: key.keyId, ...key.provenance };
    }
    this.#log.info({
      event: 'rekeyed',
      ...this.#who(),
      epoch,
      status: key === undefined ? 'without_key' : 'used',
      ...(key === undefined ? {} : { keyId: key.keyId }),
    });
  }

  /** A rekey came to nothing; the connection goes on with the keys that it has. */
  rekeyRefused({ keyId, why }: RekeyRefused): void {
    const event = {
      event: 'rekey-refused',
      ...this.#who(),
      ...(keyId === undefined ? {} : { keyId }),
      ...(why === undefined ? {} : { why }),
    } as const;
    // Many a short connection is over before the key that it began without has come.
    if (why === 'closed') this.#log.info(event);
    else this.#log.warn(event);
  }

  /** The connection is over. Once; later calls are ignored. */
  finish(failure: Error | undefined, counts: RelayCounts = NOTHING_MOVED): void {
    if (this.#finished) return;
    this.#finished = true;
    const durationMs = hundredths(performance.now() - this.#startMs);
    const established = this.#record.mode !== undefined && this.#record.mode !== 'refused';
    const how = describeFailure(failure);
    const event = { event: 'connection', ...this.#record, ...counts, durationMs, ...how } as const;
    if (established && (how.code === undefined || ORDINARY_ENDS.has(how.code))) this.#log.info(event);
    else this.#log.warn(event);
  }

  #who() {
    const { service, role, connectionId, peer, mode } = this.#record;
    return {
      ...{ service, role, connectionId },
      ...(peer === undefined ? {} : { peer }),
      ...(mode === undefined ? {} : { mode }),
    };
  }
}

/** A failure as the log shows it: the most specific code, and the alert if one was sent or received. */
export function describeFailure(failure: Error | undefined): { code?: string; error?: string; alert?: string } {
  if (failure === undefined) return {};
  const alert = failure instanceof TlsError && failure.alert !== undefined ? { alert: alertName(failure.alert) } : {};
  // That the peer's certificate was refused says little; why it was is in the cause.
  const cause = failure instanceof TlsError && errorCode(failure.cause) !== undefined ? failure.cause : failure;
  return { code: errorCode(cause) ?? ProxyErrorCode.internal, error: errorText(cause), ...alert };
}

/** What policy looks at. */
export function handshakeFacts(summary: HandshakeSummary): HandshakeFacts {
  return {
    psk: summary.psk,
    ...(summary.qkdOffer === undefined ? {} : { qkdOffer: summary.qkdOffer }),
    ...(summary.qkdResult === undefined ? {} : { qkdResult: summary.qkdResult }),
    groupIsPostQuantum: namedGroupInfo(summary.group)?.postQuantum ?? false,
  };
}

function hundredths(ms: number): number {
  return Math.round(ms * 100) / 100;
}
