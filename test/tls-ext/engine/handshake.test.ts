import { expect } from 'chai';
import { Alert, CipherSuite, NamedGroup } from '../../../tls-ext/index.ts';
import { clientIdentity, enginePair, expectConnected, expectFailure, serverIdentity } from './engine-pair.ts';

describe('certificate handshake between our own ends', () => {
  it('completes with the preferred group and suite', () => {
    const pair = enginePair().run();
    expectConnected(pair);
    expect(pair.client.summary).to.deep.equal({
      group: NamedGroup.x25519MlKem768,
      cipherSuite: CipherSuite.aes256GcmSha384,
      serverName: 'server.example',
      psk: 'none',
      peerCertificate: true,
      helloRetryRequest: false,
      rekey: false,
      tickets: false,
    });
    expect(pair.server.summary?.peerCertificate).to.equal(false);
  });

  it('hands the chain to the verdict as it was sent', () => {
    const pair = enginePair().run();
    expect(pair.client.event('peer-certificate')?.chain).to.deep.equal(serverIdentity.chain);
  });

  it('asks again for a group by HelloRetryRequest', () => {
    const pair = enginePair({
      client: { groups: [NamedGroup.x25519, NamedGroup.x25519MlKem768] },
      server: { groups: [NamedGroup.x25519MlKem768] },
    }).run();
    expectConnected(pair);
    expect(pair.client.summary?.helloRetryRequest).to.equal(true);
    expect(pair.client.summary?.group).to.equal(NamedGroup.x25519MlKem768);
  });

  it('spends a round trip on post-quantum strength, not on taste', () => {
    const groups = [NamedGroup.secp256r1, NamedGroup.x25519];
    const classical = enginePair({ client: { groups: [...groups].reverse() }, server: { groups } }).run();
    expect(classical.client.summary?.helloRetryRequest).to.equal(false);
    expect(classical.client.summary?.group).to.equal(NamedGroup.x25519);
    const upgraded = enginePair({ client: { groups: [NamedGroup.x25519, NamedGroup.x25519MlKem768] } }).run();
    expect(upgraded.client.summary?.group).to.equal(NamedGroup.x25519MlKem768);
  });

  it('carries the retry in a cookie and holds nothing in between', () => {
    const pair = enginePair({
      client: { groups: [NamedGroup.x25519, NamedGroup.secp256r1] },
      server: { groups: [NamedGroup.secp256r1], cookieKey: new Uint8Array(32).fill(1) },
    }).run();
    expectConnected(pair);
    expect(pair.client.summary?.helloRetryRequest).to.equal(true);
  });

  it('authenticates the client where it is asked to', () => {
    const pair = enginePair({ client: { identity: clientIdentity }, server: { requestClientCertificate: true } }).run();
    expectConnected(pair);
    expect(pair.server.event('peer-certificate')?.chain).to.deep.equal(clientIdentity.chain);
    expect(pair.server.summary?.peerCertificate).to.equal(true);
  });

  it('refuses a client without a certificate where one is asked for', () => {
    const pair = enginePair({ server: { requestClientCertificate: true } }).run();
    expectFailure(pair, 'server', 'ERR_TLS_CERTIFICATE_REQUIRED', Alert.certificateRequired);
  });

  it('sends an empty Certificate where the schemes have nothing in common', () => {
    const pair = enginePair({
      client: { identity: clientIdentity },
      server: { requestClientCertificate: true, signatureSchemes: [0x0403] },
    }).run();
    expectFailure(pair, 'server', 'ERR_TLS_CERTIFICATE_REQUIRED', Alert.certificateRequired);
  });

  it('passes the verdict on: alert to the peer, cause to the log', () => {
    const cause = new Error('unknown CA');
    const verdict = () => ({ ok: false, alert: Alert.unknownCa, error: cause }) as const;
    const byClient = enginePair({ clientAnswers: { verdict } }).run();
    expectFailure(byClient, 'client', 'ERR_TLS_PEER_CERTIFICATE', Alert.unknownCa);
    expect(byClient.client.error?.cause).to.equal(cause);
    const byServer = enginePair({
      client: { identity: clientIdentity },
      server: { requestClientCertificate: true },
      serverAnswers: { verdict },
    }).run();
    expectFailure(byServer, 'server', 'ERR_TLS_PEER_CERTIFICATE', Alert.unknownCa);
  });

  it('rejects a CertificateVerify by another key', () => {
    const verdict = () => ({ ok: true, publicKeySpki: clientIdentity.spki }) as const;
    const otherCurve = enginePair({ clientAnswers: { verdict } }).run();
    expectFailure(otherCurve, 'client', 'ERR_TLS_ILLEGAL_PARAMETER', Alert.illegalParameter);
    const stolen = { ...serverIdentity, sign: () => new Uint8Array(70).fill(1) };
    expectFailure(enginePair({ server: { identity: stolen } }).run(), 'client', 'ERR_TLS_DECRYPT', Alert.decryptError);
  });

  it('negotiates the protocol, the server in its order', () => {
    const pair = enginePair({
      client: { alpnProtocols: ['h2', 'http/1.1'] },
      server: { alpnProtocols: ['http/1.1', 'h2'] },
    }).run();
    expectConnected(pair);
    expect(pair.client.summary?.alpnProtocol).to.equal('http/1.1');
    const none = enginePair({ client: { alpnProtocols: ['a'] }, server: { alpnProtocols: ['b'] } }).run();
    expectFailure(none, 'server', 'ERR_TLS_NO_APPLICATION_PROTOCOL', Alert.noApplicationProtocol);
  });

  it('fails where there is no suite, group or scheme in common', () => {
    const suites = enginePair({ client: { cipherSuites: [0x1301] }, server: { cipherSuites: [0x1302] } }).run();
    expectFailure(suites, 'server', 'ERR_TLS_HANDSHAKE_FAILURE', Alert.handshakeFailure);
    const groups = enginePair({ client: { groups: [23] }, server: { groups: [29] } }).run();
    expectFailure(groups, 'server', 'ERR_TLS_HANDSHAKE_FAILURE', Alert.handshakeFailure);
    const schemes = enginePair({ client: { signatureSchemes: [0x0807] } }).run();
    expectFailure(schemes, 'server', 'ERR_TLS_HANDSHAKE_FAILURE', Alert.handshakeFailure);
  });

  it('staples OCSP where it is asked for, and hands it to the verdict', () => {
    const ocspResponse = Uint8Array.of(0x30, 3, 10, 1, 0);
    const identity = { ...serverIdentity, ocspResponse };
    const asked = enginePair({ client: { requestOcspStaple: true }, server: { identity } }).run();
    expectConnected(asked);
    expect(asked.client.event('peer-certificate')?.ocspResponse).to.deep.equal(ocspResponse);
    const unasked = enginePair({ server: { identity } }).run();
    expect(unasked.client.event('peer-certificate')).not.to.have.property('ocspResponse');
  });

  it('writes the secrets of a key log only where it was asked to', () => {
    const lines: string[] = [];
    const serverLines: string[] = [];
    enginePair({
      client: { unsafeKeyLog: (line) => lines.push(line) },
      server: { unsafeKeyLog: (line) => serverLines.push(line) },
    }).run();
    expect(lines.map((line) => line.split(' ')[0])).to.deep.equal([
      'CLIENT_HANDSHAKE_TRAFFIC_SECRET',
      'SERVER_HANDSHAKE_TRAFFIC_SECRET',
      'CLIENT_TRAFFIC_SECRET_0',
      'SERVER_TRAFFIC_SECRET_0',
      'EXPORTER_SECRET',
    ]);
    expect(serverLines).to.deep.equal(lines);
  });
});

describe('a handshake however its bytes arrive', () => {
  const options = {
    client: { identity: clientIdentity, groups: [NamedGroup.secp256r1, NamedGroup.x25519] },
    server: { requestClientCertificate: true, groups: [NamedGroup.x25519] },
  };

  it('one byte at a time', () => {
    const cut = (bytes: Uint8Array) => Array.from(bytes, (byte) => Uint8Array.of(byte));
    expectConnected(enginePair({ ...options, cut }).run());
  });

  it('in pieces of every small size', () => {
    for (let size = 2; size < 40; size++) {
      const cut = (bytes: Uint8Array) =>
        Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.subarray(i * size, (i + 1) * size));
      expectConnected(enginePair({ ...options, cut }).run());
    }
  });
});
