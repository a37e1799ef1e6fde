/**
 * What the inputs of engine targets mean: edits of the script of a peer that has the right keys, then acts of either
 * end after the handshake. Whatever an edit does, later messages of the peer are right for what it really sent.
 */
import { concatBytes } from '../../../tls-ext/bytes/index.ts';
import { encodeKeyUpdate, encodeRekeyWanted } from '../../../tls-ext/messages/index.ts';
import type { Side } from '../../tls-ext/engine/engine-pair.ts';
import { rekeyKey } from '../../tls-ext/engine/rekey-pair.ts';
import type { Role, ScriptedPeer } from '../../tls-ext/misbehaving/scripted-peer.ts';
import * as edit from '../../tls-ext/misbehaving/scripts.ts';
import { spliceMended } from '../mutate.ts';
import type { Operation } from '../program.ts';
import type { RekeyingPeer } from './rekeying-peer.ts';

/** Edits come first: their argument says which message of the peer, and by its high bit whether the binder covers the change. */
export const Edit = {
  xor: 0,
  splice: 1,
  setExtension: 2,
  removeExtension: 3,
  repeatExtension: 4,
  drop: 5,
  repeat: 6,
  body: 7,
  message: 8,
  record: 9,
  inner: 10,
  plaintext: 11,
  pieces: 12,
  raw: 13,
  coalesce: 14,
  swap: 15,
} as const;

/** Acts after the script. */
export const Act = {
  message: 16,
  record: 17,
  inner: 18,
  keyUpdate: 19,
  send: 20,
  closeWrite: 21,
  receiveEnd: 22,
  raw: 23,
  exporter: 24,
  /** The size of the pieces that the peer's bytes come in, from the beginning. */
  pieces: 25,
  /** Rekeying: of the peer that is a client, of the peer that is a server … */
  request: 26,
  wanted: 27,
  /** … of the engine's owner … */
  rekey: 28,
  want: 29,
  lateKey: 30,
  ticket: 31,
  /** … and what is changed of the peer's next message of a rekey. */
  change: 32,
} as const;
export const KINDS = 33;
const LATE = 0x80;

/** Edits by operation; what does not apply is left out. */
export function edited(script: edit.Script, operations: readonly Operation[]): edit.Script {
  let result = script;
  for (const operation of operations) {
    const sends = result.filter(({ kind }) => kind === 'send');
    const at = (operation.argument & ~LATE) % Math.max(sends.length, 1);
    const name = sends[at]?.name;
    if (name === undefined) continue;
    try {
      result = editOf(operation, name, sends[at + 1]?.name)?.(result) ?? result;
    } catch {
      // The second edit of a message that the first one dropped.
    }
  }
  return result;
}

function editOf({ kind, argument, payload }: Operation, name: string, next: string | undefined) {
  const change = (alter: (message: Uint8Array) => Uint8Array) => {
    const careful = (message: Uint8Array) => {
      try {
        return alter(message);
      } catch {
        return message;
      }
    };
    return (argument & LATE) === 0 ? edit.alter(name, careful) : edit.corrupt(name, careful);
  };
  const type = ((payload[0] ?? 0) << 8) | (payload[1] ?? 0);
  switch (kind) {
    case Edit.xor:
      return change((message) => xored(message, payload));
    case Edit.splice:
      return change((message) => spliced(message, payload));
    case Edit.setExtension: {
      const added = { type, data: payload.subarray(2) };
      return change((message) =>
        edit.editExtensions(message, (list) =>
          list.some((one) => one.type === type)
            ? list.map((one) => (one.type === type ? added : one))
            : [added, ...list],
        ),
      );
    }
    case Edit.removeExtension:
      return change((message) => edit.editExtensions(message, (list) => list.filter((one) => one.type !== type)));
    case Edit.repeatExtension:
      return change((message) =>
        edit.editExtensions(message, (list) => list.flatMap((one) => (one.type === type ? [one, one] : [one]))),
      );
    case Edit.drop:
      return edit.drop(name);
    case Edit.repeat:
      return edit.sentTwice(name);
    case Edit.body:
      return edit.alterBody(name, () => payload);
    case Edit.message:
      return edit.before(name, edit.sendMessage(messageOf(payload)));
    case Edit.record:
      return edit.before(name, edit.sendRecord(payload[0] ?? 0, payload.subarray(1)));
    case Edit.inner:
      return edit.before(
        name,
        edit.act('inner', (peer) => peer.seal(payload)),
      );
    case Edit.plaintext:
      return edit.before(name, edit.sendPlaintext(payload[0] ?? 0, payload.subarray(1)));
    case Edit.pieces:
      return edit.inPieces(name, ...payload.subarray(0, 32));
    case Edit.raw:
      return edit.before(
        name,
        edit.act('raw', (peer) => peer.raw(payload)),
      );
    case Edit.coalesce:
      return edit.framed(name, (message, peer) => peer.record(22, concatBytes(message, payload)));
    case Edit.swap:
      return next === undefined ? undefined : edit.swap(name, next);
    default:
      return undefined;
  }
}

/** An act of the peer; throws if it has no keys for it. `rekeying` is made when it is first needed. */
export function actOfPeer(
  { kind, argument, payload }: Operation,
  peer: ScriptedPeer,
  rekeying: () => RekeyingPeer,
): void {
  switch (kind) {
    case Act.request:
      rekeying().request(argument === 0 ? undefined : argument);
      return;
    case Act.wanted:
      peer.send(encodeRekeyWanted());
      return;
    case Act.change:
      rekeying().change = (message) => (argument % 2 === 0 ? xored(message, payload) : spliced(message, payload));
      return;
    case Act.message:
      peer.send(messageOf(payload));
      return;
    case Act.record:
      peer.record(argument, payload, (payload[0] ?? 0) % 32);
      return;
    case Act.inner:
      peer.seal(payload);
      return;
    case Act.keyUpdate:
      peer.send(encodeKeyUpdate(argument % 2 === 0 ? 0 : 1));
      peer.updateSendingKeys();
      return;
    case Act.raw:
      peer.raw(payload);
      return;
    default:
  }
}

/** What the engine's owner has yet to do. */
export interface Owner {
  /** Index of a key that was asked for and did not come. */
  lateKey: number | undefined;
}

/** An act of whoever owns the engine; left out where it would be misuse. */
export function actOfEngine({ kind, argument, payload }: Operation, role: Role, side: Side, owner: Owner): void {
  const open = side.summary !== undefined && side.error === undefined;
  switch (kind) {
    case Act.rekey:
      if (open && role === 'client' && side.engine.rekeyPossible) {
        side.take(side.engine.rekey(argument === 0 ? undefined : rekeyKey(argument)));
      }
      return;
    case Act.want:
      if (open && role === 'server' && side.summary?.rekey) side.take(side.engine.wantRekey());
      return;
    case Act.lateKey: {
      const { lateKey } = owner;
      owner.lateKey = undefined;
      if (open && lateKey !== undefined) side.take(side.engine.provideRekeyKey(rekeyKey(lateKey)));
      return;
    }
    case Act.ticket: {
      if (!open || role !== 'server' || !side.summary?.tickets) return;
      const issued = side.engine.issueTicket({ handle: new Uint8Array(16).fill(argument), lifetimeSeconds: 60 });
      side.take(issued?.events ?? []);
      return;
    }
    case Act.send:
      if (open && !closedWrites.has(side)) side.take(side.engine.send(payload));
      return;
    case Act.closeWrite:
      if (side.error === undefined) side.take(side.engine.closeWrite());
      closedWrites.add(side);
      return;
    case Act.receiveEnd:
      side.take(side.engine.receiveEnd());
      return;
    case Act.exporter:
      if (open) side.engine.exportKeyingMaterial('EXPORTER-fuzz', payload, 1 + argument);
      return;
    default:
  }
}

/** Sides whose engine was told to close: it sends no alert after close_notify. */
export const closedWrites = new WeakSet<Side>();

/** Type, then the body. */
function messageOf(payload: Uint8Array): Uint8Array {
  return edit.withBody(Uint8Array.of(payload[0] ?? 0), payload.subarray(1));
}

/** Triples of position and change. */
function xored(message: Uint8Array, payload: Uint8Array): Uint8Array {
  const result = message.slice();
  for (let i = 0; i + 2 < payload.length && result.length > 0; i += 3) {
    const at = ((payload[i] as number) * 256 + (payload[i + 1] as number)) % result.length;
    result[at] = (result[at] as number) ^ (payload[i + 2] as number);
  }
  return result;
}

/** Position, how many bytes go, and what comes instead; the lengths around it follow. */
function spliced(message: Uint8Array, payload: Uint8Array): Uint8Array {
  const at = (((payload[0] ?? 0) << 8) | (payload[1] ?? 0)) % (message.length + 1);
  const removed = Math.min(payload[2] ?? 0, message.length - at);
  return spliceMended(message, at, removed, payload.subarray(3));
}
