import { expect } from 'chai';
import { Alert } from '../../../tls-ext/alert.ts';
import { DecodeError, encode, fromHex, hexOf, utf8 } from '../../../tls-ext/bytes/index.ts';
import {
  type ClientHello,
  clientHelloInvariants,
  decodeCertificateRequest,
  decodeClientHello,
  decodeEncryptedExtensions,
  decodeQkdKeyReference,
  decodeServerHello,
  defaultCodePoints,
  type Extension,
  ExtensionType,
  encodeClientHello,
  encodeEncryptedExtensions,
  encodeQkdKeyReference,
  encodeQkdPskContext,
  extensionAllowedIn,
  fillBinders,
  HANDSHAKE_HEADER_BYTES,
  isGrease,
} from '../../../tls-ext/messages/index.ts';
import { TlsError } from '../../../tls-ext/tls-error.ts';

const minimal: ClientHello = {
  random: new Uint8Array(32),
  legacySessionId: new Uint8Array(0),
  cipherSuites: [0x1301],
  extensions: { supportedVersions: [0x0304] },
};

function bodyOf(hello: ClientHello): Uint8Array {
  return encodeClientHello(hello, defaultCodePoints).subarray(HANDSHAKE_HEADER_BYTES);
}

/** A ClientHello with these raw extensions after supported_versions. */
function helloWith(opaque: readonly Extension[]): Uint8Array {
  return encode((writer) => {
    writer.u16(0x0303).bytes(new Uint8Array(32)).u8(0).u16(2).u16(0x1301).u8(1).u8(0);
    writer.vector(2, () => {
      writer.u16(ExtensionType.supportedVersions).vector(2, Uint8Array.of(2, 3, 4));
      for (const { type, data } of opaque) writer.u16(type).vector(2, data);
    });
  });
}

function alertOf(run: () => unknown): Alert | undefined {
  try {
    run();
  } catch (error) {
    if (error instanceof DecodeError) return Alert.decodeError;
    if (error instanceof TlsError) return error.alert;
    throw error;
  }
  throw new Error('nothing thrown');
}

const empty = new Uint8Array(0);

describe('rules for messages', () => {
  it('reject an extension that stands twice', () => {
    const extension = { type: 0x7777, data: empty };
    expect(alertOf(() => decodeClientHello(helloWith([extension, extension]), defaultCodePoints))).to.equal(
      Alert.illegalParameter,
    );
  });

  it('reject an extension that we know in a message that may not have it', () => {
    for (const type of [ExtensionType.cookie, ExtensionType.keyShare, ExtensionType.certWithExternPsk]) {
      const message = encode((w) => w.vector(2, () => w.u16(type).vector(2, empty)));
      expect(alertOf(() => decodeEncryptedExtensions(message, defaultCodePoints))).to.equal(Alert.illegalParameter);
    }
    expect(extensionAllowedIn(ExtensionType.qkdPsk, 'HRR')).to.equal(false);
    expect(extensionAllowedIn(ExtensionType.oidFilters, 'CH')).to.equal(false);
  });

  it('keep unknown extensions and GREASE as they are', () => {
    const opaque = [
      { type: 0x0a0a, data: empty },
      { type: 0xfe0d, data: Uint8Array.of(1, 2, 3) },
    ];
    expect(decodeClientHello(helloWith(opaque), defaultCodePoints).extensions.opaque).to.deep.equal(opaque);
    expect(isGrease(0x0a0a) && isGrease(0xfafa)).to.equal(true);
    expect(isGrease(0x0a1a) || isGrease(0x1302)).to.equal(false);
  });

  it('reject pre_shared_key that is not last', () => {
    const psk = encode((w) => {
      w.vector(2, () => w.vector(2, Uint8Array.of(1)).u32(0)).vector(2, () => w.vector(1, new Uint8Array(32)));
    });
    const misplaced = helloWith([
      { type: ExtensionType.preSharedKey, data: psk },
      { type: 0x0a0a, data: empty },
    ]);
    expect(alertOf(() => decodeClientHello(misplaced, defaultCodePoints))).to.equal(Alert.illegalParameter);
  });

  it('reject unequal numbers of identities and binders', () => {
    const psk = encode((w) => {
      w.vector(2, () => w.vector(2, Uint8Array.of(1)).u32(0));
      w.vector(2, () => w.vector(1, new Uint8Array(32)).vector(1, new Uint8Array(32)));
    });
    const hello = helloWith([{ type: ExtensionType.preSharedKey, data: psk }]);
    expect(alertOf(() => decodeClientHello(hello, defaultCodePoints))).to.equal(Alert.illegalParameter);
  });

  it('tell a TLS 1.2 client protocol_version, with or without extensions', () => {
    const bare = encode((w) => w.u16(0x0303).bytes(new Uint8Array(32)).u8(0).u16(2).u16(0xc02f).u8(1).u8(0));
    expect(alertOf(() => decodeClientHello(bare, defaultCodePoints))).to.equal(Alert.protocolVersion);
    const only12 = { ...minimal, extensions: { supportedVersions: [0x0303, 0x0302] } };
    expect(alertOf(() => decodeClientHello(bodyOf(only12), defaultCodePoints))).to.equal(Alert.protocolVersion);
  });

  it('tell a TLS 1.2 server protocol_version, whatever its extensions', () => {
    const hello = encode((w) => {
      w.u16(0x0303).bytes(new Uint8Array(32)).u8(0).u16(0xc02f).u8(0);
      w.vector(2, () => w.u16(ExtensionType.alpn).vector(2, Uint8Array.of(0, 2, 1, 0x68)));
    });
    expect(alertOf(() => decodeServerHello(hello))).to.equal(Alert.protocolVersion);
  });

  it('reject a selected version that was not offered', () => {
    const hello = encode((w) => {
      w.u16(0x0303).bytes(new Uint8Array(32)).u8(0).u16(0x1301).u8(0);
      w.vector(2, () => w.u16(ExtensionType.supportedVersions).vector(2, Uint8Array.of(3, 3)));
    });
    expect(alertOf(() => decodeServerHello(hello))).to.equal(Alert.illegalParameter);
  });

  it('want signature_algorithms in a CertificateRequest', () => {
    expect(alertOf(() => decodeCertificateRequest(Uint8Array.of(0, 0, 0)))).to.equal(Alert.missingExtension);
  });

  it('bound every list', () => {
    const groups = encode((w) => w.vector(2, new Uint8Array(2 * 129)));
    const shares = encode((w) => {
      w.vector(2, () => {
        for (let group = 0; group < 17; group++) w.u16(group).vector(2, Uint8Array.of(1));
      });
    });
    const extensions = Array.from({ length: 65 }, (_, i) => ({ type: 0x4000 + i, data: empty }));
    for (const hello of [
      helloWith([{ type: ExtensionType.supportedGroups, data: groups }]),
      helloWith([{ type: ExtensionType.keyShare, data: shares }]),
      helloWith(extensions),
    ]) {
      expect(alertOf(() => decodeClientHello(hello, defaultCodePoints))).to.equal(Alert.decodeError);
    }
  });

  it('move qkd_psk with its setting, and know nothing of it at another code point', () => {
    const hello: ClientHello = {
      ...minimal,
      extensions: { ...minimal.extensions, qkdPsk: { features: 1, offer: { offer: 'key' } } },
    };
    const moved = encodeClientHello(hello, { qkdPsk: 0xff77 }).subarray(HANDSHAKE_HEADER_BYTES);
    expect(decodeClientHello(moved, { qkdPsk: 0xff77 }).extensions.qkdPsk?.offer).to.deep.equal({ offer: 'key' });
    for (const qkdPsk of [0xff52, ExtensionType.qkdPsk]) {
      const { extensions } = decodeClientHello(moved, { qkdPsk });
      expect(extensions.qkdPsk).to.equal(undefined);
      expect(extensions.opaque?.map(({ type }) => type)).to.deep.equal([0xff77]);
    }
    expect(decodeClientHello(bodyOf(hello), { qkdPsk: 0xff52 }).extensions.opaque).to.have.length(1);
  });

  it('ignore qkd_psk of another draft version in a ClientHello, reject it in the answer', () => {
    const data = Uint8Array.of(0, 2, 9, 9, 9);
    const hello = decodeClientHello(helloWith([{ type: ExtensionType.qkdPsk, data }]), defaultCodePoints);
    expect(hello.extensions.qkdPsk).to.equal(undefined);
    const answer = encode((w) => w.vector(2, () => w.u16(ExtensionType.qkdPsk).vector(2, data)));
    expect(alertOf(() => decodeEncryptedExtensions(answer, defaultCodePoints))).to.equal(Alert.illegalParameter);
  });

  it('fix the bytes of qkd_psk', () => {
    const none = { features: 0, offer: { offer: 'none', reason: 'pool_empty' } } as const;
    const hello = bodyOf({ ...minimal, extensions: { ...minimal.extensions, qkdPsk: none } });
    expect(hexOf(hello)).to.match(/ff5100050001000003$/);
    const answer = encodeEncryptedExtensions(
      { extensions: { qkdPsk: { features: 1, result: 'used' } } },
      defaultCodePoints,
    );
    expect(hexOf(answer)).to.equal('0800000a0008ff51000400010101');
  });

  it('fix the bytes of key references and contexts', () => {
    const ksid = fromHex('000102030405060708090a0b0c0d0e0f');
    const reference = { api: 'etsi004', drawer: 'siteA', ksid, index: 258, slice: 3 } as const;
    expect(hexOf(encodeQkdKeyReference(reference))).to.equal(`01057369746541${hexOf(ksid)}000001020003`);
    expect(hexOf(encodeQkdKeyReference({ api: 'skip', drawer: 'a', keyId: Uint8Array.of(7) }))).to.equal('0301610107');
    expect(hexOf(encodeQkdPskContext({ purpose: 'rekey', drawer: 'a', answerer: 'b' }))).to.equal(
      `${hexOf(utf8('qkd_psk/1'))}0201610162`,
    );
    expect(() => encodeQkdKeyReference({ ...reference, ksid: new Uint8Array(15) })).to.throw(RangeError);
    expect(() => decodeQkdKeyReference(Uint8Array.of(1, 1, 0xff))).to.throw(DecodeError);
  });

  it('compare what a second ClientHello may not change', () => {
    const received = (hello: ClientHello) => clientHelloInvariants(decodeClientHello(bodyOf(hello), defaultCodePoints));
    const withExtensions = (extensions: ClientHello['extensions']) =>
      received({ ...minimal, extensions: { ...minimal.extensions, ...extensions } });
    const first = withExtensions({ serverName: 'a.example', keyShare: [] });
    const share = { group: 23, keyExchange: Uint8Array.of(1) };
    expect(withExtensions({ serverName: 'a.example', keyShare: [share], cookie: Uint8Array.of(1) })).to.deep.equal(
      first,
    );
    expect(withExtensions({ serverName: 'b.example', keyShare: [] })).not.to.deep.equal(first);
    expect(received({ ...minimal, cipherSuites: [0x1302] })).not.to.deep.equal(received(minimal));
  });

  it('let extensions of a second ClientHello stand in another order', () => {
    const hello = decodeClientHello(
      bodyOf({ ...minimal, extensions: { ...minimal.extensions, serverName: 'a.example', alpn: ['b'] } }),
      defaultCodePoints,
    );
    const reordered = { ...hello, extensionList: [...hello.extensionList].reverse() };
    expect(hello.extensionList.length).to.be.greaterThan(2);
    expect(clientHelloInvariants(reordered)).to.deep.equal(clientHelloInvariants(hello));
  });

  it('put binders where the placeholders were', () => {
    const preSharedKey = {
      identities: [{ identity: Uint8Array.of(1), obfuscatedTicketAge: 0 }],
      binders: [new Uint8Array(32)],
    };
    const hello = { ...minimal, extensions: { ...minimal.extensions, preSharedKey } };
    const message = encodeClientHello(hello, defaultCodePoints);
    fillBinders(message, [new Uint8Array(32).fill(7)]);
    const decoded = decodeClientHello(message.subarray(HANDSHAKE_HEADER_BYTES), defaultCodePoints);
    expect(decoded.extensions.preSharedKey?.binders[0]).to.deep.equal(new Uint8Array(32).fill(7));
    expect(decoded.truncatedLengthBytes).to.equal(message.length - 35);
    expect(() => fillBinders(message, [new Uint8Array(48)])).to.throw(RangeError);
  });
});
