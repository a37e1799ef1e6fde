/** Tickets offered and taken (RFC 8446, 4.2.11 and 4.6.1; RFC 9149; RFC 9973, 5.1; draft, "Tickets"). */
import { expect } from 'chai';
import {
  badBinderAlone,
  type Cases,
  casesAgainst,
  decodeError,
  handshakeFailure,
  illegalParameter,
  unexpectedMessage,
  unsupportedExtension,
} from '../case.ts';
import type { Outcome } from '../handshakes.ts';
import {
  addExtension,
  alterExtensions,
  before,
  drop,
  extension,
  finally_,
  flip,
  nothing,
  removeExtension,
  sendMessage,
  setByte,
  setExtension,
} from '../scripts.ts';

const CH = 'ClientHello';
const SH = 'ServerHello';
const EE = 'EncryptedExtensions';

const TICKET_REQUEST = 58;
const CERT_WITH_EXTERN_PSK = 33;
const PSK_MODES = 45;
const QKD_PSK = 0xff51;
const PRE_SHARED_KEY = 41;

const ticket = { psk: 'ticket' } as const;
const unknown = { psk: 'ticket-unavailable' } as const;
const wantsTickets = { client: { ticketRequest: { newSessionCount: 2, resumptionCount: 1 } } } as const;

const identity = (fill: number) => [0, 1, fill, 0, 0, 0, 0];
const binder = [32, ...new Uint8Array(32)];
const twoIdentities = extension(PRE_SHARED_KEY, 0, 14, ...identity(1), ...identity(2), 0, 66, ...binder, ...binder);

const message = (type: number, ...body: readonly number[]) => Uint8Array.of(type, 0, 0, body.length, ...body);
const newSessionTicket = (lifetime: readonly [number, number, number, number]) =>
  message(4, ...lifetime, 0, 0, 0, 9, 1, 5, 0, 1, 7, 0, 0);
const ticketsOf = ({ side }: Outcome) => side.events.flatMap((event) => (event.type === 'ticket' ? [event] : []));

const againstServer: Cases = {
  'a resumption': [nothing, 'connected', ticket],
  'a resumption with HelloRetryRequest': [nothing, 'connected', { ...ticket, retry: true }],
  'a ticket that the server does not have': [nothing, 'connected', unknown],
  'a ticket of a server that does not look at tickets': [
    nothing,
    'connected',
    { ...unknown, server: { acceptTickets: false } },
  ],
  'a ticket beside extension 33': [addExtension(CH, extension(CERT_WITH_EXTERN_PSK)), illegalParameter, ticket],
  'a ticket beside extension 33, without qkd_psk': [
    alterExtensions(CH, (list) => [extension(CERT_WITH_EXTERN_PSK), ...list.filter(({ type }) => type !== QKD_PSK)]),
    illegalParameter,
    ticket,
  ],
  'a ticket, of which qkd_psk says none': [setExtension(CH, QKD_PSK, 0, 1, 0, 0, 8), illegalParameter, ticket],
  'a ticket, of which qkd_psk says key': [setExtension(CH, QKD_PSK, 0, 1, 0, 1), illegalParameter, ticket],
  'two identities, of which qkd_psk says ticket': [
    alterExtensions(CH, (list) => list.map((one) => (one.type === PRE_SHARED_KEY ? twoIdentities : one))),
    illegalParameter,
    unknown,
  ],
  'a ticket without qkd_psk': [removeExtension(CH, QKD_PSK), 'connected', ticket],
  'a ticket whose binder does not verify': [setByte(CH, -1, flip), badBinderAlone, ticket],
  'a ticket in mode psk_ke only, which is as if there were none': [
    setExtension(CH, PSK_MODES, 1, 0),
    handshakeFailure,
    { ...unknown, server: { auth: 'psk' } },
  ],
  'ticket_request cut short': [addExtension(CH, extension(TICKET_REQUEST, 1)), decodeError],
  'ticket_request with bytes behind it': [addExtension(CH, extension(TICKET_REQUEST, 1, 1, 1)), decodeError],
  'ticket_request, which is noted': [
    addExtension(CH, extension(TICKET_REQUEST, 3, 1)),
    'connected',
    {},
    ({ side }) => expect(side.summary?.ticketRequest).to.deep.equal({ newSessionCount: 3, resumptionCount: 1 }),
  ],
  'the second ClientHello with another ticket_request': [
    addExtension('second ClientHello', extension(TICKET_REQUEST, 3, 1)),
    illegalParameter,
    { retry: true },
  ],
};

const againstClient: Cases = {
  'a resumption': [nothing, 'connected', ticket],
  'a resumption with HelloRetryRequest': [nothing, 'connected', { ...ticket, retry: true }],
  'a ticket that the server does not have': [nothing, 'connected', unknown],
  'ServerHello with the ticket and extension 33': [
    addExtension(SH, extension(CERT_WITH_EXTERN_PSK)),
    unsupportedExtension,
    ticket,
  ],
  'Certificate in a resumption': [before('Finished', sendMessage(message(11, 0, 0, 0, 0))), unexpectedMessage, ticket],
  'CertificateRequest in a resumption': [
    before('Finished', sendMessage(message(13, 0, 0, 8, 0, 13, 0, 4, 0, 2, 4, 3))),
    unexpectedMessage,
    ticket,
  ],
  'no certificates, although the ticket was not selected': [drop('Certificate'), unexpectedMessage, unknown],
  'qkd_psk that says used of the ticket in use': [setExtension(EE, QKD_PSK, 0, 1, 0, 1), illegalParameter, ticket],
  'qkd_psk that says unavailable of the ticket in use': [
    setExtension(EE, QKD_PSK, 0, 1, 0, 3),
    illegalParameter,
    ticket,
  ],
  'qkd_psk that says not_offered of a ticket that was': [
    setExtension(EE, QKD_PSK, 0, 1, 0, 0),
    illegalParameter,
    unknown,
  ],
  'qkd_psk that says resumed without the ticket': [setExtension(EE, QKD_PSK, 0, 1, 0, 2), illegalParameter, unknown],
  'no qkd_psk beside the ticket in use': [alterExtensions(EE, () => []), illegalParameter, ticket],
  'ServerHello with ticket_request': [addExtension(SH, extension(TICKET_REQUEST, 1)), illegalParameter, wantsTickets],
  'EncryptedExtensions with ticket_request that was not sent': [
    addExtension(EE, extension(TICKET_REQUEST, 1)),
    unsupportedExtension,
  ],
  'EncryptedExtensions with ticket_request': [
    addExtension(EE, extension(TICKET_REQUEST, 2)),
    'connected',
    wantsTickets,
  ],
  'EncryptedExtensions with a ticket_request of two bytes': [
    addExtension(EE, extension(TICKET_REQUEST, 2, 2)),
    decodeError,
    wantsTickets,
  ],
  'a ticket with a lifetime of more than seven days, which is cut': [
    finally_(sendMessage(newSessionTicket([0, 9, 0x3a, 0x81]))),
    'connected',
    wantsTickets,
    (outcome) => expect(ticketsOf(outcome).map(({ lifetimeSeconds }) => lifetimeSeconds)).to.deep.equal([604_800]),
  ],
  'a ticket with a lifetime of 0, which is thrown away': [
    finally_(sendMessage(newSessionTicket([0, 0, 0, 0]))),
    'connected',
    wantsTickets,
    (outcome) => expect(ticketsOf(outcome)).to.deep.equal([]),
  ],
};

export const resumptionCases = [...casesAgainst('server', againstServer), ...casesAgainst('client', againstClient)];
