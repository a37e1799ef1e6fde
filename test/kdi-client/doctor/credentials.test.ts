/** A key manager that is known by something else than the name in its certificate: a pinned certificate, or a pre-shared key. */

import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type RequestOptions, request } from 'node:https';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import type { TlsOptions } from 'node:tls';
import { expect } from 'chai';
import { type Credential, createCa, issueLeaf } from '../../../certs/index.ts';
import { certificateFacts, namesText } from '../../../kdi-client/doctor/certificates.ts';
import {
  examineKme,
  KdiErrorCode,
  type KmeExaminationOptions,
  type KmeTls,
  type KmeVerdict,
} from '../../../kdi-client/index.ts';
import { kmePair, testPki } from '../../qkd-sim/kme/kme-fixture.ts';
import { testPki as clientPki } from '../support/test-pki.ts';
import { checkOf, examinePair, failedOf, tlsOf } from './doctor-fixture.ts';

describe('kdi-client/doctor: a pinned certificate', () => {
  const pinned = (pin: string): Promise<KmeVerdict> =>
    examinePair('etsi014', {
      alone: true,
      change: (options) => ({
        ...options,
        own: { ...options.own, tls: { ...(options.own.tls as KmeTls), serverName: 'elsewhere', pinnedSha256: [pin] } },
      }),
    });

  it('is enough, whatever its names are; another one is refused, with the line that pins it', async () => {
    const other = '00'.repeat(32);
    const refused = await pinned(other);
    expect(failedOf(refused)).to.deep.equal(['kme-certificate']);
    const { configHint, detail } = checkOf(refused, 'kme-certificate');
    expect(configHint).to.match(/^kme-pin: \[[0-9a-f]{64}\]$/);
    expect(detail).to.include('not one of the pinned ones').and.include(KdiErrorCode.kmeIdentity);
    const pin = /[0-9a-f]{64}/.exec(configHint ?? '')?.[0] ?? '';
    expect((await pinned(pin.toUpperCase())).ok).to.equal(true);
  });
});

describe('kdi-client/doctor: a certificate of another SAE, over 004', () => {
  const refusedAs = async (saeId: string) => {
    const change = (options: KmeExaminationOptions) => ({ ...options, own: { ...options.own, saeId } });
    return checkOf(await examinePair('etsi004', { alone: true, change }), 'open');
  };

  it('is what is wrong, and no form of a URI helps', async () => {
    const { detail, configHint } = await refusedAs('siteX');
    expect(detail).to.include('siteX was meant: use the certificate of siteX, or the SAE ID in this one');
    expect(configHint).to.equal(null);
  });
});

describe('kdi-client/doctor: the names in a certificate', () => {
  it('hold addresses as people write them', async () => {
    const ca = await createCa({ commonName: 'CA', nowMs: Date.now() });
    const ipAddresses = ['127.0.0.1', '0:0:0:0:0:0:0:1', '2001:DB8::0:1'];
    const { certPem } = await issueLeaf(ca, 'kme', { commonName: 'kme-a', ipAddresses, nowMs: Date.now() });
    const { names } = certificateFacts(new X509Certificate(certPem), Date.now());
    expect(namesText(names)).to.equal('127.0.0.1 (SAN), ::1 (SAN), 2001:db8::1 (SAN), kme-a (CN)');
  });
});

describe('kdi-client/doctor: a port where no TLS is spoken', () => {
  it('says so, and where to look', async () => {
    const server = createTcpServer((socket) =>
      socket
        .on('error', () => {})
        .resume()
        .end('SSH-2.0-OpenSSH_9.2\r\n'),
    );
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    try {
      const { sae, ca } = await clientPki();
      const { port } = server.address() as AddressInfo;
      const tls = { cert: sae.cert, key: sae.key, ca };
      const own = { url: `etsi014://127.0.0.1:${port}`, saeId: 'siteA', tls };
      const verdict = await examineKme({ own, peerSaeId: 'siteB', nowMs: Date.now() });
      expect(checkOf(verdict, 'tls').detail)
        .to.include('what answers there is not TLS; compare host and port of the URL')
        .and.not.include('does it speak TLS');
    } finally {
      server.close();
    }
  });
});

describe('kdi-client/doctor: SKIP by pre-shared key', () => {
  const KEY = new Uint8Array(32).fill(0x5c);
  const closers: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const close of closers.splice(0).reverse()) await close();
  });

  /** Takes requests by pre-shared key, and asks the simulated key manager behind it. */
  async function frontOf(port: number, credential: Credential, ca: Credential, more: TlsOptions = {}) {
    const server = createServer(
      {
        ciphers: 'TLS_AES_128_GCM_SHA256:ECDHE-PSK-CHACHA20-POLY1305',
        pskCallback: (_socket, identity) => (identity === 'site' ? Buffer.from(KEY) : null),
        ...more,
      },
      (incoming, outgoing) => {
        const { url: path = '/', method = 'GET' } = incoming;
        const tls = tlsOf(credential, ca) as RequestOptions;
        const asked = request({ host: '127.0.0.1', port, path, method, ...tls }, (reply) => {
          outgoing.writeHead(reply.statusCode ?? 500, { 'content-type': 'application/json' });
          reply.pipe(outgoing);
        });
        asked.on('error', () => outgoing.destroy());
        asked.end();
      },
    );
    server.on('tlsClientError', () => {});
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    closers.push(async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    });
    return `skip://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  async function examine(identity: string, key = KEY, more: TlsOptions = {}): Promise<KmeVerdict> {
    const pki = await testPki();
    const pair = await kmePair({ capacityBytes: 65_536 });
    closers.push(() => pair.close());
    pair.fill(65_536);
    const psk = { identity, key };
    return await examineKme({
      own: { url: await frontOf(pair.httpsA, pki.siteA, pki.ca, more), saeId: 'siteA', tls: { psk } },
      peer: {
        url: await frontOf(pair.httpsB, pki.siteB, pki.ca),
        tls: { psk: { identity: 'site', key: KEY } },
      },
      peerSaeId: 'siteB',
      nowMs: Date.now(),
    });
  }

  it('a whole conversation at both ends, TLS 1.2 included', async () => {
    const verdict = await examine('site');
    expect(failedOf(verdict)).to.deep.equal([]);
    expect(verdict).to.include({ ok: true, keysEqual: true });
    expect(checkOf(verdict, 'own-psk').detail).to.equal('a pre-shared key of 32 bytes, as site');
    expect(checkOf(verdict, 'kme-psk')).to.include({ ok: true, clause: 'draft-cisco-skip-02, TLS' });
    expect(checkOf(verdict, 'tls').detail).to.match(/^TLS 1\.3 with TLS_AES_128_GCM_SHA256$/);
    const text = JSON.stringify(verdict);
    expect(text).to.not.include('5c5c5c5c').and.not.include(Buffer.from(KEY).toString('base64').slice(0, 8));
  });

  for (const [name, identity, key] of [
    ['another name', 'nobody', KEY],
    ['another key', 'site', new Uint8Array(32).fill(1)],
  ] as const) {
    it(`${name}: nothing is asked, and what to look at is said`, async () => {
      const verdict = await examine(identity, key);
      expect(failedOf(verdict)).to.deep.equal(['tls']);
      expect(checkOf(verdict, 'tls').detail).to.match(/no such identity, or another key for it \(--psk\)/);
    });
  }

  it('a key manager that answers with a certificate all the same is not trusted', async () => {
    const { kme } = await clientPki();
    const verdict = await examine('nobody', KEY, { cert: kme.cert, key: kme.key });
    expect(failedOf(verdict)).to.deep.equal(['kme-certificate']);
    const { detail, configHint } = checkOf(verdict, 'kme-certificate');
    expect(detail).to.include('a certificate instead of the pre-shared key');
    expect(configHint).to.equal(null);
    expect(detail).to.include(String(new X509Certificate(kme.cert).subject.split('CN=')[1]));
  });

  it('is of no use to other APIs, which is said before anything is sent', async () => {
    const psk = { identity: 'site', key: KEY };
    const refused = await examineKme({
      own: { url: 'etsi014://kme', saeId: 'siteA', tls: { psk } },
      peerSaeId: 'siteB',
      nowMs: Date.now(),
    }).catch((error: unknown) => error);
    expect(String(refused)).to.match(/etsi014:\/\/, which has no pre-shared keys/);
  });
});
