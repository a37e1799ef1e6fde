/** What is fuzzed: every decoder of tls-ext and kdi-client, texts of users, and both state machines behind valid keys. */
import fc from 'fast-check';
import {
  decodeRequest,
  decodeResponse,
  type Etsi004Dialect,
  encodeRequest,
  encodeResponse,
  splitWhole,
} from '../../kdi-client/wire/index.ts';
import { bytesEqual, concatBytes, DecodeError } from '../../tls-ext/bytes/index.ts';
import { encodeMessage, KeyChannelError, MessageFramer } from '../../tls-ext/key-channel/index.ts';
import * as messages from '../../tls-ext/messages/index.ts';
import { TlsError } from '../../tls-ext/tls-error.ts';
import { clientIdentity, qkdPsk, type Side } from '../tls-ext/engine/engine-pair.ts';
import { againstClient, againstServer, type Tamper } from '../tls-ext/handshake/misbehaving-peer.ts';
import { anyMessage } from '../tls-ext/key-channel/any-message.ts';
import { brief, Link } from '../tls-ext/key-channel/fixtures.ts';
import * as arbitrary from '../tls-ext/messages/arbitraries.ts';
import type { Target } from './fuzz.ts';
import { isKdiError, parsers } from './texts.ts';

const points = messages.defaultCodePoints;
const body = (message: Uint8Array) => message.subarray(messages.HANDSHAKE_HEADER_BYTES);
const samples = <T>(values: fc.Arbitrary<T>, count = 12): T[] => fc.sample(values, { numRuns: count, seed: 4 });
const isTyped = (error: unknown) =>
  error instanceof DecodeError || error instanceof TlsError || error instanceof KeyChannelError || isKdiError(error);

/** What decodes must encode, and what was encoded must stay as it is. */
function codec<T, R extends T>(
  name: string,
  values: fc.Arbitrary<T>,
  encode: (value: T) => Uint8Array,
  decode: (bytes: Uint8Array) => R,
): Target {
  return {
    name,
    seeds: () => samples(values).map(encode),
    run: (input) => {
      let value: R;
      try {
        value = decode(input);
      } catch (error) {
        if (isTyped(error)) return;
        throw error;
      }
      const once = encode(value);
      if (!bytesEqual(encode(decode(once)), once)) throw new Error('decode, encode, decode changed the value');
    },
  };
}

/** Two bytes choose the message that is replaced by the rest of the input, joined to what the peer would have said. */
function tamper(input: Uint8Array): Tamper {
  const at = (input[0] ?? 0) % 6;
  const mode = (input[1] ?? 0) % 3;
  const rest = input.subarray(2);
  return (message, index) => {
    if (index !== at) return [message];
    if (mode === 0) return rest.length > 0 ? [rest] : [];
    const altered = message.slice();
    // Triples (position, position, change) edit the message that the peer really has.
    for (let i = 0; i + 2 < rest.length; i += 3) {
      const position = ((rest[i] as number) * 256 + (rest[i + 1] as number)) % altered.length;
      altered[position] = (altered[position] as number) ^ (rest[i + 2] as number);
    }
    return mode === 1 ? [altered] : [message, altered];
  };
}

/** The engine under test failed by itself: with an alert that its peer got, and not because of a bug. */
function expectAlert(own: Side, peer: Side): void {
  const { error } = own;
  if (error === undefined || error.code === 'ERR_TLS_PEER_ALERT') return;
  if (error.code === 'ERR_TLS_INTERNAL') throw error.cause ?? error;
  if (peer.error === undefined) throw new Error(`no alert for: ${error.message}`);
}

const scenarios = {
  certificates: () => ({ client: { identity: clientIdentity }, server: { requestClientCertificate: true } }),
  retry: () => ({ client: { groups: [0x11ec, 0x001d] }, server: { groups: [0x001d], cookieKey: new Uint8Array(32) } }),
  psk: () => ({
    client: { psk: qkdPsk(), qkdOffer: { offer: 'key' } as const },
    server: { qkd: true },
    serverAnswers: { psk: () => ({ action: 'use', psk: qkdPsk() }) as const },
  }),
};

const edits = [0, 1, 2, 3, 4, 5].flatMap((at) => [0, 1, 2].map((mode) => Uint8Array.of(at, mode, 0, 7, 1, 0, 40, 255)));

const machines: Target[] = Object.entries(scenarios).flatMap(([name, options]) => [
  {
    name: `client-engine-${name}`,
    seeds: () => edits,
    run: (input: Uint8Array) => {
      const pair = againstServer(tamper(input), options()).run();
      expectAlert(pair.client, pair.server);
    },
  },
  {
    name: `server-engine-${name}`,
    seeds: () => edits,
    run: (input: Uint8Array) => {
      const pair = againstClient(tamper(input), options()).run();
      expectAlert(pair.server, pair.client);
    },
  },
]);

const channelSeeds = () =>
  samples(fc.array(anyMessage, { minLength: 1, maxLength: 4 })).map((m) => concatBytes(...m.map(encodeMessage)));

/** The ends' own errors are `failed` events: whatever they throw is a finding. */
const channelEnds: Target[] = [
  {
    name: 'key-channel-answerer',
    seeds: channelSeeds,
    run: (input) => {
      const link = new Link().connect();
      brief(link.answerer.receive(link.connection, input, 0));
    },
  },
  {
    name: 'key-channel-drawer',
    seeds: channelSeeds,
    run: (input) => {
      const link = new Link().connect();
      brief(link.drawer.receive(input, 0));
    },
  },
];

const ksid = new Uint8Array(16).fill(3);
const qos = {
  keyChunkSizeBytes: 32,
  maxBps: 1,
  minBps: 0,
  jitterBps: 0,
  priority: 0,
  timeoutMs: 9,
  ttlSeconds: 9,
  metadataMimetype: 'application/json',
};
const wire004: Target[] = (['etsi', 'qubip'] as const satisfies readonly Etsi004Dialect[]).flatMap((dialect) => [
  codec(
    `etsi004-requests-${dialect}`,
    fc.constantFrom({ service: 'open-connect', source: 'qkd://a', destination: 'qkd://b', qos, ksid } as Parameters<
      typeof encodeRequest
    >[1]),
    (request) => encodeRequest(dialect, request),
    (bytes) => decodeRequest(oneFrame('requests', dialect, bytes)),
  ),
  {
    name: `etsi004-responses-${dialect}`,
    seeds: () => [encodeResponse(dialect, { service: 'close', status: 0 } as Parameters<typeof encodeResponse>[1])],
    run: (input: Uint8Array) => {
      try {
        for (const frame of splitWhole('responses', input)) decodeResponse(frame);
      } catch (error) {
        if (!isTyped(error)) throw error;
      }
    },
  },
]);

function oneFrame(direction: 'requests' | 'responses', dialect: Etsi004Dialect, bytes: Uint8Array) {
  const [frame, ...others] = splitWhole(direction, bytes);
  if (frame === undefined || others.length > 0 || frame.dialect !== dialect) throw new DecodeError('not one frame');
  return frame;
}

export const targets: readonly Target[] = [
  codec(
    'client-hello',
    arbitrary.clientHello,
    (v) => body(messages.encodeClientHello(v, points)),
    (b) => messages.decodeClientHello(b, points),
  ),
  codec(
    'server-hello',
    fc.oneof(arbitrary.serverHello, arbitrary.helloRetryRequest),
    (v) => body(messages.encodeServerHello(v)),
    messages.decodeServerHello,
  ),
  codec(
    'encrypted-extensions',
    arbitrary.encryptedExtensions,
    (v) => body(messages.encodeEncryptedExtensions(v, points)),
    (b) => messages.decodeEncryptedExtensions(b, points),
  ),
  codec(
    'certificate-request',
    arbitrary.certificateRequest,
    (v) => body(messages.encodeCertificateRequest(v)),
    (b) => messages.decodeCertificateRequest(b),
  ),
  codec(
    'certificate',
    arbitrary.certificate,
    (v) => body(messages.encodeCertificate(v)),
    (b) => messages.decodeCertificate(b),
  ),
  codec(
    'certificate-verify',
    arbitrary.certificateVerify,
    (v) => body(messages.encodeCertificateVerify(v)),
    messages.decodeCertificateVerify,
  ),
  codec(
    'new-session-ticket',
    arbitrary.newSessionTicket,
    (v) => body(messages.encodeNewSessionTicket(v)),
    messages.decodeNewSessionTicket,
  ),
  codec('key-reference', arbitrary.keyReference, messages.encodeQkdKeyReference, messages.decodeQkdKeyReference),
  codec('psk-context', arbitrary.pskContext, messages.encodeQkdPskContext, messages.decodeQkdPskContext),
  codec(
    'key-channel-messages',
    fc.array(anyMessage, { minLength: 1, maxLength: 3 }),
    (all) => concatBytes(...all.map(encodeMessage)),
    (bytes) => [...new MessageFramer().push(bytes)],
  ),
  ...wire004,
  ...parsers,
  ...channelEnds,
  ...machines,
];
