/** Tickets that a client service holds, each for one resumption. Kept in memory, wiped when used, void or too old. */
import type { ResumptionPsk } from '../../tls-ext/index.ts';
import type { KeyEvent } from '../data-path/index.ts';
import { admitsDescendant, type RekeyAfter, ticketLifetimeMs } from './key-budget.ts';
import type { SessionFacts } from './server-tickets.ts';

export interface ClientTicketsOptions {
  readonly limits: RekeyAfter;
  /** Most tickets asked for after a full handshake. */
  readonly count: number;
  /** Peers that are admitted now. */
  readonly peerSae: readonly string[];
}

/** Stands for the connection that tickets came from. */
export type TicketSession = object;

interface Kept extends SessionFacts {
  readonly event: Extract<KeyEvent, { type: 'ticket' }>;
  readonly session: TicketSession;
  readonly receivedMs: number;
  readonly expiresMs: number;
}

/** A ticket taken for one handshake. */
export interface ClientTicket extends SessionFacts {
  readonly psk: ResumptionPsk;
}

/** Most tickets kept for one service; of more, the oldest go. */
const MAX_TICKETS = 256;
/** Old ones are wiped at the latest after this. */
const SWEEP_MS = 10_000;

export class ClientTickets {
  readonly #options: ClientTicketsOptions;
  #kept: Kept[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ClientTicketsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#kept.length;
  }

  /** What a ClientHello asks for (RFC 9149): after a resumption one, in place of the one that was used. */
  get request() {
    return { newSessionCount: this.#options.count, resumptionCount: 1 };
  }

  /** Takes ownership of the ticket's secret. */
  add(event: Extract<KeyEvent, { type: 'ticket' }>, session: TicketSession, facts: SessionFacts): void {
    const nowMs = performance.now();
    const lifetimeMs = Math.min(
      1_000 * event.lifetimeSeconds,
      ticketLifetimeMs(this.#options.limits, facts.descent, nowMs),
      facts.notAfterMs - Date.now(),
    );
    if (lifetimeMs <= 0) {
      event.psk.secret.wipe();
      return;
    }
    this.#kept.push({ ...facts, event, session, receivedMs: nowMs, expiresMs: nowMs + lifetimeMs });
    if (this.#kept.length > MAX_TICKETS) this.#kept.shift()?.event.psk.secret.wipe();
    this.#timer ??= setInterval(() => this.#sweep(), SWEEP_MS);
  }

  /** Whether `take` would give one. */
  get atHand(): boolean {
    return this.#newestGood() !== undefined;
  }

  /** The newest that is still good for something. */
  take(): ClientTicket | undefined {
    const kept = this.#newestGood();
    if (kept === undefined) return undefined;
    this.#kept.pop();
    const { event, session: _, receivedMs, expiresMs: __, ...facts } = kept;
    const obfuscatedTicketAge = (Math.round(performance.now() - receivedMs) + event.ageAdd) % 2 ** 32;
    return { ...facts, psk: { ...event.psk, obfuscatedTicketAge } };
  }

  /** A completed rekey voids the tickets that came before it. */
  voidOf(session: TicketSession): void {
    this.#removeIf((kept) => kept.session === session);
  }

  close(): void {
    this.#removeIf(() => true);
  }

  /** Stays the last one kept. Newer ones that are good for nothing any more are gone. */
  #newestGood(): Kept | undefined {
    for (let kept = this.#kept.at(-1); kept !== undefined; kept = this.#kept.at(-1)) {
      if (this.#isGood(kept)) return kept;
      this.#kept.pop();
      kept.event.psk.secret.wipe();
    }
    return undefined;
  }

  #isGood({ expiresMs, peerSae, notAfterMs, descent }: Kept): boolean {
    const nowMs = performance.now();
    const trusted = this.#options.peerSae.includes(peerSae) && notAfterMs > Date.now();
    return trusted && expiresMs > nowMs && admitsDescendant(this.#options.limits, descent, nowMs);
  }

  #sweep(): void {
    const nowMs = performance.now();
    this.#removeIf(({ expiresMs }) => expiresMs <= nowMs);
  }

  #removeIf(goes: (kept: Kept) => boolean): void {
    this.#kept = this.#kept.filter((kept) => {
      if (!goes(kept)) return true;
      kept.event.psk.secret.wipe();
      return false;
    });
    if (this.#kept.length > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
