/**
 * Keys for the client services of one SAE with the same key managers: draws
 * them, and keeps those of each process of each peer apart.
 */
import {
  type Clock,
  type DrawerPoolEvent,
  type DrawerPoolStatus,
  type KdiError,
  KdiErrorCode,
  type KeySource,
  type SpentLedger,
} from '../../kdi-client/index.ts';
import { hexOf } from '../../tls-ext/bytes/index.ts';
import { errorText } from '../errors.ts';
import { type EventLog, RepeatLimiter } from '../log.ts';
import type { DrawerLink } from './drawer-link.ts';
import { isUnreachable } from './kme.ts';
import { type PeerChannel, PeerKeys, type PeerKeysStatus } from './peer-keys.ts';

export interface DrawerSupplyOptions {
  readonly ownSae: string;
  readonly log: EventLog;
  readonly clock: Clock;
  /** Longest life of a key that nobody used. */
  readonly keyTtlMs: number;
  /** Most keys outstanding with one process of a peer. */
  readonly quota: number;
  readonly source: KeySource;
  readonly ledger: SpentLedger;
  createLink(peerSae: string): DrawerLink;
}

type KmeState = 'reachable' | 'unreachable' | 'refuses';

export class DrawerSupply {
  readonly #options: DrawerSupplyOptions;
  /** By peer and instance. */
  readonly #peers = new Map<string, PeerKeys>();
  /** Where each channel led last. */
  readonly #ids = new Map<PeerChannel, string>();
  readonly #closing = new Set<Promise<void>>();
  readonly #repeats = new RepeatLimiter({ perWindow: 1 });
  /** What the log heard of it last. */
  #kmeState: string | undefined;

  constructor(options: DrawerSupplyOptions) {
    this.#options = options;
  }

  /** The keys of the process `instance` of a peer, which `channel` has reached; those of the one that it led to before are left. */
  keysOf(channel: PeerChannel, peerSae: string, instance: Uint8Array): PeerKeys {
    const id = `${peerSae} ${hexOf(instance)}`;
    const beforeId = this.#ids.get(channel);
    this.#ids.set(channel, id);
    const before = beforeId === undefined ? undefined : this.#peers.get(beforeId);
    let keys = this.#peers.get(id);
    if (keys !== undefined && keys === before) return keys;
    before?.left(channel);
    if (before !== undefined && beforeId !== undefined && before.unreachable) {
      this.#peers.delete(beforeId);
      // The peer's process is a new one: pauses, demand and whoever waits for a key go over to it, its keys do not.
      if (keys === undefined && before.peerSae === peerSae) keys = before;
      else this.#close(before);
    }
    keys ??= this.#newPeer(peerSae);
    this.#peers.set(id, keys);
    return keys;
  }

  status(): readonly PeerKeysStatus[] {
    return [...this.#peers.values()].map((keys) => keys.status());
  }

  get source(): KeySource {
    return this.#options.source;
  }

  /** Wipes every key and closes the streams at the key managers. */
  async close(): Promise<void> {
    await Promise.all([...[...this.#peers.values()].map((keys) => keys.close()), ...this.#closing]);
    await this.#options.source.close();
  }

  #newPeer(peerSae: string): PeerKeys {
    const { source, clock, keyTtlMs, quota, ledger } = this.#options;
    return new PeerKeys({
      peerSae,
      source,
      clock,
      keyTtlMs,
      quota,
      ledger,
      link: this.#options.createLink(peerSae),
      onPoolEvent: (event, status) => this.#onPoolEvent(event, status),
    });
  }

  #close(keys: PeerKeys): void {
    const closing = keys.close().finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
  }

  #onPoolEvent(event: DrawerPoolEvent, status: () => DrawerPoolStatus): void {
    if (event.type === 'stream-opened') this.#logKme(event.kme, 'reachable');
    // Of the ledger the log hears from itself, and the key manager is well.
    if (event.type !== 'failure' || event.error.code === KdiErrorCode.ledger) return;
    const { error, kme, opening } = event;
    if (opening && this.source.needsStream && !isUnreachable(error)) this.#logKme(kme, 'refuses', error);
    else if (status().reason === 'kme_unreachable') this.#logKme(kme, 'unreachable', error);
  }

  #logKme(kme: string, state: KmeState, error?: KdiError): void {
    // A KME may refuse for one reason after the other; unreachable is unreachable.
    const said = state === 'refuses' ? `${state} ${error?.code}` : state;
    if (this.#kmeState === said) return;
    this.#kmeState = said;
    if (state !== 'reachable' && this.#repeats.pass(said) === undefined) return;
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
