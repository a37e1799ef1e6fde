/** What no server should say: seeded changes of the messages, records and steps of handshakes that are right. */
import { bytesEqual, concatBytes, encode } from '../../tls-ext/bytes/index.ts';
import { HandshakeType } from '../../tls-ext/messages/index.ts';
import { ContentType } from '../../tls-ext/record/index.ts';
import { mutate } from '../fuzz/mutate.ts';
import { pick, type Random, seededRandom } from '../fuzz/random.ts';
import { tlsDictionary } from '../fuzz/targets/messages.ts';
import type { ScriptedPeer } from '../tls-ext/misbehaving/scripted-peer.ts';
import {
  act,
  alter,
  before,
  both,
  drop,
  type Edit,
  editExtensions,
  framed,
  inPieces,
  type RawExtension,
  repeat,
  sendMessage,
  sendPlaintext,
  sendRecord,
  sentTwice,
  swap,
  withBody,
} from '../tls-ext/misbehaving/scripts.ts';
import { type ServerScript, serverScripts } from './server-scripts.ts';

/** Every extension that some message of TLS 1.3 has, some of older versions, and one that nobody knows. */
const EXTENSION_TYPES = [
  0, 1, 5, 10, 11, 13, 16, 18, 21, 22, 23, 27, 28, 33, 35, 41, 42, 43, 44, 45, 47, 48, 49, 50, 51, 58, 0x0a0a, 0xff01,
  0xff51, 0xeeee,
] as const;
/** Handshake messages of TLS 1.3, of older versions, and one that nobody knows. */
const MESSAGE_TYPES = [0, 1, 2, 4, 5, 6, 8, 11, 12, 13, 14, 15, 16, 20, 22, 24, 67, 254, 0xe3] as const;
const CONTENT_TYPES = [0, 20, 21, 22, 23, 24, 255] as const;

const bytesOf = (random: Random, atMost: number) => Uint8Array.from({ length: random(atMost + 1) }, () => random(8));

/** A change of a message; of its extensions none, where it has none, or none that can be read any more. */
type Change = (message: Uint8Array, random: Random) => Uint8Array;

/** A change that leaves nothing as it was: shares are drawn anew for each client, and may hold by chance what is put there. */
const really =
  (change: Change): Change =>
  (bytes, random) => {
    const changed = change(bytes, random);
    if (bytes.length === 0 || !bytesEqual(changed, bytes)) return changed;
    return Uint8Array.of(...bytes.subarray(0, -1), (bytes.at(-1) as number) ^ 1);
  };

/**
 * A change of a whole message that is the same for both clients. CertificateVerify and Finished get other bytes first in
 * place of signature and MAC, which are drawn anew for each client, and looked at where lengths around a change are mended.
 */
const ofMessage =
  (change: Change): Change =>
  (message, random) => {
    const drawnFrom = DRAWN_FROM.get(message[0] as number);
    return really(change)(drawnFrom === undefined ? message : message.slice().fill(0x5a, drawnFrom), random);
  };

const DRAWN_FROM: ReadonlyMap<number, number> = new Map([
  [HandshakeType.certificateVerify, 4 + 4],
  [HandshakeType.finished, 4],
]);

const onExtensions =
  (change: (list: readonly RawExtension[], random: Random) => readonly RawExtension[]): Change =>
  (message, random) => {
    try {
      return editExtensions(message, (list) => change(list, random));
    } catch {
      return message;
    }
  };

const onOne =
  (change: (data: Uint8Array, random: Random) => Uint8Array) => (list: readonly RawExtension[], random: Random) => {
    const at = random(Math.max(list.length, 1));
    return list.map((one, i) => (i === at ? { ...one, data: change(one.data, random) } : one));
  };

/** What may be done to a message, by what a report calls it. */
const extensionChanges: Readonly<Record<string, Change>> = {
  'without an extension': onExtensions((list, random) => list.filter((_, i) => i !== random(list.length))),
  'with an extension twice': onExtensions((list, random) => [
    ...list,
    ...list.slice(random(list.length + 1)).slice(0, 1),
  ]),
  'with its extensions in reverse': onExtensions((list) => [...list].reverse()),
  'with an extension more': onExtensions((list, random) => [
    ...list,
    { type: pick(random, EXTENSION_TYPES), data: bytesOf(random, 8) },
  ]),
  'with an empty extension more': onExtensions((list, random) => [
    { type: pick(random, EXTENSION_TYPES), data: new Uint8Array(0) },
    ...list,
  ]),
  'with other content in an extension': onExtensions(
    onOne(really((data, random) => mutate(data, random, data, tlsDictionary).subarray(0, 2_000))),
  ),
  'with less of an extension': onExtensions(onOne((data, random) => data.subarray(0, random(data.length + 1)))),
  'with more of an extension': onExtensions(onOne((data, random) => concatBytes(data, Uint8Array.of(random(256))))),
  'with an extension of another type': onExtensions((list, random) => {
    const at = random(Math.max(list.length, 1));
    return list.map((one, i) => (i === at ? { ...one, type: pick(random, EXTENSION_TYPES) } : one));
  }),
};

const messageChanges: Readonly<Record<string, Change>> = {
  'with a bit changed': (message, random) => {
    const body = message.slice(4);
    const at = random(body.length);
    if (body.length > 0) body[at] = (body[at] as number) ^ (1 << random(8));
    return withBody(message, body);
  },
  // The fields that stand before extensions, and the lengths.
  'with another field': ofMessage((message, random) => {
    const body = message.slice(4);
    const at = pick(random, [0, 1, 2, 3, 4, 33, 34, 35, 67, 68, 69, 70, 71]);
    if (at < body.length) body[at] = pick(random, [0, 1, 2, 3, 4, 0x7f, 0x80, 0xff]);
    return withBody(message, body);
  }),
  'cut short': (message, random) => withBody(message, message.subarray(4, 4 + random(Math.max(message.length - 4, 1)))),
  'with bytes behind it': (message, random) => withBody(message, concatBytes(message.subarray(4), bytesOf(random, 4))),
  'with another body': ofMessage((message, random) =>
    withBody(message, mutate(message.subarray(4), random, message, tlsDictionary).subarray(0, 12_000)),
  ),
  'with other bytes': ofMessage((message, random) => mutate(message, random, message, tlsDictionary).slice(0, 12_000)),
  'of another type': (message, random) => Uint8Array.of(pick(random, MESSAGE_TYPES), ...message.subarray(1)),
};

/** A message of any type, right or not, where it does not belong. */
function strayMessage(random: Random): Uint8Array {
  const type = pick(random, MESSAGE_TYPES);
  const body = pick(random, [[], [0], [1], [0, 0], [0, 0, 0, 0], [4, 3, 0, 0]]);
  return encode((writer) => writer.u8(type).vector(3, Uint8Array.from(body)));
}

const recordIn = (peer: ScriptedPeer, message: Uint8Array, type: number = ContentType.handshake, zeros = 0) =>
  peer.record(type, message, zeros);
const changeCipherSpec = (...content: number[]) =>
  sendPlaintext(ContentType.changeCipherSpec, Uint8Array.from(content));

/** A change of a script: something is done to the step of this name. */
type StepChange = (name: string, random: Random, names: readonly string[]) => Edit;

/** How a message lies in records, and what lies before it. */
const recordChanges: Readonly<Record<string, StepChange>> = {
  'in two records': (name, random) => inPieces(name, random(60)),
  'in small records': (name, random) => inPieces(name, 1 + random(3), 1 + random(3), random(9)),
  'with padding': (name, random) => framed(name, (message, peer) => recordIn(peer, message, undefined, random(300))),
  'in a record of another type': (name, random) =>
    framed(name, (message, peer) => recordIn(peer, message, pick(random, CONTENT_TYPES))),
  'in a plaintext record': (name) => framed(name, (message, peer) => peer.plaintext(ContentType.handshake, message)),
  'in a plaintext record of another type and version': (name, random) =>
    framed(name, (message, peer) =>
      peer.plaintext(pick(random, CONTENT_TYPES), message, pick(random, [0x0300, 0x0301, 0x0304])),
    ),
  'with a message behind it in its record': (name, random) =>
    framed(name, (message, peer) => recordIn(peer, concatBytes(message, strayMessage(random)))),
  'with part of a message behind it in its record': (name, random) =>
    framed(name, (message, peer) => recordIn(peer, concatBytes(message, bytesOf(random, 3)))),
  'on the wire twice': (name) => sentTwice(name),
  'behind another record': (name, random) => before(name, sendRecord(pick(random, CONTENT_TYPES), bytesOf(random, 3))),
  'behind an empty record': (name, random) =>
    before(name, sendRecord(pick(random, CONTENT_TYPES), new Uint8Array(0), random(3))),
  'behind a plaintext record': (name, random) =>
    before(name, sendPlaintext(pick(random, CONTENT_TYPES), bytesOf(random, 3))),
  'behind change_cipher_spec': (name, random) =>
    before(name, ...new Array(1 + random(2)).fill(changeCipherSpec(random(8) > 0 ? 1 : 2))),
  'behind an alert': (name, random) =>
    before(
      name,
      sendRecord(ContentType.alert, Uint8Array.of(1 + random(2), pick(random, [0, 10, 40, 42, 90, 100, 112]))),
    ),
  'behind a large record': (name, random) =>
    before(name, sendRecord(pick(random, [22, 23]), new Uint8Array(2 ** 14 + pick(random, [-1, 0, 1, 200])))),
  'behind bytes that are no record': (name, random) =>
    before(
      name,
      act('bytes', (peer) => peer.raw(bytesOf(random, 40))),
    ),
};

/** Steps left out, done twice, done in another order, and ones of which there should be none. */
const stepChanges: Readonly<Record<string, StepChange>> = {
  'left out': (name) => drop(name),
  'sent again': (name) => repeat(name),
  'in another place': (name, random, names) => swap(name, pick(random, names)),
  'behind another message': (name, random) => before(name, sendMessage(strayMessage(random))),
};

interface NamedEdit {
  readonly what: string;
  readonly edit: Edit;
}

function someChange(random: Random, names: readonly string[]): NamedEdit {
  const name = pick(random, names);
  const named = <T>(changes: Readonly<Record<string, T>>, editOf: (change: T) => Edit): NamedEdit => {
    const [how, change] = pick(random, Object.entries(changes));
    return { what: `${name} ${how}`, edit: editOf(change) };
  };
  const altered = (change: Change): Edit => alter(name, (message) => change(message, random));
  const which = random(16);
  if (which < 6) return named(extensionChanges, altered);
  if (which < 11) return named(messageChanges, altered);
  return named(which < 14 ? recordChanges : stepChanges, (change) => change(name, random, names));
}

/** A script, and what was done to it. */
export interface ChangedServer extends ServerScript {
  readonly changes: string;
}

/**
 * The case of this number: always the same handshake with the same changes. A run of the script draws from the case's
 * generator, so each client needs a case of its own.
 */
export function changedServer(number: number): ChangedServer {
  const random = seededRandom(number);
  const { psk, script } = pick(random, serverScripts);
  const names = script.flatMap((step) => (step.kind === 'send' ? [step.name] : []));
  const edits = Array.from({ length: 1 + random(2) }, () => someChange(random, names));
  const changed = (done: readonly NamedEdit[]): ChangedServer => ({
    psk,
    script: both(...done.map(({ edit }) => edit))(script),
    changes: done.map(({ what }) => what).join(', '),
  });
  try {
    return changed(edits);
  } catch {
    // The second change was for a step that the first took out.
    return changed(edits.slice(0, 1));
  }
}
