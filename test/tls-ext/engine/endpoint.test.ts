/** What an endpoint takes, from its peer and from its owner, and when: before, in, after a handshake and after the end. */
import { expect } from 'chai';
import { concatBytes } from '../../../tls-ext/bytes/index.ts';
import {
  MAX_CHANGE_CIPHER_SPECS,
  MAX_PAUSED_BYTES,
  MAX_PAUSED_BYTES_BEFORE_HELLO,
} from '../../../tls-ext/endpoint-limits.ts';
import type { BufferPool } from '../../../tls-ext/engine-types.ts';
import { MAX_IDLE_MESSAGES } from '../../../tls-ext/handshake/message-allowance.ts';
import {
  Alert,
  CipherSuite,
  cipherSuiteInfo,
  createClientEngine,
  createServerEngine,
  type EngineEvent,
  fromHex,
  SecretBytes,
  TlsMisuseError,
} from '../../../tls-ext/index.ts';
import { type ClientApplicationTrafficSecret, deriveTrafficKeys } from '../../../tls-ext/key-schedule/index.ts';
import { SealingHalf } from '../../../tls-ext/record/half-connection.ts';
import { BULK_BUFFER_BYTES } from '../../../tls-ext/record/index.ts';
import { plaintextRecord } from '../record/record-fixtures.ts';
import {
  clientOptions,
  type EnginePair,
  enginePair,
  expectConnected,
  random,
  serverIdentity,
  serverOptions,
} from './engine-pair.ts';

const changeCipherSpec = plaintextRecord(20, Uint8Array.of(1));
const verdict = { ok: true, publicKeySpki: serverIdentity.spki } as const;

const failure = (events: readonly EngineEvent[]) => events.find((event) => event.type === 'failed')?.error;
const types = (events: readonly EngineEvent[]) => events.map(({ type }) => type);

/** A client that has not judged the server's certificate yet. */
const undecided = () => enginePair({ clientAnswers: { verdict: () => undefined } }).run();

function serverEngine() {
  const engine = createServerEngine(serverOptions());
  engine.start();
  return engine;
}

/** Bytes that cannot be looked at. */
function untouchable(): Uint8Array {
  return new Proxy(new Uint8Array(1), {
    get: (_, name) => {
      if (name === 'length') return 1;
      throw new Error(`${String(name)} was read`);
    },
  });
}

/** A connection, and a sealer of records that its client might have sent first. */
function withForgedRecords(): { pair: EnginePair; seal: (...inner: readonly number[]) => Uint8Array } {
  let secret: SecretBytes | undefined;
  const unsafeKeyLog = (line: string) => {
    const [label, , hex] = line.split(' ');
    if (label === 'CLIENT_TRAFFIC_SECRET_0') secret = new SecretBytes(fromHex(hex as string));
  };
  const pair = enginePair({ client: { unsafeKeyLog } }).run();
  const suite = cipherSuiteInfo(CipherSuite.aes256GcmSha384);
  if (suite === undefined || secret === undefined) throw new Error('no keys');
  const half = new SealingHalf(deriveTrafficKeys(suite, secret as unknown as ClientApplicationTrafficSecret));
  const seal = (...inner: readonly number[]) => {
    const target = new Uint8Array(inner.length + 21);
    half.sealRecord(Uint8Array.from(inner), target, 0);
    return target;
  };
  return { pair, seal };
}

describe('an endpoint and its peer', () => {
  it('no bytes are no first bytes: the next ones are still looked at for TLS', () => {
    const engine = serverEngine();
    expect(engine.receive(new Uint8Array(0))).to.deep.equal([]);
    expect(failure(engine.receive(new TextEncoder().encode('GET / HTTP/1.1')))?.code).to.equal(
      'ERR_TLS_PROTOCOL_VERSION',
    );
  });

  it('does not look at what comes after the end, of the peer or its own', () => {
    const { client, server } = enginePair().run();
    for (const event of client.engine.closeWrite()) if (event.type === 'write') server.engine.receive(event.bytes);
    expect(server.engine.receive(untouchable())).to.deep.equal([]);
    client.engine.abort(Alert.internalError);
    expect(client.engine.receive(untouchable())).to.deep.equal([]);
  });

  it('drops what came with close_notify, behind it', () => {
    const { client, server } = enginePair().run();
    const [close] = client.engine.closeWrite();
    const bytes = close?.type === 'write' ? close.bytes : new Uint8Array(0);
    const events = server.engine.receive(concatBytes(bytes, plaintextRecord(23, random(40))));
    expect(types(events)).to.deep.equal(['closed']);
  });

  it('takes application data without end: no bound of a handshake counts any more', () => {
    const { client, server } = enginePair().run();
    for (let sent = 0; sent < MAX_PAUSED_BYTES + 65_536; sent += 65_536) {
      for (const event of client.engine.send(new Uint8Array(65_536))) {
        if (event.type === 'write') expect(types(server.engine.receive(event.bytes))).not.to.include('failed');
      }
    }
  });

  it('gathers what it receives in buffers of its owner, and gives them back', () => {
    const [acquired, released]: [Uint8Array[], Uint8Array[]] = [[], []];
    const bufferPool: BufferPool = {
      acquire: () => {
        acquired.push(new Uint8Array(BULK_BUFFER_BYTES));
        return acquired.at(-1) as Uint8Array;
      },
      release: (buffer) => void released.push(buffer),
    };
    const pair = enginePair({ server: { bufferPool } }).run();
    pair.client.take(pair.client.engine.send(random(50_000)));
    pair.deliver();
    expect(pair.server.received).to.have.length(50_000);
    expect(acquired).to.have.length(1);
    expect(released).to.deep.equal(acquired);
  });

  it('says nothing of an empty record of application data', () => {
    const { pair, seal } = withForgedRecords();
    expect(pair.server.engine.receive(seal(23))).to.deep.equal([]);
    expect(types(pair.server.engine.receive(seal(1, 2, 3, 23)))).to.deep.equal(['plaintext']);
  });

  it('counts user_canceled of an open connection as a message without data, not as one of a handshake', () => {
    const { pair, seal } = withForgedRecords();
    for (let i = 0; i < MAX_IDLE_MESSAGES; i++) {
      expect(pair.server.engine.receive(seal(1, Alert.userCanceled, 21)), `number ${i}`).to.deep.equal([]);
    }
    expect(failure(pair.server.engine.receive(seal(1, Alert.userCanceled, 21)))?.code).to.equal('ERR_TLS_LIMIT');
  });

  it('lets data make up for messages without data by their length, wherever in their buffer they lie', () => {
    const { pair, seal } = withForgedRecords();
    const { engine } = pair.server;
    for (let i = 0; i < MAX_IDLE_MESSAGES; i++) engine.receive(seal(1, Alert.userCanceled, 21));
    engine.sendInPlace(new Uint8Array(40_002), 40_000, 40_001);
    expect(failure(engine.receive(seal(1, Alert.userCanceled, 21)))?.code).to.equal('ERR_TLS_LIMIT');
  });

  it('passes over change_cipher_spec as often as it is allowed, and not once more', () => {
    const engine = createClientEngine(clientOptions());
    engine.start();
    for (let i = 0; i < MAX_CHANGE_CIPHER_SPECS; i++) expect(engine.receive(changeCipherSpec)).to.deep.equal([]);
    expect(failure(engine.receive(changeCipherSpec))?.code).to.equal('ERR_TLS_LIMIT');
  });

  it('keeps as much as it may while it waits for a verdict or a PSK, and not one byte more', () => {
    const waiting = [
      [undecided().client, MAX_PAUSED_BYTES],
      [
        enginePair({ server: { qkd: true }, serverAnswers: { psk: () => undefined } }).run().server,
        MAX_PAUSED_BYTES_BEFORE_HELLO,
      ],
    ] as const;
    for (const [{ engine }, limitBytes] of waiting) {
      expect(engine.receive(new Uint8Array(limitBytes)), `${limitBytes} bytes`).to.deep.equal([]);
      expect(failure(engine.receive(new Uint8Array(1)))?.code).to.equal('ERR_TLS_LIMIT');
    }
  });
});

describe('an endpoint and its owner', () => {
  it('is in no epoch but the first before its handshake, and takes nothing but the handshake then', () => {
    const pair = undecided();
    expect([pair.client.engine.epoch, pair.client.engine.rekeyPossible]).to.deep.equal([0, false]);
    for (const { engine } of [pair.client, pair.server]) {
      // The server has its application keys by now.
      expect(() => engine.send(Uint8Array.of(1))).to.throw(TlsMisuseError);
      expect(() => engine.rekey()).to.throw(TlsMisuseError);
      expect(() => engine.wantRekey()).to.throw(TlsMisuseError);
    }
    pair.client.take(pair.client.engine.provideVerdict(verdict));
    expectConnected(pair.deliver());
  });

  it('survives an answer that it did not ask for, in the handshake and after it', () => {
    const pair = undecided();
    const misuse = () => {
      for (const { engine } of [pair.client, pair.server]) {
        expect(() => engine.providePsk({ action: 'continue', result: 'policy' })).to.throw(TlsMisuseError);
      }
      expect(() => pair.server.engine.provideVerdict(verdict)).to.throw(TlsMisuseError);
    };
    misuse();
    pair.client.take(pair.client.engine.provideVerdict(verdict));
    pair.deliver();
    misuse();
    expect(() => pair.client.engine.provideVerdict(verdict)).to.throw(TlsMisuseError);
    expectConnected(pair);
  });

  it('exports nothing and rekeys no more after its end', () => {
    const { client, server } = enginePair().run();
    for (const { engine } of [client, server]) {
      engine.abort(Alert.internalError);
      expect(() => engine.exportKeyingMaterial('EXPORTER-x', new Uint8Array(0), 32)).to.throw(TlsMisuseError);
    }
    expect(client.engine.rekey()).to.deep.equal([]);
    expect(server.engine.wantRekey()).to.deep.equal([]);
  });
});
