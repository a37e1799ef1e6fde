/** A case of the key channel: what the peer says, and how the end under test takes it. docs/tls-requirements.md names each. */
import { expect } from 'chai';
import { hexOf } from '../../../tls-ext/bytes/index.ts';
import {
  type AbortReason,
  type AnswererEvent,
  type DrawerEvent,
  deriveCheckValues,
  encodeMessage,
  type KeyChannelAnswerer,
  type KeyChannelDrawer,
  KeyChannelErrorCode,
  type KeyChannelMessage,
} from '../../../tls-ext/key-channel/index.ts';
import { brief, bytesOf, keyOf, messagesIn, newAnswerer, newDrawer, type reference004 } from './fixtures.ts';

export type ChannelRole = 'answerer' | 'drawer';
type ChannelEvent = AnswererEvent | DrawerEvent;

/** Both roles in one shape, with the connection and the time of the case filled in. */
export interface EndUnderTest {
  readonly role: ChannelRole;
  readonly answerer: KeyChannelAnswerer;
  readonly drawer: KeyChannelDrawer;
  receive(bytes: Uint8Array): readonly ChannelEvent[];
}

/** The peer says a message or any bytes; or the owner of the end under test does something. */
export type Turn = KeyChannelMessage | Uint8Array | ((end: EndUnderTest) => readonly ChannelEvent[]);

/** How the connection ends: with which error, and which reason the peer is told, if any; or that it goes on. */
export type ChannelEnd = readonly [KeyChannelErrorCode, AbortReason | undefined] | 'open';

export interface ChannelOutcome {
  readonly events: readonly string[];
  readonly said: readonly KeyChannelMessage[];
}

export interface ChannelCase {
  readonly name: string;
  readonly against: ChannelRole;
  readonly turns: readonly Turn[];
  readonly ends: ChannelEnd;
  readonly check?: (outcome: ChannelOutcome) => void;
}

export type ChannelCases = Readonly<
  Record<string, readonly [readonly Turn[], ChannelEnd, ((outcome: ChannelOutcome) => void)?]>
>;

export const casesAgainst = (against: ChannelRole, table: ChannelCases): ChannelCase[] =>
  Object.entries(table).map(([name, [turns, ends, check]]) => ({
    name: `${against}: ${name}`,
    against,
    turns,
    ends,
    ...(check === undefined ? {} : { check }),
  }));

const state: KeyChannelMessage = { type: 'state', kmeReachable: true, kmeName: 'probe', poolKeys: 0, reasons: [] };

export function runCase({ against, turns, ends, check }: ChannelCase): void {
  const end = newEnd(against);
  const events = turns.flatMap((turn) =>
    typeof turn === 'function'
      ? [...turn(end)]
      : [...end.receive(turn instanceof Uint8Array ? turn : encodeMessage(turn))],
  );
  const outcome = { events: brief(events), said: messagesOf(events) };
  const after = brief(end.receive(encodeMessage(state)));
  if (ends === 'open') {
    expect(outcome.events.filter((line) => line.startsWith('failed'))).to.deep.equal([]);
    expect(after, 'it goes on').to.deep.equal(['peer-state']);
  } else {
    const [code, reason] = ends;
    expect(outcome.events.at(-1)).to.equal(`failed ${code}`);

    const aborts = outcome.said.filter(({ type }) => type === 'abort');
    expect(aborts).to.deep.equal(reason === undefined ? [] : [{ type: 'abort', reason }]);
    expect(after, 'nothing more is heard').to.deep.equal([]);
  }
  check?.(outcome);
}

function newEnd(role: ChannelRole): EndUnderTest {
  const [answerer, drawer] = [newAnswerer(), newDrawer()];
  if (role === 'answerer') answerer.connected(1, []);
  else drawer.connected();
  const receive = (bytes: Uint8Array) =>
    role === 'answerer' ? answerer.receive(1, bytes, 0) : drawer.receive(bytes, 0);
  return { role, answerer, drawer, receive };
}

/** What an end wrote. */
export function messagesOf(events: readonly ChannelEvent[]): KeyChannelMessage[] {
  return messagesIn(events.flatMap((event) => (event.type === 'write' ? [event.bytes] : [])));
}

// What peers say.

/** The instances of `fixtures.ts`: 0xd1 is our drawer's, 0xa1 our answerer's. */
export const hello = (instance: number): Extract<KeyChannelMessage, { type: 'hello' }> => ({
  type: 'hello',
  instance: bytesOf(16, instance),
  quota: 100,
  services: [],
});

export const keysMessage = (batch: number, ...references: ReturnType<typeof reference004>[]): KeyChannelMessage => ({
  type: 'keys',
  batch,
  ttlSeconds: 60,
  keys: references.map((reference) => ({ reference, check: deriveCheckValues(reference, keyOf(1)).drawer })),
});

/** A message whose body is changed as hex, so that it may be one that no encoder makes. */
export function altered(message: KeyChannelMessage, from: string, to: string): Uint8Array {
  const bytes = encodeMessage(message);
  const body = hexOf(bytes.subarray(4));
  if (body.split(from).length !== 2) throw new Error(`${from} does not stand once in ${body}`);
  return framed(bytes[0] as number, body.replace(from, to));
}

/** A message of any type and body (hex). */
export function framed(type: number, body: string): Uint8Array {
  return Uint8Array.from(
    Buffer.from(type.toString(16).padStart(2, '0') + (body.length / 2).toString(16).padStart(6, '0') + body, 'hex'),
  );
}

const failure = (code: KeyChannelErrorCode, reason: AbortReason | undefined): ChannelEnd => [code, reason];

export const decodeError = failure(KeyChannelErrorCode.decode, 'decode_error');
export const anotherVersion = failure(KeyChannelErrorCode.version, 'version');
export const unknownMessage = failure(KeyChannelErrorCode.unknownMessage, 'unknown_message');
export const unexpectedMessage = failure(KeyChannelErrorCode.unexpectedMessage, 'unexpected_message');
export const wrongDrawer = failure(KeyChannelErrorCode.wrongDrawer, 'wrong_drawer');
export const duplicateReference = failure(KeyChannelErrorCode.duplicateReference, 'duplicate_reference');
export const unknownBatch = failure(KeyChannelErrorCode.unknownBatch, 'unknown_batch');
export const selfConnection = failure(KeyChannelErrorCode.selfConnection, 'self_connection');
/** An abort is not answered. */
export const peerAbort = failure(KeyChannelErrorCode.peerAbort, undefined);
