/** The life of a connection around its handshake: records, alerts, ends, limits, secrets. */
import { inspect } from 'node:util';
import { expect } from 'chai';
import { MAX_PAUSED_BYTES_BEFORE_HELLO } from '../../../tls-ext/endpoint-limits.ts';
import {
  Alert,
  CipherSuite,
  cipherSuiteInfo,
  createClientEngine,
  createServerEngine,
  defaultKeyAgreements,
  type EngineEvent,
  fromHex,
  type KeyAgreementProvider,
  SecretBytes,
  TlsMisuseError,
} from '../../../tls-ext/index.ts';
import { type ClientHandshakeTrafficSecret, deriveTrafficKeys } from '../../../tls-ext/key-schedule/index.ts';
import { RecordWriter } from '../../../tls-ext/record/index.ts';
import {
  clientIdentity,
  clientOptions,
  type EnginePair,
  enginePair,
  expectConnected,
  expectFailure,
  qkdPsk,
  random,
  serverOptions,
} from './engine-pair.ts';

/** A plaintext record. */
function record(type: number, ...content: readonly number[]): Uint8Array {
  return Uint8Array.of(type, 3, 3, content.length >> 8, content.length & 0xff, ...content);
}

const changeCipherSpec = record(20, 1);

function failure(events: readonly EngineEvent[]) {
  return events.find((event) => event.type === 'failed')?.error;
}

function writtenBytes(events: readonly EngineEvent[]): Uint8Array {
  const [write] = events;
  if (write?.type !== 'write') throw new Error('nothing was written');
  return write.bytes;
}

/** A server that has been told these bytes. */
function serverTold(...pieces: readonly Uint8Array[]): EngineEvent[] {
  const engine = createServerEngine(serverOptions());
  engine.start();
  return pieces.flatMap((piece) => engine.receive(piece));
}

/** Tells one side bytes that its peer never sent. */
function inject(pair: EnginePair, at: 'client' | 'server', bytes: Uint8Array): EnginePair {
  pair[at].take(pair[at].engine.receive(bytes));
  return pair.deliver();
}

describe('bytes that are no TLS 1.3', () => {
  it('plaintext HTTP', () => {
    const events = serverTold(new TextEncoder().encode('GET / HTTP/1.1\r\nHost: x\r\n\r\n'));
    expect(events.map(({ type }) => type)).to.deep.equal(['write', 'failed']);
    expect(failure(events)?.code).to.equal('ERR_TLS_PROTOCOL_VERSION');
    const [write] = events;
    expect(write?.type === 'write' && [...write.bytes]).to.deep.equal([21, 3, 3, 0, 2, 2, Alert.protocolVersion]);
  });

  it('an oversized record', () => {
    expect(failure(serverTold(Uint8Array.of(22, 3, 1, 0x40, 1)))?.code).to.equal('ERR_TLS_RECORD_OVERFLOW');
  });

  it('an empty handshake record', () => {
    expect(failure(serverTold(record(22)))?.alert).to.equal(Alert.unexpectedMessage);
  });

  it('a ClientHello beyond its bound is refused at its header', () => {
    const error = failure(serverTold(record(22, 1, 0xff, 0xff, 0xff)));
    expect(error?.code).to.equal('ERR_TLS_LIMIT');
  });

  it('application data or change_cipher_spec before anything else', () => {
    expect(failure(serverTold(record(23, 1, 2, 3)))?.alert).to.equal(Alert.unexpectedMessage);
    expect(failure(serverTold(changeCipherSpec))?.alert).to.equal(Alert.unexpectedMessage);
  });

  it('another record inside of a handshake message', () => {
    const start = record(22, 1, 0, 1, 0, 3, 3);
    for (const between of [record(21, 2, 40), changeCipherSpec]) {
      expect(failure(serverTold(start, between))?.code).to.equal('ERR_TLS_UNEXPECTED_MESSAGE');
    }
  });

  it('application data before Finished, although under keys', () => {
    let secret: SecretBytes | undefined;
    const pair = enginePair({
      client: {
        unsafeKeyLog: (line) => {
          const [label, , hex] = line.split(' ');
          if (label === 'CLIENT_HANDSHAKE_TRAFFIC_SECRET') secret = new SecretBytes(fromHex(hex as string));
        },
      },
      clientAnswers: { verdict: () => undefined },
    }).run();
    const suite = cipherSuiteInfo(CipherSuite.aes256GcmSha384);
    if (suite === undefined || secret === undefined) throw new Error('no keys');
    const writer = new RecordWriter();
    writer.setKeys(deriveTrafficKeys(suite, secret as unknown as ClientHandshakeTrafficSecret));
    for (const { bytes } of writer.writeApplicationData(random(10))) inject(pair, 'server', bytes);
    expect(pair.server.error?.code).to.equal('ERR_TLS_UNEXPECTED_MESSAGE');
    expect(pair.server.received).to.deep.equal([]);
  });

  it('an alert of one byte', () => {
    expect(failure(serverTold(record(21, 2)))?.code).to.equal('ERR_TLS_DECODE');
  });

  it('an alert from the peer ends it without one of ours', () => {
    const events = serverTold(record(21, 2, 40));
    expect(events.map(({ type }) => type)).to.deep.equal(['failed']);
    expect(failure(events)?.code).to.equal('ERR_TLS_PEER_ALERT');
    expect(failure(events)?.alert).to.equal(40);
  });

  it('nothing is said or done after the end', () => {
    const engine = createServerEngine(serverOptions());
    engine.start();
    engine.receive(record(21, 2, 40));
    expect(engine.receive(record(22, 1))).to.deep.equal([]);
    expect(engine.receiveEnd()).to.deep.equal([]);
    expect(engine.send(Uint8Array.of(1))).to.deep.equal([]);
    expect(engine.closeWrite()).to.deep.equal([]);
  });
});

describe('change_cipher_spec', () => {
  it('is sent by both sides once, and at the right place', () => {
    const pair = enginePair({ client: { groups: [29, 23] }, server: { groups: [23] } }).run();
    expectConnected(pair);
    for (const side of ['client', 'server'] as const) {
      const sent = pair.wire.filter(({ from }) => from === side).map(({ bytes }) => Buffer.from(bytes).toString('hex'));
      expect(sent.join('').split('140303000101'), side).to.have.length(2);
    }
  });

  it('is passed over in a handshake, but not without end', () => {
    const pair = enginePair({ clientAnswers: { verdict: () => undefined } }).run();
    for (let i = 0; i < 3; i++) inject(pair, 'client', changeCipherSpec);
    expect(pair.client.error).to.equal(undefined);
    const endless = enginePair({ serverAnswers: { psk: () => undefined }, server: { qkd: true } });
    endless.run();
    for (let i = 0; i < 5; i++) inject(endless, 'server', changeCipherSpec);
    endless.server.take(endless.server.engine.providePsk({ action: 'continue', result: 'policy' }));
    expect(endless.server.error?.code).to.equal('ERR_TLS_LIMIT');
  });

  it('is an error after it', () => {
    const pair = inject(enginePair().run(), 'server', changeCipherSpec);
    expectFailure(pair, 'server', 'ERR_TLS_UNEXPECTED_MESSAGE', Alert.unexpectedMessage);
  });
});

describe('the end of a connection', () => {
  it('is orderly by close_notify of both, each direction by itself', () => {
    const pair = enginePair().run();
    pair.client.take(pair.client.engine.closeWrite());
    pair.deliver();
    expect(pair.server.event('closed')).not.to.equal(undefined);
    expect(() => pair.client.engine.send(Uint8Array.of(1))).to.throw(TlsMisuseError);
    pair.server.take(pair.server.engine.send(Uint8Array.of(1, 2, 3)));
    pair.deliver();
    expect(pair.client.received).to.deep.equal([1, 2, 3]);
    pair.server.take(pair.server.engine.closeWrite());
    pair.deliver();
    expect(pair.client.event('closed')).not.to.equal(undefined);
    expect(pair.client.engine.receiveEnd()).to.deep.equal([]);
    expect(pair.client.error ?? pair.server.error).to.equal(undefined);
    expect(pair.client.engine.closeWrite()).to.deep.equal([]);
  });

  it('without close_notify is a truncation', () => {
    const pair = enginePair().run();
    pair.client.take(pair.client.engine.receiveEnd());
    expect(pair.client.error).to.include({ code: 'ERR_TLS_TRUNCATED', alert: undefined });
    const early = createClientEngine(clientOptions());
    early.start();
    expect(failure(early.receiveEnd())?.code).to.equal('ERR_TLS_TRUNCATED');
  });

  it('close_notify inside of a handshake is a failure', () => {
    expect(failure(serverTold(record(21, 1, 0)))).to.include({
      code: 'ERR_TLS_PEER_ALERT',
      message: 'the peer sent an alert (close_notify)',
    });
  });

  it('drops what comes after close_notify', () => {
    const pair = enginePair().run();
    pair.client.take(pair.client.engine.closeWrite());
    pair.deliver();
    expect(pair.server.engine.receive(record(23, ...random(40)))).to.deep.equal([]);
    expect(pair.server.engine.receive(new TextEncoder().encode('garbage'))).to.deep.equal([]);
    pair.server.take(pair.server.engine.send(Uint8Array.of(1)));
    pair.deliver();
    expect(pair.client.received).to.deep.equal([1]);
  });

  it('a record that was dropped or repeated on the way fails', () => {
    for (const repeated of [false, true]) {
      const pair = enginePair().run();
      const [first, second] = [1, 2].map((byte) => writtenBytes(pair.client.engine.send(Uint8Array.of(byte))));
      for (const bytes of repeated ? [first, first] : [second]) {
        pair.server.take(pair.server.engine.receive(bytes as Uint8Array));
      }
      expectFailure(pair.deliver(), 'server', 'ERR_TLS_BAD_RECORD_MAC', Alert.badRecordMac);
    }
  });

  it('abort sends the alert, under the keys of the moment', () => {
    const pair = enginePair().run();
    pair.server.take(pair.server.engine.abort(Alert.accessDenied));
    pair.deliver();
    expect(pair.client.error?.code).to.equal('ERR_TLS_PEER_ALERT');
    expect(pair.client.error?.alert).to.equal(Alert.accessDenied);
    const early = createClientEngine(clientOptions());
    early.start();
    const [write] = early.abort(Alert.internalError);
    expect(write?.type === 'write' && [...write.bytes]).to.deep.equal([21, 3, 3, 0, 2, 2, 80]);
  });

  it('user_canceled alone is passed over', () => {
    const engine = createClientEngine(clientOptions());
    engine.start();
    expect(engine.receive(record(21, 1, 90))).to.deep.equal([]);
    expect(failure(engine.receive(record(21, 1, 0)))?.alert).to.equal(Alert.closeNotify);
  });

  it('closeWrite inside of a handshake cancels it', () => {
    const engine = createClientEngine(clientOptions());
    engine.start();
    const [write] = engine.closeWrite();
    expect(write?.type === 'write' && [...write.bytes.subarray(-2)]).to.deep.equal([1, 90]);
  });
});

describe('a handshake that waits', () => {
  it('for a PSK keeps what arrives, up to a bound', () => {
    const pair = enginePair({ server: { qkd: true }, serverAnswers: { psk: () => undefined } }).run();
    expect(pair.server.engine.receive(changeCipherSpec)).to.deep.equal([]);
    const events = pair.server.engine.receive(new Uint8Array(MAX_PAUSED_BYTES_BEFORE_HELLO));
    expect(failure(events)?.code).to.equal('ERR_TLS_LIMIT');
  });

  it('for a verdict goes on where it stood, with the data that came meanwhile', () => {
    const pair = enginePair({
      client: { identity: clientIdentity },
      server: { requestClientCertificate: true },
      serverAnswers: { verdict: () => undefined },
    }).run();
    pair.client.take(pair.client.engine.send(random(50_000)));
    pair.deliver();
    expect(pair.server.summary).to.equal(undefined);
    expect(pair.server.received).to.have.length(0);
    pair.server.take(pair.server.engine.provideVerdict({ ok: true, publicKeySpki: clientIdentity.spki }));
    expect(pair.server.received).to.have.length(50_000);
    expectConnected(pair.deliver());
  });

  it('takes no answer that it did not ask for', () => {
    const pair = enginePair({ clientAnswers: { verdict: () => undefined } }).run();
    expect(() => pair.client.engine.providePsk({ action: 'continue', result: 'policy' })).to.throw(TlsMisuseError);
    expect(() => pair.server.engine.provideVerdict({ ok: true, publicKeySpki: random(1) })).to.throw(TlsMisuseError);
  });

  it('ignores an answer that comes after the end', () => {
    const pair = enginePair({ clientAnswers: { verdict: () => undefined } }).run();
    pair.client.take(pair.client.engine.abort(Alert.internalError));
    expect(pair.client.engine.provideVerdict({ ok: true, publicKeySpki: random(1) })).to.deep.equal([]);
  });

  it('fails when the transport ends meanwhile', () => {
    const pair = enginePair({ clientAnswers: { verdict: () => undefined } }).run();
    expect(failure(pair.client.engine.receiveEnd())?.code).to.equal('ERR_TLS_TRUNCATED');
  });
});

describe('keys', () => {
  it('are wiped by destroy, and everything is refused after it', () => {
    const pair = enginePair().run();
    pair.client.engine.destroy();
    pair.client.engine.destroy();
    expect(() => pair.client.engine.send(Uint8Array.of(1))).to.throw(TlsMisuseError);
    expect(() => pair.client.engine.receive(Uint8Array.of(1))).to.throw(TlsMisuseError);
    expect(() => pair.client.engine.exportKeyingMaterial('EXPORTER-x', new Uint8Array(0), 32)).to.throw(TlsMisuseError);
  });

  it('are wiped when the handshake ends, in the middle or complete', () => {
    let privateKeys = 0;
    const secrets: SecretBytes[] = [];
    const keyAgreements: KeyAgreementProvider = (group) => {
      const agreement = defaultKeyAgreements(group);
      if (agreement === undefined) return undefined;
      return {
        ...agreement,
        generateKeyShare() {
          const share = agreement.generateKeyShare();
          privateKeys++;
          return {
            share: share.share,
            finish(serverShare) {
              const secret = share.finish(serverShare);
              secrets.push(secret);
              return secret;
            },
            wipe() {
              privateKeys--;
              share.wipe();
            },
          };
        },
        respond(clientShare) {
          const answer = agreement.respond(clientShare);
          secrets.push(answer.secret);
          return answer;
        },
      };
    };
    const engine = createClientEngine(clientOptions({ keyAgreements }));
    engine.start();
    expect(privateKeys).to.equal(1);
    engine.destroy();
    expect(privateKeys).to.equal(0);
    expectConnected(enginePair({ client: { keyAgreements }, server: { keyAgreements } }).run());
    expect(privateKeys).to.equal(0);
    expect(secrets.map(({ wiped }) => wiped)).to.deep.equal([true, true]);
  });

  it('are nowhere in what inspect shows', () => {
    const pair = enginePair({
      client: { psk: qkdPsk(), qkdOffer: { offer: 'key' } },
      server: { qkd: true },
      serverAnswers: { psk: () => ({ action: 'use', psk: qkdPsk() }) },
    }).run();
    const shown = inspect([pair.client, pair.server], { depth: 20, showHidden: true });
    expect(shown).not.to.match(/secret: Uint8Array/i);
    expect(shown).not.to.include('51, 51, 51');
  });

  it('export only from the handshake on', () => {
    const engine = createClientEngine(clientOptions());
    expect(() => engine.receive(Uint8Array.of(1))).to.throw(TlsMisuseError);
    engine.start();
    expect(() => engine.start()).to.throw(TlsMisuseError);
    expect(() => engine.exportKeyingMaterial('EXPORTER-x', new Uint8Array(0), 32)).to.throw(TlsMisuseError);
    expect(() => engine.send(Uint8Array.of(1))).to.throw(TlsMisuseError);
  });
});
