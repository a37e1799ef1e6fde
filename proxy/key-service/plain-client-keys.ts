/**
 * Keys for client services with `auth: psk`: drawn from our key manager for a
 * peer that has no key channel. Nobody can say beforehand whether that peer
 * will have a key, so every one that was drawn may be offered.
 */
import {
  type Clock,
  DrawerPool,
  type DrawerPoolEvent,
  KdiErrorCode,
  type KeyProvenance,
  type KeySource,
  type NoKeyReason,
  referenceText,
  type SpentLedger,
  type TakeResult,
} from '../../kdi-client/index.ts';
import { utf8 } from '../../tls-ext/bytes/index.ts';
import { errorText } from '../errors.ts';
import { type EventLog, RepeatLimiter } from '../log.ts';
import type { ClientKeys, KeyOffer } from '../tunnel/settings.ts';
import { lastFailure } from './kme.ts';
import { plainIdentityText } from './plain-identity.ts';
import { type ProvenanceProblem, type ProvenanceRules, provenanceProblem } from './provenance.ts';
import { randomFraction } from './random-fraction.ts';

export interface PlainClientKeysOptions {
  readonly ownSae: string;
  /** The peer, as our key manager knows it. */
  readonly peerSae: string;
  /** Where the keys are used, for the log. */
  readonly address: string;
  readonly source: KeySource;
  readonly clock: Clock;
  readonly log: EventLog;
  /** Keys drawn ahead of need. */
  readonly keysAhead: number;
  /** Most keys held, those of handshakes included. */
  readonly quota: number;
  readonly keyTtlMs: number;
  readonly ledger: SpentLedger;
  readonly rules: ProvenanceRules;
}

/** The pool asks for the process that it announces to; here there is only one, and it never changes. */
const NO_INSTANCE = new Uint8Array(16);

export class PlainClientKeys implements ClientKeys {
  readonly peerRequirement = undefined;
  readonly #options: PlainClientKeysOptions;
  readonly #pool: DrawerPool;
  readonly #repeats = new RepeatLimiter({ perWindow: 1 });
  /** What was wrong with the last key that was not good enough. */
  #unfit: ProvenanceProblem | undefined;
  #kmeState: 'reachable' | 'unreachable' | undefined;

  constructor(options: PlainClientKeysOptions) {
    const { source, peerSae, clock, keysAhead, quota, keyTtlMs, ledger } = options;
    this.#options = options;
    this.#pool = new DrawerPool({
      source,
      peerSaeId: peerSae,
      clock,
      random: randomFraction,
      highWatermark: keysAhead,
      maxOutstanding: quota,
      keyTtlMs,
      ledger,
      hooks: {
        // Where there is nobody to ask, everything is as good as acknowledged.
        announceStream: ({ ksid }) => queueMicrotask(() => this.#pool.streamOpened(ksid)),
        announceKeys: (keys) =>
          queueMicrotask(() => {
            for (const { reference } of keys) this.#pool.markReady(reference);
          }),
        dropKeys: () => {},
        closeStream: () => {},
        onEvent: (event) => this.#onPoolEvent(event),
      },
    });
    this.#pool.channelUp(NO_INSTANCE, quota);
  }

  take(): KeyOffer {
    return this.#offer(this.#pool.take({ fits: this.#fits }));
  }

  async takeWithin(timeoutMs: number, signal: AbortSignal): Promise<KeyOffer> {
    return this.#offer(await this.#pool.takeWithin(timeoutMs, { signal, fits: this.#fits }));
  }

  /** Stock peers know no rekeying. */
  takeForRekey(): undefined {}

  /** Wipes every key and ends what is under way at the key manager. */
  async close(): Promise<void> {
    await this.#pool.close();
    await this.#options.source.close();
  }

  readonly #fits = (provenance: KeyProvenance): boolean => {
    const problem = provenanceProblem(this.#options.rules, provenance);
    if (problem !== undefined) this.#unfit = problem;
    return problem === undefined;
  };

  #offer(result: TakeResult): KeyOffer {
    if (!result.ok) return this.#noKey(result.reason);
    const { lease } = result;
    return {
      lease: {
        psk: { kind: 'plain', identity: utf8(plainIdentityText(lease.reference)), secret: lease.secret },
        keyId: referenceText(lease.reference),
        provenance: lease.provenance,
        commit: () => lease.commit(),
        release: (why) => {
          if (why === 'unavailable') lease.discard();
          else lease.release();
        },
      },
    };
  }

  #noKey(reason: NoKeyReason): KeyOffer {
    if (this.#repeats.pass(reason) !== undefined) {
      const { ownSae: sae, peerSae: peer, address, log } = this.#options;
      log.warn({ event: 'keys-unavailable', sae, peer, address, reason, ...this.#problem(reason) });
    }
    return { reason };
  }

  #problem(reason: NoKeyReason): { readonly code?: string; readonly error?: string } {
    if (reason === 'policy') return this.#unfit ?? {};
    return lastFailure(this.#pool.status());
  }

  #onPoolEvent(event: DrawerPoolEvent): void {
    const { ownSae: sae, log } = this.#options;
    if (event.type === 'stream-opened' && this.#kmeState !== 'reachable') {
      this.#kmeState = 'reachable';
      log.info({ event: 'kme', kme: event.kme, sae, state: 'reachable' });
    }
    if (event.type !== 'failure' || this.#pool.status().reason !== 'kme_unreachable') return;
    // Of the ledger the log hears from itself, and the key manager is well.
    if (this.#kmeState === 'unreachable' || event.error.code === KdiErrorCode.ledger) return;
    this.#kmeState = 'unreachable';
    const { code } = event.error;
    log.warn({ event: 'kme', kme: event.kme, sae, state: 'unreachable', code, error: errorText(event.error) });
  }
}
