/**
 * Tickets that a server service gave out: single-use handles into a store, so
 * that there is no ticket key whose theft would take the QKD contribution away
 * later. A ticket inherits what its session was worth: the QKD key with its age
 * and counters, who the peer is and how it proved that. All of it is looked at
 * again when the ticket comes back.
 */
import { type HandshakeSummary, hexOf, type ResumptionPsk } from '../../tls-ext/index.ts';
import type { PskRequired, TlsConnection } from '../data-path/index.ts';
import type { StateStore } from '../state-store.ts';
import { admitsDescendant, type KeyDescent, type RekeyAfter, ticketLifetimeMs } from './key-budget.ts';

/** Who the peer of a session is. */
export interface PeerFacts {
  readonly peerSae: string;
  /** By which algorithms it proved that. */
  readonly authentication: string;
  /** When the first certificate of its path expires, in milliseconds since the epoch. */
  readonly notAfterMs: number;
}

/** What a session was worth: a resumed one inherits it. */
export interface SessionFacts extends PeerFacts {
  readonly descent: KeyDescent;
}

/** A ticket in the store. */
export interface TicketRecord extends SessionFacts {
  readonly service: string;
  readonly psk: ResumptionPsk;
}

export interface ServerTicketsOptions {
  readonly service: string;
  readonly store: StateStore<TicketRecord>;
  /** Most tickets of one connection. */
  readonly count: number;
  readonly limits: RekeyAfter;
  /** Peers that are admitted now. */
  readonly peerSae: readonly string[];
  readonly random: (lengthBytes: number) => Uint8Array;
}

const HANDLE_BYTES = 32;
/** ticket_lifetime's maximum (RFC 8446, 4.6.1). */
const MAX_LIFETIME_MS = 604_800_000;

export class ServerTickets {
  readonly #options: ServerTicketsOptions;

  constructor(options: ServerTicketsOptions) {
    this.#options = options;
  }

  /** The tickets of one connection. */
  forConnection(connection: TlsConnection, summary: HandshakeSummary): ConnectionTickets {
    const asked = summary.ticketRequest;
    const wanted =
      asked === undefined ? 0 : summary.psk === 'resumption' ? asked.resumptionCount : asked.newSessionCount;
    const count = summary.tickets ? Math.min(wanted, this.#options.count) : 0;
    return new ConnectionTickets(this.#options, connection, count);
  }

  /**
   * Takes the ticket that a ClientHello offers: whatever comes of the handshake, it is gone. `undefined` if it is
   * none of ours, was used, is too old, or what it stands for is not admitted any more.
   */
  async redeem({ offered }: PskRequired): Promise<TicketRecord | undefined> {
    const { store, service, limits, peerSae } = this.#options;
    const handle = offered[0]?.identity;
    if (handle === undefined || handle.length !== HANDLE_BYTES) return undefined;
    const record = await store.take(keyOf(handle));
    if (record === undefined) return undefined;
    const good =
      record.service === service &&
      peerSae.includes(record.peerSae) &&
      record.notAfterMs > Date.now() &&
      admitsDescendant(limits, record.descent, performance.now());
    if (good) return record;
    record.psk.secret.wipe();
    return undefined;
  }
}

/** Issues the tickets of one connection, and voids them. */
export class ConnectionTickets {
  readonly #options: ServerTicketsOptions;
  readonly #connection: TlsConnection;
  readonly #count: number;
  #handles: Uint8Array[] = [];

  constructor(options: ServerTicketsOptions, connection: TlsConnection, count: number) {
    this.#options = options;
    this.#connection = connection;
    this.#count = count;
  }

  issue(facts: SessionFacts): void {
    const { store, service, limits, random } = this.#options;
    const lifetimeMs = Math.min(
      ticketLifetimeMs(limits, facts.descent, performance.now()),
      facts.notAfterMs - Date.now(),
      MAX_LIFETIME_MS,
    );
    const lifetimeSeconds = Math.floor(lifetimeMs / 1_000);
    if (lifetimeSeconds < 1) return;
    for (let i = 0; i < this.#count; i++) {
      const handle = random(HANDLE_BYTES);
      const issued = this.#connection.issueTicket({ handle, lifetimeSeconds });
      if (issued === undefined) return;
      this.#handles.push(handle);
      void store.put(keyOf(handle), { ...facts, service, psk: issued.psk }, 1_000 * lifetimeSeconds);
    }
  }

  /** A completed rekey voids the tickets of earlier epochs. */
  voidAll(): void {
    const handles = this.#handles;
    this.#handles = [];
    for (const handle of handles) {
      void this.#options.store.take(keyOf(handle)).then((record) => record?.psk.secret.wipe());
    }
  }
}

function keyOf(handle: Uint8Array): string {
  return hexOf(handle);
}
