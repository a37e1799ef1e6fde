import { expect } from 'chai';
import { issueLeaf } from '../../../certs/index.ts';
import {
  DEFAULT_EXAMINATION_LIMITS,
  type Etsi004Request,
  Etsi004Status,
  examineKme,
  isNullKsid,
  type KmeExaminationOptions,
  type KnownQuirks,
} from '../../../kdi-client/index.ts';
import { disagreeing, type Etsi004Layer, type KmeSettings } from '../../../qkd-sim/index.ts';
import { testPki } from '../../qkd-sim/kme/kme-fixture.ts';
import { httpsKme } from '../support/https-kme.ts';
import { testPki as clientPki } from '../support/test-pki.ts';
import {
  APIS,
  type ApiUnderTest,
  checkOf,
  examinePair,
  failedOf,
  TLS_CLAUSES,
  tlsOf,
  tonesOf,
} from './doctor-fixture.ts';

const DAY_MS = 86_400_000;

describe('doctor: a key manager as it should be', () => {
  for (const api of APIS) {
    it(`${api}: every check passes, and both ends have the same keys`, async () => {
      const verdict = await examinePair(api);
      expect(failedOf(verdict)).to.deep.equal([]);
      expect(verdict).to.include({ ok: true, keysEqual: true, api: api.split('?')[0] });
      expect(verdict.dialect).to.equal(api.startsWith('etsi004') ? (api.split('=')[1] ?? 'etsi') : null);
      const ids = verdict.checks.map(({ id }) => id);
      expect(ids).to.include.members(['own-certificate', 'connect', 'tls', 'kme-certificate', 'sizes', 'draw']);
      expect(ids).to.include.members([
        'peer-connect',
        'peer-tls',
        'lookup',
        'delay',
        'keys-equal',
        'rate',
        'provenance',
      ]);
      expect(ids.length, 'no check twice').to.equal(new Set(ids).size);
      for (const check of verdict.checks) {
        expect(check).to.have.all.keys('id', 'ok', 'clause', 'detail', 'configHint');
        expect(check.configHint, check.id).to.equal(null);
      }
      expect(checkOf(verdict, 'tls').detail).to.match(/^TLS 1\.3 with TLS_AES_/);
      expect(checkOf(verdict, 'kme-certificate').detail).to.match(/names .*127\.0\.0\.1.*36\d days left/);
      expect(checkOf(verdict, 'provenance').detail).to.include('simulator');
    });

    it(`${api}: without the peer's key manager nothing is compared`, async () => {
      const verdict = await examinePair(api, { alone: true });
      expect(verdict).to.include({ ok: true, keysEqual: null });
      expect(verdict.checks.map(({ id }) => id))
        .to.include('draw')
        .and.not.include.members(['lookup']);
    });

    it(`${api}: two key managers that disagree`, async () => {
      const verdict = await examinePair(api, {
        pair: { wrapPeer: (peer, ownKmeId) => (ownKmeId === 'kme-a' ? disagreeing(peer) : peer) },
      });
      expect(verdict).to.include({ ok: false, keysEqual: false });
      // Each comparison that found it says so, that of the client's own draws too.
      for (const { id, ok, detail } of verdict.checks) if (id === 'keys-equal') expect(ok, detail).to.equal(false);
      expect(failedOf(verdict)).to.include('keys-equal');
      expect(verdict.checks.find(({ id }) => id === 'keys-equal')?.detail).to.include('different keys');
    });

    it(`${api}: an empty store`, async () => {
      const verdict = await examinePair(api, { fillBytes: 0 });
      expect(verdict).to.include({ ok: false, keysEqual: null });
      expect(failedOf(verdict)).to.deep.equal(['draw']);
      expect(checkOf(verdict, 'draw').detail).to.match(/insufficient|not enough|time-out|no key|none available/);
    });
  }

  it('says whose SAE ID is seen in our certificate', async () => {
    expect(checkOf(await examinePair('etsi014', { alone: true }), 'sae').detail).to.include('SAE siteA');
    expect(checkOf(await examinePair('skip', { alone: true }), 'sae').detail).to.include('system siteA');
  });

  it('ends in time: with the start of a process, within 15 s', () => {
    const { totalMs, connectMs, replyMs } = DEFAULT_EXAMINATION_LIMITS;
    expect(totalMs).to.be.at.most(12_500);
    expect(connectMs + replyMs).to.be.below(totalMs);
  });
});

describe('doctor: each field quirk by itself', () => {
  const tolerated = true;
  /** API, what the KME does, the check that shows it, whether it passes all the same, the line that copes, and that line as a setting. */
  const cases: readonly [ApiUnderTest, KmeSettings, string, boolean, string | null, KnownQuirks?][] = [
    ['etsi014', q014({ keySizeInBytes: true }), 'sizes', false, 'key-size-in-bytes: true', { keySizeInBytes: true }],
    [
      'etsi014',
      q014({ unknownKeyStatus: 404 }),
      'unknown-key',
      false,
      'unknown-key-status: [404]',
      { unknownKeyStatuses: [404] },
    ],
    [
      'etsi014',
      q014({ unknownKeyStatus: 500 }),
      'unknown-key',
      false,
      'unknown-key-status: [500]',
      { unknownKeyStatuses: [500] },
    ],
    [
      'etsi014',
      q014({ dropsUnfetched: true }),
      'batches',
      false,
      'one-batch-at-a-time: true',
      { oneBatchAtATime: true },
    ],
    ['etsi014', q014({ numericKmeIds: true }), 'status', tolerated, null],
    ['etsi004', q004({ metadataTrailingNul: true }), 'metadata', tolerated, null],
    ['etsi004', q004({ ageInEpochMs: true }), 'metadata', tolerated, null],
    ['etsi004', q004({ allocatesOnQosNotMet: true }), 'qos-refusal', tolerated, null],
    ['etsi004', q004({ reusesKsid: true }), 'second-stream', tolerated, 'ksid: chosen', { ksid: 'chosen' }],
    ['etsi004', q004({ servesNextIndex: true }), 'index', tolerated, null],
    ['etsi004?dialect=qubip', q004({ servesNextIndex: true }), 'index', tolerated, null],
    ['etsi004', { qos: { onChunkSize: 'impose', minChunkBytes: 96 } }, 'sizes', tolerated, 'key-chunk-size: 96'],
    ['etsi004', { qos: { minChunkBytes: 64 } }, 'qos', tolerated, 'key-chunk-size: 64'],
    ['etsi004', { open: 'blocking' }, 'open', tolerated, null],
  ];
  for (const [api, settings, id, ok, configHint, known] of cases) {
    const name = JSON.stringify(settings.quirks ?? settings);
    it(`${api} ${name}: ${id}${configHint === null ? ' says so' : `, ${configHint}`}`, async () => {
      const verdict = await examinePair(api, { pair: { settings } });
      const check = checkOf(verdict, id);
      expect(check, check.detail).to.include({ ok, configHint });
      if (settings.quirks !== undefined) expect(check.clause).to.match(/^ETSI GS QKD 0[01]4 /);
      expect(verdict.ok).to.equal(ok);
      expect(failedOf(verdict).filter((failed) => !failed.endsWith(id))).to.deep.equal([]);
      expect(verdict.keysEqual, 'the client copes, with the setting that was found').to.equal(true);
      if (settings.quirks !== undefined) expect(check.detail).to.not.equal(checkOf(await reference(api), id).detail);
      if (known === undefined) return;
      const settled = await examinePair(api, { pair: { settings }, known });
      expect(failedOf(settled), 'with the line in the configuration').to.deep.equal([]);
      expect(checkOf(settled, id).configHint).to.equal(null);
    });
  }

  it('etsi014: an option that this key manager does not need', async () => {
    const verdict = await examinePair('etsi014', { known: { keySizeInBytes: true }, alone: true });
    expect(checkOf(verdict, 'sizes')).to.include({ ok: false, configHint: null });
    expect(checkOf(verdict, 'sizes').detail).to.include('take key-size-in-bytes away');
  });

  it('etsi014: keys that are too short', async () => {
    const settings: KmeSettings = { etsi014: { keySizeBits: 128, maxKeySizeBits: 128 } };
    const verdict = await examinePair('etsi014', { pair: { settings }, alone: true });
    expect(checkOf(verdict, 'sizes').detail).to.include('256 are needed');
  });

  it('etsi004: OPEN_CONNECT that waits for the peer: ksid: chosen', async () => {
    const layer = opens((request) => (isNullKsid(request.ksid) ? Etsi004Status.timeout : undefined));
    const verdict = await examinePair('etsi004', { pair: { etsi004Layer: layer } });
    expect(verdict.checks.find(({ id, ok }) => id === 'open' && !ok)?.configHint).to.equal('ksid: chosen');
    expect(verdict.keysEqual).to.equal(true);
    const settled = await examinePair('etsi004', { pair: { etsi004Layer: layer }, known: { ksid: 'chosen' } });
    expect(settled.checks.find(({ id }) => id === 'rate')?.ok).to.equal(true);
    expect(settled.keysEqual).to.equal(true);
  });

  it('etsi004: the answering side swapped: open-as: swapped', async () => {
    const layer = opens(({ source }, saeId) =>
      saeId === 'siteB' && source.includes('siteA') ? Etsi004Status.noQkdConnection : undefined,
    );
    const verdict = await examinePair('etsi004', { pair: { etsi004Layer: layer } });
    expect(checkOf(verdict, 'peer-uris')).to.include({
      ok: false,
      configHint: 'open-as: swapped',
      clause: 'ETSI GS QKD 004 V2.1.1, 6, OPEN_CONNECT',
    });
    expect(verdict.keysEqual).to.equal(true);
    const settled = await examinePair('etsi004', { pair: { etsi004Layer: layer }, known: { openAs: 'swapped' } });
    expect(failedOf(settled)).to.deep.equal([]);
  });

  it('etsi004: a KSID that is in use', async () => {
    const layer = opens((_request, saeId) => (saeId === 'siteB' ? Etsi004Status.ksidInUse : undefined));
    const verdict = await examinePair('etsi004', { pair: { etsi004Layer: layer } });
    expect(checkOf(verdict, 'peer-open').detail).to.match(/already in use.*fresh one/);
  });
});

describe('doctor: certificates and names', () => {
  type Change = (options: KmeExaminationOptions) => KmeExaminationOptions;
  const own =
    (change: Partial<KmeExaminationOptions['own']>): Change =>
    (options) => ({
      ...options,
      own: { ...options.own, ...change },
    });

  for (const api of ['etsi004', 'etsi014', 'skip'] as const) {
    it(`${api}: a CA that did not issue the KME's certificate`, async () => {
      const pki = await testPki();
      const tls = { ...tlsOf(pki.siteA, pki.ca), ca: pki.siteA.certPem };
      const verdict = await examinePair(api, { alone: true, change: own({ tls }) });
      expect(failedOf(verdict)).to.deep.equal(['kme-certificate']);
      expect(checkOf(verdict, 'kme-certificate').configHint).to.match(/^kme-ca: /);
      expect(checkOf(verdict, 'kme-certificate').clause).to.equal(TLS_CLAUSES[api]);
      expect(checkOf(verdict, 'kme-certificate').detail).to.include('CN=test CA').and.include('CN=siteA');
    });

    it(`${api}: our certificate is of a CA that the KME does not know`, async () => {
      const pki = await testPki();
      const verdict = await examinePair(api, { alone: true, change: own({ tls: tlsOf(pki.forged, pki.ca) }) });
      expect(failedOf(verdict)).to.deep.equal([api === 'etsi004' ? 'open' : 'status']);
      expect(verdict.checks.at(-1)?.detail).to.include('does not admit our certificate');
    });

    it(`${api}: an SAE that the KME does not serve`, async () => {
      const pki = await testPki();
      const change = own({ tls: tlsOf(pki.stranger, pki.ca), saeId: 'stranger' });
      const verdict = await examinePair(api, { alone: true, change });
      expect(verdict.ok).to.equal(false);
      expect(verdict.checks.at(-1)?.detail).to.match(/certificate is not admitted|no QKD connection/);
    });

    it(`${api}: a peer SAE that the KME does not know`, async () => {
      const verdict = await examinePair(api, {
        alone: true,
        change: (options) => ({ ...options, peerSaeId: 'nobody' }),
      });
      expect(verdict.ok).to.equal(false);
      expect(verdict.checks.at(-1)?.detail).to.include('nobody');
    });

    it(`${api}: a KME that names another host`, async () => {
      const pki = await testPki();
      const tls = { ...tlsOf(pki.siteA, pki.ca), serverName: 'kme.example' };
      const verdict = await examinePair(api, { alone: true, change: own({ tls }) });
      expect(checkOf(verdict, 'kme-certificate')).to.include({
        ok: false,
        configHint: 'kme-server-name: localhost',
        clause: TLS_CLAUSES[api],
      });
    });

    it(`${api}: our certificate has expired, or will soon`, async () => {
      const later =
        (days: number): Change =>
        (options) => ({ ...options, nowMs: options.nowMs + days * DAY_MS });
      const expired = await examinePair(api, { alone: true, change: later(400) });
      expect(checkOf(expired, 'own-certificate')).to.include({ ok: false });
      expect(checkOf(expired, 'own-certificate').detail).to.match(/expired 3\d days ago: issue a new one/);
      const soon = await examinePair(api, { alone: true, change: later(360) });
      expect(soon.ok).to.equal(true);
      expect(checkOf(soon, 'own-certificate').detail).to.match(/[45] days left: renew it soon/);
      expect(tonesOf(soon, 'own-certificate')).to.deep.equal(['note']);
      expect(checkOf(soon, 'kme-certificate').detail).to.match(/[45] days left: it has to be renewed soon/);
      expect(checkOf(soon, 'kme-certificate').clause).to.equal(TLS_CLAUSES[api]);
      expect(tonesOf(soon, 'kme-certificate')).to.deep.equal(['note']);
    });
  }

  it('another SAE than the one that is meant: which name to use', async () => {
    const pki = await testPki();
    for (const api of ['etsi014', 'skip'] as const) {
      const change = own({ tls: tlsOf(pki.siteA2, pki.ca) });
      const verdict = await examinePair(api, { alone: true, change });
      expect(checkOf(verdict, 'sae')).to.include({ ok: false, configHint: 'sae: siteA2' });
      expect(checkOf(verdict, 'own-certificate').detail).to.include('siteA is not among the names');
      expect(tonesOf(verdict, 'own-certificate')).to.deep.equal(['note']);
    }
  });

  it('files that do not belong together are found before anything is sent', async () => {
    const pki = await testPki();
    const { cert, key, ca } = tlsOf(pki.siteA, pki.ca);
    const cases = [
      [{ cert, key: pki.siteB.keyPem, ca }, /does not belong to the certificate/],
      [{ cert: key, key: cert, ca }, /--cert holds no PEM certificate; are --cert and --key swapped/],
      [{ cert, key: cert, ca }, /--key holds no unencrypted PEM private key/],
      [{ cert, key, ca: key }, /--ca holds no PEM certificate/],
    ] as const;
    for (const [tls, expected] of cases) {
      const verdict = await examinePair('etsi014', { alone: true, change: own({ tls }) });
      expect(verdict.checks.map(({ id }) => id)).to.deep.equal(['own-certificate']);
      expect(verdict.checks[0]?.detail).to.match(expected);
      expect(verdict.ok).to.equal(false);
    }
    const verdict = await examinePair('etsi014', {
      change: (options) => ({ ...options, peer: { url: 'etsi014://kme', tls: { cert, key: pki.siteB.keyPem, ca } } }),
    });
    expect(failedOf(verdict)).to.deep.equal(['peer-own-certificate']);
    expect(checkOf(verdict, 'peer-own-certificate').detail).to.match(/--peer-key does not belong to .* of --peer-cert/);
  });

  it('a KME certificate without SAN: by its KME ID, which is its common name', async () => {
    const pki = await testPki();
    const nowMs = Date.now();
    const bare = await issueLeaf(pki.ca, 'kme', { commonName: 'kme-a', nowMs });
    const kme = await httpsKme(await clientPki(), () => ({ status: 401 }), {
      cert: bare.certPem,
      key: bare.keyPem,
      ca: pki.ca.certPem,
    });
    const examine = (kmeId?: string) =>
      examineKme({
        own: {
          url: `etsi014://127.0.0.1:${kme.port}`,
          saeId: 'siteA',
          tls: { ...tlsOf(pki.siteA, pki.ca), ...(kmeId === undefined ? {} : { kmeId }) },
        },
        peerSaeId: 'siteB',
        nowMs,
      });
    try {
      expect(checkOf(await examine(), 'kme-certificate')).to.include({ ok: false, configHint: 'kme-id: kme-a' });
      expect(checkOf(await examine('kme-a'), 'kme-certificate').ok).to.equal(true);
      expect(checkOf(await examine('kme-b'), 'kme-certificate').detail).to.include("not 'kme-b'");
    } finally {
      await kme.close();
    }
  });

  it('a KME certificate that has expired', async () => {
    const pki = await testPki();
    const nowMs = Date.now();
    const old = await issueLeaf(pki.ca, 'kme', {
      commonName: 'kme-a',
      ipAddresses: ['127.0.0.1'],
      nowMs,
      notBeforeMs: nowMs - 30 * DAY_MS,
      validityDays: 10,
    });
    const kme = await httpsKme(await clientPki(), () => ({ json: {} }), {
      cert: old.certPem,
      key: old.keyPem,
      ca: pki.ca.certPem,
    });
    try {
      const verdict = await examineKme({
        own: { url: `etsi014://127.0.0.1:${kme.port}`, saeId: 'siteA', tls: tlsOf(pki.siteA, pki.ca) },
        peerSaeId: 'siteB',
        nowMs,
      });
      expect(failedOf(verdict)).to.deep.equal(['kme-certificate']);
      expect(checkOf(verdict, 'kme-certificate').clause).to.equal(TLS_CLAUSES.etsi014);
      expect(checkOf(verdict, 'kme-certificate').detail)
        .to.include('CERT_HAS_EXPIRED')
        .and.match(/expired (19|20) days ago/);
      expect(kme.requests.length, 'nothing was sent to it').to.equal(0);
    } finally {
      await kme.close();
    }
  });
});

function q014(etsi014: NonNullable<KmeSettings['quirks']>['etsi014'] & object): KmeSettings {
  return { quirks: { etsi014 } };
}

function q004(etsi004: NonNullable<KmeSettings['quirks']>['etsi004'] & object): KmeSettings {
  return { quirks: { etsi004 } };
}

/** A layer that answers OPEN_CONNECT with the status that `statusOf` gives. */
function opens(
  statusOf: (request: Extract<Etsi004Request, { service: 'open-connect' }>, saeId: string) => Etsi004Status | undefined,
): Etsi004Layer {
  return (saeId, handle) => async (request, dialect, signal) => {
    const status = request.service === 'open-connect' ? statusOf(request, saeId) : undefined;
    return status === undefined ? handle(request, dialect, signal) : { service: request.service, status };
  };
}

const references = new Map<ApiUnderTest, ReturnType<typeof examinePair>>();

/** The verdict on KMEs without any quirk. */
function reference(api: ApiUnderTest): ReturnType<typeof examinePair> {
  let verdict = references.get(api);
  if (verdict === undefined) {
    verdict = examinePair(api);
    references.set(api, verdict);
  }
  return verdict;
}
