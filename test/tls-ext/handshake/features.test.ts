/** What each end says of what it was set to, and leaves out of what it was not. */
import { expect } from 'chai';
import { TlsMisuseError } from '../../../tls-ext/index.ts';
import { type ClientHello, decodeCertificateRequest } from '../../../tls-ext/messages/index.ts';
import { clientIdentity, type EnginePair, enginePair, expectConnected, qkdPsk } from '../engine/engine-pair.ts';
import { runAgainst, type Scenario } from '../misbehaving/handshakes.ts';
import { changeClientHello } from '../misbehaving/middleman.ts';
import type { Edit } from '../misbehaving/scripts.ts';

type Extensions = ClientHello['extensions'];

/** A client of somebody else, who sends what has to be sent. */
const stock = { serverName: undefined as never, grease: false };

/** Types of the records that one side sent, in their order. */
function recordTypes(pair: EnginePair, from: 'client' | 'server'): number[] {
  const bytes = Buffer.concat(pair.wire.filter((sent) => sent.from === from).map((sent) => sent.bytes));
  const types: number[] = [];
  for (let at = 0; at < bytes.length; at += 5 + bytes.readUInt16BE(at + 3)) types.push(bytes[at] as number);
  return types;
}

describe('what was not asked for', () => {
  it('is in nobody’s summary', () => {
    const pair = enginePair({ client: stock, server: { recordSizeLimitBytes: 512, alpnProtocols: ['h2'] } }).run();
    expectConnected(pair);
    const summary = {
      group: 0x11ec,
      cipherSuite: 0x1302,
      psk: 'none',
      helloRetryRequest: false,
      rekey: false,
      tickets: false,
    };
    expect(pair.client.summary).to.deep.equal({ ...summary, peerCertificate: true });
    expect(pair.server.summary).to.deep.equal({ ...summary, peerCertificate: false });
    expect(pair.client.event('peer-certificate')).to.have.all.keys('type', 'chain');
  });

  it('is not rekeying, where a client offers it to a server that was not told of it', () => {
    const pair = enginePair({
      client: { offerRekey: true, psk: qkdPsk(), qkdOffer: { offer: 'key' } },
      server: { qkd: true },
      serverAnswers: { psk: () => ({ action: 'use', psk: qkdPsk() }) },
    }).run();
    expectConnected(pair);
    expect(pair.server.summary).to.include({ rekey: false, qkdResult: 'used' });
  });

  it('is no context of a certificate, where the key that was offered is not used', () => {
    const pair = enginePair({
      client: { psk: qkdPsk(), qkdOffer: { offer: 'key' }, identity: clientIdentity },
      server: { qkd: true, requestClientCertificate: true },
      serverAnswers: { psk: () => ({ action: 'continue', result: 'unavailable' }) },
    }).run();
    expectConnected(pair);
    for (const side of [pair.client, pair.server]) {
      expect(side.event('peer-certificate')).to.have.all.keys('type', 'chain');
      expect(side.summary).not.to.have.property('reference');
    }
  });

  for (const groups of [[29], [23]]) {
    it(`is change_cipher_spec, where the client has no session ID (RFC 8446, D.4), for group ${groups[0]}`, () => {
      const cut = changeClientHello((hello) => ({ ...hello, legacySessionId: new Uint8Array(0) }));
      const pair = enginePair({ client: { groups: [29, 23] }, server: { groups }, cut }).run();
      expect(recordTypes(pair, 'server').includes(20)).to.equal(false);
      expect(
        pair.wire.some(({ from }) => from === 'server'),
        'an answer',
      ).to.equal(true);
    });
  }
});

describe('change_cipher_spec', () => {
  const first = (groups: readonly number[], from: 'client' | 'server') =>
    recordTypes(enginePair({ client: { groups: [29, 23] }, server: { groups } }).run(), from).slice(0, 3);

  it('follows the first message of a server that echoes a session ID', () => {
    expect(first([29], 'server'), 'ServerHello').to.deep.equal([22, 20, 23]);
    expect(first([23], 'server'), 'HelloRetryRequest, ServerHello').to.deep.equal([22, 20, 22]);
  });

  it('stands in front of what a client says second', () => {
    expect(first([29], 'client'), 'ClientHello, Finished').to.deep.equal([22, 20, 23]);
    expect(first([23], 'client'), 'two ClientHellos').to.deep.equal([22, 20, 22]);
  });
});

describe('ClientHello', () => {
  const extensionsOf = (client: NonNullable<Parameters<typeof enginePair>[0]>['client']) => {
    let sent: Extensions | undefined;
    const cut = changeClientHello((hello) => {
      sent = hello.extensions;
      return hello;
    });
    const pair = enginePair({ client: client ?? {}, cut }).run();
    expectConnected(pair);
    if (sent === undefined) throw new Error('no ClientHello');
    return sent;
  };
  const needed = ['supportedGroups', 'signatureAlgorithms', 'supportedVersions', 'keyShare'];

  it('carries nothing but what has to be said, of a client that was set to nothing else', () => {
    expect(extensionsOf(stock)).to.have.all.keys(...needed);
    const empty = { alpnProtocols: [], certificateAuthorities: [], requestOcspStaple: false };
    expect(extensionsOf({ ...stock, ...empty })).to.have.all.keys(...needed);
  });

  it('has a random and a session ID of 32 bytes each, and a share of its first group alone', () => {
    const asked: number[] = [];
    const random = (lengthBytes: number) => {
      asked.push(lengthBytes);
      return new Uint8Array(lengthBytes).fill(5);
    };
    const { keyShare } = extensionsOf({ ...stock, random, groups: [23, 29] });
    expect(asked).to.deep.equal([32, 32]);
    expect(keyShare?.map(({ group }) => group)).to.deep.equal([23]);
  });
});

describe('CertificateRequest', () => {
  const scenario: Scenario = { mutual: true };
  const listening =
    (hear: (message: Uint8Array) => void): Edit =>
    (script) =>
      script.map((step) =>
        step.kind === 'expect' && step.name === 'CertificateRequest' ? { ...step, take: hear } : step,
      );

  function requestOf(server: Scenario['server'] = {}) {
    let request: Uint8Array | undefined;
    const edit = listening((message) => {
      request = message;
    });
    expect(runAgainst('server', { ...scenario, server }, edit).complete).to.equal(true);
    if (request === undefined) throw new Error('no CertificateRequest');
    return decodeCertificateRequest(request.subarray(4)).extensions;
  }

  it('carries what the server was set to', () => {
    const settings = {
      signatureSchemes: [0x0403, 0x0503],
      signatureSchemesCert: [0x0401],
      certificateAuthorities: [Uint8Array.of(0x30, 0)],
      requestOcspStaple: true,
    };
    expect(requestOf(settings)).to.deep.equal({
      statusRequest: true,
      signatureAlgorithms: [0x0403, 0x0503],
      signatureAlgorithmsCert: [0x0401],
      certificateAuthorities: [Uint8Array.of(0x30, 0)],
    });
  });

  it('carries signature_algorithms only where it was set to nothing else', () => {
    const bare = { signatureSchemes: [0x0503], certificateAuthorities: [], requestOcspStaple: false };
    expect(requestOf(bare)).to.deep.equal({ signatureAlgorithms: [0x0503] });
  });

  it('asks for a staple, which the client has or has not', () => {
    const ocspResponse = Uint8Array.of(9, 8, 7);
    const stapled = (client: typeof clientIdentity, requestOcspStaple: boolean) => {
      const server = { requestClientCertificate: true, requestOcspStaple };
      const pair = enginePair({ client: { identity: client }, server }).run();
      expectConnected(pair);
      return pair.server.event('peer-certificate')?.ocspResponse;
    };
    expect(stapled({ ...clientIdentity, ocspResponse }, true)).to.deep.equal(ocspResponse);
    expect(stapled({ ...clientIdentity, ocspResponse }, false)).to.equal(undefined);
    expect(stapled(clientIdentity, true)).to.equal(undefined);
  });
});

describe('settings that contradict each other', () => {
  const start = (server: NonNullable<Parameters<typeof enginePair>[0]>['server']) => () =>
    enginePair({ server: server ?? {} }).server.engine.start();

  it('a server that shows certificates and has none', () => {
    expect(start({ identity: undefined as never })).to.throw(TlsMisuseError);
    expect(start({ identity: undefined as never, auth: 'psk' })).not.to.throw();
  });

  it('a server that wants certificates of clients and shows none itself', () => {
    expect(start({ auth: 'psk', requestClientCertificate: true })).to.throw(TlsMisuseError);
    expect(start({ auth: 'psk' })).not.to.throw();
  });
});

describe('qkd_psk at another code point', () => {
  const pairAt = (client: number, server: number) =>
    enginePair({
      client: { psk: qkdPsk(), qkdOffer: { offer: 'key' }, qkdPskExtension: client },
      server: { qkd: true, qkdPskExtension: server },
      serverAnswers: { psk: () => ({ action: 'use', psk: qkdPsk() }) },
    }).run();

  it('is spoken where both ends were set to it', () => {
    const pair = pairAt(0xff77, 0xff77);
    expectConnected(pair);
    expect(pair.client.summary?.qkdResult).to.equal('used');
  });

  it('is an unknown extension to an end with another one: the client misses the answer', () => {
    const pair = pairAt(0xff77, 0xff51);
    expect(pair.server.event('psk-required')).not.to.have.property('qkdOffer');
    expect(pair.client.error?.code).to.equal('ERR_TLS_ILLEGAL_PARAMETER');
  });
});
