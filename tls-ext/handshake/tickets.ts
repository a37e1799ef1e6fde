/**
 * NewSessionTicket (RFC 8446, 4.6.1), single-use: a handle into the issuer's
 * state. A ticket belongs to the epoch under whose keys it is sent.
 */
import { decodeWhole, encode } from '../bytes/index.ts';
import type { EngineEvent, ResumptionPsk, TicketHandle } from '../engine-types.ts';
import { resumptionPsk } from '../key-schedule/index.ts';
import { decodeNewSessionTicket, encodeNewSessionTicket } from '../messages/index.ts';
import { TlsMisuseError } from '../tls-error.ts';
import type { Epoch } from './epoch.ts';
import type { Session } from './session.ts';
import { bodyOf, type HandshakeMessage } from './steps.ts';

/** RFC 8446, 4.6.1: seven days. */
const MAX_TICKET_LIFETIME_SECONDS = 604_800;
/** Our handles are random numbers, too many to guess or to meet twice. */
const MIN_TICKET_HANDLE_BYTES = 16;
const MAX_TICKET_HANDLE_BYTES = 255;
/** Tickets of one epoch that a client passes on; more are dropped. */
export const MAX_TICKETS_PER_EPOCH = 16;

export class Tickets {
  readonly #session: Session;
  /** Server: each ticket of a connection has a nonce of its own. */
  #issued = 0;
  /** Client: those of one epoch. */
  #received = { epoch: 0, count: 0 };

  constructor(session: Session) {
    this.#session = session;
  }

  /** Server: the message, and what it gives the client. */
  issue(
    { number: epoch, resumptionSecret }: Epoch,
    { handle, lifetimeSeconds }: TicketHandle,
  ): { readonly message: Uint8Array; readonly psk: ResumptionPsk; readonly epoch: number } {
    const { suite, settings, summary } = this.#session;
    if (!summary.tickets) throw new TlsMisuseError('the client has no use for tickets');
    if (handle.length < MIN_TICKET_HANDLE_BYTES || handle.length > MAX_TICKET_HANDLE_BYTES) {
      throw new TlsMisuseError(`a ticket handle of ${handle.length} bytes`);
    }
    if (!(Number.isInteger(lifetimeSeconds) && lifetimeSeconds > 0 && lifetimeSeconds <= MAX_TICKET_LIFETIME_SECONDS)) {
      throw new TlsMisuseError(`a ticket lifetime of ${lifetimeSeconds} s`);
    }
    const ticketNonce = encode((writer) => writer.u32(this.#issued++));
    const message = encodeNewSessionTicket({
      ticketLifetimeSeconds: lifetimeSeconds,
      ticketAgeAdd: decodeWhole(settings.random(4), (reader) => reader.u32()),
      ticketNonce,
      ticket: handle,
      extensions: {},
    });
    const secret = resumptionPsk(suite.hash, resumptionSecret, ticketNonce);
    const identity = Uint8Array.from(handle);
    return { message, psk: { kind: 'resumption', identity, secret, cipherSuite: suite.codePoint }, epoch };
  }

  /** Client: the ticket as an event; `undefined` if it is of no use. */
  receive({ number: epoch, resumptionSecret }: Epoch, message: HandshakeMessage): EngineEvent | undefined {
    const ticket = decodeNewSessionTicket(bodyOf(message));
    const { suite, settings } = this.#session;
    if (this.#received.epoch !== epoch) this.#received = { epoch, count: 0 };
    // A lifetime of 0 says that it is to be thrown away at once.
    if (!settings.wantsTickets || ticket.ticketLifetimeSeconds === 0) return undefined;
    if (++this.#received.count > MAX_TICKETS_PER_EPOCH) return undefined;
    return {
      type: 'ticket',
      psk: {
        kind: 'resumption',
        identity: Uint8Array.from(ticket.ticket),
        secret: resumptionPsk(suite.hash, resumptionSecret, ticket.ticketNonce),
        cipherSuite: suite.codePoint,
      },
      epoch,
      lifetimeSeconds: Math.min(ticket.ticketLifetimeSeconds, MAX_TICKET_LIFETIME_SECONDS),
      ageAdd: ticket.ticketAgeAdd,
    };
  }
}
