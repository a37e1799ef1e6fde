/** Attacks from outside, without keys; and docs/attacks.md, which names a test for each known one. */
import { expect } from 'chai';
import type { PskDecision } from '../../../tls-ext/index.ts';
import type { ClientHello } from '../../../tls-ext/messages/index.ts';
import { clientIdentity, enginePair, expectConnected, qkdPsk } from '../engine/engine-pair.ts';
import { changeClientHello, changeHelloRetryRequest } from './middleman.ts';
import { isNamedTest, readDocument } from './named-tests.ts';

type Extensions = ClientHello['extensions'];

const answers: PskDecision = { action: 'continue', result: 'unavailable' };
const withKey = () => ({
  client: {
    psk: qkdPsk(),
    qkdOffer: { offer: 'key' } as const,
    identity: clientIdentity,
    alpnProtocols: ['qstunnel/1', 'qstunnel-key/1'],
  },
  server: { qkd: true, alpnProtocols: ['qstunnel-key/1', 'qstunnel/1'] },
  serverAnswers: { psk: () => answers },
});

describe('a middleman without keys', () => {
  const edits: Readonly<Record<string, (extensions: Extensions) => Extensions>> = {
    'takes the QKD key out of ClientHello': ({ preSharedKey: _, certWithExternPsk: __, ...rest }) => ({
      ...rest,
      qkdPsk: { features: 0, offer: { offer: 'none', reason: 'pool_empty' } },
    }),
    'takes all trace of QKD out of ClientHello': ({ preSharedKey: _, certWithExternPsk: __, qkdPsk: ___, ...rest }) =>
      rest,
    'takes extension 33 out of ClientHello': ({ certWithExternPsk: _, ...rest }) => rest,
    'turns a connection into one of the key channel': (rest) => ({ ...rest, alpn: ['qstunnel-key/1'] }),
    'changes the server name': (rest) => ({ ...rest, serverName: 'other.example' }),
    'narrows the signature schemes': (rest) => ({ ...rest, signatureAlgorithms: [0x0403] }),
  };
  for (const [name, edit] of Object.entries(edits)) {
    it(name, () => {
      const cut = changeClientHello((hello) => ({ ...hello, extensions: edit(hello.extensions) }));
      const pair = enginePair({ ...withKey(), cut }).run();
      // The transcripts differ, so the keys do: the client can't even read what follows ServerHello.
      expect(pair.client.error?.code).to.equal('ERR_TLS_BAD_RECORD_MAC');
      expect(pair.client.summary).to.equal(undefined);
      expect(pair.server.summary).to.equal(undefined);
    });
  }

  it('takes the hybrid group out of ClientHello', () => {
    const cut = changeClientHello((hello) => ({
      ...hello,
      extensions: {
        ...hello.extensions,
        supportedGroups: [29],
        keyShare: [{ group: 29, keyExchange: new Uint8Array(32).fill(9) }],
      },
    }));
    const pair = enginePair({ cut }).run();
    expect(pair.client.error?.code).to.equal('ERR_TLS_ILLEGAL_PARAMETER');
    expect(pair.server.summary).to.equal(undefined);
  });

  it('asks for a weaker group in the place of the server', () => {
    // The server wanted P-256, the client is told X25519: the second ClientHello is not what the server asked for.
    const pair = enginePair({
      client: { groups: [0x11ec, 29, 23] },
      server: { groups: [23] },
      cut: changeHelloRetryRequest((retry) => ({ ...retry, extensions: { ...retry.extensions, keyShare: 29 } })),
    }).run();
    expect(pair.client.summary).to.equal(undefined);
    expect(pair.server.error?.code).to.equal('ERR_TLS_ILLEGAL_PARAMETER');
  });

  it('replays a ClientHello, to which the answer is of no use to it', () => {
    const psk = (): PskDecision => ({ action: 'use', psk: qkdPsk() });
    const options = {
      client: { psk: qkdPsk(), qkdOffer: { offer: 'key' } as const },
      server: { qkd: true },
      serverAnswers: { psk },
    };
    const first = enginePair(options).run();
    expectConnected(first);
    const [hello, ...others] = first.wire.filter(({ from }) => from === 'client');
    const { server } = enginePair({ ...options, client: {} });
    server.take(server.engine.start());
    server.take(server.engine.receive(hello?.bytes ?? new Uint8Array(0)));
    expect(server.error, 'the binder is right, so the server answers').to.equal(undefined);
    // All that can follow is what the first connection sent, under keys of another ServerHello.
    server.take(server.engine.receive(others[0]?.bytes ?? new Uint8Array(0)));
    expect(server.error?.code).to.equal('ERR_TLS_BAD_RECORD_MAC');
    expect(server.summary).to.equal(undefined);
  });

  it('reflects a ClientHello to the other role of its sender', () => {
    // Site A is a server too, with a key of the same reference at hand: its own context has the roles the other way round.
    const context = { purpose: 'handshake', drawer: 'siteA', answerer: 'siteC' } as const;
    const decisions: PskDecision[] = [
      { action: 'use', psk: qkdPsk({ context }) },
      { action: 'refuse', result: 'policy' },
    ];
    const pair = enginePair({
      client: { psk: qkdPsk(), qkdOffer: { offer: 'key' } },
      server: { qkd: true },
      serverAnswers: { psk: () => decisions.shift() },
    }).run();
    expect(decisions).to.deep.equal([]);
    expect(pair.server.error?.code).to.equal('ERR_TLS_INSUFFICIENT_SECURITY');
    expect(pair.client.summary).to.equal(undefined);
  });
});

describe('docs/attacks.md', () => {
  const sections = readDocument('attacks.md').split('\n## ').slice(1);

  it('names a test that exists for each attack, or says why there is none', () => {
    expect(sections.length).to.be.greaterThan(25);
    for (const section of sections) {
      const [attack = ''] = section.split('\n');
      const tests = section.split('\n').find((line) => line.startsWith('Tests: ')) ?? '';
      expect(tests, attack).not.to.equal('');
      const titles = [...tests.matchAll(/\*([^*]+)\*/g)].map(([, title]) => title as string);
      expect(
        titles.filter((title) => !isNamedTest(title)),
        attack,
      ).to.deep.equal([]);
      if (titles.length === 0) expect(tests, attack).to.match(/^Tests: none, /);
    }
  });
});
