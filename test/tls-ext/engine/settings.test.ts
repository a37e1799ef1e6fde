/** The settings that change what goes over the wire. */
import { expect } from 'chai';
import { decodeWhole } from '../../../tls-ext/bytes/index.ts';
import { CipherSuite, cipherSuiteInfo } from '../../../tls-ext/index.ts';
import { decodeClientHello, defaultCodePoints, isGrease } from '../../../tls-ext/messages/index.ts';
import { clientIdentity, type EnginePair, enginePair, expectConnected, random } from './engine-pair.ts';

/** Lengths of the records that one side sent, headers excluded. */
function recordLengths(pair: EnginePair, from: 'client' | 'server', type: number): number[] {
  const bytes = Buffer.concat(pair.wire.filter((sent) => sent.from === from).map((sent) => sent.bytes));
  const lengths: number[] = [];
  for (let at = 0; at < bytes.length; at += 5 + bytes.readUInt16BE(at + 3)) {
    if (bytes[at] === type) lengths.push(bytes.readUInt16BE(at + 3));
  }
  return lengths;
}

function firstClientHello(pair: EnginePair) {
  const record = pair.wire[0]?.bytes ?? new Uint8Array(0);
  const message = decodeWhole(record.subarray(3), (reader) => reader.vector(2));
  return decodeClientHello(message.subarray(4), defaultCodePoints);
}

describe('GREASE', () => {
  it("stands in the client's lists, and is not there when turned off", () => {
    const { cipherSuites: suites, extensions } = firstClientHello(enginePair().run());
    expect(suites.filter(isGrease)).to.have.length(1);
    expect(extensions.supportedGroups?.filter(isGrease)).to.have.length(1);
    expect(extensions.supportedVersions?.filter(isGrease)).to.have.length(1);
    expect(extensions.opaque?.map(({ type }) => type).filter(isGrease)).to.have.length(1);
    const plain = firstClientHello(enginePair({ client: { grease: false } }).run());
    expect([...plain.cipherSuites, ...(plain.extensions.supportedGroups ?? [])].some(isGrease)).to.equal(false);
    expect(plain.extensions.opaque).to.equal(undefined);
  });
});

describe('record_size_limit', () => {
  it('binds each side to what the other announced', () => {
    const pair = enginePair({ client: { recordSizeLimitBytes: 200 }, server: { recordSizeLimitBytes: 300 } }).run();
    expectConnected(pair);
    pair.client.take(pair.client.engine.send(random(5000)));
    pair.server.take(pair.server.engine.send(random(5000)));
    pair.deliver();
    expect(pair.client.received).to.have.length(100 + 5000);
    expect(pair.server.received).to.have.length(100 + 5000);
    expect(Math.max(...recordLengths(pair, 'server', 23))).to.equal(200 + 16);
    expect(Math.max(...recordLengths(pair, 'client', 23))).to.equal(300 + 16);
  });

  it('is not negotiated with a client that does not speak of it', () => {
    const pair = enginePair({ server: { recordSizeLimitBytes: 300 } }).run();
    expectConnected(pair);
    pair.client.take(pair.client.engine.send(random(5000)));
    expectConnected(pair.deliver());
    expect(Math.max(...recordLengths(pair, 'client', 23))).to.be.greaterThan(5000);
  });
});

describe('padding', () => {
  it('hides lengths up to its multiple', () => {
    const pair = enginePair({ client: { paddingMultipleBytes: 512 } }).run();
    const before = recordLengths(pair, 'client', 23).length;
    for (const length of [1, 100, 511]) pair.client.take(pair.client.engine.send(random(length)));
    pair.deliver();
    expect(new Set(recordLengths(pair, 'client', 23).slice(before))).to.deep.equal(new Set([512 + 1 + 16]));
    expect(pair.server.received).to.have.length(1 + 100 + 511);
  });
});

describe('the limit of an AEAD', () => {
  it('is met by a KeyUpdate, unasked, before it is reached', () => {
    const aead = cipherSuiteInfo(CipherSuite.aes256GcmSha384)?.aead as { sealLimitRecords: number };
    const { sealLimitRecords } = aead;
    aead.sealLimitRecords = 40;
    try {
      const pair = enginePair().run();
      for (let i = 0; i < 200; i++) {
        pair.client.take(pair.client.engine.send(Uint8Array.of(i)));
        pair.server.take(pair.server.engine.send(Uint8Array.of(i)));
        pair.deliver();
      }
      expect(pair.client.received).to.deep.equal(Array.from({ length: 200 }, (_, i) => i));
      expect(pair.server.received).to.have.length(200);
      // 200 records of data, the handshake's one, and a KeyUpdate for every 30.
      expect(recordLengths(pair, 'client', 23).length).to.be.within(200 + 1 + 5, 200 + 1 + 8);
    } finally {
      aead.sealLimitRecords = sealLimitRecords;
    }
  });
});

describe('certificate_authorities', () => {
  it('goes out in ClientHello', () => {
    const certificateAuthorities = [Uint8Array.of(0x30, 0)];
    const pair = enginePair({ client: { certificateAuthorities } }).run();
    expectConnected(pair);
    expect(firstClientHello(pair).extensions.certificateAuthorities).to.deep.equal(certificateAuthorities);
  });

  it('goes out in CertificateRequest, which the client reads', () => {
    const pair = enginePair({
      client: { identity: clientIdentity },
      server: {
        requestClientCertificate: true,
        certificateAuthorities: [Uint8Array.of(0x30, 0)],
        requestOcspStaple: true,
      },
    }).run();
    expectConnected(pair);
  });
});

describe('signature_algorithms_cert', () => {
  it('goes out beside signature_algorithms', () => {
    const pair = enginePair({ client: { signatureSchemesCert: [0x0401, 0x0403] } }).run();
    expectConnected(pair);
    expect(firstClientHello(pair).extensions.signatureAlgorithmsCert).to.deep.equal([0x0401, 0x0403]);
  });
});
