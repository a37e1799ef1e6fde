/**
 * Keys for client services with `auth: psk`: drawn from our key manager for a
 * peer that has no key channel. Nobody can say beforehand whether that peer
 * will have a key, so every one that was drawn may be offered.
 */
import {
  type Clock,
  DrawerPool,
  type DrawerPoolEvent,
  type KeySource,
  type NoKeyReason,
  referenceText,
  type TakeResult,
} from '../../kdi-client/index.ts';
import { utf8 } from '../../tls-ext/bytes/index.ts';
import { errorText, ProxyErrorCode } from '../errors.ts';
import { type EventLog, RepeatLimiter } from '../log.ts';
import type { ClientKeys, KeyOffer } from '../tunnel/settings.ts';
import { plainIdentityText } from './plain-identity.ts';
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
  /** Whether keys that a simulator made may be used on this path. */
  readonly simulatedAllowed: boolean;
}

/** The pool asks for the process that it announces to; here there is only one, and it never changes. */
const NO_INSTANCE = new Uint8Array(16);

export class PlainClientKeys implements ClientKeys {
  readonly peerRequirement = undefined;
  readonly #options: PlainClientKeysOptions;
  readonly #pool: DrawerPool;
  readonly #repeats = new RepeatLimiter({ perWindow: 1 });
  #kmeState: 'reachable' | 'unreachable' | undefined;

  constructor(options: PlainClientKeysOptions) {
    const { source, peerSae, clock, keysAhead, quota, keyTtlMs } = options;
    this.#options = options;
    this.#pool = new DrawerPool({
      source,
      peerSaeId: peerSae,
      clock,
      random: randomFraction,
      highWatermark: keysAhead,
      maxOutstanding: quota,
      keyTtlMs,
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
    return this.#offer(this.#pool.take());
  }

  async takeWithin(timeoutMs: number, signal: AbortSignal): Promise<KeyOffer> {
    return this.#offer(await this.#pool.takeWithin(timeoutMs, { signal }));
  }

  /** Stock peers know no rekeying. */
  takeForRekey(): undefined {}

  /** Wipes every key and ends what is under way at the key manager. */
  async close(): Promise<void> {
    await this.#pool.close();
    await this.#options.source.close();
  }

  #offer(result: TakeResult): KeyOffer {
    if (!result.ok) return this.#noKey(result.reason);
    const { lease } = result;
    if (lease.metadata.simulated === true && !this.#options.simulatedAllowed) {
      lease.secret.wipe();
      lease.discard();
      return this.#noKey('policy');
    }
    return {
      lease: {
        psk: { kind: 'plain', identity: utf8(plainIdentityText(lease.reference)), secret: lease.secret },
        keyId: referenceText(lease.reference),
        commit: () => lease.commit(),
        release: (why) => {
          if (why === 'unavailable') lease.discard();
          else lease.release();
        },
      },
    };
  }

  #noKey(reason: NoKeyReason | 'policy'): KeyOffer {
    if (this.#repeats.pass(reason) !== undefined) {
      const { ownSae: sae, peerSae: peer, address, log } = this.#options;
      log.warn({ event: 'keys-unavailable', sae, peer, address, reason, ...this.#problem(reason) });
    }
    return { reason };
  }

  #problem(reason: NoKeyReason | 'policy'): { readonly code?: string; readonly error?: string } {
    if (reason === 'policy') {
      return {
        code: ProxyErrorCode.simulatedKeys,
        error: 'the keys come from a simulator, and the peer is not on loopback; see unsafe-allow-simulated',
      };
    }
    const { lastErrorCode } = this.#pool.status();
    return lastErrorCode === undefined ? {} : { code: lastErrorCode };
  }

  #onPoolEvent(event: DrawerPoolEvent): void {
    const { ownSae: sae, log } = this.#options;
    if (event.type === 'stream-opened' && this.#kmeState !== 'reachable') {
      this.#kmeState = 'reachable';
      log.info({ event: 'kme', kme: event.kme, sae, state: 'reachable' });
    }
    if (event.type !== 'failure' || this.#pool.status().reason !== 'kme_unreachable') return;
    if (this.#kmeState === 'unreachable') return;
    this.#kmeState = 'unreachable';
    const { code } = event.error;
    log.warn({ event: 'kme', kme: event.kme, sae, state: 'unreachable', code, error: errorText(event.error) });
  }
}
