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

const CONNECTION = 1;
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

/** Drawer and answerer at the ends of a pair of engines. What they say goes through records. */
class Session {
  readonly drawer: KeyChannelDrawer;
  readonly answerer: KeyChannelAnswerer;
  readonly #pair: EnginePair;
  readonly #recorder: ConnectionRecorder;
  #keys = 0;

  constructor(pair: EnginePair, recorder: ConnectionRecorder, answererQuota = 100) {
    this.#pair = pair;
    this.#recorder = recorder;
    this.drawer = new KeyChannelDrawer({
      ownSae: DRAWER,
      peerSae: ANSWERER,
      instance: fixedBytes('drawer instance', 16),
      quota: 100,
      kmeName: 'kme-a',
      services: [{ service: 'db', require: 'qkd-or-pqc' }],
    });
    this.answerer = new KeyChannelAnswerer({
      ownSae: ANSWERER,
      peerSae: DRAWER,
      instance: fixedBytes('answerer instance', 16),
      quota: answererQuota,
      kmeName: 'kme-b',
    });
    const hellos = [
      ...this.drawer.connected(),
      ...this.answerer.connected(CONNECTION, [{ service: 'db', require: 'qkd' }]),
    ];
    this.tell(hellos);
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
      from === 'client' ? this.answerer.receive(CONNECTION, received, NOW_MS) : this.drawer.receive(received, NOW_MS),
    );
  }

  /** A key that the KMEs have under one reference; `other`: two different ones. */
  key(reference: QkdKeyReference, other = false): ChannelKey {
    const name = `key_${++this.#keys}`;
    const drawn = fixedBytes(`${name} ${encodeQkdKeyReference(reference).join()}`, 32);
    this.#recorder.input(`${name}_reference`, encodeQkdKeyReference(reference));
    this.#recorder.input(`${name}_channel_key`, drawn);
    if (!other) return { reference, drawn, fetched: drawn };
    return {
      reference,
      drawn,
      fetched: this.#recorder.input(`${name}_answerer_channel_key`, fixedBytes(`${name} other`, 32)),
    };
  }

  announce(...keys: readonly ChannelKey[]): void {
    const announced = keys.map(({ reference, drawn }) => ({ reference, secret: SecretBytes.copyOf(drawn) }));
    this.tell(this.drawer.announce(announced, TTL_MS, NOW_MS));
  }

  fetch({ reference, fetched }: ChannelKey): void {
    this.tell(this.answerer.provideKey(reference, SecretBytes.copyOf(fetched)));
  }
}

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
      close(pair);
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

export const channelScenarios: readonly Scenario[] = [
  session(
    'etsi004',
    'A stream is asked for, delayed and opened; a chunk of two keys and one of one are announced. The first key is acked at once, the second pending and acked later, the third unavailable. The first is dropped unused; the stream is closed.',
    (pair, recorder) => {
      const s = new Session(pair, recorder);
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
      const s = new Session(pair, recorder, 3);
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
      const s = new Session(pair, recorder);
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
    'abort',
    'A message of type 99, which nobody knows: the answerer says unknown_message and closes.',
    (pair, recorder) => {
      const s = new Session(pair, recorder);
      s.send('client', fromHex('63000000'));
    },
  ),
];
