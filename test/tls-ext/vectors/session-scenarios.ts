/** What follows a handshake: tickets and resumptions, and rekeys of a live connection. */
import { expect } from 'chai';
import { encode } from '../../../tls-ext/bytes/index.ts';
import {
  CipherSuite,
  cipherSuiteInfo,
  type EngineEvent,
  NamedGroup,
  type QkdKeyReference,
  type QkdPsk,
  type ResumptionPsk,
} from '../../../tls-ext/index.ts';
import type { EnginePair } from '../engine/engine-pair.ts';
import { type ConnectionRecorder, DRAWER, fixedBytes, references, type Scenario } from './connection-recorder.ts';
import { close, exchange, exportValues, say, usedKey } from './connection-scenarios.ts';

const TICKET_LIFETIME_SECONDS = 3_600;
/** Milliseconds since the ticket came. */
const TICKET_AGE_MS = 1_234;
const ticketRequest = { newSessionCount: 1, resumptionCount: 1 };

type TicketEvent = Extract<EngineEvent, { type: 'ticket' }>;

function issueTicket(pair: EnginePair, name: string): TicketEvent {
  const handle = fixedBytes(`ticket ${name}`, 32);
  const issued = pair.server.engine.issueTicket({ handle, lifetimeSeconds: TICKET_LIFETIME_SECONDS });
  if (issued === undefined) throw new Error('no ticket was issued');
  pair.server.take(issued.events);
  pair.deliver();
  const ticket = pair.client.events.findLast((event): event is TicketEvent => event.type === 'ticket');
  if (ticket === undefined) throw new Error('no ticket came');
  expect(ticket.psk.secret.expose()).to.deep.equal(issued.psk.secret.expose());
  return ticket;
}

/** A session that issues tickets, their resumptions, and the fallback of one who comes with one again. In this order. */
export function resumptionScenarios(): readonly Scenario[] {
  let tickets: readonly TicketEvent[] = [];
  let rekeys: Rekeys;
  const offer = (recorder: ConnectionRecorder, number = 0): (() => ResumptionPsk) => {
    const ticket = tickets[number];
    if (ticket === undefined) throw new Error('the session that issues the tickets comes first');
    const { psk, ageAdd } = ticket;
    recorder.input('ticket', psk.identity);
    recorder.input('resumption_psk', Uint8Array.from(psk.secret.expose()));
    const obfuscatedTicketAge = (TICKET_AGE_MS + ageAdd) % 2 ** 32;
    recorder.input(
      'obfuscated_ticket_age',
      encode((writer) => writer.u32(obfuscatedTicketAge)),
    );
    return () => ({ ...psk, secret: psk.secret.clone(), obfuscatedTicketAge });
  };
  return [
    {
      name: 'resumption-issued',
      description:
        'A QKD key over ETSI GS QKD 014 with certificates; the client asks for two tickets (RFC 9149) and gets them.',
      cipherSuite: CipherSuite.aes256GcmSha384,
      certificates: 'used',
      options: (recorder) => {
        const { options } = usedKey(recorder, 'etsi014');
        return { ...options, client: { ...options.client, ticketRequest: { ...ticketRequest, newSessionCount: 2 } } };
      },
      afterHandshake: (pair) => {
        tickets = ['resumption', 'resumption after retry'].map((name) => issueTicket(pair, name));
        close(pair);
      },
    },
    {
      name: 'resumption-resumed',
      description: 'The first ticket of resumption-issued is offered and used: resumed, without certificates.',
      cipherSuite: CipherSuite.aes256GcmSha384,
      certificates: 'unused',
      options: (recorder) => {
        const psk = offer(recorder);
        return {
          client: { psk: psk(), qkdOffer: { offer: 'ticket' }, ticketRequest },
          server: { acceptTickets: true },
          serverAnswers: { psk: () => ({ action: 'use', psk: psk() }) },
        };
      },
      afterHandshake: exchange,
    },
    {
      name: 'resumption-hello-retry-request-resumed',
      description:
        'The second ticket of resumption-issued, by a client that sends a share of X25519 first and is asked for X25519MLKEM768; the resumed connection is then rekeyed (1: used, GS QKD 004).',
      cipherSuite: CipherSuite.aes256GcmSha384,
      certificates: 'unused',
      options: (recorder) => {
        const psk = offer(recorder, 1);
        rekeys = new Rekeys(recorder);
        const groups = [NamedGroup.x25519, NamedGroup.x25519MlKem768];
        return {
          client: { psk: psk(), qkdOffer: { offer: 'ticket' }, groups, offerRekey: true },
          server: { acceptTickets: true, offerRekey: true },
          serverAnswers: { psk: () => ({ action: 'use', psk: psk() }), rekeyKey: () => rekeys.serverKey },
        };
      },
      afterHandshake: (pair, recorder) => {
        expect(pair.client.summary).to.include({ psk: 'resumption', helloRetryRequest: true, rekey: true });
        const key = rekeys.key(nextReference(4));
        rekeys.serverKey = key();
        request(pair, key());
        expectEpoch(pair, 1);
        exchange(pair, recorder);
      },
    },
    {
      name: 'resumption-unavailable',
      description:
        'The first ticket again: it is spent, so the server answers unavailable and goes on with certificates.',
      cipherSuite: CipherSuite.aes256GcmSha384,
      certificates: 'used',
      options: (recorder) => ({
        client: { psk: offer(recorder)(), qkdOffer: { offer: 'ticket' } },
        server: { acceptTickets: true },
        serverAnswers: { psk: () => ({ action: 'continue', result: 'unavailable' }) },
      }),
      afterHandshake: exchange,
    },
  ];
}

/** The keys of a connection's rekeys, and what the server answers. */
class Rekeys {
  readonly #recorder: ConnectionRecorder;
  #attempts = 0;
  serverKey: QkdPsk | undefined | 'later';

  constructor(recorder: ConnectionRecorder) {
    this.#recorder = recorder;
  }

  /** Names what is drawn from here on after the next request. */
  next(): string {
    this.#recorder.phase = `rekey_${++this.#attempts}_`;
    return this.#recorder.phase;
  }

  key(reference: QkdKeyReference): () => QkdPsk {
    const prefix = this.next();
    this.#recorder.reference(`${prefix}qkd_reference`, reference);
    return this.#recorder.qkdKey(`${prefix}qkd_key`, reference, 'rekey');
  }

  otherKey(reference: QkdKeyReference): QkdPsk {
    return this.#recorder.qkdKey(`${this.#recorder.phase}server_qkd_key`, reference, 'rekey')();
  }
}

/** Each AEAD's limit, in records, as long as something runs. */
function withLimitOf(records: number, run: () => void): void {
  const aead = cipherSuiteInfo(CipherSuite.aes256GcmSha384)?.aead as { sealLimitRecords: number };
  const { sealLimitRecords } = aead;
  aead.sealLimitRecords = records;
  try {
    run();
  } finally {
    aead.sealLimitRecords = sealLimitRecords;
  }
}

function request(pair: EnginePair, key?: QkdPsk): void {
  pair.client.take(pair.client.engine.rekey(key));
  pair.deliver();
}

function expectEpoch(pair: EnginePair, epoch: number): void {
  expect([pair.client.engine.epoch, pair.server.engine.epoch]).to.deep.equal([epoch, epoch]);
}

const nextReference = (slice: number): QkdKeyReference => ({ ...references.etsi004, index: 8, slice });

/** Its own closure each time: a scenario's connection has the answers of its server in it. */
export function rekeyScenarios(): readonly Scenario[] {
  let rekeys: Rekeys;
  return [
    {
      name: 'rekey-exchanges',
      description:
        'Five requests on one connection. 1: used (GS QKD 004), with data of both ends while the server looks the key up, and a ticket of the new epoch afterwards. 2: asked for by rekey_wanted, without a key (without_key). 3: a key that the server does not have (refused). 4: another key at the server (server_qkd_key), so that the binder does not verify (refused). 5: used (SKIP).',
      cipherSuite: CipherSuite.aes256GcmSha384,
      certificates: 'used',
      options: (recorder) => {
        rekeys = new Rekeys(recorder);
        const { options } = usedKey(recorder, 'etsi004');
        return {
          ...options,
          client: { ...options.client, offerRekey: true, ticketRequest },
          server: { offerRekey: true },
          serverAnswers: { ...options.serverAnswers, rekeyKey: () => rekeys.serverKey },
        };
      },
      afterHandshake: (pair, recorder) => {
        const first = rekeys.key(nextReference(0));
        rekeys.serverKey = 'later';
        request(pair, first());
        say(pair, 'client', 'before');
        say(pair, 'server', 'before');
        pair.server.take(pair.server.engine.provideRekeyKey(first()));
        pair.deliver();
        expectEpoch(pair, 1);
        issueTicket(pair, 'rekey');
        say(pair, 'client', 'after');

        rekeys.next();
        pair.server.take(pair.server.engine.wantRekey());
        pair.deliver();
        request(pair);
        expectEpoch(pair, 2);

        rekeys.serverKey = undefined;
        request(pair, rekeys.key(nextReference(1))());
        rekeys.serverKey = undefined;
        const fourth = rekeys.key(nextReference(2));
        rekeys.serverKey = rekeys.otherKey(nextReference(2));
        request(pair, fourth());
        expectEpoch(pair, 2);
        say(pair, 'server', 'alive');

        const fifth = rekeys.key({ api: 'skip', drawer: DRAWER, keyId: fixedBytes('rekey skip', 16) });
        rekeys.serverKey = fifth();
        request(pair, fifth());
        expectEpoch(pair, 3);
        say(pair, 'client', 'ping');
        say(pair, 'server', 'pong');
        exportValues(pair, recorder);
        close(pair);
      },
    },
    {
      name: 'rekey-closed-key-update',
      description:
        'After a rekey (1: used, GS QKD 004) the client sends close_notify. The server goes on, near the limit of its AEAD, which is 4 records here: KeyUpdate, with update_not_requested.',
      cipherSuite: CipherSuite.aes256GcmSha384,
      certificates: 'used',
      options: (recorder) => {
        rekeys = new Rekeys(recorder);
        const { options } = usedKey(recorder, 'etsi014');
        return {
          ...options,
          client: { ...options.client, offerRekey: true },
          server: { offerRekey: true },
          serverAnswers: { ...options.serverAnswers, rekeyKey: () => rekeys.serverKey },
        };
      },
      afterHandshake: (pair) => {
        const key = rekeys.key(nextReference(5));
        rekeys.serverKey = key();
        request(pair, key());
        expectEpoch(pair, 1);
        pair.client.take(pair.client.engine.closeWrite());
        pair.deliver();
        withLimitOf(4, () => {
          for (const text of ['one', 'two', 'three', 'four']) say(pair, 'server', text);
        });
        close(pair);
      },
    },
    {
      name: 'rekey-raises',
      description:
        'A connection without a QKD key (channel_down), whose server wants no rekey without one: the first request, without a key, is refused; the second, with one of GS QKD 014, is used and raises the connection to qkd-and-pqc.',
      cipherSuite: CipherSuite.aes128GcmSha256,
      certificates: 'used',
      options: (recorder) => {
        rekeys = new Rekeys(recorder);
        return {
          client: { offerRekey: true, qkdOffer: { offer: 'none', reason: 'channel_down' } },
          server: { offerRekey: true, rekeyWithoutKey: 'refuse' },
          serverAnswers: {
            psk: () => ({ action: 'continue', result: 'unavailable' }),
            rekeyKey: () => rekeys.serverKey,
          },
        };
      },
      afterHandshake: (pair, recorder) => {
        rekeys.next();
        request(pair);
        expectEpoch(pair, 0);
        const key = rekeys.key(references.etsi014);
        rekeys.serverKey = key();
        request(pair, key());
        expectEpoch(pair, 1);
        say(pair, 'client', 'ping');
        say(pair, 'server', 'pong');
        exportValues(pair, recorder);
        close(pair);
      },
    },
  ];
}
