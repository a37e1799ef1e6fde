/** Sessions of the key channel, each over a TLS connection of its own. */
import { expect } from 'chai';
import { fromHex } from '../../../tls-ext/bytes/index.ts';
import {
  type AnswererEvent,
  CipherSuite,
  type DrawerEvent,
  encodeQkdKeyReference,
  KeyChannelAnswerer,
  KeyChannelDrawer,
  type KeyStreamQos,
  type QkdKeyReference,
  SecretBytes,
} from '../../../tls-ext/index.ts';
import type { EnginePair } from '../engine/engine-pair.ts';
import { ANSWERER, type ConnectionRecorder, DRAWER, fixedBytes, type Scenario } from './connection-recorder.ts';
import { close } from './connection-scenarios.ts';
import { expectEpoch, Rekeys, request } from './session.ts';

const NOW_MS = 0;
const TTL_MS = 3_600_000;

const qos: KeyStreamQos = {
  keyChunkSizeBytes: 64,
  maxBps: 40_000,
  minBps: 4_000,
  jitterBps: 0,
  priority: 1,
  timeoutMs: 5_000,
  ttlSeconds: 3_600,
  metadataMimetype: 'application/json',
};

interface ChannelKey {
  readonly reference: QkdKeyReference;
  readonly drawn: Uint8Array;
  readonly fetched: Uint8Array;
}

interface Ends {
  readonly drawer: KeyChannelDrawer;
  readonly answerer: KeyChannelAnswerer;
}

function newEnds(answererQuota = 100): Ends {
  const drawer = new KeyChannelDrawer({
    ownSae: DRAWER,
    peerSae: ANSWERER,
    instance: fixedBytes('drawer instance', 16),
    quota: 100,
    kmeName: 'kme-a',
    services: [{ service: 'db', require: 'qkd-or-pqc' }],
  });
  const answerer = new KeyChannelAnswerer({
    ownSae: ANSWERER,
    peerSae: DRAWER,
    instance: fixedBytes('answerer instance', 16),
    quota: answererQuota,
    kmeName: 'kme-b',
  });
  return { drawer, answerer };
}

/** Drawer and answerer at the ends of a pair of engines. What they say goes through records. */
class Session {
  readonly drawer: KeyChannelDrawer;
  readonly answerer: KeyChannelAnswerer;
  readonly #pair: EnginePair;
  readonly #recorder: ConnectionRecorder;
  readonly #connection: number;
  #keys = 0;

  constructor(pair: EnginePair, recorder: ConnectionRecorder, ends = newEnds(), connection = 1) {
    this.#pair = pair;
    this.#recorder = recorder;
    this.drawer = ends.drawer;
    this.answerer = ends.answerer;
    this.#connection = connection;
  }

  /** Hello of both, and what they say next by themselves. `known`: keys of an earlier connection, which become inputs. */
  greet(...known: readonly ChannelKey[]): this {
    for (const key of known) this.#show(key);
    this.tell([
      ...this.drawer.connected(),
      ...this.answerer.connected(this.#connection, [{ service: 'db', require: 'qkd' }]),
    ]);
    return this;
  }

  /** The connection is lost. */
  cut(): void {
    this.drawer.disconnected();
    this.answerer.disconnected(this.#connection, NOW_MS);
  }

  /** Sends what an end has to say, and lets the two talk until both are silent. */
  tell(events: readonly (DrawerEvent | AnswererEvent)[]): void {
    for (const event of events) {
      if (event.type === 'write') this.send('connection' in event ? 'server' : 'client', event.bytes);
    }
  }

  send(from: 'client' | 'server', bytes: Uint8Array): void {
    const { client, server } = this.#pair;
    const [sender, receiver] = from === 'client' ? [client, server] : [server, client];
    receiver.received = [];
    sender.take(sender.engine.send(bytes));
    this.#pair.deliver();
    const received = Uint8Array.from(receiver.received);
    this.tell(
      from === 'client'
        ? this.answerer.receive(this.#connection, received, NOW_MS)
        : this.drawer.receive(received, NOW_MS),
    );
  }

  /** A key that the KMEs have under one reference; `other`: two different ones. */
  key(reference: QkdKeyReference, other = false): ChannelKey {
    const name = `key_${this.#keys + 1}`;
    const drawn = fixedBytes(`${name} ${encodeQkdKeyReference(reference).join()}`, 32);
    return this.#show({ reference, drawn, fetched: other ? fixedBytes(`${name} other`, 32) : drawn });
  }

  #show(key: ChannelKey): ChannelKey {
    const { reference, drawn, fetched } = key;
    const name = `key_${++this.#keys}`;
    this.#recorder.input(`${name}_reference`, encodeQkdKeyReference(reference));
    this.#recorder.input(`${name}_channel_key`, drawn);
    if (fetched !== drawn) this.#recorder.input(`${name}_answerer_channel_key`, fetched);
    return key;
  }

  announce(...keys: readonly ChannelKey[]): void {
    const announced = keys.map(({ reference, drawn }) => ({ reference, secret: SecretBytes.copyOf(drawn) }));
    this.tell(this.drawer.announce(announced, TTL_MS, NOW_MS));
  }

  fetch({ reference, fetched }: ChannelKey): void {
    this.tell(this.answerer.provideKey(reference, SecretBytes.copyOf(fetched)));
  }
}

const CUT = 'cut';

function session(
  name: string,
  description: string,
  run: (pair: EnginePair, recorder: ConnectionRecorder) => void,
): Scenario {
  return {
    name: `channel-${name}`,
    description,
    cipherSuite: CipherSuite.aes256GcmSha384,
    certificates: 'used',
    options: () => ({
      client: { alpnProtocols: ['qstunnel-key/1'] },
      server: { alpnProtocols: ['qstunnel-key/1'] },
      serverAnswers: { psk: () => ({ action: 'continue', result: 'unavailable' }) },
    }),
    afterHandshake: (pair, recorder) => {
      expect(pair.client.summary?.alpnProtocol).to.equal('qstunnel-key/1');
      run(pair, recorder);
      if (name !== CUT) close(pair);
    },
  };
}

const ksid = fixedBytes('channel ksid', 16);
const reference004 = (index: number, slice: number): QkdKeyReference => ({
  api: 'etsi004',
  drawer: DRAWER,
  ksid,
  index,
  slice,
});
const reference014 = (number: number): QkdKeyReference => ({
  api: 'etsi014',
  drawer: DRAWER,
  keyId: fixedBytes(`channel 014 ${number}`, 16),
});
const referenceSkip = (number: number): QkdKeyReference => ({
  api: 'skip',
  drawer: DRAWER,
  keyId: fixedBytes(`channel skip ${number}`, 20),
});

function openStream(s: Session): void {
  s.tell(s.drawer.openStream(ksid, qos));
  s.tell(s.answerer.streamFailed(ksid, 'kme_unreachable', true));
  s.tell(s.answerer.streamOpened(ksid, qos.keyChunkSizeBytes));
}

/** A connection that is lost, and the next one of the same two processes. In this order. */
function reconnectScenarios(): readonly Scenario[] {
  const ends = newEnds();
  let left: readonly ChannelKey[] = [];
  return [
    session(
      CUT,
      'Four keys of a stream are announced: the first two are acked, the third is pending, the fourth not answered for. Then the connection is lost, without close_notify.',
      (pair, recorder) => {
        const s = new Session(pair, recorder, ends).greet();
        openStream(s);
        const chunks = [0, 1].map((index) => [s.key(reference004(index, 0)), s.key(reference004(index, 1))] as const);
        for (const chunk of chunks) s.announce(...chunk);
        const [first, second, third, fourth] = chunks.flat() as [ChannelKey, ChannelKey, ChannelKey, ChannelKey];
        s.fetch(first);
        s.fetch(second);
        s.tell(s.answerer.reportPending(third.reference));
        s.cut();
        s.drawer.keyUsed(first.reference);
        s.answerer.keyEnded(first.reference);
        left = [second, third, fourth];
      },
    ),
    session(
      'reconnected',
      'The channel of channel-cut is back, with the same instances. Meanwhile its first key was used by a handshake, the fourth fetched by the answerer, and a fifth drawn. What is left is announced again in one batch: the first of it, acked before, stands before keys that the answerer has seen. Acked, pending, acked; then the fifth; then what was pending.',
      (pair, recorder) => {
        const [, third, fourth] = left as [ChannelKey, ChannelKey, ChannelKey];
        ends.answerer.provideKey(fourth.reference, SecretBytes.copyOf(fourth.fetched));
        const drawn = fixedBytes('channel key while cut', 32);
        const fifth = { reference: reference004(2, 0), drawn, fetched: drawn };
        ends.drawer.announce([{ reference: fifth.reference, secret: SecretBytes.copyOf(drawn) }], TTL_MS, NOW_MS);
        const s = new Session(pair, recorder, ends, 2).greet(...left, fifth);
        s.fetch(fifth);
        s.fetch(third);
      },
    ),
  ];
}

/** A channel that is rekeyed like any other connection (section 8.2). */
function rekeyedChannel(): Scenario {
  let rekeys: Rekeys;
  const scenario = session(
    'rekeyed',
    'A channel whose drawer sends qkd_psk with none, policy and the feature bit. A key of GS QKD 014 is announced and acked; then the channel itself is rekeyed (1: used, SKIP), with a key that was agreed on a connection before this one; a second key is announced and acked under the new keys.',
    (pair, recorder) => {
      const s = new Session(pair, recorder).greet();
      const [first, second] = [s.key(reference014(6)), s.key(reference014(7))];
      s.announce(first);
      s.fetch(first);
      const key = rekeys.key(referenceSkip(3));
      rekeys.serverKey = key();
      request(pair, key());
      expectEpoch(pair, 1);
      s.announce(second);
      s.fetch(second);
    },
  );
  return {
    ...scenario,
    options: (recorder) => {
      rekeys = new Rekeys(recorder);
      const { client, server, serverAnswers } = scenario.options(recorder);
      return {
        client: { ...client, offerRekey: true, qkdOffer: { offer: 'none', reason: 'policy' } },
        server: { ...server, offerRekey: true },
        serverAnswers: { ...serverAnswers, rekeyKey: () => rekeys.serverKey },
      };
    },
  };
}

export function channelScenarios(): readonly Scenario[] {
  return [...sessions, rekeyedChannel(), ...reconnectScenarios()];
}

const sessions: readonly Scenario[] = [
  session(
    'etsi004',
    'A stream is asked for, delayed and opened; a chunk of two keys and one of one are announced. The first key is acked at once, the second pending and acked later, the third unavailable. The first is dropped unused; the stream is closed.',
    (pair, recorder) => {
      const s = new Session(pair, recorder).greet();
      s.tell(s.drawer.setState({ kmeReachable: true, kmeName: 'kme-a', poolKeys: 2, reasons: ['stream_opening'] }));
      openStream(s);
      const [first, second, third] = [s.key(reference004(0, 0)), s.key(reference004(0, 1)), s.key(reference004(1, 0))];
      s.announce(first, second);
      s.announce(third);
      s.fetch(first);
      s.tell(s.answerer.reportPending(second.reference));
      s.fetch(second);
      s.tell(s.answerer.reportNotFound(third.reference));
      s.tell(s.drawer.keyDropped(first.reference));
      s.tell(s.drawer.endStream(ksid));
    },
  ),
  session(
    'etsi014-skip',
    'Batches of GS QKD 014 and of SKIP, and an answerer with a quota of 3. The third batch comes when the drawer has used a key of which the answerer does not know yet: over_quota.',
    (pair, recorder) => {
      const s = new Session(pair, recorder, newEnds(3)).greet();
      const batch = [s.key(reference014(1)), s.key(reference014(2))];
      s.announce(...batch);
      for (const key of batch) s.fetch(key);
      const skip = s.key(referenceSkip(1));
      s.announce(skip);
      s.fetch(skip);
      s.tell(s.drawer.keyUsed(reference014(1)));
      s.announce(s.key(referenceSkip(2)));
    },
  ),
  session(
    'mismatch',
    'The KMEs deliver different keys for the second reference: mismatch, and the drawer closes the stream with that reason. State messages name both KMEs.',
    (pair, recorder) => {
      const s = new Session(pair, recorder).greet();
      openStream(s);
      const keys = [s.key(reference004(0, 0)), s.key(reference004(0, 1), true)] as const;
      s.announce(...keys);
      for (const key of keys) s.fetch(key);
      const state = { kmeReachable: true, poolKeys: 0, reasons: ['key_mismatch'] } as const;
      s.tell(s.drawer.setState({ ...state, kmeName: 'kme-a' }));
      s.tell(s.answerer.setState({ ...state, kmeName: 'kme-b' }));
    },
  ),
  session(
    'mismatch-batch',
    'A batch of three keys of GS QKD 014, of which the second differs: one is acked, the next a mismatch. The drawer drops what lives of the batch, with that reason; of the third no result comes any more.',
    (pair, recorder) => {
      const s = new Session(pair, recorder).greet();
      const keys = [s.key(reference014(3)), s.key(reference014(4), true), s.key(reference014(5))] as const;
      s.announce(...keys);
      for (const key of keys) s.fetch(key);
    },
  ),
  session(
    'abort',
    'A message of type 99, which nobody knows: the answerer says unknown_message and closes.',
    (pair, recorder) => {
      const s = new Session(pair, recorder).greet();
      s.send('client', fromHex('63000000'));
    },
  ),
];
