/** HelloRetryRequest (RFC 8446, 4.1.4), and its cookie (4.2.2): worth nothing but to the server that gave it, and as it gave it. */
import { expect } from 'chai';
import { decodeWhole } from '../../../tls-ext/bytes/index.ts';
import {
  Alert,
  createClientEngine,
  createServerEngine,
  type ServerEngineOptions,
  TlsMisuseError,
} from '../../../tls-ext/index.ts';
import { decodeServerHello } from '../../../tls-ext/messages/index.ts';
import { clientOptions, enginePair, expectConnected, qkdPsk, Side, serverOptions } from '../engine/engine-pair.ts';
import { runAgainst } from '../misbehaving/handshakes.ts';
import { changeClientHello } from '../misbehaving/middleman.ts';
import { addExtension, both, extension, removeExtension, setByte } from '../misbehaving/scripts.ts';

const cookieKey = new Uint8Array(32).fill(1);
const cookie = extension(44, 0, 1, 7);
const settings = { cookieKey, groups: [23], cipherSuites: [0x1301] } as const;

/** What a server makes of a cookie that one with other settings gave for the same ClientHello. */
function withCookieOf(giver: Partial<ServerEngineOptions>, taker: Partial<ServerEngineOptions>): Side {
  const client = new Side(
    createClientEngine(clientOptions({ groups: [29, 23, 24], cipherSuites: [0x1301, 0x1302] })),
    {},
  );
  const [first, second] = [giver, taker].map((options) => new Side(createServerEngine(serverOptions(options)), {}));
  if (first === undefined || second === undefined) throw new Error('no servers');
  for (const side of [client, first, second]) side.take(side.engine.start());
  for (const hello of client.outbox.splice(0))
    for (const side of [first, second]) side.take(side.engine.receive(hello));
  for (const request of first.outbox.splice(0)) client.take(client.engine.receive(request));
  for (const hello of client.outbox.splice(0)) second.take(second.engine.receive(hello));
  return second;
}

describe('the cookie of a HelloRetryRequest', () => {
  it('is taken of another connection of the same settings: the server holds nothing', () => {
    const { error, outbox } = withCookieOf(settings, settings);
    expect(error).to.equal(undefined);
    expect(outbox.length, 'ServerHello and the rest').to.be.greaterThan(1);
  });

  const others: Readonly<Record<string, Partial<ServerEngineOptions>>> = {
    suite: { cipherSuites: [0x1302] },
    group: { groups: [24] },
    key: { cookieKey: new Uint8Array(32).fill(2) },
  };
  for (const [name, changed] of Object.entries(others)) {
    it(`is refused by a server that negotiates with another ${name}`, () => {
      const { error } = withCookieOf(settings, { ...settings, ...changed });
      expect(error?.code).to.equal('ERR_TLS_ILLEGAL_PARAMETER');
    });
  }

  for (const length of [1, 31, 32, 33]) {
    it(`is refused where ${length} bytes came back`, () => {
      const cut = changeClientHello((hello) => {
        const { cookie, ...rest } = hello.extensions;
        return { ...hello, extensions: { ...rest, cookie: cookie?.slice(-length) } };
      });
      const client = { groups: [29, 23], grease: false };
      const pair = enginePair({ client, server: settings, cut }).run();
      expect(pair.server.error?.alert).to.equal(Alert.illegalParameter);
    });
  }

  it('needs a key of 32 bytes', () => {
    const withKey = (bytes: number) =>
      enginePair({ client: { groups: [29, 23] }, server: { ...settings, cookieKey: new Uint8Array(bytes) } });
    expect(() => withKey(31).run()).to.throw(TlsMisuseError);
    expectConnected(withKey(32).run());
  });
});

describe('a HelloRetryRequest', () => {
  it('is not worth its round trip where one of several shares is of a group as strong as our first', () => {
    const other = { group: 24, keyExchange: new Uint8Array(97).fill(4) };
    const cut = changeClientHello((hello) => {
      const { keyShare = [], ...rest } = hello.extensions;
      return { ...hello, extensions: { ...rest, keyShare: [...keyShare, other] } };
    });
    const pair = enginePair({ client: { groups: [29, 23, 24] }, server: { groups: [23, 29] }, cut }).run();
    const answer = pair.wire.find(({ from }) => from === 'server')?.bytes ?? new Uint8Array(0);
    const message = decodeWhole(answer.subarray(3, 5 + new DataView(answer.buffer).getUint16(3)), (r) => r.vector(2));
    const hello = decodeServerHello(message.subarray(4));
    expect(hello.kind).to.equal('server-hello');
  });

  it('lets nothing follow but the second ClientHello, where no early data was announced', () => {
    const pair = enginePair({ client: { groups: [29, 23] }, server: { groups: [23] } });
    pair.server.take(pair.server.engine.start());
    pair.client.take(pair.client.engine.start());
    for (const hello of pair.client.outbox.splice(0)) pair.server.take(pair.server.engine.receive(hello));
    expect(pair.server.error).to.equal(undefined);
    pair.server.take(pair.server.engine.receive(Uint8Array.of(23, 3, 3, 0, 32, ...new Uint8Array(32))));
    expect(pair.server.error?.alert).to.equal(Alert.unexpectedMessage);
  });

  it('is answered with the share that it asks for, and none behind it', () => {
    const more = { group: 24, keyExchange: new Uint8Array(97).fill(4) };
    const cut = changeClientHello((hello) => {
      const { keyShare = [], ...rest } = hello.extensions;
      const second = keyShare[0]?.group === 23;
      return { ...hello, extensions: { ...rest, keyShare: second ? [...keyShare, more] : keyShare } };
    });
    const pair = enginePair({ client: { groups: [29, 23, 24] }, server: { groups: [23] }, cut }).run();
    expect(pair.server.error?.code).to.equal('ERR_TLS_ILLEGAL_PARAMETER');
  });

  it('may carry a cookie alone: the client keeps its share', () => {
    const cookieOnly = both(removeExtension('HelloRetryRequest', 51), addExtension('HelloRetryRequest', cookie));
    const { side, complete } = runAgainst('client', { retry: true }, cookieOnly);
    expect([side.error, complete]).to.deep.equal([undefined, true]);
    expect(side.summary).to.include({ group: 29, helloRetryRequest: true });
  });

  it('makes a client drop the identity for another hash than that of its suite', () => {
    const offered: (number[] | undefined)[] = [];
    const cut = changeClientHello((hello) => {
      offered.push(hello.extensions.preSharedKey?.binders.map(({ length }) => length));
      return hello;
    });
    const pair = enginePair({
      client: { psk: qkdPsk(), qkdOffer: { offer: 'key' }, groups: [29, 23] },
      server: { qkd: true, groups: [23], cipherSuites: [0x1301] },
      serverAnswers: { psk: () => ({ action: 'use', psk: qkdPsk() }) },
      cut,
    }).run();
    expectConnected(pair);
    expect(offered).to.deep.equal([[48, 32], [32]]);
  });
});

describe('a ServerHello', () => {
  it('with a suite that we know, but did not offer, is refused', () => {
    const suiteAt = 4 + 2 + 32 + 1 + 32;
    const otherSuite = setByte('ServerHello', suiteAt + 1, 3);
    const { side } = runAgainst('client', { client: { cipherSuites: [0x1301] } }, otherSuite);
    expect(side.error?.code).to.equal('ERR_TLS_ILLEGAL_PARAMETER');
  });
});
