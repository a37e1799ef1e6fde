import { expect } from 'chai';
import {
  type ChainQuestion,
  type ChainRejection,
  type Credential,
  certificatesOfPem,
  createCa,
  issueLeaf,
  loadTrust,
  type TrustAnchors,
  validateChain,
} from '../../certs/index.ts';
import { editCertificate } from './edit-certificate.ts';

const NOW_MS = Date.UTC(2026, 5, 1);
const DAY_MS = 86_400_000;

describe('certs: chains', () => {
  let root: Credential;
  let middle: Credential;
  let trust: TrustAnchors;
  let leaf: Credential;
  let deepLeaf: Credential;

  const leafOptions = {
    commonName: 'site A',
    saeIds: ['siteA'],
    dnsNames: ['a.example', '*.wild.example'],
    ipAddresses: ['192.0.2.7', '2001:db8::7'],
    nowMs: NOW_MS,
  };

  before(async () => {
    root = await createCa({ commonName: 'Root', nowMs: NOW_MS, pathLength: 1 });
    middle = await createCa({ commonName: 'Middle', nowMs: NOW_MS, issuer: root });
    trust = loadTrust(root.certPem);
    leaf = await issueLeaf(root, 'proxy', leafOptions);
    deepLeaf = await issueLeaf(middle, 'proxy', leafOptions);
  });

  const chainOf = (credential: Credential) => certificatesOfPem(credential.certPem);
  const ask = (chainDer: readonly Uint8Array[], more: Partial<ChainQuestion> = {}) =>
    validateChain({ chainDer, trust, nowMs: NOW_MS, purpose: 'server', ...more });
  const reasonOf = (
    chainDer: readonly Uint8Array[],
    more: Partial<ChainQuestion> = {},
  ): ChainRejection | 'accepted' => {
    const verdict = ask(chainDer, more);
    if (verdict.ok) return 'accepted';
    expect(verdict.error.message).not.to.include('\n');
    expect(verdict.error.code).to.match(/^ERR_CERT_/);
    return verdict.reason;
  };

  it('accepts a direct chain and says who it is', () => {
    const verdict = ask(chainOf(leaf), { expectedSaeIds: ['siteB', 'siteA'], verifyHost: 'a.example' });
    expect(verdict).to.deep.include({ ok: true, saeIds: ['siteA'], subject: 'CN=site A' });
    expect(verdict.ok && verdict.notAfterMs).to.equal(NOW_MS + 365 * DAY_MS);
  });

  it('accepts a chain through an intermediate, in any order and beside strangers', async () => {
    const stranger = await createCa({ commonName: 'Stranger', nowMs: NOW_MS });
    const [deep, above] = chainOf(deepLeaf) as [Uint8Array, Uint8Array];
    const [other] = chainOf(stranger) as [Uint8Array];
    expect(reasonOf([deep, above])).to.equal('accepted');
    expect(reasonOf([deep, other, above])).to.equal('accepted');
    expect(reasonOf([deep])).to.equal('unknown-ca');
    expect(reasonOf([above, deep]), 'the first one is the leaf: here a CA').to.equal('wrong-purpose');
  });

  it('finds the path past an expired CA of the same name', async () => {
    const early = { commonName: 'Twin', nowMs: NOW_MS, notBeforeMs: NOW_MS - 9 * DAY_MS, validityDays: 3 };
    const old = await createCa(early);
    const fresh = await createCa({ commonName: 'Twin', nowMs: NOW_MS });
    const both = loadTrust(old.certPem + fresh.certPem);
    expect(reasonOf(chainOf(await issueLeaf(fresh, 'proxy', leafOptions)), { trust: both })).to.equal('accepted');
  });

  describe('trust', () => {
    it('refuses a CA that is not ours', async () => {
      const foreign = await issueLeaf(await createCa({ commonName: 'Foreign', nowMs: NOW_MS }), 'proxy', leafOptions);
      expect(reasonOf(chainOf(foreign))).to.equal('unknown-ca');
    });

    it('refuses a CA that only bears the name of ours', async () => {
      const namesake = await createCa({ commonName: 'Root', nowMs: NOW_MS });
      const forged = await issueLeaf(namesake, 'proxy', leafOptions);
      expect(reasonOf(chainOf(forged))).to.equal('unknown-ca');
      expect(reasonOf([...chainOf(forged), ...chainOf(namesake)])).to.equal('unknown-ca');
    });

    it('refuses a signature that was made by another key, or touched', () => {
      const [der] = chainOf(leaf) as [Uint8Array];
      const touched = der.slice();
      touched[touched.length - 1] = (touched[touched.length - 1] as number) ^ 1;
      expect(reasonOf([touched])).to.equal('bad-signature');
      const renamed = editCertificate(der, root.keyPem, { tamperAfterSigning: true });
      expect(reasonOf([renamed])).to.equal('bad-signature');
    });

    it('refuses a leaf that signs like a CA', async () => {
      const [issuerDer] = chainOf(leaf) as [Uint8Array];
      const [der] = chainOf(leaf) as [Uint8Array];
      const below = editCertificate(der, leaf.keyPem, { issuerOf: issuerDer });
      expect(reasonOf([below, issuerDer])).to.equal('not-ca');
    });

    it('holds CAs to their path length', async () => {
      // Middle may have no CA below it, whatever it signs.
      const tooDeep = await createCa({ commonName: 'Too deep', nowMs: NOW_MS, issuer: middle });
      const [leafDer] = chainOf(await issueLeaf(tooDeep, 'proxy', leafOptions)) as [Uint8Array];
      const [deepDer] = chainOf(tooDeep) as [Uint8Array];
      const [middleDer] = chainOf(middle) as [Uint8Array];
      expect(reasonOf([leafDer, deepDer, middleDer])).to.equal('not-ca');
    });

    it('ends its search on hostile sets of certificates', async () => {
      // Seven CAs of one name without key identifiers: every order of them is a path to try.
      const twins: Uint8Array[] = [];
      for (let i = 0; i < 7; i++) {
        const twin = await createCa({ commonName: 'Twin', nowMs: NOW_MS, pathLength: 7 });
        twins.push(
          editCertificate(chainOf(twin)[0] as Uint8Array, twin.keyPem, { dropExtensions: ['2.5.29.14', '2.5.29.35'] }),
        );
      }
      const twin = await createCa({ commonName: 'Twin', nowMs: NOW_MS });
      const hostile = chainOf(await issueLeaf(twin, 'proxy', leafOptions));
      const [der] = hostile as [Uint8Array];
      const anonymous = editCertificate(der, twin.keyPem, { dropExtensions: ['2.5.29.35'] });
      expect(reasonOf([anonymous, ...twins])).to.equal('bad-signature');
    });
  });

  describe('time', () => {
    it('refuses what is expired or not yet valid, to the second', () => {
      const chain = chainOf(leaf);
      expect(reasonOf(chain, { nowMs: NOW_MS - 5 * 60_000 })).to.equal('accepted');
      expect(reasonOf(chain, { nowMs: NOW_MS - 5 * 60_000 - 1 })).to.equal('not-yet-valid');
      expect(reasonOf(chain, { nowMs: NOW_MS + 365 * DAY_MS })).to.equal('accepted');
      expect(reasonOf(chain, { nowMs: NOW_MS + 365 * DAY_MS + 1 })).to.equal('expired');
    });

    it('refuses a path through an expired CA', async () => {
      const short = await createCa({ commonName: 'Short', nowMs: NOW_MS, issuer: root, validityDays: 1 });
      const der = certificatesOfPem(short.certPem)[0] as Uint8Array;
      const under = chainOf(await issueLeaf(short, 'proxy', leafOptions))[0] as Uint8Array;
      const outlives = editCertificate(under, short.keyPem, { notAfterMs: NOW_MS + 99 * DAY_MS });
      expect(reasonOf([outlives, der])).to.equal('accepted');
      expect(reasonOf([outlives, der], { nowMs: NOW_MS + 2 * DAY_MS })).to.equal('expired');
    });

    it('says when the first certificate of the path expires', async () => {
      const short = await createCa({ commonName: 'Short', nowMs: NOW_MS, issuer: root, validityDays: 1 });
      const der = certificatesOfPem(short.certPem)[0] as Uint8Array;
      const under = chainOf(await issueLeaf(short, 'proxy', leafOptions))[0] as Uint8Array;
      const outlives = editCertificate(under, short.keyPem, { notAfterMs: NOW_MS + 99 * DAY_MS });
      const verdict = ask([outlives, der]);
      expect(verdict.ok && verdict.notAfterMs).to.equal(NOW_MS + DAY_MS);
    });
  });

  describe('purpose', () => {
    it('tells TLS clients from TLS servers', async () => {
      const sae = chainOf(await issueLeaf(root, 'sae', leafOptions));
      expect(reasonOf(sae, { purpose: 'client' })).to.equal('accepted');
      expect(reasonOf(sae, { purpose: 'server' })).to.equal('wrong-purpose');
    });

    it('needs the right to make signatures', () => {
      const [der] = chainOf(leaf) as [Uint8Array];
      // keyUsage = keyEncipherment only
      const encipher = { oid: '2.5.29.15', critical: true, value: Uint8Array.of(0x03, 0x02, 0x05, 0x20) };
      const edited = editCertificate(der, root.keyPem, { dropExtensions: ['2.5.29.15'], addExtensions: [encipher] });
      expect(reasonOf([edited])).to.equal('wrong-purpose');
    });

    it('refuses a CA whose key may not sign certificates', () => {
      const [deep, above] = chainOf(deepLeaf) as [Uint8Array, Uint8Array];
      const noCertSign = { oid: '2.5.29.15', critical: true, value: Uint8Array.of(0x03, 0x02, 0x07, 0x80) };
      const edited = editCertificate(above, root.keyPem, {
        dropExtensions: ['2.5.29.15'],
        addExtensions: [noCertSign],
      });
      expect(reasonOf([deep, edited])).to.equal('not-ca');
    });

    it('refuses a CA that is restricted to other purposes', () => {
      const [deep, above] = chainOf(deepLeaf) as [Uint8Array, Uint8Array];
      // extendedKeyUsage = clientAuth
      const value = Uint8Array.of(0x30, 0x0a, 0x06, 0x08, 0x2b, 6, 1, 5, 5, 7, 3, 2);
      const edited = editCertificate(above, root.keyPem, {
        addExtensions: [{ oid: '2.5.29.37', critical: false, value }],
      });
      expect(reasonOf([deep, edited], { purpose: 'client' })).to.equal('accepted');
      expect(reasonOf([deep, edited], { purpose: 'server' })).to.equal('wrong-purpose');
    });

    it('refuses critical extensions that it does not know, and ignores others', () => {
      const [der] = chainOf(leaf) as [Uint8Array];
      const extension = { oid: '1.2.3.4', value: Uint8Array.of(0x05, 0x00) };
      const withOne = (critical: boolean) =>
        editCertificate(der, root.keyPem, { addExtensions: [{ ...extension, critical }] });
      expect(reasonOf([withOne(false)])).to.equal('accepted');
      expect(reasonOf([withOne(true)])).to.equal('unsupported');
    });

    it('refuses name constraints, which it does not apply', () => {
      const [deep, above] = chainOf(deepLeaf) as [Uint8Array, Uint8Array];
      const constraints = { oid: '2.5.29.30', critical: false, value: Uint8Array.of(0x30, 0x00) };
      expect(reasonOf([deep, editCertificate(above, root.keyPem, { addExtensions: [constraints] })])).to.equal(
        'unsupported',
      );
    });

    it('refuses SHA-1 signatures', () => {
      const [der] = chainOf(leaf) as [Uint8Array];
      expect(reasonOf([editCertificate(der, root.keyPem, { sha1: true })])).to.equal('unsupported');
    });
  });

  describe('names', () => {
    it('admits the SAEs it was told, and nobody for an empty list', () => {
      expect(reasonOf(chainOf(leaf), { expectedSaeIds: ['siteA'] })).to.equal('accepted');
      expect(reasonOf(chainOf(leaf), { expectedSaeIds: ['sitea'] })).to.equal('wrong-sae');
      expect(reasonOf(chainOf(leaf), { expectedSaeIds: [] })).to.equal('wrong-sae');
    });

    it('refuses a certificate that names no SAE, even if a common name looks like it', async () => {
      const unnamed = chainOf(await issueLeaf(root, 'kme', { commonName: 'siteA', nowMs: NOW_MS }));
      expect(reasonOf(unnamed)).to.equal('accepted');
      expect(reasonOf(unnamed, { expectedSaeIds: ['siteA'] })).to.equal('wrong-sae');
      expect(reasonOf(unnamed, { verifyHost: 'siteA' })).to.equal('wrong-name');
    });

    for (const host of [
      'a.example',
      'A.EXAMPLE',
      'a.example.',
      'x.wild.example',
      '192.0.2.7',
      '2001:DB8:0::7',
      '[2001:db8::7]',
    ]) {
      it(`finds the host ${host}`, () => expect(reasonOf(chainOf(leaf), { verifyHost: host })).to.equal('accepted'));
    }
    for (const host of [
      'b.example',
      'wild.example',
      'x.y.wild.example',
      '.wild.example',
      '192.0.2.8',
      '::ffff:192.0.2.7',
      '',
    ]) {
      it(`does not find the host "${host}"`, () =>
        expect(reasonOf(chainOf(leaf), { verifyHost: host })).to.equal('wrong-name'));
    }
  });

  describe('bad input', () => {
    it('refuses an empty chain, too many and too large certificates', () => {
      const [der] = chainOf(leaf) as [Uint8Array];
      expect(reasonOf([])).to.equal('empty');
      expect(reasonOf(Array.from({ length: 9 }, () => der))).to.equal('too-large');
      expect(reasonOf([new Uint8Array(16 * 1024 + 1)])).to.equal('too-large');
      expect(reasonOf(Array.from({ length: 5 }, () => new Uint8Array(15_000)))).to.equal('too-large');
    });

    it('refuses each truncation, and trailing bytes', () => {
      const [der] = chainOf(leaf) as [Uint8Array];
      for (let length = 0; length < der.length; length++)
        expect(reasonOf([der.slice(0, length)])).to.equal('malformed');
      expect(reasonOf([Uint8Array.of(...der, 0)])).to.equal('malformed');
    });

    it('accepts no certificate in which any one bit differs', function () {
      this.timeout(60_000);
      const [der] = chainOf(leaf) as [Uint8Array];
      for (let bit = 0; bit < der.length * 8; bit++) {
        const touched = der.slice();
        touched[bit >> 3] = (touched[bit >> 3] as number) ^ (1 << (bit & 7));
        expect(reasonOf([touched]), `bit ${bit}`).not.to.equal('accepted');
      }
    });

    it('stays quick on deeply nested values', () => {
      const nested = Uint8Array.from({ length: 16_000 }, (_, i) => (i % 2 ? 0x80 : 0x30));
      expect(reasonOf([nested])).to.equal('malformed');
    });
  });
});
