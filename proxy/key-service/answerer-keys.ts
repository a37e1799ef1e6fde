/**
 * Keys for server services: what peers announced to one of our SAEs, fetched
 * ahead and kept until a handshake burns it. Knows key managers, and of TLS
 * only the shape of a PSK.
 */
import {
  Answerer,
  AnswererStore,
  type AnswererStoreStatus,
  type Clock,
  type FoundKey,
  type KdiError,
  KdiErrorCode,
  type KeySource,
  type QkdKeyReference,
  referenceText,
  type SpentLedger,
} from '../../kdi-client/index.ts';
import type { PskRequired, TlsConnection } from '../data-path/index.ts';
import { errorText } from '../errors.ts';
import { type EventLog, RepeatLimiter } from '../log.ts';
import type { RekeyKey, ServerKeyAnswer, ServiceRequirement } from '../tunnel/settings.ts';
import type { AnswererLink } from './answerer-link.ts';
import { healthOf, isUnreachable } from './kme.ts';
import { type ProvenanceRules, provenanceProblem } from './provenance.ts';
import { randomFraction } from './random-fraction.ts';

export interface AnswererKeysOptions {
  readonly ownSae: string;
  readonly log: EventLog;
  readonly clock: Clock;
  readonly keyTtlMs: number;
  /** Most keys outstanding with one peer. */
  readonly quota: number;
  readonly source: KeySource;
  readonly ledger: SpentLedger;
  createLink(peerSae: string, onKeys: () => void): AnswererLink;
}

interface AnswererOfPeer {
  readonly link: AnswererLink;
  readonly answerer: Answerer;
}

/** What a server service asks of a key beyond its being there. */
export interface AnswererRules {
  readonly service: string;
  readonly peerSae: readonly string[];
  readonly provenance: (remoteAddress: string) => ProvenanceRules;
}

/** Plain numbers, for status and metrics. */
export interface AnswererKeysStatus {
  readonly sae: string;
  readonly kme: string;
  readonly kmeReachable: boolean;
  readonly store: AnswererStoreStatus;
  /** Announced keys that our key manager has not given yet, by peer. */
  readonly pendingByPeer: Readonly<Record<string, number>>;
}

/** Keys that peers announced to one of our SAEs. All server services of that SAE share it. */
export class AnswererKeys {
  readonly #options: AnswererKeysOptions;
  readonly #store: AnswererStore;
  readonly #source: KeySource;
  readonly #peers = new Map<string, AnswererOfPeer>();
  readonly #hadKeys = new Set<string>();
  readonly #repeats = new RepeatLimiter({ perWindow: 1 });
  #kmeReachable = true;
  /** It answered, and opened no stream, since it last did. */
  #refuses = false;

  constructor(options: AnswererKeysOptions) {
    const { clock, quota, keyTtlMs, source, ledger } = options;
    this.#options = options;
    this.#source = source;
    this.#store = new AnswererStore({ clock, maxKeysPerDrawer: quota, keyTtlMs, ledger });
  }

  /** Takes over a key channel's connection from the peer that was authenticated on it. */
  accept(connection: TlsConnection, peerSae: string, service: ServiceRequirement): { ended(): void } {
    const peer = this.#peers.get(peerSae) ?? this.#addPeer(peerSae);
    return peer.link.accept(connection, service);
  }

  /** Answers a ClientHello. Touches nothing but memory. */
  lookUp(event: PskRequired, rules: AnswererRules, remoteAddress: string): ServerKeyAnswer {
    const { ownSae } = this.#options;
    if (event.offered.length === 0) return withNothingToLookAt(event);
    // A PSK never weakens authentication: without extension 33 it would take the certificate's place.
    if (!event.certWithExternPsk) return { why: 'policy', reason: 'policy' };
    for (const { reference } of event.offered) {
      if (reference === undefined) continue;
      // Ourselves as drawer is a reflection of what we said (Selfie); of others than our peers we have no key.
      if (reference.drawer === ownSae || !rules.peerSae.includes(reference.drawer)) continue;
      const found = this.#store.find(reference);
      if (found === undefined) continue;
      if (!this.#mayBeUsed(found, rules, remoteAddress)) return { why: 'policy', reason: 'policy' };
      const context = { purpose: 'handshake', drawer: reference.drawer, answerer: ownSae } as const;
      return {
        decision: { action: 'use', psk: { kind: 'qkd', reference, context, secret: found.secret } },
        reference,
        keyId: referenceText(reference),
        provenance: found.provenance,
        burn: () => this.#burn(reference),
      };
    }
    return { why: 'unavailable', reason: 'reference_unavailable' };
  }

  /**
   * Takes the key that an authenticated peer names for a rekey. The request is its single use, whatever comes of it:
   * nothing else can use it while the rekey goes on. Touches nothing but memory.
   */
  lookUpForRekey(
    reference: QkdKeyReference,
    peerSae: string,
    rules: AnswererRules,
    remoteAddress: string,
  ): RekeyKey | undefined {
    // Only the peer's own keys: of another one it could have copied the reference.
    if (reference.drawer !== peerSae) return undefined;
    const found = this.#store.find(reference);
    if (found === undefined) return undefined;
    if (!this.#mayBeUsed(found, rules, remoteAddress)) return undefined;
    this.#burn(reference);
    const context = { purpose: 'rekey', drawer: peerSae, answerer: this.#options.ownSae } as const;
    return {
      psk: { kind: 'qkd', reference, context, secret: found.secret },
      keyId: referenceText(reference),
      provenance: found.provenance,
    };
  }

  status(): AnswererKeysStatus {
    return {
      sae: this.#options.ownSae,
      kme: this.#source.kme,
      kmeReachable: this.#kmeReachable,
      store: this.#store.status(),
      pendingByPeer: Object.fromEntries([...this.#peers].map(([peer, { answerer }]) => [peer, answerer.pending])),
    };
  }

  get source(): KeySource {
    return this.#source;
  }

  async close(): Promise<void> {
    for (const { link } of this.#peers.values()) link.stop();
    await Promise.all([...this.#peers.values()].map(({ answerer }) => answerer.close()));
    await this.#source.close();
    this.#store.close();
  }

  /** Judges a key by what our own key manager said of it; one that may not be used is wiped. */
  #mayBeUsed({ reference, provenance, secret }: FoundKey, rules: AnswererRules, remoteAddress: string): boolean {
    const problem = provenanceProblem(rules.provenance(remoteAddress), provenance);
    if (problem === undefined) return true;
    secret.wipe();
    if (this.#repeats.pass(`${rules.service} ${problem.code}`) !== undefined) {
      const { ownSae: sae, log } = this.#options;
      const { drawer: peer } = reference;
      const { service } = rules;
      log.warn({ event: 'keys-unavailable', service, sae, peer, address: remoteAddress, reason: 'policy', ...problem });
    }
    return false;
  }

  #burn(reference: QkdKeyReference): boolean {
    if (!this.#store.burn(reference)) return false;
    this.#peers.get(reference.drawer)?.link.keyBurnt(reference);
    return true;
  }

  #addPeer(peerSae: string): AnswererOfPeer {
    const { clock } = this.#options;
    const link = this.#options.createLink(peerSae, () => this.#keysChanged(peerSae));
    const answerer = new Answerer({
      source: this.#source,
      drawerSaeId: peerSae,
      store: this.#store,
      clock,
      random: randomFraction,
      maxStreams: 16,
      hooks: {
        streamOpened: (ksid, keyChunkSizeBytes) => {
          this.#opensStreams();
          this.#setKme(true);
          link.streamOpened(ksid, keyChunkSizeBytes);
        },
        streamFailed: (ksid, error) => {
          if (healthOf(error) === undefined) this.#refusesStream(peerSae, error);
          this.#setKme(healthOf(error), error);
          link.streamFailed(ksid, error.code, isUnreachable(error));
        },
        streamLost: (ksid, error) => {
          this.#setKme(healthOf(error), error);
          link.streamLost(ksid);
        },
        keyFetched: (reference, secret) => {
          this.#setKme(true);
          return link.keyFetched(reference, secret);
        },
        keyUnavailable: (reference, error, final) => {
          this.#setKme(healthOf(error), error);
          if (!final) {
            link.keyPending(reference);
            return;
          }
          link.keyNotFound(reference);
          if (error.code === KdiErrorCode.keyNotFound) this.#logNotFound(reference, peerSae, error);
        },
        kmeUnfit: (error) => this.#setKme(false, error),
      },
    });
    link.attachFetcher({
      announceStream: (ksid, qos) => answerer.announceStream({ ksid, qos }),
      closeStream: (ksid) => answerer.closeStream(ksid),
      announceKeys: (references) => answerer.announceKeys(references),
      dropKeys: (references) => answerer.dropKeys(references),
      lookUpsUnderWay: () => answerer.lookUpsUnderWay,
    });
    const peer = { link, answerer };
    this.#peers.set(peerSae, peer);
    this.#tellState(peerSae, link);
    return peer;
  }

  #keysChanged(peerSae: string): void {
    const count = this.#store.countOf(peerSae);
    const { ownSae: sae, log } = this.#options;
    if (count === 0) this.#hadKeys.delete(peerSae);
    else if (!this.#hadKeys.has(peerSae)) {
      this.#hadKeys.add(peerSae);
      log.info({ event: 'keys-ready', sae, peer: peerSae, role: 'answerer', count });
    }
  }

  #logNotFound(reference: QkdKeyReference, peer: string, error: KdiError): void {
    const { code } = error;
    const passed = this.#repeats.pass(`${peer} ${code}`);
    if (passed === undefined) return;
    const { ownSae: sae, log } = this.#options;
    log.warn({
      ...{ event: 'key-not-found', sae, peer, role: 'answerer', keyId: referenceText(reference) },
      ...{ kme: this.#source.kme, code, error: errorText(error) },
      message:
        "our key manager does not have a key that the peer's gave out; if it lasts, the two are not the ends of one link",
      ...(passed.suppressed === 0 ? {} : passed),
    });
  }

  #refusesStream(peer: string, error: KdiError): void {
    const { code } = error;
    this.#refuses = true;
    if (this.#repeats.pass(`refuses ${peer} ${code}`) === undefined) return;
    const { ownSae: sae, log } = this.#options;
    log.warn({ event: 'kme', kme: this.#source.kme, sae, state: 'refuses', code, error: errorText(error) });
  }

  #opensStreams(): void {
    if (!this.#refuses) return;
    this.#refuses = false;
    const { ownSae: sae, log } = this.#options;
    log.info({ event: 'kme', kme: this.#source.kme, sae, state: 'reachable' });
  }

  #setKme(reachable: boolean | undefined, error?: KdiError): void {
    if (reachable === undefined || this.#kmeReachable === reachable) return;
    this.#kmeReachable = reachable;
    const { ownSae: sae, log } = this.#options;
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
    for (const [sae, { link }] of this.#peers) this.#tellState(sae, link);
  }

  #tellState(peerSae: string, link: AnswererLink): void {
    link.tellState({
      kmeName: this.#source.kme,
      kmeReachable: this.#kmeReachable,
      poolKeys: this.#store.countOf(peerSae),
    });
  }
}

/** The answer of a server service without a key manager. */
export function lookUpWithoutKme(event: PskRequired): ServerKeyAnswer {
  return event.offered.length === 0 ? withNothingToLookAt(event) : { why: 'policy', reason: 'policy' };
}

/**
 * Where the engine found no identity to look at. Beside extension 33 a key was not the one that its reference names
 * here (another context or hash); without it, it is ignored. What was meant for a ticket is none of ours.
 */
function withNothingToLookAt({ qkdOffer, certWithExternPsk }: PskRequired): ServerKeyAnswer {
  switch (qkdOffer?.offer) {
    case undefined:
      return { why: 'not-offered', reason: 'peer_without_qkd' };
    case 'none':
      return { why: 'not-offered', reason: qkdOffer.reason };
    case 'ticket':
      return { why: 'unavailable', reason: 'ticket_refused' };
    case 'key':
      return certWithExternPsk
        ? { why: 'unavailable', reason: 'reference_unavailable' }
        : { why: 'policy', reason: 'policy' };
  }
}
