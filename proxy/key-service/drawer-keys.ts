/**
 * Keys for client services: the pool of each peer behind one channel, joined
 * to it by a `DrawerLink`. Knows key managers, and of TLS only the shape of a PSK.
 */
import {
  type Clock,
  DrawerPool,
  type DrawerPoolEvent,
  type KdiError,
  type KeyLease,
  type KeyPurpose,
  type KeySource,
  type NoKeyReason,
  referenceText,
  type TakeResult,
} from '../../kdi-client/index.ts';
import { errorText, ProxyErrorCode } from '../errors.ts';
import { type EventLog, RepeatLimiter } from '../log.ts';
import { type FallbackReason, type Requirement, stricterRequirement } from '../policy.ts';
import type { ClientKeys, KeyOffer, RekeyLease } from '../tunnel/settings.ts';
import type { ChannelEnd } from './channel-dialler.ts';
import type { DrawerLink } from './drawer-link.ts';
import { randomFraction } from './random-fraction.ts';

export interface DrawerKeysOptions {
  readonly ownSae: string;
  /** Where the channel leads, for the log. */
  readonly address: string;
  readonly log: EventLog;
  readonly clock: Clock;
  /** Longest life of a key that nobody used. */
  readonly keyTtlMs: number;
  /** Keys kept agreed ahead of need. */
  readonly keysAhead: number;
  /** Most keys outstanding with one peer. */
  readonly quota: number;
  /** Whether keys that a simulator made may be used on this path. */
  readonly simulatedAllowed: boolean;
  createSource(): KeySource;
  createLink(peerSae: string, kmeName: string): DrawerLink;
}

interface DrawerOfPeer {
  readonly peerSae: string;
  readonly source: KeySource;
  readonly pool: DrawerPool;
  readonly link: DrawerLink;
  /** The stream's keys are a simulator's, and are not used on this path. */
  simulatedRefused: boolean;
  /** `keys-ready` was logged, and there has been a key ever since. */
  readySaid: boolean;
  /** What changed is said once for all events of one moment. */
  changeNoted: boolean;
}

/**
 * Keys of one channel: (own SAE, peer SAE, address). Which of the admitted
 * peers is at that address is known once one has authenticated itself there.
 */
export class DrawerKeys implements ClientKeys, ChannelEnd {
  readonly #options: DrawerKeysOptions;
  readonly #peers = new Map<string, DrawerOfPeer>();
  readonly #repeats = new RepeatLimiter({ perWindow: 1 });
  #current: DrawerOfPeer | undefined;
  #onPeer: (() => void)[] = [];
  #lastReason: FallbackReason | undefined;
  #kmeState: 'reachable' | 'unreachable' | undefined;

  constructor(options: DrawerKeysOptions) {
    this.#options = options;
  }

  get peerRequirement(): Requirement | undefined {
    const requirements = this.#current?.link.peerServices.map(({ require }) => require) ?? [];
    return requirements.length === 0 ? undefined : requirements.reduce(stricterRequirement);
  }

  get peerSae(): string | undefined {
    return this.#current?.peerSae;
  }

  take(): KeyOffer {
    const peer = this.#current;
    if (peer === undefined) return { reason: 'channel_down' };
    // Once is enough to know: each further loan would wear a key out.
    return peer.simulatedRefused ? this.#noKey(peer, 'policy') : this.#offer(peer, peer.pool.take());
  }

  async takeWithin(timeoutMs: number, signal: AbortSignal): Promise<KeyOffer> {
    const deadlineMs = performance.now() + timeoutMs;
    if (this.#current === undefined) await this.#firstPeer(timeoutMs, signal);
    const peer = this.#current;
    if (peer === undefined) return { reason: 'channel_down' };
    if (peer.simulatedRefused) return this.#noKey(peer, 'policy');
    const leftMs = Math.max(0, deadlineMs - performance.now());
    return this.#offer(peer, await peer.pool.takeWithin(leftMs, { signal }));
  }

  takeForRekey(peerSae: string): RekeyLease | undefined {
    const peer = this.#current;
    if (peer?.peerSae !== peerSae || peer.simulatedRefused) return undefined;
    const result = peer.pool.take({ purpose: 'rekey' });
    return result.ok ? this.#leaseOf(peer, result.lease, 'rekey') : undefined;
  }

  connected(peerSae: string, send: (bytes: Uint8Array) => void, hangUp: (failure: Error) => void): void {
    const peer = this.#peers.get(peerSae) ?? this.#addPeer(peerSae);
    this.#current = peer;
    peer.link.connected(peerSae, send, hangUp);
    for (const tell of this.#onPeer.splice(0)) tell();
  }

  receive(bytes: Uint8Array): void {
    this.#current?.link.receive(bytes);
  }

  disconnected(): void {
    this.#current?.link.disconnected();
  }

  /** Wipes every key and closes the streams at the key manager. */
  async close(): Promise<void> {
    for (const { link } of this.#peers.values()) link.stop();
    await Promise.all(
      [...this.#peers.values()].map(async ({ pool, source }) => {
        await pool.close();
        await source.close();
      }),
    );
  }

  #addPeer(peerSae: string): DrawerOfPeer {
    const { clock, keysAhead, keyTtlMs, quota } = this.#options;
    const source = this.#options.createSource();
    const link = this.#options.createLink(peerSae, source.kme);
    const pool = new DrawerPool({
      source,
      peerSaeId: peerSae,
      clock,
      random: randomFraction,
      highWatermark: keysAhead,
      maxOutstanding: quota,
      keyTtlMs,
      hooks: {
        announceStream: ({ ksid, qos }) => link.announceStream(ksid, qos),
        announceKeys: (keys) => link.announceKeys(keys),
        dropKeys: (references) => link.dropKeys(references),
        closeStream: (ksid) => link.closeStream(ksid),
        onEvent: (event) => this.#onPoolEvent(peer, event),
      },
    });
    const peer: DrawerOfPeer = {
      peerSae,
      source,
      pool,
      link,
      simulatedRefused: false,
      readySaid: false,
      changeNoted: false,
    };
    this.#peers.set(peerSae, peer);
    link.attachPool(pool);
    return peer;
  }

  #firstPeer(timeoutMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(done, timeoutMs);
      function done(): void {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        resolve();
      }
      signal.addEventListener('abort', done);
      this.#onPeer.push(done);
    });
  }

  #offer(peer: DrawerOfPeer, result: TakeResult): KeyOffer {
    if (!result.ok) return this.#noKey(peer, result.reason);
    const { lease } = result;
    if (lease.metadata.simulated === true && !this.#options.simulatedAllowed) {
      lease.secret.wipe();
      lease.release();
      peer.simulatedRefused = true;
      return this.#noKey(peer, 'policy');
    }
    this.#lastReason = undefined;
    if (peer.pool.status().ready === 0) peer.readySaid = false;
    return { lease: this.#leaseOf(peer, lease, 'handshake') };
  }

  #leaseOf(peer: DrawerOfPeer, lease: KeyLease, purpose: KeyPurpose): RekeyLease {
    const { reference, secret } = lease;
    return {
      psk: {
        kind: 'qkd',
        reference,
        context: { purpose, drawer: this.#options.ownSae, answerer: peer.peerSae },
        secret,
      },
      keyId: referenceText(reference),
      commit: () => {
        if (lease.commit()) peer.link.keyUsed(reference);
      },
      release: (why) => {
        if (why === 'unavailable') lease.discard();
        else lease.release();
      },
    };
  }

  #noKey(peer: DrawerOfPeer, reason: NoKeyReason | 'policy'): KeyOffer {
    peer.readySaid = false;
    if (this.#lastReason !== reason) {
      this.#lastReason = reason;
      const { ownSae: sae, address, log } = this.#options;
      log.warn({ event: 'keys-unavailable', sae, peer: peer.peerSae, address, reason, ...problemOf(peer) });
    }
    return { reason };
  }

  #onPoolEvent(peer: DrawerOfPeer, event: DrawerPoolEvent): void {
    switch (event.type) {
      case 'stream-opened':
        peer.simulatedRefused = false;
        this.#logKme(event.kme, 'reachable');
        return;
      case 'failure':
        if (peer.pool.status().reason === 'kme_unreachable') this.#logKme(event.kme, 'unreachable', event.error);
        break;
      case 'keys-ready':
      case 'stream-ended':
      case 'mismatch':
      case 'dropped':
        break;
    }
    if (peer.changeNoted) return;
    peer.changeNoted = true;
    queueMicrotask(() => this.#tellChange(peer));
  }

  #tellChange(peer: DrawerOfPeer): void {
    peer.changeNoted = false;
    const { ready, reason, kme } = peer.pool.status();
    if (ready > 0 && !peer.readySaid) {
      peer.readySaid = true;
      this.#lastReason = undefined;
      const { ownSae: sae, address, log } = this.#options;
      log.info({ event: 'keys-ready', sae, peer: peer.peerSae, role: 'drawer', address, count: ready });
    }
    peer.link.tellState({ kmeName: kme, poolKeys: ready, ...(reason === undefined ? {} : { reason }) });
  }

  #logKme(kme: string, state: 'reachable' | 'unreachable' | 'quarantined', error?: KdiError): void {
    if (state !== 'quarantined' && this.#kmeState === state) return;
    if (state !== 'quarantined') this.#kmeState = state;
    if (state !== 'reachable' && this.#repeats.pass(state) === undefined) return;
    const { ownSae: sae, log } = this.#options;
    const event = {
      event: 'kme',
      kme,
      sae,
      state,
      ...(error && { code: error.code, error: errorText(error) }),
    } as const;
    if (state === 'reachable') log.info(event);
    else log.warn(event);
  }
}

/** What the log adds to a reason. */
function problemOf(peer: DrawerOfPeer): { readonly code?: string; readonly error?: string } {
  if (peer.simulatedRefused) {
    return {
      code: ProxyErrorCode.simulatedKeys,
      error: 'the keys come from a simulator, and the peer is not on loopback; see unsafe-allow-simulated',
    };
  }
  const { lastErrorCode } = peer.pool.status();
  return lastErrorCode === undefined ? {} : { code: lastErrorCode };
}

/** A service without a key manager offers no key, and says that this is its own choice. */
export const noClientKeys: ClientKeys = {
  peerRequirement: undefined,
  take: () => ({ reason: 'policy' }),
  takeWithin: async () => ({ reason: 'policy' }),
  takeForRekey: () => undefined,
};
