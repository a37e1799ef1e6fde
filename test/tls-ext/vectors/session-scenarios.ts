/** Tickets and resumptions. */
import { expect } from 'chai';
import { encode } from '../../../tls-ext/bytes/index.ts';
import { CipherSuite, NamedGroup, type ResumptionPsk } from '../../../tls-ext/index.ts';
import type { ConnectionRecorder, Scenario } from './connection-recorder.ts';
import { close, exchange, usedKey } from './connection-scenarios.ts';
import { expectEpoch, issueTicket, nextReference, Rekeys, request, type TicketEvent } from './session.ts';

/** Milliseconds since the ticket came. */
const TICKET_AGE_MS = 1_234;
const ticketRequest = { newSessionCount: 1, resumptionCount: 1 };

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
