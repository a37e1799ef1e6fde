/** Single-use tickets between two engines of ours (RFC 8446, 4.6.1; draft-qstunnel-tls-qkd-psk, "Tickets"). */
import { expect } from 'chai';
import { MAX_TICKETS_PER_EPOCH } from '../../../tls-ext/handshake/tickets.ts';
import {
  Alert,
  CipherSuite,
  type EngineEvent,
  type IssuedTicket,
  type QkdOffer,
  type ResumptionPsk,
  TlsMisuseError,
} from '../../../tls-ext/index.ts';
import {
  clientIdentity,
  type EnginePair,
  enginePair,
  expectConnected,
  expectFailure,
  type PairOptions,
  type PskRequired,
  qkdPsk,
  random,
  type Side,
} from './engine-pair.ts';
import { rekey, rekeyKey, rekeyPair } from './rekey-pair.ts';

type TicketEvent = Extract<EngineEvent, { type: 'ticket' }>;

interface TicketOfBothEnds {
  readonly client: ResumptionPsk;
  readonly server: ResumptionPsk;
}

const handleOf = (fill: number) => new Uint8Array(16).fill(fill);
const ticketRequest = { newSessionCount: 2, resumptionCount: 1 };
const ticketsOf = (side: Side) => side.events.filter((event): event is TicketEvent => event.type === 'ticket');
const copyOf = (psk: ResumptionPsk): ResumptionPsk => ({ ...psk, secret: psk.secret.clone() });

function issue(pair: EnginePair, handle = handleOf(7), lifetimeSeconds = 600): IssuedTicket {
  const issued = pair.server.engine.issueTicket({ handle, lifetimeSeconds });
  if (issued === undefined) throw new Error('not issued');
  pair.server.take(issued.events);
  pair.deliver();
  return issued;
}

/** A ticket of a complete handshake, as each end has it. */
function ticketOf(options: PairOptions = {}): TicketOfBothEnds {
  const pair = enginePair({ ...options, client: { ticketRequest, ...options.client } }).run();
  const server = issue(pair).psk;
  const [ticket] = ticketsOf(pair.client);
  if (ticket === undefined) throw new Error('no ticket');
  return { client: ticket.psk, server };
}

/** A second connection, whose client offers the ticket and whose server has it. */
function resume(ticket: TicketOfBothEnds, options: PairOptions = {}): EnginePair {
  return enginePair({
    ...options,
    client: { ticketRequest, psk: ticket.client, ...options.client },
    server: { acceptTickets: true, ...options.server },
    serverAnswers: { psk: () => ({ action: 'use', psk: ticket.server }), ...options.serverAnswers },
  });
}

const ticketOffer = { offer: 'ticket' } as const satisfies QkdOffer;
const withExtension: PairOptions = { client: { qkdOffer: ticketOffer }, server: { qkd: true, acceptTickets: true } };

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

  it('are dropped by a client that did not ask for them, and not issued to one that has no use for them', () => {
    const pair = enginePair({
      client: { psk: qkdPsk(), qkdOffer: { offer: 'key' } },
      server: { qkd: true },
      serverAnswers: { psk: () => ({ action: 'use', psk: qkdPsk() }) },
    }).run();
    issue(pair);
    expect(ticketsOf(pair.client)).to.deep.equal([]);
    expectConnected(pair);
    const ticket = { handle: handleOf(1), lifetimeSeconds: 60 };
    expect(() => enginePair().run().server.engine.issueTicket(ticket)).to.throw(TlsMisuseError);
    expect(() => enginePair().server.engine.issueTicket(ticket)).to.throw(TlsMisuseError);
    expect(() => pair.client.engine.issueTicket(ticket)).to.throw(TlsMisuseError);
  });

  it('are not issued any more once our side has ended', () => {
    const ticket = { handle: handleOf(1), lifetimeSeconds: 60 };
    const closed = enginePair({ client: { ticketRequest } }).run();
    closed.server.take(closed.server.engine.closeWrite());
    expect(closed.server.engine.issueTicket(ticket)).to.equal(undefined);
    const failed = enginePair({ client: { ticketRequest } }).run();
    failed.server.take(failed.server.engine.abort(Alert.internalError));
    expect(failed.server.engine.issueTicket(ticket)).to.equal(undefined);
  });

  it('have handles that nobody guesses, and lifetimes that the RFC allows', () => {
    const { server } = enginePair({ client: { ticketRequest } }).run();
    for (const [handle, lifetimeSeconds] of [
      [random(15), 60],
      [random(256), 60],
      [random(16), 0],
      [random(16), 604_801],
      [random(16), 1.5],
    ] as const) {
      expect(() => server.engine.issueTicket({ handle, lifetimeSeconds })).to.throw(TlsMisuseError);
    }
    for (const [handle, lifetimeSeconds] of [
      [random(16), 1],
      [random(255), 604_800],
    ] as const) {
      expect(server.engine.issueTicket({ handle, lifetimeSeconds })?.psk.identity).to.deep.equal(handle);
    }
  });

  it('are passed on up to a bound, in each epoch', () => {
    const pair = rekeyPair({ client: { ticketRequest } }).run();
    for (let i = 0; i < MAX_TICKETS_PER_EPOCH + 3; i++) issue(pair, handleOf(i));
    expect(ticketsOf(pair.client)).to.have.length(MAX_TICKETS_PER_EPOCH);
    expectConnected(rekey(pair, rekeyKey(1)));
    for (let i = 0; i < MAX_TICKETS_PER_EPOCH + 3; i++) issue(pair, handleOf(i));
    expect(ticketsOf(pair.client).map(({ epoch }) => epoch)).to.deep.equal([
      ...Array.from({ length: MAX_TICKETS_PER_EPOCH }, () => 0),
      ...Array.from({ length: MAX_TICKETS_PER_EPOCH }, () => 1),
    ]);
    expectConnected(pair);
  });

  it('belong to the epoch under whose keys they are sent', () => {
    const pair = rekeyPair({ client: { ticketRequest }, serverAnswers: { rekeyKey: () => 'later' } }).run();
    const issued = [issue(pair, handleOf(0))];
    rekey(pair, rekeyKey(1));
    issued.push(issue(pair, handleOf(1)));
    // Behind the response, in front of the finish, there is no epoch whose ticket could be relied on.
    pair.server.take(pair.server.engine.provideRekeyKey(rekeyKey(1)));
    expect(pair.server.engine.issueTicket({ handle: handleOf(2), lifetimeSeconds: 600 })).to.equal(undefined);
    pair.deliver();
    issued.push(issue(pair, handleOf(2)));
    const received = ticketsOf(pair.client);
    expect(received.map(({ epoch }) => epoch)).to.deep.equal([0, 0, 1]);
    expect(issued.map(({ epoch }) => epoch)).to.deep.equal([0, 0, 1]);
    expect(received.map(({ psk }) => psk.secret.expose())).to.deep.equal(issued.map(({ psk }) => psk.secret.expose()));
  });
});

describe('resumption', () => {
  it('needs no certificates, and renews the key exchange', () => {
    const pair = resume(ticketOf()).run();
    expect(pair.client.event('peer-certificate')).to.equal(undefined);
    expect(pair.client.summary).to.include({ psk: 'resumption', peerCertificate: false });
    expectConnected(pair);
    expect(issue(pair).psk.secret.length).to.equal(48);
  });

  it('says resumed in qkd_psk', () => {
    const pair = resume(ticketOf(), withExtension).run();
    expect(pair.client.summary).to.include({ psk: 'resumption', qkdResult: 'resumed' });
    expect(pair.server.summary?.qkdOffer).to.deep.equal(ticketOffer);
    expectConnected(pair);
  });

  it('may negotiate rekeying anew', () => {
    const { client, server } = withExtension;
    const pair = resume(ticketOf(), {
      client: { ...client, offerRekey: true },
      server: { ...server, offerRekey: true },
    }).run();
    expectConnected(rekey(pair));
    expect(pair.server.engine.epoch).to.equal(1);
  });

  it('hands the handle to its owner, and names no key', () => {
    const ticket = ticketOf();
    let asked: PskRequired | undefined;
    resume(ticket, {
      serverAnswers: {
        psk: (event) => {
          asked = event;
          return { action: 'use', psk: ticket.server };
        },
      },
    }).run();
    expect(asked?.offered).to.deep.equal([{ identity: handleOf(7) }]);
    expect(asked?.certWithExternPsk).to.equal(false);
  });

  it('wipes the PSK at both ends', () => {
    const ticket = ticketOf();
    expectConnected(resume(ticket).run());
    expect([ticket.client.secret.wiped, ticket.server.secret.wiped]).to.deep.equal([true, true]);
  });

  for (const result of ['unavailable', 'policy'] as const) {
    it(`falls back to certificates where the owner says ${result}`, () => {
      const pair = resume(ticketOf(), {
        ...withExtension,
        serverAnswers: { psk: () => ({ action: 'continue', result }) },
      }).run();
      expect(pair.client.summary).to.include({ psk: 'none', qkdResult: result, peerCertificate: true });
      expectConnected(pair);
    });

    it(`is refused under encryption where the owner says so: ${result}`, () => {
      const pair = resume(ticketOf(), {
        ...withExtension,
        serverAnswers: { psk: () => ({ action: 'refuse', result }) },
      }).run();
      expect(pair.client.event('failed')?.qkdResult).to.equal(result);
      expectFailure(pair, 'server', 'ERR_TLS_INSUFFICIENT_SECURITY', Alert.insufficientSecurity);
    });
  }

  it('is not thought of where the server does not look at tickets', () => {
    let asked: PskRequired | undefined;
    const pair = resume(ticketOf(), {
      client: { qkdOffer: ticketOffer },
      server: { qkd: true, acceptTickets: false },
      serverAnswers: {
        psk: (event) => {
          asked = event;
          return { action: 'continue', result: 'unavailable' };
        },
      },
    }).run();
    expect(asked?.offered).to.deep.equal([]);
    expect(pair.client.summary).to.include({ psk: 'none', qkdResult: 'unavailable' });
    expectConnected(pair);
  });

  it('survives HelloRetryRequest', () => {
    const pair = resume(ticketOf(), {
      client: { qkdOffer: ticketOffer, groups: [29, 23] },
      server: { qkd: true, acceptTickets: true, groups: [23] },
    }).run();
    expect(pair.client.summary).to.include({ psk: 'resumption', helloRetryRequest: true });
    expectConnected(pair);
  });

  it('is no more where HelloRetryRequest selects a suite of another hash: unavailable', () => {
    const pair = resume(ticketOf({ client: { cipherSuites: [CipherSuite.aes128GcmSha256] } }), {
      client: { qkdOffer: ticketOffer, groups: [29, 23] },
      server: { qkd: true, acceptTickets: true, groups: [23], cipherSuites: [CipherSuite.aes256GcmSha384] },
      serverAnswers: { psk: () => ({ action: 'continue', result: 'unavailable' }) },
    }).run();
    expect(pair.client.summary).to.include({ psk: 'none', qkdResult: 'unavailable', helloRetryRequest: true });
    expectConnected(pair);
  });

  it('is no more where the suite has another hash, and policy is asked again', () => {
    const ticket = ticketOf({ client: { cipherSuites: [CipherSuite.aes128GcmSha256] } });
    const offered: number[] = [];
    const pair = resume(ticket, {
      ...withExtension,
      serverAnswers: {
        psk: (event) => {
          offered.push(event.offered.length);
          return event.offered.length > 0
            ? { action: 'use', psk: ticket.server }
            : { action: 'continue', result: 'unavailable' };
        },
      },
    }).run();
    expect(offered).to.deep.equal([1, 0]);
    expect(pair.client.summary).to.include({ psk: 'none', qkdResult: 'unavailable' });
    expectConnected(pair);
  });

  it('works between suites of one hash', () => {
    const ticket = ticketOf({ client: { cipherSuites: [CipherSuite.aes128GcmSha256] } });
    const pair = resume(ticket, { client: { cipherSuites: [CipherSuite.chacha20Poly1305Sha256] } }).run();
    expect(pair.client.summary?.psk).to.equal('resumption');
    expectConnected(pair);
  });

  it('with another PSK under the handle is an alert, never a fallback', () => {
    const ticket = ticketOf();
    const other = ticketOf().server;
    const pair = resume(ticket, { serverAnswers: { psk: () => ({ action: 'use', psk: other }) } }).run();
    expectFailure(pair, 'server', 'ERR_TLS_BAD_BINDER', Alert.decryptError);
  });

  it('asks for no client certificate: who the client is, the owner of the ticket has said', () => {
    const mutual = { client: { identity: clientIdentity }, server: { requestClientCertificate: true } };
    const pair = resume(ticketOf(mutual), {
      client: mutual.client,
      server: { ...mutual.server, acceptTickets: true },
    }).run();
    expect(pair.server.summary).to.include({ psk: 'resumption', peerCertificate: false });
    expectConnected(pair);
  });

  it('carries the age of the ticket', () => {
    const ticket = ticketOf();
    const pair = resume({ ...ticket, client: { ...ticket.client, obfuscatedTicketAge: 0xdead_beef } }).run();
    expect(Buffer.from(pair.wire[0]?.bytes ?? []).includes(Buffer.from('deadbeef', 'hex'))).to.equal(true);
    expectConnected(pair);
  });
});

describe('misuse of tickets', () => {
  const startOf = (client: NonNullable<PairOptions['client']>) => () => enginePair({ client }).client.engine.start();

  it('an offer that is not what qkdOffer says', () => {
    const { client } = ticketOf();
    for (const qkdOffer of [{ offer: 'key' }, { offer: 'none', reason: 'policy' }] as const) {
      expect(startOf({ psk: copyOf(client), qkdOffer })).to.throw(TlsMisuseError);
    }
    expect(startOf({ psk: qkdPsk(), qkdOffer: ticketOffer })).to.throw(TlsMisuseError);
    expect(startOf({ qkdOffer: ticketOffer })).to.throw(TlsMisuseError);
  });

  it('a ticket that fits no suite on offer, or whose secret has another length', () => {
    const { client } = ticketOf();
    expect(startOf({ psk: copyOf(client), cipherSuites: [0x1301] })).to.throw(TlsMisuseError);
    expect(startOf({ psk: { ...copyOf(client), cipherSuite: 0x1301 } })).to.throw(TlsMisuseError);
    expect(startOf({ psk: { ...copyOf(client), cipherSuite: 0x1399 } })).to.throw(TlsMisuseError);
  });

  it('a server that uses one although it does not look at tickets, or a key where only a ticket may be', () => {
    const ticket = ticketOf();
    const beside = enginePair({
      client: { psk: qkdPsk(), qkdOffer: { offer: 'key' } },
      server: { qkd: true },
      serverAnswers: { psk: () => ({ action: 'use', psk: ticket.server }) },
    });
    expect(() => beside.run()).to.throw(TlsMisuseError);
    const key = resume(ticketOf(), { serverAnswers: { psk: () => ({ action: 'use', psk: qkdPsk() }) } });
    expect(() => key.run()).to.throw(TlsMisuseError);
  });
});
