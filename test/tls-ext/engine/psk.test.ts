import { expect } from 'chai';
import { hash } from '../../../tls-ext/crypto/index.ts';
import {
  Alert,
  type HandshakeSummary,
  NamedGroup,
  type PskDecision,
  SecretBytes,
  TlsMisuseError,
} from '../../../tls-ext/index.ts';
import { EarlySecret, pskBinder } from '../../../tls-ext/key-schedule/index.ts';
import {
  decodeClientHello,
  defaultCodePoints,
  HandshakeType,
  PskKeyExchangeMode,
  type ReceivedClientHello,
} from '../../../tls-ext/messages/index.ts';
import {
  clientIdentity,
  clientOptions,
  type EnginePair,
  enginePair,
  expectConnected,
  expectFailure,
  type PairOptions,
  qkdPsk,
  qkdReference,
} from './engine-pair.ts';

const use = (psk = qkdPsk()): PskDecision => ({ action: 'use', psk });

/** Our default between proxies: certificates both ways, QKD key, qkd_psk. */
function proxies(overrides: PairOptions = {}): PairOptions {
  return {
    client: { identity: clientIdentity, psk: qkdPsk(), qkdOffer: { offer: 'key' }, ...overrides.client },
    server: { requestClientCertificate: true, qkd: true, ...overrides.server },
    serverAnswers: { psk: () => use(), ...overrides.serverAnswers },
    ...(overrides.clientAnswers ? { clientAnswers: overrides.clientAnswers } : {}),
  };
}

describe('a QKD key in the handshake', () => {
  it('stands beside certificates both ways, and both ends know', () => {
    const pair = enginePair(proxies()).run();
    expectConnected(pair);
    const { summary } = pair.client;
    expect(summary?.psk).to.equal('qkd');
    expect(summary?.reference).to.deep.equal(qkdReference);
    expect(summary?.qkdOffer).to.deep.equal({ offer: 'key' });
    expect(summary?.qkdResult).to.equal('used');
    expect(pair.client.event('peer-certificate')?.context).to.deep.equal(qkdPsk().context);
    expect(pair.server.event('peer-certificate')?.context).to.deep.equal(qkdPsk().context);
  });

  it('is offered once for each hash and named by its reference', () => {
    const pair = enginePair(proxies()).run();
    const event = pair.server.event('psk-required');
    expect(event?.certWithExternPsk).to.equal(true);
    expect(event?.qkdOffer).to.deep.equal({ offer: 'key' });
    expect(event?.serverName).to.equal('server.example');
    expect(event?.offered.map(({ reference }) => reference)).to.deep.equal([qkdReference, qkdReference]);
  });

  for (const cipherSuite of [0x1301, 0x1302, 0x1303]) {
    it(`works with suite ${cipherSuite.toString(16)}`, () => {
      const pair = enginePair(proxies({ server: { cipherSuites: [cipherSuite] } })).run();
      expectConnected(pair);
      expect(pair.client.summary?.qkdResult).to.equal('used');
    });
  }

  for (const cookieKey of [undefined, new Uint8Array(32)]) {
    it(`survives HelloRetryRequest ${cookieKey ? 'with' : 'without'} a cookie`, () => {
      const server = { groups: [NamedGroup.x25519], ...(cookieKey ? { cookieKey } : {}) };
      const pair = enginePair(proxies({ server })).run();
      expectConnected(pair);
      expect(pair.client.summary?.helloRetryRequest).to.equal(true);
      expect(pair.client.summary?.qkdResult).to.equal('used');
      expect(pair.server.events.filter(({ type }) => type === 'psk-required')).to.have.length(1);
    });
  }

  it('is wiped at both ends after its import', () => {
    const clientPsk = qkdPsk();
    const serverPsk = qkdPsk();
    enginePair(proxies({ client: { psk: clientPsk }, serverAnswers: { psk: () => use(serverPsk) } })).run();
    expect(clientPsk.secret.wiped).to.equal(true);
    expect(serverPsk.secret.wiped).to.equal(true);
  });

  it('alone authenticates under auth psk', () => {
    const { identity: _, ...server } = { identity: undefined, auth: 'psk', qkd: true } as const;
    const pair = enginePair({
      client: { auth: 'psk', psk: qkdPsk(), qkdOffer: { offer: 'key' } },
      server,
      serverAnswers: { psk: () => use() },
    }).run();
    expectConnected(pair);
    expect(pair.client.summary?.peerCertificate).to.equal(false);
    expect(pair.client.event('peer-certificate')).to.equal(undefined);
  });

  it('refuses to be misused', () => {
    const misuse = (client: PairOptions['client']) => () => enginePair({ client: client ?? {} }).run();
    expect(misuse({ psk: qkdPsk(), qkdOffer: { offer: 'none', reason: 'budget' } })).to.throw(TlsMisuseError);
    expect(misuse({ qkdOffer: { offer: 'key' } })).to.throw(TlsMisuseError);
    expect(misuse({ auth: 'psk' })).to.throw(TlsMisuseError);
    const selfie = { purpose: 'handshake', drawer: 'siteA', answerer: 'siteA' } as const;
    expect(misuse({ psk: qkdPsk({ context: selfie }) })).to.throw(TlsMisuseError);
    const rekey = { purpose: 'rekey', drawer: 'siteA', answerer: 'siteB' } as const;
    expect(misuse({ psk: qkdPsk({ context: rekey }) })).to.throw(TlsMisuseError);
  });
});

describe('a QKD key that is not used', () => {
  for (const result of ['unavailable', 'policy'] as const) {
    it(`falls back to certificates and says ${result}`, () => {
      const pair = enginePair(proxies({ serverAnswers: { psk: () => ({ action: 'continue', result }) } })).run();
      expectConnected(pair);
      expect(pair.client.summary?.psk).to.equal('none');
      expect(pair.client.summary?.qkdResult).to.equal(result);
    });

    it(`is refused under encryption with ${result}`, () => {
      const pair = enginePair(proxies({ serverAnswers: { psk: () => ({ action: 'refuse', result }) } })).run();
      expectFailure(pair, 'server', 'ERR_TLS_INSUFFICIENT_SECURITY', Alert.insufficientSecurity);
      expect(pair.client.event('failed')?.qkdResult).to.equal(result);
      // Nothing but the hello is readable: the alert went out as application data.
      const types = recordTypes(pair.wire.filter(({ from }) => from === 'server').map(({ bytes }) => bytes));
      expect(types).to.deep.equal([22, 20, 23, 23]);
    });
  }

  it('is refused by the client before its own certificate and Finished', () => {
    const asked: HandshakeSummary[] = [];
    const admit = (summary: HandshakeSummary) => {
      asked.push(summary);
      return summary.psk === 'qkd';
    };
    const unavailable: PairOptions = { serverAnswers: { psk: () => ({ action: 'continue', result: 'unavailable' }) } };
    const refused = enginePair(proxies({ client: { admit }, ...unavailable })).run();
    expectFailure(refused, 'client', 'ERR_TLS_INSUFFICIENT_SECURITY', Alert.insufficientSecurity);
    expect(asked.map(({ psk, qkdResult }) => [psk, qkdResult])).to.deep.equal([['none', 'unavailable']]);
    expect(refused.client.event('failed')?.qkdResult).to.equal('unavailable');
    // The server's Finished was good; the client's was never sent, so the server completed nothing.
    expect(refused.client.event('peer-certificate')).not.to.equal(undefined);
    expect(refused.server.event('peer-certificate')).to.equal(undefined);
    expect(refused.client.summary ?? refused.server.summary).to.equal(undefined);
    const types = recordTypes(refused.wire.filter(({ from }) => from === 'client').map(({ bytes }) => bytes));
    expect(types, 'ClientHello, change_cipher_spec, and an encrypted alert').to.deep.equal([22, 20, 23]);

    const admitted = enginePair(proxies({ client: { admit } })).run();
    expectConnected(admitted);
    expect(asked[1]).to.deep.equal(admitted.client.summary);
  });

  it('is not judged before the Finished that makes it authentic', () => {
    const admit = () => expect.fail('asked too early');
    const refusedChain = new Error('unknown');
    const pair = enginePair(
      proxies({
        client: { admit },
        clientAnswers: { verdict: () => ({ ok: false, alert: Alert.unknownCa, error: refusedChain }) },
      }),
    ).run();
    expect(pair.client.error?.alert).to.equal(Alert.unknownCa);
  });

  it('is not offered, with its reason at both ends', () => {
    const qkdOffer = { offer: 'none', reason: 'pool_empty' } as const;
    const { psk: _, ...client } = { psk: undefined, qkdOffer, identity: clientIdentity };
    const pair = enginePair({
      client,
      server: { requestClientCertificate: true, qkd: true },
      serverAnswers: { psk: () => ({ action: 'continue', result: 'unavailable' }) },
    }).run();
    expectConnected(pair);
    expect(pair.server.summary?.qkdOffer).to.deep.equal(qkdOffer);
    expect(pair.client.summary?.qkdResult).to.equal('not_offered');
    expect(pair.server.event('psk-required')?.offered).to.deep.equal([]);
  });

  it('with another key at the server is an alert, never a fallback', () => {
    const pair = enginePair(proxies({ serverAnswers: { psk: () => use(qkdPsk({}, 0x52)) } })).run();
    expectFailure(pair, 'server', 'ERR_TLS_BAD_BINDER', Alert.illegalParameter);
  });

  it('with a bad binder and without extension 33 is decrypt_error', () => {
    const pair = enginePair({
      client: { auth: 'psk', psk: qkdPsk(), qkdOffer: { offer: 'key' } },
      server: { auth: 'psk', qkd: true },
      serverAnswers: { psk: () => use(qkdPsk({}, 0x52)) },
    }).run();
    expectFailure(pair, 'server', 'ERR_TLS_BAD_BINDER', Alert.decryptError);
  });

  it('with another context than ours is as if it were not there, and policy is asked again', () => {
    const context = { purpose: 'handshake', drawer: 'siteA', answerer: 'siteC' } as const;
    const decisions: PskDecision[] = [use(qkdPsk({ context })), { action: 'continue', result: 'unavailable' }];
    const pair = enginePair(proxies({ serverAnswers: { psk: () => decisions.shift() } })).run();
    expectConnected(pair);
    expect(pair.client.summary?.qkdResult).to.equal('unavailable');
    const asked = pair.server.events.filter(({ type }) => type === 'psk-required');
    expect(asked).to.have.length(2);
    expect(asked[1]).to.have.property('offered').that.deep.equals([]);
  });

  it('without extension 33 is not even looked at where certificates are asked for', () => {
    const pair = enginePair({
      client: { auth: 'psk', psk: qkdPsk(), qkdOffer: { offer: 'key' } },
      server: { qkd: true },
      serverAnswers: { psk: () => ({ action: 'continue', result: 'policy' }) },
    }).run();
    expect(pair.server.event('psk-required')?.offered).to.deep.equal([]);
    expectFailure(pair, 'client', 'ERR_TLS_HANDSHAKE_FAILURE', Alert.handshakeFailure);
  });

  it('makes a client abort whose server takes the key and leaves the certificate out', () => {
    const pair = enginePair({
      client: { auth: 'certificate', psk: qkdPsk(), qkdOffer: { offer: 'key' } },
      server: { auth: 'psk', qkd: true },
      serverAnswers: { psk: () => use() },
    }).run();
    expectFailure(pair, 'client', 'ERR_TLS_HANDSHAKE_FAILURE', Alert.handshakeFailure);
  });
});

describe('a plain external PSK', () => {
  const identity = new TextEncoder().encode('Client_identity');
  const plain = () => ({ kind: 'plain', identity, secret: new SecretBytes(new Uint8Array(32).fill(3)) }) as const;

  it('connects with SHA-256 suites', () => {
    const pair = enginePair({
      client: { auth: 'psk', psk: plain() },
      server: { auth: 'psk' },
      serverAnswers: { psk: () => ({ action: 'use', psk: plain() }) },
    }).run();
    expectConnected(pair);
    expect(pair.client.summary?.psk).to.equal('plain');
    expect(pair.client.summary?.cipherSuite).to.equal(0x1301);
    expect(pair.server.event('psk-required')?.offered).to.deep.equal([{ identity }]);
  });

  it('unknown to the server, or known to it with another key, ends in the same alert', () => {
    const answered = (decision: PskDecision) =>
      enginePair({
        client: { auth: 'psk', psk: plain() },
        server: { auth: 'psk' },
        serverAnswers: { psk: () => decision },
      }).run();
    const unknown = answered({ action: 'continue', result: 'unavailable' });
    expectFailure(unknown, 'server', 'ERR_TLS_HANDSHAKE_FAILURE', Alert.decryptError);
    const underAnotherName = answered({ action: 'use', psk: { ...plain(), identity: Uint8Array.of(1) } });
    expectFailure(underAnotherName, 'server', 'ERR_TLS_HANDSHAKE_FAILURE', Alert.decryptError);
    const secret = new SecretBytes(new Uint8Array(32).fill(4));
    const another = answered({ action: 'use', psk: { ...plain(), secret } });
    expectFailure(another, 'server', 'ERR_TLS_BAD_BINDER', Alert.decryptError);
  });

  it('is what a server asks for that has nothing else: handshake_failure without one', () => {
    const none = enginePair({ server: { auth: 'psk' } }).run();
    expectFailure(none, 'server', 'ERR_TLS_HANDSHAKE_FAILURE', Alert.handshakeFailure);
  });

  /** Certificates beside it, and a server of one suite whose group the client sent no share of. */
  const besideCertificates = (cipherSuite: number, overrides: PairOptions = {}) =>
    enginePair({
      client: { identity: clientIdentity, psk: plain(), ...overrides.client },
      server: {
        requestClientCertificate: true,
        groups: [NamedGroup.x25519],
        cipherSuites: [cipherSuite],
        ...overrides.server,
      },
      serverAnswers: { psk: () => ({ action: 'use', psk: plain() }) },
    }).run();

  for (const cookieKey of [undefined, new Uint8Array(32)]) {
    const server = cookieKey ? { cookieKey } : {};
    const by = cookieKey ? 'with a cookie' : 'without a cookie';

    it(`stands beside certificates after a HelloRetryRequest ${by}`, () => {
      const pair = besideCertificates(0x1301, { server });
      expectConnected(pair);
      expect(pair.client.summary?.psk).to.equal('plain');
      expect(pair.client.event('peer-certificate'), 'the certificate of the server').not.to.equal(undefined);
      expect(pair.server.event('peer-certificate'), 'that of the client').not.to.equal(undefined);
    });

    it(`stays in the second ClientHello where its hash does not fit, and leaves the certificates, ${by}`, () => {
      const pair = besideCertificates(0x1302, { server });
      expectConnected(pair);
      expect(pair.client.summary).to.include({ psk: 'none', helloRetryRequest: true, cipherSuite: 0x1302 });
      expect(pair.client.event('peer-certificate')).not.to.equal(undefined);
      expect(pair.server.event('peer-certificate')).not.to.equal(undefined);
      const [first, second] = clientHellos(pair);
      for (const extensions of [first, second]) {
        expect(extensions?.certWithExternPsk).to.equal(true);
        expect(extensions?.pskKeyExchangeModes).to.deep.equal([PskKeyExchangeMode.pskDheKe]);
        expect(extensions?.preSharedKey?.identities).to.deep.equal([{ identity, obfuscatedTicketAge: 0 }]);
      }
      // RFC 8446, 4.2.11.2, in the hash of the PSK and not of the suite.
      const [hello1, retry, hello2] = handshakeMessages(pair);
      const digest = (...parts: Uint8Array[]) => hash('sha256', concat(...parts));
      const covered = concat(
        Uint8Array.of(254, 0, 0, 32),
        digest(hello1 as Uint8Array),
        retry as Uint8Array,
        (hello2 as Uint8Array).subarray(0, -35),
      );
      const binderKey = EarlySecret.of('sha256', plain().secret).binderKey('external');
      expect(second?.preSharedKey?.binders).to.deep.equal([pskBinder('sha256', binderKey, digest(covered))]);
    });
  }

  it('that does not fit the suite is told to the policy of the client, with HelloRetryRequest and without', () => {
    const asked: HandshakeSummary[] = [];
    const admit = (summary: HandshakeSummary) => {
      asked.push(summary);
      return summary.psk === 'plain';
    };
    for (const groups of [[NamedGroup.x25519], [NamedGroup.x25519MlKem768]]) {
      const pair = besideCertificates(0x1302, { client: { admit }, server: { groups } });
      expectFailure(pair, 'client', 'ERR_TLS_INSUFFICIENT_SECURITY', Alert.insufficientSecurity);
      expect(pair.server.summary).to.equal(undefined);
    }
    expect(asked.map(({ psk, helloRetryRequest }) => [psk, helloRetryRequest])).to.deep.equal([
      ['none', true],
      ['none', false],
    ]);
  });

  it('needs a SHA-256 suite', () => {
    const options = clientOptions({ auth: 'psk', psk: plain(), cipherSuites: [0x1302] });
    expect(() => enginePair({ client: options }).run()).to.throw(TlsMisuseError);
  });
});

/** The handshake messages that went in clear, each in a record of its own, in the order of sending. */
function handshakeMessages({ wire }: EnginePair): Uint8Array[] {
  return wire.flatMap(({ bytes }) => {
    const messages: Uint8Array[] = [];
    for (let at = 0; at < bytes.length; ) {
      const end = at + 5 + ((bytes[at + 3] as number) << 8) + (bytes[at + 4] as number);
      if (bytes[at] === 22) messages.push(bytes.subarray(at + 5, end));
      at = end;
    }
    return messages;
  });
}

/** What each ClientHello says. */
function clientHellos(pair: EnginePair): ReceivedClientHello['extensions'][] {
  return handshakeMessages(pair)
    .filter((message) => message[0] === HandshakeType.clientHello)
    .map((message) => decodeClientHello(message.subarray(4), defaultCodePoints).extensions);
}

const concat = (...parts: readonly Uint8Array[]) => Uint8Array.of(...parts.flatMap((part) => [...part]));

/** Content types of the records in some bytes. */
function recordTypes(writes: readonly Uint8Array[]): number[] {
  const types: number[] = [];
  for (const bytes of writes) {
    for (let at = 0; at < bytes.length; at += 5 + ((bytes[at + 3] as number) << 8) + (bytes[at + 4] as number)) {
      types.push(bytes[at] as number);
    }
  }
  return types;
}
