import { SecretBytes } from '../../tls-ext/bytes/index.ts';
import type { Clock } from '../kernel/clock.ts';
import type { KeyProvenance, SharedKey } from '../stores/index.ts';
import type { IdentifiedApi, KeyPurpose } from './key-purpose.ts';
import type { KmePeer, PeerDirectory } from './peer-directory.ts';

/** A key as it goes to an application, which owns and wipes `key`. */
export interface IdentifiedKey {
  readonly keyId: string;
  readonly key: SecretBytes;
  readonly ageMs: number;
  readonly provenance: KeyProvenance;
}

export interface DrawRequest {
  readonly api: IdentifiedApi;
  readonly masterSaeId: string;
  /** At least one; those that are not served here have to be served by one and the same peer. */
  readonly slaveSaeIds: readonly string[];
  readonly count: number;
  readonly lengthBytes: number;
}

export type DrawResult =
  | { readonly outcome: 'drawn'; readonly keys: readonly IdentifiedKey[] }
  | { readonly outcome: 'insufficient' | 'unavailable' };

export type FetchResult =
  | { readonly outcome: 'found'; readonly keys: readonly IdentifiedKey[] }
  /** `unauthorized`: the caller was not named when the key was drawn. */
  | { readonly outcome: 'not-found' | 'unauthorized' };

export interface IdentifiedKeysOptions {
  readonly directory: PeerDirectory;
  readonly clock: Clock;
  /** Unfetched keys are wiped after it. */
  readonly keyTtlMs: number;
  /** Keys that may wait here to be fetched. */
  readonly maxWaitingKeys: number;
  readonly newKeyId: (api: IdentifiedApi) => string;
  /** Field quirk: a key can be fetched only this long after it was drawn. */
  readonly deliveryDelayMs: number;
  /** Field quirk: what a slave has not fetched of earlier draws is gone with the next one. */
  readonly dropsUnfetched: boolean;
}

export type IdentifiedPurpose = Extract<KeyPurpose, { api: IdentifiedApi }>;

interface Waiting {
  readonly shared: SharedKey;
  readonly purpose: IdentifiedPurpose;
  readonly fetchableAtMs: number;
  /** Slaves served here that have not fetched it yet. */
  readonly remaining: Set<string>;
  readonly cancelExpiry: () => void;
}

/** Keys with IDs of their own: drawn by the master's key manager, waiting at the slaves' until each has fetched them. */
export class IdentifiedKeys {
  readonly #options: IdentifiedKeysOptions;
  readonly #waiting = new Map<string, Waiting>();

  constructor(options: IdentifiedKeysOptions) {
    this.#options = options;
  }

  /** Draws keys for a master and its slaves: all of them or none. */
  async draw(request: DrawRequest): Promise<DrawResult> {
    const { api, masterSaeId, slaveSaeIds, count, lengthBytes } = request;
    const peer = this.#commonPeer(slaveSaeIds);
    if (peer === undefined) return { outcome: 'unavailable' };
    const keyIds = Array.from({ length: count }, () => this.#options.newKeyId(api));
    const purpose: IdentifiedPurpose = { api, keyIds, masterSaeId, slaveSaeIds };
    const reservation = await peer.supply.reserve(purpose, count * lengthBytes);
    if (reservation.outcome !== 'reserved') {
      return { outcome: reservation.outcome === 'insufficient' ? 'insufficient' : 'unavailable' };
    }
    const { shared } = reservation;
    if (slaveSaeIds.some((saeId) => this.#options.directory.isLocal(saeId))) {
      this.receive(purpose, { ...shared, key: shared.key.clone() });
    }
    const keys = split(shared, keyIds).map(([keyId, part]) => this.#handOut(keyId, part));
    shared.key.wipe();
    return { outcome: 'drawn', keys };
  }

  /** Whether `slaveSaeIds` can be served together: the one peer that serves all who are not served here. */
  canReach(slaveSaeIds: readonly string[]): boolean {
    return this.#commonPeer(slaveSaeIds) !== undefined;
  }

  /** Gives a slave the keys that a master drew for it: all of them or none, each once. */
  fetch(api: IdentifiedApi, slaveSaeId: string, masterSaeId: string, keyIds: readonly string[]): FetchResult {
    const found: [string, Waiting][] = [];
    for (const keyId of new Set(keyIds)) {
      const waiting = this.#waiting.get(slot(api, keyId));
      if (waiting === undefined || waiting.purpose.masterSaeId !== masterSaeId) return { outcome: 'not-found' };
      if (!waiting.purpose.slaveSaeIds.includes(slaveSaeId)) return { outcome: 'unauthorized' };
      if (!waiting.remaining.has(slaveSaeId) || waiting.fetchableAtMs > this.#options.clock.nowMs()) {
        return { outcome: 'not-found' };
      }
      found.push([keyId, waiting]);
    }
    const keys = found.map(([keyId, waiting]) => {
      const key = this.#handOut(keyId, { ...waiting.shared, key: waiting.shared.key.clone() });
      waiting.remaining.delete(slaveSaeId);
      if (waiting.remaining.size === 0) this.#drop(slot(api, keyId));
      return key;
    });
    return { outcome: 'found', keys };
  }

  /** Whether key that a peer reserves has a place here. */
  admits(purpose: IdentifiedPurpose): boolean {
    return (
      purpose.slaveSaeIds.some((saeId) => this.#options.directory.isLocal(saeId)) &&
      this.#waiting.size + purpose.keyIds.length <= this.#options.maxWaitingKeys &&
      purpose.keyIds.every((keyId) => !this.#waiting.has(slot(purpose.api, keyId)))
    );
  }

  /** Takes keys that wait here for the slaves served here. */
  receive(purpose: IdentifiedPurpose, shared: SharedKey): void {
    const { clock, directory, keyTtlMs, deliveryDelayMs } = this.#options;
    if (this.#options.dropsUnfetched) this.#dropEarlier(purpose);
    for (const [keyId, part] of split(shared, purpose.keyIds)) {
      const id = slot(purpose.api, keyId);
      this.#waiting.set(id, {
        shared: part,
        purpose,
        fetchableAtMs: clock.nowMs() + deliveryDelayMs,
        remaining: new Set(purpose.slaveSaeIds.filter((saeId) => directory.isLocal(saeId))),
        cancelExpiry: clock.setTimer(keyTtlMs, () => this.#drop(id)),
      });
    }
    shared.key.wipe();
  }

  /** Wipes all that waits. */
  forget(): void {
    for (const id of [...this.#waiting.keys()]) this.#drop(id);
  }

  #handOut(keyId: string, shared: SharedKey): IdentifiedKey {
    const ageMs = Math.max(0, Math.round(this.#options.clock.nowMs() - shared.depositedAtMs));
    return { keyId, key: shared.key, ageMs, provenance: shared.provenance };
  }

  #commonPeer(slaveSaeIds: readonly string[]): KmePeer | undefined {
    const { directory } = this.#options;
    const remote = slaveSaeIds.filter((saeId) => !directory.isLocal(saeId));
    const peers = new Set(remote.map((saeId) => directory.peerOfSae(saeId)));
    const [only] = peers;
    return peers.size === 1 ? only : undefined;
  }

  #dropEarlier({ api, masterSaeId, slaveSaeIds }: IdentifiedPurpose): void {
    for (const [id, { purpose }] of this.#waiting) {
      const sameSlaves = purpose.slaveSaeIds.some((saeId) => slaveSaeIds.includes(saeId));
      if (purpose.api === api && purpose.masterSaeId === masterSaeId && sameSlaves) this.#drop(id);
    }
  }

  #drop(id: string): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    waiting.cancelExpiry();
    waiting.shared.key.wipe();
    this.#waiting.delete(id);
  }
}

function slot(api: IdentifiedApi, keyId: string): string {
  return `${api}/${keyId}`;
}

/** Cuts reserved bytes into equal keys, copies with a life of their own. */
function split(shared: SharedKey, keyIds: readonly string[]): [string, SharedKey][] {
  const bytes = shared.key.expose();
  const lengthBytes = bytes.length / keyIds.length;
  return keyIds.map((keyId, i) => [
    keyId,
    { ...shared, key: SecretBytes.copyOf(bytes.subarray(i * lengthBytes, (i + 1) * lengthBytes)) },
  ]);
}
