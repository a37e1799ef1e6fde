/** ClientHellos that nobody should send: seeded changes of real ones, ours and OpenSSL's, as bytes on the wire. */
import { Duplex } from 'node:stream';
import { connect } from 'node:tls';
import { concatBytes, utf8 } from '../../tls-ext/bytes/index.ts';
import { createClientEngine, signatureSchemes } from '../../tls-ext/index.ts';
import { mutate } from '../fuzz/mutate.ts';
import { pick, type Random, seededRandom } from '../fuzz/random.ts';
import { tlsDictionary } from '../fuzz/targets/messages.ts';
import { editExtensions, type RawExtension, withBody } from '../tls-ext/misbehaving/scripts.ts';
import { plaintextRecord } from '../tls-ext/record/record-fixtures.ts';
import { ALPN } from './credentials.ts';

const RECORD_HEADER_BYTES = 5;

/** Random that is the same in every run. */
const fixedRandom = (length: number) => Uint8Array.from({ length }, (_, i) => (i * 37 + length) & 0xff);

function ourHello(options: { groups?: number[]; alpn?: string[]; grease?: boolean; serverName?: string }): Uint8Array {
  const [event] = createClientEngine({
    random: fixedRandom,
    groups: options.groups ?? [0x001d, 0x0017],
    cipherSuites: [0x1302, 0x1301, 0x1303],
    signatureSchemes: signatureSchemes.map(({ codePoint }) => codePoint),
    auth: 'certificate',
    grease: options.grease ?? false,
    ...(options.alpn === undefined ? {} : { alpnProtocols: options.alpn }),
    ...(options.serverName === undefined ? {} : { serverName: options.serverName }),
  }).start();
  if (event?.type !== 'write') throw new Error('no ClientHello');
  return event.bytes.slice(RECORD_HEADER_BYTES);
}

async function opensslHello(): Promise<Uint8Array> {
  return new Promise((resolve) => {
    const transport = new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, done) {
        resolve(Uint8Array.from(chunk.subarray(RECORD_HEADER_BYTES)));
        done();
      },
    });
    const socket = connect({ socket: transport, servername: 'server.example', ALPNProtocols: [ALPN] });
    socket.on('error', () => {});
    setImmediate(() => socket.destroy());
  });
}

/** Handshake messages, without records. */
export const seeds: readonly Uint8Array[] = [
  ourHello({ serverName: 'server.example', alpn: [ALPN] }),
  ourHello({ grease: true, groups: [0x0017, 0x001d], alpn: ['other', ALPN] }),
  ourHello({ groups: [0x0018, 0x001d], serverName: 'a.b' }),
  ourHello({}),
  await opensslHello(),
];

type Change = (message: Uint8Array, random: Random, other: Uint8Array) => Uint8Array;

const shuffled = <T>(list: readonly T[], random: Random): T[] => {
  const result = [...list];
  for (let i = result.length - 1; i > 0; i--) {
    const j = random(i + 1);
    [result[i], result[j]] = [result[j] as T, result[i] as T];
  }
  return result;
};

const onExtensions =
  (change: (list: readonly RawExtension[], random: Random) => readonly RawExtension[]): Change =>
  (message, random) =>
    editExtensions(message, (list) => change(list, random));

const someType = (random: Random) =>
  pick(random, [0, 5, 10, 13, 16, 23, 33, 41, 42, 43, 44, 45, 49, 50, 51, 0x0a0a, 0xff01, random(0x10000)]);
const someBytes = (random: Random) => Uint8Array.from({ length: random(12) }, () => random(8));

const changes: readonly Change[] = [
  onExtensions((list, random) => list.filter((_, i) => i !== random(list.length))),
  onExtensions((list, random) => [...list, list[random(list.length)] ?? { type: 0, data: utf8('') }]),
  onExtensions((list, random) => shuffled(list, random)),
  onExtensions((list, random) => [...list, { type: someType(random), data: someBytes(random) }]),
  onExtensions((list, random) => [{ type: someType(random), data: someBytes(random) }, ...list]),
  onExtensions((list, random) => {
    const at = random(list.length);
    return list.map((one, i) =>
      i === at ? { ...one, data: mutate(one.data, random, one.data, tlsDictionary).subarray(0, 2_000) } : one,
    );
  }),
  onExtensions((list, random) => {
    const at = random(list.length);
    return list.map((one, i) => (i === at ? { ...one, data: one.data.subarray(0, random(one.data.length + 1)) } : one));
  }),
  onExtensions((list, random) => {
    const at = random(list.length);
    return list.map((one, i) => (i === at ? { ...one, data: concatBytes(one.data, Uint8Array.of(random(256))) } : one));
  }),
  // The fields before the extensions: legacy_version, session ID, cipher suites, compression methods.
  (message, random) => {
    const body = message.slice(4);
    const at = random(2) === 0 ? random(2) : 34 + random(50);
    if (at < body.length) body[at] = (body[at] as number) ^ (1 << random(8));
    return withBody(message, body);
  },
  (message, random, other) =>
    withBody(message, mutate(message.subarray(4), random, other, tlsDictionary).subarray(0, 20_000)),
  (message, random) => withBody(message, message.subarray(4, 4 + random(message.length - 4))),
  (message, random) => withBody(message, concatBytes(message.subarray(4), someBytes(random))),
  (message, random, other) => mutate(message, random, other, tlsDictionary).slice(0, 20_000),
];

/** How the message lies in records. */
const framings: readonly ((message: Uint8Array, random: Random) => Uint8Array)[] = [
  (message) => plaintextRecord(22, message, 0x0301),
  (message) => plaintextRecord(22, message, 0x0301),
  (message) => plaintextRecord(22, message, 0x0303),
  (message, random) => {
    const at = 1 + random(Math.max(message.length - 1, 1));
    return concatBytes(
      plaintextRecord(22, message.subarray(0, at), 0x0301),
      plaintextRecord(22, message.subarray(at), 0x0301),
    );
  },
  (message, random) =>
    plaintextRecord(
      pick(random, [20, 21, 22, 23, 24, 0]),
      message,
      pick(random, [0x0300, 0x0301, 0x0304, 0x0403, 0x0503]),
    ),
  (message, random) => mutate(plaintextRecord(22, message, 0x0301), random, message),
];

/** The case of this number: always the same bytes. */
export function changedHello(number: number): Uint8Array {
  const random = seededRandom(number);
  let message = pick(random, seeds);
  for (let left = 1 + random(2); left > 0; left--) {
    try {
      message = pick(random, changes)(message, random, pick(random, seeds));
    } catch {
      // Extensions of what is no ClientHello any more.
    }
  }
  // Mostly in plain order: it is the message that is asked about.
  return (random(4) > 0 ? framings[0] : pick(random, framings))?.(message.subarray(0, 2 ** 14), random) as Uint8Array;
}
