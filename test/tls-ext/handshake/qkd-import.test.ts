/** QKD keys as imported PSKs: which identities name one of ours, and that a key goes nowhere but where its context says. */
import { expect } from 'chai';
import { referenceOf } from '../../../tls-ext/handshake/qkd-import.ts';
import { TlsMisuseError } from '../../../tls-ext/index.ts';
import { encodeImportedIdentity, TARGET_PROTOCOL_TLS13 } from '../../../tls-ext/key-schedule/index.ts';
import { encodeQkdKeyReference } from '../../../tls-ext/messages/index.ts';
import { enginePair, type PskRequired, qkdPsk, qkdReference } from '../engine/engine-pair.ts';
import { changeClientHello } from '../misbehaving/middleman.ts';

const imported = (externalIdentity: Uint8Array, targetProtocol: number = TARGET_PROTOCOL_TLS13) =>
  encodeImportedIdentity({ externalIdentity, context: new Uint8Array(3), targetProtocol, targetKdf: 1 });

describe('an imported identity', () => {
  const reference = encodeQkdKeyReference(qkdReference);

  it('names our key for TLS 1.3, and none for another protocol', () => {
    expect(referenceOf(imported(reference))).to.deep.equal(qkdReference);
    for (const protocol of [0x0303, 0x0305, 0xfefc])
      expect(referenceOf(imported(reference, protocol))).to.equal(undefined);
  });

  it('of a key that is no QKD key names none', () => {
    for (const external of [Uint8Array.of(1), reference.subarray(0, -1), Uint8Array.of(...reference, 0)]) {
      expect(referenceOf(imported(external))).to.equal(undefined);
    }
  });

  it("of somebody else's external PSK may stand before ours, and is passed over", () => {
    const foreign = { identity: imported(Uint8Array.of(0x6b, 0x69, 0x64, 0x31)), obfuscatedTicketAge: 0 };
    const cut = changeClientHello((hello) => {
      const { identities, binders } = hello.extensions.preSharedKey ?? { identities: [], binders: [] };
      const preSharedKey = { identities: [foreign, ...identities], binders: [new Uint8Array(32), ...binders] };
      return { ...hello, extensions: { ...hello.extensions, preSharedKey } };
    });
    const pair = enginePair({
      client: { psk: qkdPsk(), qkdOffer: { offer: 'key' }, cipherSuites: [0x1302] },
      server: { qkd: true },
      serverAnswers: { psk: () => ({ action: 'continue', result: 'unavailable' }) },
      cut,
    }).run();
    const asked = pair.server.events.find((event): event is PskRequired => event.type === 'psk-required');
    expect(asked?.offered.map(({ reference }) => reference)).to.deep.equal([undefined, qkdReference]);
  });
});

describe('a QKD key whose context', () => {
  const misuse = (context: ReturnType<typeof qkdPsk>['context']) =>
    expect(() => enginePair({ client: { psk: qkdPsk({ context }), qkdOffer: { offer: 'key' } } }).run());

  it('names another drawer than its reference is not imported', () => {
    misuse({ purpose: 'handshake', drawer: 'siteC', answerer: 'siteB' }).to.throw(TlsMisuseError);
    misuse({ purpose: 'handshake', drawer: 'siteB', answerer: 'siteA' }).to.throw(TlsMisuseError);
  });
});
