/**
 * The one place that knows both TLS and key delivery: it joins key channels to
 * the pools and stores of kdi-client, and turns their keys into PSKs for
 * handshakes. No handshake waits here for a key manager.
 */
import {
  Answerer,
  AnswererStore,
  type Clock,
  DrawerPool,
  type DrawerPoolEvent,
  type Etsi004QosSettings,
  Etsi004Source,
  type KdiError,
  KdiErrorCode,
  type KeySource,
  type KmeTls,
  parseKmeUrl,
  referenceText,
  systemClock,
  type TakeResult,
} from '../kdi-client/index.ts';
import {
  KeyChannelAnswerer,
  KeyChannelDrawer,
  type KeyChannelState,
  type MismatchReport,
  type NoOfferReason,
  type QkdKeyReference,
  type ServiceRequirement,
  StateReason,
  StreamFailure,
} from '../tls-ext/index.ts';
import type { PskRequired, TlsConnection } from './data-path/index.ts';
import { errorText, ProxyErrorCode } from './errors.ts';
import { AnswererLink } from './key-service/answerer-link.ts';
import type { ChannelEnd } from './key-service/channel-dialler.ts';
import { DrawerLink } from './key-service/drawer-link.ts';
import { type EventLog, RepeatLimiter } from './log.ts';
import type { FallbackReason } from './policy.ts';
import type { ClientKeys, KeyOffer, ServerKeyAnswer } from './tunnel/settings.ts';

export type { KmeTls };

/** A key manager, as configured. */
export interface KmeSettings {
  /** `etsi004://HOST:PORT[?dialect=qubip]`. */
  readonly url: string;
  /** Absent: plain TCP, and every key can be read on the wire. */
  readonly tls?: KmeTls;
  readonly ksid?: 'allocated' | 'chosen';
  readonly openAs?: 'same' | 'swapped';
  readonly qos?: Etsi004QosSettings;
}

/** What both sides share. */
export interface KeyServiceSettings {
  readonly ownSae: string;
  readonly kme: KmeSettings;
  /** Names this process to its peers: 16 random bytes. */
  readonly instance: Uint8Array;
  readonly services: readonly ServiceRequirement[];
  readonly log: EventLog;
  /** Longest life of a key that nobody used. */
  readonly keyTtlMs: number;
  readonly clock?: Clock;
}

export interface DrawerSettings extends KeyServiceSettings {
  /** Whether keys that a simulator made may be used on this path. */
  readonly simulatedAllowed: boolean;
  /** Keys kept agreed ahead of need. */
  readonly keysAhead: number;
}

/** Most keys outstanding with one peer. */
const QUOTA = 4_096;

/**
 * Makes the client of a key manager. Nothing is sent before the first key is wanted.
 *
 * @throws KdiError `ERR_KDI_URL`, `ERR_KDI_CONFIG` or `ERR_KDI_UNSUPPORTED`.
 */
export function createKeySource(kme: KmeSettings, ownSae: string): KeySource {
  const address = parseKmeUrl(kme.url);
  return new Etsi004Source({
    address,
    saeId: ownSae,
    ...(kme.tls === undefined ? { unsafePlainTcp: true } : { tls: kme.tls }),
    ...(kme.ksid === undefined ? {} : { ksid: kme.ksid }),
    ...(kme.openAs === undefined ? {} : { openAs: kme.openAs }),
    ...(kme.qos === undefined ? {} : { qos: kme.qos }),
  });
}

// The drawer: keys for client services.

interface DrawerOfPeer {
  readonly peerSae: string;
  readonly source: KeySource;
  readonly pool: DrawerPool;
  readonly link: DrawerLink;
}

/**
 * Keys of one channel: (own SAE, peer SAE, address). Which of the admitted
 * peers is at that address is known once one has authenticated itself there.
 */
export class DrawerKeyService implements ClientKeys, ChannelEnd {
  readonly #settings: DrawerSettings;
  readonly #peers = new Map<string, DrawerOfPeer>();
  readonly #repeats = new RepeatLimiter({ perWindow: 1 });
  #current: DrawerOfPeer | undefined;
  #onPeer: (() => void)[] = [];
  #lastReason: FallbackReason | undefined;
  #kmeState: 'reachable' | 'unreachable' | undefined;

  constructor(settings: DrawerSettings) {
    this.#settings = settings;
  }

  take(): KeyOffer {
    const peer = this.#current;
    return peer === undefined ? { reason: 'channel_down' } : this.#offer(peer, peer.pool.take());
  }

  async takeWithin(timeoutMs: number, signal: AbortSignal): Promise<KeyOffer> {
    const deadlineMs = performance.now() + timeoutMs;
    if (this.#current === undefined) await this.#firstPeer(timeoutMs, signal);
    const peer = this.#current;
    if (peer === undefined) return { reason: 'channel_down' };
    const leftMs = Math.max(0, deadlineMs - performance.now());
    return this.#offer(peer, await peer.pool.takeWithin(leftMs, { signal }));
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
    const { ownSae, kme, instance, services, clock = systemClock, keysAhead, keyTtlMs } = this.#settings;
    const source = createKeySource(kme, ownSae);
    const link = new DrawerLink({
      machine: new KeyChannelDrawer({ ownSae, peerSae, instance, quota: QUOTA, kmeName: source.kme, services }),
      nowMs: () => clock.now(),
      referenceText,
      keyTtlMs,
      onMismatch: (report) => logMismatch(this.#settings, peerSae, report),
      onQuarantine: (quarantined, ownKme) => this.#logKme(ownKme, quarantined ? 'quarantined' : 'reachable'),
      onPeerState: () => {},
    });
    const pool = new DrawerPool({
      source,
      peerSaeId: peerSae,
      clock,
      random: Math.random,
      highWatermark: keysAhead,
      maxOutstanding: QUOTA,
      keyTtlMs,
      hooks: {
        announceStream: ({ ksid, qos }) => link.announceStream(ksid, qos),
        announceKeys: (keys) => link.announceKeys(keys),
        dropKeys: (references) => link.dropKeys(references),
        closeStream: (ksid) => link.closeStream(ksid),
        onEvent: (event) => this.#onPoolEvent(peer, event),
      },
    });
    const peer: DrawerOfPeer = { peerSae, source, pool, link };
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
    if (lease.metadata.simulated === true && !this.#settings.simulatedAllowed) {
      lease.secret.wipe();
      lease.discard();
      return this.#noKey(peer, 'policy', {
        code: ProxyErrorCode.simulatedKeys,
        error: 'the keys come from a simulator, and the peer is not on loopback; see unsafe-allow-simulated',
      });
    }
    this.#lastReason = undefined;
    const { ownSae } = this.#settings;
    return {
      lease: {
        psk: {
          kind: 'qkd',
          reference: lease.reference,
          context: { purpose: 'handshake', drawer: ownSae, answerer: peer.peerSae },
          secret: lease.secret,
        },
        keyId: referenceText(lease.reference),
        commit: () => {
          if (lease.commit()) peer.link.keyUsed(lease.reference);
        },
        release: (why) => {
          if (why === 'unavailable') lease.discard();
          else lease.release();
        },
      },
    };
  }

  #noKey(peer: DrawerOfPeer, reason: NoOfferReason, problem?: { code: string; error: string }): KeyOffer {
    if (this.#lastReason !== reason) {
      this.#lastReason = reason;
      const { ownSae: sae, log } = this.#settings;
      const { lastErrorCode: code } = peer.pool.status();
      log.warn({
        event: 'keys-unavailable',
        sae,
        peer: peer.peerSae,
        reason,
        ...(problem ?? (code === undefined ? {} : { code })),
      });
    }
    return { reason };
  }

  #onPoolEvent(peer: DrawerOfPeer, event: DrawerPoolEvent): void {
    switch (event.type) {
      case 'keys-ready':
        this.#kmeState = 'reachable';
        this.#logReady(peer, event.ready);
        this.#tellState(peer);
        return;
      case 'stream-opened':
        this.#logKme(event.kme, 'reachable');
        return;
      case 'failure':
        if (peer.pool.status().reason === 'kme_unreachable') this.#logKme(event.kme, 'unreachable', event.error);
        this.#tellState(peer);
        return;
      case 'stream-ended':
      case 'mismatch':
      case 'dropped':
        this.#tellState(peer);
        return;
    }
  }

  /** Once for each time that keys come after there were none; others at level debug. */
  #logReady(peer: DrawerOfPeer, count: number): void {
    const { ownSae: sae, log } = this.#settings;
    const event = { event: 'keys-ready', sae, peer: peer.peerSae, role: 'drawer', count } as const;
    if (count === 1 || this.#lastReason !== undefined) log.info(event);
    else log.debug(event);
    this.#lastReason = undefined;
  }

  #logKme(kme: string, state: 'reachable' | 'unreachable' | 'quarantined', error?: KdiError): void {
    if (state !== 'quarantined' && this.#kmeState === state) return;
    if (state !== 'quarantined') this.#kmeState = state;
    if (state !== 'reachable' && this.#repeats.pass(state) === undefined) return;
    const { ownSae: sae, log } = this.#settings;
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

  #tellState(peer: DrawerOfPeer): void {
    const { ready, reason, kme } = peer.pool.status();
    peer.link.setState({
      kmeReachable: reason !== 'kme_unreachable',
      kmeName: kme,
      poolKeys: ready,
      reasons: reason === undefined ? [] : stateReasons(reason),
    });
  }
}

/** A service without a key manager offers no key, and says that this is its own choice. */
export const noClientKeys: ClientKeys = {
  take: () => ({ reason: 'policy' }),
  takeWithin: async () => ({ reason: 'policy' }),
};

// The answerer: keys for server services.

interface AnswererOfPeer {
  readonly link: AnswererLink;
  readonly answerer: Answerer;
}

/** What a server service asks of a key beyond its being there. */
export interface AnswererRules {
  readonly peerSae: readonly string[];
  readonly simulatedAllowed: (remoteAddress: string) => boolean;
}

/** Keys that peers announced to one of our SAEs. All server services of that SAE share it. */
export class AnswererKeyService {
  readonly #settings: KeyServiceSettings;
  readonly #store: AnswererStore;
  readonly #source: KeySource;
  readonly #peers = new Map<string, AnswererOfPeer>();
  readonly #hadKeys = new Set<string>();
  #kmeReachable = true;

  constructor(settings: KeyServiceSettings) {
    this.#settings = settings;
    this.#store = new AnswererStore({
      clock: settings.clock ?? systemClock,
      maxKeysPerDrawer: QUOTA,
      keyTtlMs: settings.keyTtlMs,
    });
    this.#source = createKeySource(settings.kme, settings.ownSae);
  }

  /** Takes over a key channel's connection from the peer that was authenticated on it. */
  accept(connection: TlsConnection, peerSae: string): { ended(): void } {
    const peer = this.#peers.get(peerSae) ?? this.#addPeer(peerSae);
    return peer.link.accept(connection);
  }

  /** Answers a ClientHello. Touches nothing but memory. */
  lookUp(event: PskRequired, rules: AnswererRules, remoteAddress: string): ServerKeyAnswer {
    const { ownSae } = this.#settings;
    if (event.offered.length === 0) return { why: 'not-offered', reason: reasonOfOffer(event) };
    // A PSK never weakens authentication: without extension 33 it would take the certificate's place.
    if (!event.certWithExternPsk) return { why: 'policy', reason: 'policy' };
    for (const { reference } of event.offered) {
      if (reference === undefined) continue;
      // Ourselves as drawer is a reflection of what we said (Selfie).
      if (reference.drawer === ownSae || !rules.peerSae.includes(reference.drawer)) {
        return { why: 'policy', reason: 'policy' };
      }
      const found = this.#store.find(reference);
      if (found === undefined) continue;
      if (found.metadata.simulated === true && !rules.simulatedAllowed(remoteAddress)) {
        found.secret.wipe();
        return { why: 'policy', reason: 'policy' };
      }
      const context = { purpose: 'handshake', drawer: reference.drawer, answerer: ownSae } as const;
      return {
        decision: { action: 'use', psk: { kind: 'qkd', reference, context, secret: found.secret } },
        reference,
        keyId: referenceText(reference),
        burn: () => this.#burn(reference),
      };
    }
    return { why: 'unavailable', reason: 'reference_unavailable' };
  }

  async close(): Promise<void> {
    for (const { link } of this.#peers.values()) link.stop();
    await Promise.all([...this.#peers.values()].map(({ answerer }) => answerer.close()));
    await this.#source.close();
    this.#store.close();
  }

  #burn(reference: QkdKeyReference): boolean {
    if (!this.#store.burn(reference)) return false;
    this.#peers.get(reference.drawer)?.link.keyBurnt(reference);
    return true;
  }

  #addPeer(peerSae: string): AnswererOfPeer {
    const { ownSae, instance, services, clock = systemClock } = this.#settings;
    const link = new AnswererLink({
      machine: new KeyChannelAnswerer({ ownSae, peerSae, instance, quota: QUOTA, kmeName: this.#source.kme }),
      nowMs: () => clock.now(),
      services,
      onMismatch: (report) => logMismatch(this.#settings, peerSae, report),
      onPeerState: () => {},
      onKeys: () => this.#keysChanged(peerSae),
    });
    const chunkSizes = new Map<string, number>();
    const answerer = new Answerer({
      source: this.#source,
      drawerSaeId: peerSae,
      store: this.#store,
      clock,
      random: Math.random,
      maxStreams: 16,
      hooks: {
        streamOpened: (ksid) => {
          this.#setKme(true);
          link.streamOpened(ksid, chunkSizes.get(hex(ksid)) ?? 0);
        },
        streamFailed: (ksid, error) => {
          this.#setKme(!isUnreachable(error), error);
          link.streamFailed(ksid, streamFailureOf(error));
        },
        keyFetched: (reference, secret) => {
          this.#setKme(true);
          return link.keyFetched(reference, secret);
        },
        keyUnavailable: (reference, error, final) => {
          this.#setKme(!isUnreachable(error), error);
          if (final) link.keyNotFound(reference);
          else link.keyPending(reference);
        },
      },
    });
    link.attachFetcher({
      announceStream: (ksid, qos) => {
        chunkSizes.set(hex(ksid), qos.keyChunkSizeBytes);
        answerer.announceStream({ ksid, qos });
      },
      closeStream: (ksid) => {
        chunkSizes.delete(hex(ksid));
        answerer.closeStream(ksid);
      },
      announceKeys: (references) => answerer.announceKeys(references),
      dropKeys: (references) => answerer.dropKeys(references),
    });
    const peer = { link, answerer };
    this.#peers.set(peerSae, peer);
    link.setState(this.#stateFor(peerSae));
    return peer;
  }

  #keysChanged(peerSae: string): void {
    const count = this.#store.countOf(peerSae);
    const { ownSae: sae, log } = this.#settings;
    if (count === 0) this.#hadKeys.delete(peerSae);
    else if (!this.#hadKeys.has(peerSae)) {
      this.#hadKeys.add(peerSae);
      log.info({ event: 'keys-ready', sae, peer: peerSae, role: 'answerer', count });
    }
  }

  #setKme(reachable: boolean, error?: KdiError): void {
    if (this.#kmeReachable === reachable) return;
    this.#kmeReachable = reachable;
    const { ownSae: sae, log } = this.#settings;
    const kme = this.#source.kme;
    if (reachable) log.info({ event: 'kme', kme, sae, state: 'reachable' });
    else
      log.warn({
        event: 'kme',
        kme,
        sae,
        state: 'unreachable',
        ...(error && { code: error.code, error: errorText(error) }),
      });
    for (const [sae, { link }] of this.#peers) link.setState(this.#stateFor(sae));
  }

  #stateFor(peerSae: string): KeyChannelState {
    return {
      kmeReachable: this.#kmeReachable,
      kmeName: this.#source.kme,
      poolKeys: this.#store.countOf(peerSae),
      reasons: this.#kmeReachable ? [] : [StateReason.kmeUnreachable],
    };
  }
}

/** The answer of a server service without a key manager. */
export function lookUpWithoutKme(event: PskRequired): ServerKeyAnswer {
  return event.offered.length === 0
    ? { why: 'not-offered', reason: reasonOfOffer(event) }
    : { why: 'policy', reason: 'policy' };
}

function reasonOfOffer({ qkdOffer }: PskRequired): FallbackReason {
  if (qkdOffer === undefined) return 'peer_without_qkd';
  return qkdOffer.offer === 'none' ? qkdOffer.reason : 'reference_unavailable';
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

function stateReasons(reason: string): KeyChannelState['reasons'] {
  switch (reason) {
    case 'kme_unreachable':
      return [StateReason.kmeUnreachable];
    case 'stream_opening':
      return [StateReason.streamOpening];
    case 'pool_empty':
      return [StateReason.noKey];
    case 'key_mismatch':
      return [StateReason.keyMismatch];
    case 'budget':
      return [StateReason.budget];
    default:
      return [];
  }
}

function streamFailureOf(error: KdiError): StreamFailure {
  switch (error.code) {
    case KdiErrorCode.noQkdConnection:
      return StreamFailure.noQkdConnection;
    case KdiErrorCode.ksidInUse:
      return StreamFailure.ksidInUse;
    case KdiErrorCode.qosNotMet:
      return StreamFailure.qosNotMet;
    default:
      return isUnreachable(error) ? StreamFailure.kmeUnreachable : StreamFailure.other;
  }
}

function isUnreachable(error: KdiError): boolean {
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

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');
}
