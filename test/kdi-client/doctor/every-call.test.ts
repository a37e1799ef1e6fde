/** The conversation as a whole: what each check rests on, a KME that breaks off at each request, and a user who does. */
import { expect } from 'chai';
import { type Clock, examineKme, systemClock } from '../../../kdi-client/index.ts';
import { httpsKme } from '../support/https-kme.ts';
import { scriptedKme } from '../support/scripted-kme.ts';
import { testPki } from '../support/test-pki.ts';
import { checkOf, examinePair, failedOf, TLS_CLAUSES } from './doctor-fixture.ts';
import { type Asked, examineSpoilt, type Spoil004, type SpoilHttp } from './faulty-pair.ts';

const C004 = 'ETSI GS QKD 004 V2.1.1, 6';
const C014 = 'ETSI GS QKD 014 V1.1.1, ';
const DRAFT = 'draft-cisco-skip-02, ';

/** Each check of a conversation without any fault, in order, with its clause. */
const CONVERSATIONS = {
  etsi004: [
    ['own-certificate', null],
    ['peer-own-certificate', null],
    ['connect', null],
    ['tls', C004],
    ['kme-certificate', C004],
    ['dialect', C004],
    ['open', `${C004}, OPEN_CONNECT`],
    ['sizes', `${C004}, OPEN_CONNECT: QoS`],
    ['peer-connect', null],
    ['peer-tls', C004],
    ['peer-kme-certificate', C004],
    ['peer-dialect', C004],
    ['peer-open', `${C004}, OPEN_CONNECT`],
    ['draw', `${C004}, GET_KEY`],
    ['metadata', `${C004}, GET_KEY: Metadata`],
    ['provenance', `${C004}, GET_KEY: Metadata`],
    ['lookup', `${C004}, GET_KEY`],
    ['delay', null],
    ['keys-equal', `${C004}, GET_KEY`],
    ['index', `${C004}, GET_KEY: index`],
    ['metadata-buffer', `${C004}, GET_KEY: Metadata`],
    ['qos-refusal', `${C004}, OPEN_CONNECT: QoS`],
    ['second-stream', `${C004}, OPEN_CONNECT: Key_stream_ID`],
    ['close', `${C004}, CLOSE`],
    ['peer-close', `${C004}, CLOSE`],
    ['rate', null],
  ],
  etsi014: [
    ['own-certificate', null],
    ['peer-own-certificate', null],
    ['connect', null],
    ['tls', `${C014}5.1`],
    ['kme-certificate', `${C014}5.1`],
    ['status', `${C014}6.1`],
    ['sae', `${C014}6.1`],
    ['other-sae', `${C014}6.1`],
    ['tls-versions', `${C014}5.1`],
    ['sizes', `${C014}6.1`],
    ['odd-size', `${C014}6.2`],
    ['draw', `${C014}6.3`],
    ['provenance', `${C014}6.3`],
    ['unknown-key', `${C014}5.4`],
    ['peer-connect', null],
    ['peer-tls', `${C014}5.1`],
    ['peer-kme-certificate', `${C014}5.1`],
    ['peer-status', `${C014}6.1`],
    ['peer-sae', `${C014}6.1`],
    ['peer-other-sae', `${C014}6.1`],
    ['peer-unknown-key', `${C014}5.4`],
    ['lookup', `${C014}5.4`],
    ['delay', null],
    ['keys-equal', `${C014}5.4`],
    ['single-delivery', `${C014}5.4`],
    ['batches', `${C014}5.3`],
    ['rate', null],
  ],
  skip: [
    ['own-certificate', null],
    ['peer-own-certificate', null],
    ['connect', null],
    ['tls', `${DRAFT}TLS`],
    ['kme-certificate', `${DRAFT}TLS`],
    ['status', `${DRAFT}/capabilities`],
    ['sae', `${DRAFT}/capabilities`],
    ['other-sae', `${DRAFT}/capabilities`],
    ['tls-versions', `${DRAFT}TLS`],
    ['entropy', `${DRAFT}/entropy`],
    ['draw', `${DRAFT}/key`],
    ['sizes', `${DRAFT}/key`],
    ['provenance', `${DRAFT}/capabilities`],
    ['peer-connect', null],
    ['peer-tls', `${DRAFT}TLS`],
    ['peer-kme-certificate', `${DRAFT}TLS`],
    ['peer-status', `${DRAFT}/capabilities`],
    ['peer-sae', `${DRAFT}/capabilities`],
    ['peer-other-sae', `${DRAFT}/capabilities`],
    ['lookup', `${DRAFT}/key/{keyId}`],
    ['delay', null],
    ['keys-equal', `${DRAFT}/key/{keyId}`],
    ['single-delivery', `${DRAFT}/key/{keyId}`],
    ['batches', `${DRAFT}/key/{keyId}`],
    ['unknown-key', `${DRAFT}/key/{keyId}`],
    ['rate', null],
  ],
} as const;

/** By the request at which the connection breaks: the check that fails, and its clause. `null`: nobody needs the answer. */
const BREAKS = {
  etsi004: {
    own: [
      ['open', `${C004}, OPEN_CONNECT`],
      ['draw', `${C004}, GET_KEY`],
      ['index', `${C004}, GET_KEY: index`],
      ['metadata-buffer', `${C004}, GET_KEY: Metadata`],
      ['metadata-buffer', `${C004}, GET_KEY: Metadata`],
      ['qos-refusal', `${C004}, OPEN_CONNECT: QoS`],
      ['second-stream', `${C004}, OPEN_CONNECT: Key_stream_ID`],
      ['second-stream', `${C004}, OPEN_CONNECT: Key_stream_ID`],
      ['close', `${C004}, CLOSE`],
      ['rate', null],
    ],
    peer: [
      ['peer-open', `${C004}, OPEN_CONNECT`],
      ['lookup', `${C004}, GET_KEY`],
      ['lookup', `${C004}, GET_KEY`],
      ['peer-close', `${C004}, CLOSE`],
      ['rate', null],
    ],
  },
  etsi014: {
    own: [
      ['status', `${C014}5.2`],
      null,
      ['draw', `${C014}5.3`],
      ['odd-size', `${C014}6.2`],
      ['draw', `${C014}5.3`],
      ['unknown-key', `${C014}5.4`],
      ['rate', null],
    ],
    peer: [
      ['peer-status', `${C014}5.2`],
      ['peer-unknown-key', `${C014}5.4`],
      ['lookup', `${C014}5.4`],
      ['single-delivery', `${C014}5.4`],
      ['batches', `${C014}5.3`],
    ],
  },
  skip: {
    own: [
      ['status', `${DRAFT}/capabilities`],
      null,
      ['entropy', `${DRAFT}/entropy`],
      ['draw', `${DRAFT}/key`],
      ['sizes', `${DRAFT}/key`],
      ['rate', null],
    ],
    peer: [
      ['peer-status', `${DRAFT}/capabilities`],
      ['lookup', `${DRAFT}/key/{keyId}`],
      ['single-delivery', `${DRAFT}/key/{keyId}`],
      ['batches', `${DRAFT}/key/{keyId}`],
      ['unknown-key', `${DRAFT}/key/{keyId}`],
    ],
  },
} as const;

const STATUS = {
  source_KME_ID: 'a',
  target_KME_ID: 'b',
  master_SAE_ID: 'siteA',
  slave_SAE_ID: 'siteB',
  key_size: 256,
  stored_key_count: 0,
  max_key_count: 100,
  max_key_per_request: 8,
  max_key_size: 1024,
  min_key_size: 64,
  max_SAE_ID_count: 0,
};
const CAPABILITIES = {
  entropy: false,
  key: true,
  algorithm: 'bb84',
  localSystemID: 'siteA',
  remoteSystemID: ['siteB'],
};

/** Request `at` is not answered, nor is it when it is sent once more on a connection of its own. */
function breaking<R>(end: Asked['end'], at: number) {
  let broken: Asked | undefined;
  return (asked: Asked, reply: R): R | undefined => {
    if (asked.end !== end) return reply;
    if (asked.at === at) broken = asked;
    const isRepeated = broken !== undefined && asked.at === at + 1 && asked.text !== '' && asked.text === broken.text;
    return asked.at === at || isRepeated ? undefined : reply;
  };
}

describe('doctor: every request of a conversation', () => {
  for (const api of ['etsi004', 'etsi014', 'skip'] as const) {
    it(`${api}: each check rests on its clause`, async () => {
      const { checks } = await examinePair(api);
      expect(checks.map(({ id, clause }) => [id, clause])).to.deep.equal(CONVERSATIONS[api]);
    });

    for (const end of ['own', 'peer'] as const) {
      for (const [i, expected] of BREAKS[api][end].entries()) {
        it(`${api}, ${end}: the connection breaks at request ${i + 1}: ${expected?.[0] ?? 'nothing'} fails`, async () => {
          const verdict = await examineSpoilt(api, breaking(end, i + 1));
          const failed = verdict.checks.filter(({ ok }) => !ok).map(({ id, clause }) => [id, clause]);
          expect(failed).to.deep.equal(expected === null ? [] : [expected]);
          expect(verdict.ok).to.equal(expected === null);
          for (const { ok, detail } of verdict.checks) if (!ok) expect(detail).to.include('ERR_KDI_CLOSED');
        });
      }
    }
  }

  it('004: a stream that was registered with a counter-proposal is closed', async () => {
    const asked: string[] = [];
    const verdict = await examineSpoilt(
      'etsi004',
      (({ end, what }, reply) => {
        if (end === 'own') asked.push(what);
        return reply;
      }) as Spoil004,
      { pair: PROPOSES },
    );
    expect(failedOf(verdict)).to.deep.equal([]);
    expect(asked.slice(0, 3)).to.deep.equal(['open-connect', 'close', 'open-connect']);
  });

  it('004: the connection breaks when that stream is closed: qos fails', async () => {
    const verdict = await examineSpoilt('etsi004', breaking('own', 2) as Spoil004, { pair: PROPOSES });
    const failed = verdict.checks.filter(({ ok }) => !ok).map(({ id, clause }) => [id, clause]);
    expect(failed).to.deep.equal([['qos', `${C004}, CLOSE`]]);
  });
});

/** Proposes chunks of 64 bytes, and registers a stream with them. */
const PROPOSES = { settings: { qos: { minChunkBytes: 64 }, quirks: { etsi004: { allocatesOnQosNotMet: true } } } };

describe('doctor: versions of TLS', () => {
  for (const [version, told, detail] of [
    ['TLSv1.2', 'note', /^TLS 1\.2 only/],
    ['TLSv1.3', 'good', /over TLS 1\.2 no request is answered/],
  ] as const) {
    for (const api of ['etsi014', 'skip'] as const) {
      it(`${api}: ${version} alone`, async () => {
        const tones: string[] = [];
        const pki = await testPki();
        const good = api === 'etsi014' ? STATUS : CAPABILITIES;
        const answer = ({ url }: { readonly url: string }) =>
          /status|capab/.test(url) ? { json: good } : { status: 503 };
        const kme = await httpsKme(pki, answer, { minVersion: version, maxVersion: version });
        try {
          const verdict = await examineKme({
            own: { url: `${api}://127.0.0.1:${kme.port}`, saeId: 'siteA', tls: { ...pki.sae, ca: pki.ca } },
            peerSaeId: 'siteB',
            nowMs: Date.now(),
            observer: { onCheck: ({ id }, tone) => id === 'tls-versions' && tones.push(tone) },
          });
          expect(checkOf(verdict, 'tls-versions')).to.include({ ok: true, clause: TLS_CLAUSES[api] });
          expect(checkOf(verdict, 'tls-versions').detail).to.match(detail);
          expect(tones).to.deep.equal([told]);
        } finally {
          await kme.close();
        }
      });
    }
  }
});

describe('doctor: the limit of the whole', () => {
  it('between two questions: what was not asked any more is said', async () => {
    // Ends when the test says so.
    let end = () => {};
    const totalMs = 77_777;
    const clock: Clock = {
      now: () => systemClock.now(),
      schedule: (callback, delayMs) => {
        if (delayMs !== totalMs) return systemClock.schedule(callback, delayMs);
        end = callback;
        return () => {};
      },
    };
    const lastCall: Spoil004 = ({ end: at, what }, reply) => {
      if (at === 'peer' && what === 'close') end();
      return reply;
    };
    const verdict = await examineSpoilt('etsi004', lastCall, {
      clock,
      change: (options) => ({ ...options, limits: { totalMs, connectMs: 10_000, replyMs: 10_000 } }),
    });
    expect(failedOf(verdict)).to.deep.equal(['peer-close', 'conversation']);
    expect(checkOf(verdict, 'conversation').detail).to.match(/ended at its limit of 77.777 s, before keys from/);
    expect(verdict.ok).to.equal(false);
  });
});

describe('doctor: stopped from outside', () => {
  for (const api of ['etsi004', 'etsi014', 'skip'] as const) {
    it(`${api}: a key manager that hangs is not waited for, and not blamed`, async () => {
      const pki = await testPki();
      const stop = new AbortController();
      const kme = await scriptedKme(pki, (socket) => socket.once('data', () => stop.abort()));
      try {
        const verdict = await examineKme({
          own: { url: `${api}://127.0.0.1:${kme.port}`, saeId: 'siteA', tls: { ...pki.sae, ca: pki.ca } },
          peerSaeId: 'siteB',
          nowMs: Date.now(),
          signal: stop.signal,
          // Were it waited for, the test would not end.
          limits: { totalMs: 3_600_000, connectMs: 3_600_000, replyMs: 3_600_000 },
        });
        expect(verdict.ok).to.equal(false);
        expect(failedOf(verdict)).to.deep.equal(['conversation']);
        expect(checkOf(verdict, 'conversation').detail).to.match(
          /^stopped from outside, while waiting for the first reply of KME 127/,
        );
        expect(checkOf(verdict, 'tls').ok).to.equal(true);
      } finally {
        await kme.close();
      }
    });

    it(`${api}: in the middle, the client's own streams included`, async () => {
      // The first request of the client's own, which other tests know, too.
      const at = { etsi004: 11, etsi014: 8, skip: 7 }[api];
      const stop = new AbortController();
      const hang = ({ end, at: now }: Asked) => {
        if (end === 'own' && now >= at) stop.abort();
      };
      const verdict = await examineSpoilt(
        api,
        ((asked, reply) => {
          hang(asked);
          return stop.signal.aborted ? new Promise<never>(() => {}) : reply;
        }) as SpoilHttp,
        {
          change: (options) => ({
            ...options,
            signal: stop.signal,
            limits: { totalMs: 3_600_000, connectMs: 3_600_000, replyMs: 3_600_000 },
          }),
        },
      );
      expect(failedOf(verdict)).to.deep.equal(['conversation']);
      expect(checkOf(verdict, 'conversation').detail).to.include('while waiting for keys from 127.0.0.1:');
      expect(verdict.checks.at(-1)?.id).to.equal('conversation');
    });
  }

  it('before it began: nothing is sent', async () => {
    const pki = await testPki();
    const kme = await scriptedKme(pki, (socket) => socket.resume());
    try {
      const verdict = await examineKme({
        own: { url: `etsi014://127.0.0.1:${kme.port}`, saeId: 'siteA', tls: { ...pki.sae, ca: pki.ca } },
        peerSaeId: 'siteB',
        nowMs: Date.now(),
        signal: AbortSignal.abort(),
      });
      expect(verdict.checks.map(({ id, ok }) => [id, ok])).to.deep.equal([['conversation', false]]);
      expect(kme.connections).to.equal(0);
    } finally {
      await kme.close();
    }
  });
});
