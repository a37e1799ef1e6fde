import { createHash, X509Certificate } from 'node:crypto';
import type { PeerCertificate } from 'node:tls';
import { expect } from 'chai';
import { Etsi014Source, isKdiError, KdiError, KdiErrorCode, type KmeTls, parseKmeUrl } from '../../kdi-client/index.ts';
import { connectionError, tlsConnectionOptions } from '../../kdi-client/kme-tls.ts';
import { type HttpsKme, httpsKme } from './support/https-kme.ts';
import { type TestPki, testPki } from './support/test-pki.ts';

/** A certificate as node:tls shows it: the fields that are looked at. */
function certificate(fields: { CN?: string; serialNumber?: string; subjectaltname?: string }): PeerCertificate {
  const { subjectaltname, ...subject } = fields;
  return { subject, ...(subjectaltname === undefined ? {} : { subjectaltname }), raw: Buffer.from('der') } as never;
}

describe('kdi-client/kme-tls: which KME is the right one', () => {
  const base = { cert: '', key: '', ca: '' };
  const verdict = (tls: Partial<KmeTls>, shown: PeerCertificate, host = '192.0.2.1'): string | undefined =>
    tlsConnectionOptions({ ...base, ...tls }, host).checkServerIdentity?.(host, shown)?.message;

  for (const [field, shown] of [
    ['CN', certificate({ CN: 'kme-7' })],
    ['serial number', certificate({ CN: 'x', serialNumber: 'kme-7' })],
    ['SAN of DNS', certificate({ CN: 'x', subjectaltname: 'IP Address:10.0.0.1, DNS:kme-7' })],
    ['SAN of URI', certificate({ subjectaltname: 'URI:kme-7' })],
  ] as const) {
    it(`its ID as ${field}`, () => {
      expect(verdict({ kmeId: 'kme-7' }, shown)).to.equal(undefined);
      expect(verdict({ kmeId: 'kme-8' }, shown)).to.match(/names .*kme-7.*, not 'kme-8'/);
      expect(verdict({ kmeId: 'kme' }, shown), 'a part of it').to.match(/not 'kme'/);
    });
  }

  it('a name within another name is none', () => {
    const smuggled = certificate({ CN: 'evil', subjectaltname: 'URI:"x, DNS:kme-7, DNS:y", DNS:evil' });
    expect(verdict({ kmeId: 'kme-7' }, smuggled)).to.match(/names evil, evil, not 'kme-7'/);
  });

  it('a certificate without any name', () => {
    expect(verdict({ kmeId: 'kme-7' }, certificate({}))).to.match(/names nobody/);
    expect(verdict({}, certificate({}))).to.match(/not for '192.0.2.1'/);
  });

  it('an address is named as people write it', () => {
    const subjectaltname = 'IP Address:0:0:0:0:0:0:0:1, IP Address:2001:DB8:0:0:0:0:0:1';
    const shown = certificate({ CN: 'kme-7', subjectaltname });
    expect(verdict({}, shown)).to.include('(kme-7, ::1, 2001:db8::1)');
    expect(verdict({ kmeId: '::1' }, shown)).to.equal(undefined);
  });

  it('its fingerprint, with or without colons, in either case; and one of several', () => {
    const sha256 = createHash('sha256').update('der').digest('hex');
    const colons = sha256.toUpperCase().match(/../g)!.join(':');
    for (const pinned of [[sha256], [colons], ['00'.repeat(32), sha256]]) {
      expect(verdict({ pinnedSha256: pinned }, certificate({ CN: 'whoever' }))).to.equal(undefined);
    }
    expect(verdict({ pinnedSha256: ['00'.repeat(32)] }, certificate({}))).to.contain(sha256);
    expect(verdict({ pinnedSha256: [] }, certificate({})), 'none is no wildcard').to.contain(sha256);
  });

  it('with a pre-shared key no certificate is, whoever signed it', () => {
    const { checkServerIdentity } = tlsConnectionOptions({ psk: { identity: 'a', key: new Uint8Array(32) } }, 'kme');
    expect(checkServerIdentity?.('kme', certificate({ CN: 'kme' }))?.message).to.match(/instead of the pre-shared key/);
    // How node:tls says that there was none.
    expect(checkServerIdentity?.('kme', {} as never)).to.equal(undefined);
  });

  it('asked for by its name, as SNI, and by no address', () => {
    expect(tlsConnectionOptions(base, 'kme-a.test').servername).to.equal('kme-a.test');
    expect(tlsConnectionOptions({ ...base, serverName: 'kme-b.test' }, 'kme-a.test').servername).to.equal('kme-b.test');
    for (const address of ['192.0.2.1', '2001:db8::1']) {
      expect(tlsConnectionOptions(base, address)).to.not.have.property('servername');
    }
  });

  it('both, where both are set', () => {
    const shown = certificate({ CN: 'kme-7' });
    const sha256 = createHash('sha256').update('der').digest('hex');
    expect(verdict({ kmeId: 'kme-7', pinnedSha256: [sha256] }, shown)).to.equal(undefined);
    expect(verdict({ kmeId: 'kme-8', pinnedSha256: [sha256] }, shown)).to.match(/not 'kme-8'/);
    expect(verdict({ kmeId: 'kme-7', pinnedSha256: ['00'.repeat(32)] }, shown)).to.match(/not one of the pinned/);
  });

  describe('over TLS, with 014', () => {
    let pki: TestPki;
    let kme: HttpsKme;
    before(async () => {
      pki = await testPki();
      kme = await httpsKme(pki, () => ({ status: 503 }));
    });
    after(() => kme.close());

    /** What a status call ends with: 503 means that the KME was taken for the right one. */
    async function codeWith(more: Partial<KmeTls>): Promise<string | undefined> {
      const source = new Etsi014Source({
        address: parseKmeUrl(`etsi014://127.0.0.1:${kme.port}`),
        tls: { cert: pki.sae.cert, key: pki.sae.key, ca: pki.ca, ...more },
        saeId: 'siteA',
      });
      try {
        await source.status('siteB');
        return undefined;
      } catch (error) {
        return isKdiError(error) ? error.code : String(error);
      } finally {
        await source.close();
      }
    }

    it('its ID or its fingerprint instead of the host name', async () => {
      const sha256 = new X509Certificate(pki.kme.cert).fingerprint256;
      const elsewhere = { serverName: 'elsewhere.test' };
      expect(await codeWith({ ...elsewhere, kmeId: 'kme-a' })).to.equal(KdiErrorCode.http);
      expect(await codeWith({ ...elsewhere, kmeId: 'kme-a.test' })).to.equal(KdiErrorCode.http);
      expect(await codeWith({ ...elsewhere, pinnedSha256: [sha256] })).to.equal(KdiErrorCode.http);
      expect(await codeWith(elsewhere)).to.equal(KdiErrorCode.kmeIdentity);
      expect(await codeWith({ kmeId: 'kme-b' })).to.equal(KdiErrorCode.kmeIdentity);
      expect(await codeWith({ pinnedSha256: ['00'.repeat(32)] })).to.equal(KdiErrorCode.kmeIdentity);
    });

    it('whatever the environment says of certificates that are not trusted', async () => {
      const { NODE_TLS_REJECT_UNAUTHORIZED: before } = process.env;
      process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
      try {
        expect(await codeWith({ ca: pki.stranger.ca })).to.equal(KdiErrorCode.tls);
        expect(await codeWith({ kmeId: 'kme-b' })).to.equal(KdiErrorCode.kmeIdentity);
      } finally {
        if (before === undefined) delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
        else process.env.NODE_TLS_REJECT_UNAUTHORIZED = before;
      }
    });

    it('a fingerprint does not replace the CA', async () => {
      const sha256 = new X509Certificate(pki.kme.cert).fingerprint256;
      expect(await codeWith({ ca: pki.stranger.ca, pinnedSha256: [sha256] })).to.equal(KdiErrorCode.tls);
    });
  });
});

describe('kdi-client/kme-tls: what went wrong with a connection', () => {
  const E = KdiErrorCode;
  for (const [code, phase, expected, words] of [
    ['ECONNREFUSED', 'connecting', E.connect, 'no connection to KME k:1: ECONNREFUSED; nothing listens there: check'],
    ['ENOTFOUND', 'connecting', E.connect, 'ENOTFOUND; the name is not known: check the host of the URL'],
    ['EAI_AGAIN', 'connecting', E.connect, 'EAI_AGAIN; the name is not known: check the host of the URL'],
    ['EHOSTUNREACH', 'connecting', E.connect, 'no connection to KME k:1: EHOSTUNREACH'],
    ['ERR_SSL_WRONG_VERSION_NUMBER', 'connecting', E.connect, 'ERR_SSL_WRONG_VERSION_NUMBER'],
    ['ERR_SSL_WRONG_VERSION_NUMBER', 'handshake', E.tls, 'does it speak TLS on this port?'],
    ['ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', 'handshake', E.tls, 'refused our certificate'],
    ['ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', 'replying', E.tls, 'refused our certificate'],
    ['ECONNRESET', 'handshake', E.closed, 'closed the connection during the TLS handshake'],
    ['EPIPE', 'handshake', E.closed, 'during the TLS handshake'],
    ['CERT_HAS_EXPIRED', 'handshake', E.tls, 'is not trusted: CERT_HAS_EXPIRED; its certificate has expired: renew it'],
    ['CERT_NOT_YET_VALID', 'handshake', E.tls, 'is not valid yet: compare the clocks'],
    ['SELF_SIGNED_CERT_IN_CHAIN', 'handshake', E.tls, 'of none of the CAs that we trust: give the KME'],
    ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'handshake', E.tls, '(kme-ca)'],
    ['UND_ERR_SOCKET', 'unanswered', E.closed, 'without an answer (UND_ERR_SOCKET); does it admit our certificate'],
    ['ECONNRESET', 'replying', E.closed, 'before its reply was complete (ECONNRESET)'],
    ['', 'connecting', E.connect, 'what node said'],
  ] as const) {
    it(`${code || 'no code'}, ${phase}: ${expected}`, () => {
      const error = connectionError(Object.assign(new Error('what node said'), { code }), 'k:1', phase);
      expect(error.code).to.equal(expected);
      expect(error.message).to.include(words);
      expect(error.cause).to.have.property('message', 'what node said');
    });
  }

  it('what is said of it already is left as it is', () => {
    const known = new KdiError(E.kmeIdentity, 'another KME');
    expect(connectionError(known, 'k:1', 'handshake')).to.equal(known);
  });
});
