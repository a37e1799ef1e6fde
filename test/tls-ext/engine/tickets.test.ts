/** Single-use tickets between two engines of ours (RFC 8446, 4.6.1; draft-qstunnel-tls-qkd-psk, "Tickets"). */
import { expect } from 'chai';
import type { EngineEvent, IssuedTicket, QkdOffer, ResumptionPsk } from '../../../tls-ext/index.ts';
import { type EnginePair, enginePair, expectConnected, type PairOptions, type Side } from './engine-pair.ts';

type TicketEvent = Extract<EngineEvent, { type: 'ticket' }>;

const handleOf = (fill: number) => new Uint8Array(16).fill(fill);
const ticketRequest = { newSessionCount: 2, resumptionCount: 1 };
const ticketsOf = (side: Side) => side.events.filter((event): event is TicketEvent => event.type === 'ticket');
const _copyOf = (psk: ResumptionPsk): ResumptionPsk => ({ ...psk, secret: psk.secret.clone() });

function issue(pair: EnginePair, handle = handleOf(7), lifetimeSeconds = 600): IssuedTicket {
  const issued = pair.server.engine.issueTicket({ handle, lifetimeSeconds });
  if (issued === undefined) throw new Error('not issued');
  pair.server.take(issued.events);
  pair.deliver();
  return issued;
}

/** A session that wants tickets, and one of them as each end has it. */
function sessionWithTicket(options: PairOptions = {}): { client: ResumptionPsk; server: ResumptionPsk } {
  const pair = enginePair({ ...options, client: { ticketRequest, ...options.client } }).run();
  const server = issue(pair).psk;
  const [ticket] = ticketsOf(pair.client);
  if (ticket === undefined) throw new Error('no ticket');
  return { client: ticket.psk, server };
}

const _offersTicket = { offer: 'ticket' } as const satisfies QkdOffer;

/** A second connection, whose client offers the ticket and whose server has its own. */
function resume(tickets: { client: ResumptionPsk; server: ResumptionPsk }, options: PairOptions = {}): EnginePair {
  return enginePair({
    ...options,
    client: { ticketRequest, psk: tickets.client, ...options.client },
    server: { acceptTickets: true, ...options.server },
    serverAnswers: { psk: () => ({ action: 'use', psk: tickets.server }), ...options.serverAnswers },
  });
}

describe('tickets', () => {
  it('are the same PSK at both ends, under the handle, with a nonce each', () => {
    const pair = enginePair({ client: { ticketRequest } }).run();
    expect(pair.server.summary?.ticketRequest).to.deep.equal(ticketRequest);
    expect(pair.server.summary?.tickets).to.equal(true);
    const issued = [issue(pair, handleOf(1)), issue(pair, handleOf(2), 604_800)];
    const received = ticketsOf(pair.client);
    expect(received.map(({ psk }) => psk.identity)).to.deep.equal([handleOf(1), handleOf(2)]);
    expect(received.map(({ lifetimeSeconds }) => lifetimeSeconds)).to.deep.equal([600, 604_800]);
    expect(received.map(({ psk }) => psk.secret.expose())).to.deep.equal(issued.map(({ psk }) => psk.secret.expose()));
    expect(received[0]?.psk.secret.expose()).not.to.deep.equal(received[1]?.psk.secret.expose());
    expect(received[0]?.ageAdd).not.to.equal(received[1]?.ageAdd);
    expectConnected(pair);
  });

  it('resume a session without certificates', () => {
    const pair = resume(sessionWithTicket()).run();
    expect(pair.client.event('peer-certificate')).to.equal(undefined);
    expect(pair.client.summary).to.include({ psk: 'resumption', peerCertificate: false });
    expectConnected(pair);
  });
});
