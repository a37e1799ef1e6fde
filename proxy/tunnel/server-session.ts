/** The keys of an open connection at the server: which QKD key it descends from, its rekeys, and the tickets that it gives out. */
import { Alert, type HandshakeSummary } from '../../tls-ext/index.ts';
import type { TlsConnection } from '../data-path/index.ts';
import { needsQkd, type PolicySettings } from '../policy.ts';
import type { ConnectionJournal } from './connection-journal.ts';
import { KeyDescent, type RekeyAfter } from './key-budget.ts';
import { ServerRekeying } from './server-rekeying.ts';
import type { ConnectionTickets, PeerFacts, ServerTickets } from './server-tickets.ts';
import type { ServerKeys } from './settings.ts';

export interface ServerSessionOptions {
  readonly connection: TlsConnection;
  readonly summary: HandshakeSummary;
  readonly peer: PeerFacts;
  /** Absent: no QKD key is behind it. */
  readonly descent: KeyDescent | undefined;
  readonly policy: PolicySettings;
  readonly limits: RekeyAfter;
  readonly keys: ServerKeys;
  /** Absent: none are given out. */
  readonly tickets: ServerTickets | undefined;
  readonly journal: ConnectionJournal;
}

export class ServerSession {
  readonly #options: ServerSessionOptions;
  readonly #rekeying: ServerRekeying | undefined;
  readonly #tickets: ConnectionTickets | undefined;
  #descent: KeyDescent | undefined;

  constructor(options: ServerSessionOptions) {
    const { connection, summary, tickets, descent } = options;
    this.#options = options;
    this.#tickets = tickets?.forConnection(connection, summary);
    this.#rekeying = summary.rekey ? this.#startRekeying() : undefined;
    if (this.#rekeying !== undefined) connection.setKeyHandler(this.#rekeying);
    this.#enter(descent);
    this.#issueTickets();
  }

  /** The connection is over. Its tickets stay. */
  stop(): void {
    this.#rekeying?.stop();
    this.#enter(undefined);
  }

  #startRekeying(): ServerRekeying {
    const { connection, keys, limits, policy, peer, descent, journal } = this.#options;
    return new ServerRekeying({
      ...{ connection, keys, limits },
      peerSae: peer.peerSae,
      remoteAddress: journal.record.clientAddress,
      demandsQkd: needsQkd(policy.require),
      ...(descent === undefined
        ? {}
        : { inherited: { ageMs: descent.ageMs(performance.now()), bytes: descent.bytes } }),
      rekeyed: (outcome) => {
        this.#tickets?.voidAll();
        if (outcome.key !== undefined) this.#enter(new KeyDescent(outcome.key.keyId, performance.now()));
        journal.rekeyed(outcome);
        this.#issueTickets();
      },
      refused: (outcome) => journal.rekeyRefused(outcome),
      expired: (failure) => connection.abort(Alert.insufficientSecurity, failure),
    });
  }

  /** Tickets of sessions without a QKD key would only keep one from being used. */
  #issueTickets(): void {
    const descent = this.#descent;
    if (descent !== undefined) this.#tickets?.issue({ ...this.#options.peer, descent });
  }

  #enter(descent: KeyDescent | undefined): void {
    const { connection } = this.#options;
    this.#descent?.leave(connection);
    this.#descent = descent;
    descent?.enter(connection);
  }
}
