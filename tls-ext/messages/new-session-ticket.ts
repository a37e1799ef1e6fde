import { decodeWhole } from '../bytes/index.ts';
import {
  decodeExtensionList,
  decodeExtensions,
  defaultCodePoints,
  type ExtensionCodecs,
  type Extensions,
  encodeExtensions,
} from './extension-block.ts';
import { encodeHandshake, HandshakeType } from './handshake-type.ts';
import { maxEarlyDataSize } from './negotiation-extensions.ts';

export interface NewSessionTicketFields {
  /** `max_early_data_size` */
  readonly earlyData?: number;
}

/** RFC 8446, 4.6.1. Arrays of a decoded one are views of the message. */
export interface NewSessionTicket {
  readonly ticketLifetimeSeconds: number;
  readonly ticketAgeAdd: number;
  readonly ticketNonce: Uint8Array;
  readonly ticket: Uint8Array;
  readonly extensions: Extensions<NewSessionTicketFields>;
}

const codecs: ExtensionCodecs<NewSessionTicketFields> = { earlyData: maxEarlyDataSize };

export function encodeNewSessionTicket(ticket: NewSessionTicket): Uint8Array {
  return encodeHandshake(HandshakeType.newSessionTicket, (writer) => {
    writer.u32(ticket.ticketLifetimeSeconds).u32(ticket.ticketAgeAdd);
    writer.vector(1, ticket.ticketNonce).vector(2, ticket.ticket);
    encodeExtensions(writer, ticket.extensions, codecs, defaultCodePoints);
  });
}

export function decodeNewSessionTicket(body: Uint8Array): NewSessionTicket {
  return decodeWhole(body, (reader) => ({
    ticketLifetimeSeconds: reader.u32(),
    ticketAgeAdd: reader.u32(),
    ticketNonce: reader.vector(1),
    ticket: reader.vector(2, 1),
    extensions: decodeExtensions(decodeExtensionList(reader), 'NST', codecs, defaultCodePoints),
  }));
}
