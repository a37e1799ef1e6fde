/** What connections of the vectors do after their handshake: tickets, and rekeys with their keys. */
import { expect } from 'chai';
import {
  CipherSuite,
  cipherSuiteInfo,
  type EngineEvent,
  type QkdKeyReference,
  type QkdPsk,
} from '../../../tls-ext/index.ts';
import type { EnginePair } from '../engine/engine-pair.ts';
import { type ConnectionRecorder, fixedBytes, references } from './connection-recorder.ts';

const TICKET_LIFETIME_SECONDS = 3_600;
export type TicketEvent = Extract<EngineEvent, { type: 'ticket' }>;

export function issueTicket(pair: EnginePair, name: string): TicketEvent {
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

/** The keys of a connection's rekeys, and what the server answers. */
export class Rekeys {
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
export function withLimitOf(records: number, run: () => void): void {
  const aead = cipherSuiteInfo(CipherSuite.aes256GcmSha384)?.aead as { sealLimitRecords: number };
  const { sealLimitRecords } = aead;
  aead.sealLimitRecords = records;
  try {
    run();
  } finally {
    aead.sealLimitRecords = sealLimitRecords;
  }
}

export function request(pair: EnginePair, key?: QkdPsk): void {
  pair.client.take(pair.client.engine.rekey(key));
  pair.deliver();
}

export function expectEpoch(pair: EnginePair, epoch: number): void {
  expect([pair.client.engine.epoch, pair.server.engine.epoch]).to.deep.equal([epoch, epoch]);
}

export const nextReference = (slice: number): QkdKeyReference => ({ ...references.etsi004, index: 8, slice });
