/** The keys of an open connection at the client: which QKD key it descends from, its rekeys, and the tickets that come with it. */
import { Alert, type HandshakeSummary } from '../../tls-ext/index.ts';
import type { KeyEvent, TlsConnection } from '../data-path/index.ts';
import { needsQkd, type PolicySettings } from '../policy.ts';
import { ClientRekeying } from './client-rekeying.ts';
import type { ClientTickets, TicketSession } from './client-tickets.ts';
import type { ConnectionJournal } from './connection-journal.ts';
import { KeyDescent, type RekeyAfter } from './key-budget.ts';
import type { RekeyQueue } from './rekey-queue.ts';
import type { PeerFacts } from './server-tickets.ts';
import type { ClientKeys } from './settings.ts';

export interface ClientSessionOptions {
  readonly connection: TlsConnection;
  readonly summary: HandshakeSummary;
  readonly peer: PeerFacts;
  /** Absent: no QKD key is behind it. */
  readonly descent: KeyDescent | undefined;
  readonly policy: PolicySettings;
  readonly limits: RekeyAfter;
  readonly keys: ClientKeys;
  readonly queue: RekeyQueue;
  /** Absent: none are kept. */
  readonly tickets: ClientTickets | undefined;
  readonly journal: ConnectionJournal;
}

export class ClientSession {
  readonly #options: ClientSessionOptions;
  readonly #rekeying: ClientRekeying | undefined;
  readonly #ticketSession: TicketSession = {};
  #descent: KeyDescent | undefined;

  constructor(options: ClientSessionOptions) {
    const { connection, summary } = options;
    this.#options = options;
    this.#rekeying = summary.rekey ? this.#startRekeying() : undefined;
    this.#enter(options.descent);
    connection.setKeyHandler({
      keyEvent: (event) => this.#keyEvent(event),
      dataAlarm: () => this.#rekeying?.dataAlarm(),
    });
  }

  /** The connection is over. Its tickets stay. */
  stop(): void {
    this.#rekeying?.stop();
    this.#enter(undefined);
  }

  #keyEvent(event: KeyEvent): void {
    if (event.type === 'ticket') this.#keepTicket(event);
    else this.#rekeying?.keyEvent(event);
  }

  #keepTicket(event: Extract<KeyEvent, { type: 'ticket' }>): void {
    const { tickets, peer, connection } = this.#options;
    const descent = this.#descent;
    // Without a QKD key behind it, or of an epoch that is over, it is of no use.
    if (tickets === undefined || descent === undefined || event.epoch < connection.epoch) event.psk.secret.wipe();
    else tickets.add(event, this.#ticketSession, { ...peer, descent });
  }

  #startRekeying(): ClientRekeying {
    const { connection, keys, queue, limits, policy, peer, descent, tickets, journal } = this.#options;
    return new ClientRekeying({
      ...{ connection, keys, queue, limits, eager: true },
      peerSae: peer.peerSae,
      demandsQkd: needsQkd(policy.require),
      ...(descent === undefined
        ? {}
        : { inherited: { ageMs: descent.ageMs(performance.now()), bytes: descent.bytes } }),
      rekeyed: (outcome) => {
        tickets?.voidOf(this.#ticketSession);
        if (outcome.key !== undefined) this.#enter(new KeyDescent(outcome.key.keyId, performance.now()));
        journal.rekeyed(outcome);
      },
      refused: (outcome) => journal.rekeyRefused(outcome),
      expired: (failure) => connection.abort(Alert.insufficientSecurity, failure),
    });
  }

  #enter(descent: KeyDescent | undefined): void {
    const { connection } = this.#options;
    this.#descent?.leave(connection);
    this.#descent = descent;
    descent?.enter(connection);
  }
}
