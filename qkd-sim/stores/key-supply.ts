import type { SecretBytes } from '../../tls-ext/bytes/index.ts';

/** Where a key came from, as an application may want to judge it. */
export interface KeyProvenance {
  /** Always true here: a simulator's key is as predictable as its host, and says so. */
  readonly simulated: boolean;
  /** Trusted nodes between the two ends; 0 on a direct link. */
  readonly hops: number;
}

/** A key that both ends hold for the same purpose. Its holder wipes `key`. */
export interface SharedKey {
  readonly key: SecretBytes;
  /** By the clock of the end that holds it. */
  readonly depositedAtMs: number;
  readonly provenance: KeyProvenance;
}

/** How much key one direction has, as the end that allocates from it sees it. */
export interface StoreLevel {
  readonly availableBytes: number;
  readonly capacityBytes: number;
}

/** Outcome of a reservation. Whatever was reserved without being acknowledged is wiped at both ends, never reused. */
export type Reservation =
  | { readonly outcome: 'reserved'; readonly shared: SharedKey }
  /** Not enough key at present. */
  | { readonly outcome: 'insufficient' }
  /** The other end refused, didn't have the bytes, or didn't answer in time. */
  | { readonly outcome: 'unacknowledged' };

/** What one end does with key that the other end reserved. */
export interface KeyReceiver<Purpose> {
  /** Whether key for this purpose would be taken; a no makes the reservation fail. */
  admits(purpose: Purpose): boolean;
  /** Takes key whose reservation both ends have confirmed, and owns it from here on. */
  receive(purpose: Purpose, shared: SharedKey): void;
}

/**
 * Key shared with one other key manager, as that key manager's partner uses
 * it. A link's end implements it; a relay over several links can too.
 */
export interface KeySupply<Purpose> {
  /** Key that this end may allocate. */
  level(): StoreLevel;
  /** Key that the other end may allocate, as held here. */
  inboundHeldBytes(): number;
  readonly provenance: KeyProvenance;
  /** Takes key for `purpose` at both ends at once, or at neither. */
  reserve(purpose: Purpose, lengthBytes: number): Promise<Reservation>;
  /** Names who takes the key that the other end reserves. */
  setReceiver(receiver: KeyReceiver<Purpose>): void;
  /** Calls back after each deposit; returns the unsubscriber. */
  onDeposit(listener: () => void): () => void;
}
