/** Key managers that are silent, slow, or talk nonsense: a verdict in time, and nothing left behind. */
import { randomUUID } from 'node:crypto';
import { createServer, type Socket } from 'node:net';
import { expect } from 'chai';
import {
  Etsi004Status,
  type ExaminationLimits,
  type ExaminationObserver,
  encodeResponse,
  examineKme,
  isKdiError,
  type KmeExaminationOptions,
  type KmeVerdict,
} from '../../../kdi-client/index.ts';
import { utf8 } from '../../../tls-ext/bytes/index.ts';
import { type HttpsAnswer, type HttpsRequest, httpsKme } from '../support/https-kme.ts';
import { type Script, scriptedKme } from '../support/scripted-kme.ts';
import { type TestPki, testPki } from '../support/test-pki.ts';
import { checkOf, failedOf, SHORT, TLS_CLAUSES } from './doctor-fixture.ts';

/** For KMEs that answer something: however busy the machine is. */
const PATIENT: ExaminationLimits = { totalMs: 15_000, connectMs: 5_000, replyMs: 5_000 };

let pki: TestPki;
before(async () => {
  pki = await testPki();
});

function options(url: string, change: Partial<KmeExaminationOptions> = {}): KmeExaminationOptions {
  const tls = { cert: pki.sae.cert, key: pki.sae.key, ca: pki.ca };
  return { own: { url, saeId: 'siteA', tls }, peerSaeId: 'siteB', nowMs: Date.now(), limits: PATIENT, ...change };
}

/** Examines a server that runs `script` on each connection once TLS stands. Nothing may be left open. */
async function examineScript(url: (port: number) => string, script: Script, replyMs = 5_000): Promise<KmeVerdict> {
  const kme = await scriptedKme(pki, script);
  try {
    const verdict = await examineKme(options(url(kme.port), { limits: { ...PATIENT, replyMs } }));
    await until(() => kme.open === 0);
    return verdict;
  } finally {
    await kme.close();
  }
}

async function examineHttps(
  api: 'etsi014' | 'skip',
  answer: (request: HttpsRequest) => HttpsAnswer,
  change: (url: string) => Partial<KmeExaminationOptions> = () => ({}),
): Promise<KmeVerdict> {
  const kme = await httpsKme(pki, answer);
  const url = `${api}://127.0.0.1:${kme.port}`;
  try {
    const verdict = await examineKme(options(url, change(url)));
    await until(() => kme.open === 0);
    return verdict;
  } finally {
    await kme.close();
  }
}

/** Looked at after every turn of the loop; gives up, so that a leak is a failure and no endless test. */
async function until(done: () => boolean): Promise<void> {
  const startedMs = performance.now();
  while (!done()) {
    if (performance.now() - startedMs > 5_000) throw new Error('something was left open');
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const on014 = (port: number) => `etsi014://127.0.0.1:${port}`;
const on004 = (port: number) => `etsi004://127.0.0.1:${port}`;
const onSkip = (port: number) => `skip://127.0.0.1:${port}`;

describe('doctor: a key manager that is silent', () => {
  for (const [name, url] of [
    ['etsi004', on004],
    ['etsi014', on014],
    ['skip', onSkip],
  ] as const) {
    it(`${name}: in TCP already`, async () => {
      const sockets = new Set<Socket>();
      const server = createServer((socket) => sockets.add(socket.resume().on('close', () => sockets.delete(socket))));
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      try {
        const verdict = await examineKme(options(url((server.address() as { port: number }).port), { limits: SHORT }));
        expect(failedOf(verdict)).to.deep.equal(['tls']);
        expect(checkOf(verdict, 'connect').ok).to.equal(true);
        expect(checkOf(verdict, 'tls').clause).to.equal(TLS_CLAUSES[name]);
        const { detail } = checkOf(verdict, 'tls');
        expect(detail).to.include('did not answer the TLS handshake').and.include('ERR_KDI_TIMEOUT');
        expect(detail).to.include('compare host and port of the URL');
        expect(detail.includes('unsafe-plaintext-kme')).to.equal(name === 'etsi004');
        await until(() => sockets.size === 0);
      } finally {
        await new Promise((resolve) => server.close(resolve));
      }
    });

    it(`${name}: once TLS stands`, async () => {
      const verdict = await examineScript(url, (socket) => socket.resume(), SHORT.replyMs);
      expect(failedOf(verdict)).to.deep.equal([name === 'etsi004' ? 'open' : 'status']);
      expect(verdict.checks.at(-1)?.detail).to.match(/did not answer \w+ in \d+ ms/);
    });

    it(`${name}: nothing listens`, async () => {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const { port } = server.address() as { port: number };
      await new Promise((resolve) => server.close(resolve));
      const verdict = await examineKme(options(url(port)));
      expect(failedOf(verdict)).to.deep.equal(['connect']);
      expect(checkOf(verdict, 'connect').detail).to.include('nothing listens there: check the port');
    });
  }

  it('in the middle of the conversation: the limit of the whole ends it, whatever one reply may take', async () => {
    const kme = await httpsKme(pki, ({ url }) => (url.endsWith('/status') ? { json: status({}) } : undefined));
    try {
      const limits = { totalMs: 1_000, connectMs: 60_000, replyMs: 60_000 };
      const verdict = await examineKme(options(on014(kme.port), { limits }));
      expect(failedOf(verdict)).to.deep.equal(['draw']);
      expect(checkOf(verdict, 'draw').detail).to.match(/did not answer enc_keys in \d{1,4} ms/);
      await until(() => kme.open === 0);
    } finally {
      await kme.close();
    }
  });
});

describe('doctor: a key manager that talks nonsense', () => {
  for (const [name, url] of [
    ['014', on014],
    ['skip', onSkip],
  ] as const) {
    it(`${name}: half a reply is not called none; none at all may be another port's`, async () => {
      const half = await examineScript(url, (socket) =>
        socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"a"')),
      );
      expect(checkOf(half, 'status').detail)
        .to.include('broke the connection before its reply was complete')
        .and.not.include('without an answer');
      const none = await examineScript(url, (socket) => socket.once('data', () => socket.end()));
      expect(checkOf(none, 'status').detail).to.include('without an answer').and.include('etsi004://');
    });
  }

  it('014: bytes that are no HTTP', async () => {
    const verdict = await examineScript(on014, (socket) =>
      socket.once('data', () => socket.end(new Uint8Array(64).fill(0xa5))),
    );
    expect(checkOf(verdict, 'status').detail)
      .to.include('does not answer in HTTP')
      .and.include('a port of GS QKD 004 is etsi004://');
  });

  it('014: another version of the API', async () => {
    const verdict = await examineHttps('etsi014', () => ({ status: 404, json: { message: 'try /api/v2' } }));
    expect(checkOf(verdict, 'status').detail).to.include('another version than V1.1.1').and.include('ERR_KDI_HTTP');
  });

  it('014: a redirect is not followed', async () => {
    const verdict = await examineHttps('etsi014', () => ({
      status: 302,
      headers: { location: 'https://127.0.0.1:1/' },
    }));
    expect(checkOf(verdict, 'status').detail).to.include('redirect');
  });

  it('014: a body without end', async () => {
    const kme = await httpsKme(pki, (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      const pour = () => {
        while (!response.destroyed && response.write(' '.repeat(0x1_0000)));
      };
      response.on('drain', pour);
      pour();
      return undefined;
    });
    try {
      const verdict = await examineKme(options(on014(kme.port)));
      expect(checkOf(verdict, 'status').detail).to.include('a reply of more than');
    } finally {
      await kme.close();
    }
  });

  it("004: another dialect than the URL's, told from the reply and never probed", async () => {
    const answerIn =
      (dialect: 'etsi' | 'qubip'): Script =>
      (socket) => {
        socket.once('data', () =>
          socket.end(encodeResponse(dialect, { service: 'open-connect', status: Etsi004Status.timeout })),
        );
      };
    const qubip = await examineScript(on004, answerIn('qubip'));
    expect(failedOf(qubip)).to.deep.equal(['dialect']);
    expect(checkOf(qubip, 'dialect').clause).to.equal('ETSI GS QKD 004 V2.1.1, 6');
    expect(checkOf(qubip, 'dialect').configHint).to.match(/^kme: etsi004:\/\/127\.0\.0\.1:\d+\?dialect=qubip$/);
    const etsi = await examineScript((port) => `${on004(port)}?dialect=qubip`, answerIn('etsi'));
    expect(checkOf(etsi, 'dialect').configHint).to.match(/^kme: etsi004:\/\/127\.0\.0\.1:\d+$/);
  });

  it('004: one request on each connection, and no connection without one', async () => {
    const requests: number[] = [];
    const kme = await scriptedKme(pki, (socket, connection) => {
      socket.once('data', () => {
        requests.push(connection);
        socket.end(encodeResponse('etsi', { service: 'open-connect', status: Etsi004Status.noQkdConnection }));
      });
    });
    try {
      await examineKme(options(on004(kme.port)));
      expect(requests.length).to.equal(kme.connections).and.to.be.greaterThan(0);
    } finally {
      await kme.close();
    }
  });

  it('004: HTTP, another version, garbage, a reply cut short', async () => {
    const cases: readonly [Uint8Array, RegExp][] = [
      [utf8('HTTP/1.1 400 Bad Request\r\n\r\n'), /answers in HTTP: write etsi014:\/\//],
      [Uint8Array.of(3, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 0), /version 3\.0\.0 of the binary protocol/],
      [Uint8Array.of(2, 1, 1, 9, 0, 0, 0, 4, 0, 0, 0, 0), /a reply to CLOSE instead of OPEN_CONNECT/],
      [
        Uint8Array.of(2, 1, 1, 3, 0xff, 0xff, 0xff, 0xff),
        /no 004 reply \(payload of 4294967295 bytes.*compare host and port of the URL/,
      ],
      [Uint8Array.of(2, 1, 1, 3, 0, 0, 0, 4, 0, 0), /in the middle of its reply/],
      [Uint8Array.of(2, 1, 1, 3, 0, 0, 0, 4, 0, 0, 0, 99), /status 99.*ERR_KDI_UNKNOWN_STATUS/],
    ];
    for (const [reply, expected] of cases) {
      const verdict = await examineScript(on004, (socket) => socket.once('data', () => socket.end(reply)));
      expect(failedOf(verdict)).to.deep.equal(['open']);
      expect(checkOf(verdict, 'open').detail).to.match(expected);
    }
  });

  it('what a key manager says can not command a terminal', async () => {
    const message = 'no \u001b[2J\u0007\u202e key\n';
    const verdict = await examineHttps('etsi014', () => ({ status: 400, json: { message } }));
    // biome-ignore lint/suspicious/noControlCharactersInRegex: it is what is looked for.
    expect(checkOf(verdict, 'status').detail).to.not.match(/[\u0000-\u001f\u202e]/);
  });
});

describe('doctor: servers with quirks that the simulator does not have', () => {
  it('014: GET only, and no key anywhere in the verdict', async () => {
    const server = kme014({ getOnly: true });
    const verdict = await examineHttps('etsi014', server.answer);
    expect(checkOf(verdict, 'methods')).to.include({ ok: false, configHint: 'get-only: true' });
    expect(verdict.checks.find(({ id }) => id === 'rate')?.ok, JSON.stringify(verdict)).to.equal(true);
    const text = JSON.stringify(verdict);
    expect(server.keys.size).to.be.greaterThan(2);
    for (const key of server.keys.values()) {
      expect(text).to.not.include(key.toString('base64')).and.not.include(key.toString('hex'));
    }
    const settled = await examineHttps('etsi014', kme014({ getOnly: true }).answer, () => ({
      known: { getOnly: true },
    }));
    expect(failedOf(settled)).to.deep.equal([]);
  });

  it('014: a key that reaches the other side later: min-key-age', async () => {
    const peer = (url: string) => ({ peer: { url, tls: { cert: pki.sae.cert, key: pki.sae.key, ca: pki.ca } } });
    const verdict = await examineHttps('etsi014', kme014({ vainLookups: 2 }).answer, peer);
    expect(checkOf(verdict, 'delay').ok).to.equal(true);
    expect(checkOf(verdict, 'delay').detail).to.include('at look-up 3');
    expect(checkOf(verdict, 'delay').configHint).to.match(/^min-key-age: \d*[05]0ms$/);
    expect(verdict.keysEqual).to.equal(true);
    const settled = await examineHttps('etsi014', kme014({ vainLookups: 2 }).answer, (url) => ({
      ...peer(url),
      known: { minKeyAgeMs: 1_000 },
    }));
    expect(checkOf(settled, 'delay').configHint).to.equal(null);
  });

  it('SKIP: key IDs in upper case', async () => {
    const keys = new Map<string, string>();
    let drawn = 0;
    const answer = ({ url }: HttpsRequest): HttpsAnswer => {
      const at = new URL(url, 'https://kme');
      const [, what, keyId] = at.pathname.split('/');
      const remote = at.searchParams.get('remoteSystemID');
      if (what === 'capabilities') {
        return {
          json: { entropy: false, key: true, algorithm: 'bb84', localSystemID: 'siteA', remoteSystemID: ['site*'] },
        };
      }
      if (keyId === undefined) {
        const id = randomUUID().replaceAll('-', '').toUpperCase();
        keys.set(id, Buffer.alloc(32, ++drawn).toString('hex'));
        return { json: { keyId: id, key: keys.get(id) } };
      }
      const key = keys.get(keyId);
      keys.delete(keyId);
      return key === undefined || remote === null ? { status: 400 } : { json: { keyId, key } };
    };
    const peer = (url: string) => ({ peer: { url, tls: { cert: pki.sae.cert, key: pki.sae.key, ca: pki.ca } } });
    const verdict = await examineHttps('skip', answer, peer);
    expect(checkOf(verdict, 'key-id-case')).to.include({
      ok: false,
      configHint: 'upper-case-key-ids: true',
      clause: 'draft-cisco-skip-02, /key/{keyId}',
    });
    expect(verdict.keysEqual).to.equal(true);
    expect(checkOf(verdict, 'rate').ok).to.equal(true);
    // This one server stands for both ends, and takes us for siteA at each.
    expect(failedOf(verdict)).to.deep.equal(['peer-sae', 'key-id-case']);
    const settled = await examineHttps('skip', answer, (url) => ({ ...peer(url), known: { upperCaseKeyIds: true } }));
    expect(failedOf(settled)).to.deep.equal(['peer-sae']);
  });
});

describe('doctor: what it refuses to ask', () => {
  const tls = () => ({ cert: pki.sae.cert, key: pki.sae.key, ca: pki.ca });
  const cases: readonly [string, (o: KmeExaminationOptions) => KmeExaminationOptions, RegExp][] = [
    ['a scheme that is no API', (o) => ({ ...o, own: { ...o.own, url: 'https://kme:443' } }), /write etsi014:\/\//],
    [
      'a port that is none',
      (o) => ({ ...o, own: { ...o.own, url: 'etsi004://kme:99999' } }),
      /not a number of 1 to 65535/,
    ],
    ['ourselves as peer', (o) => ({ ...o, peerSaeId: 'siteA' }), /nobody is their own peer/],
    ['two APIs', (o) => ({ ...o, peer: { url: 'skip://kme-b', tls: tls() } }), /one API at both ends/],
    [
      'no certificate',
      (o) => ({ ...o, own: { url: o.own.url, saeId: 'siteA' } }),
      /needs a certificate, a key and a CA/,
    ],
    [
      'plain TCP without saying so',
      (o) => ({ ...o, own: { url: 'etsi004://kme', saeId: 'siteA' } }),
      /plain TCP only by unsafe-plaintext-kme/,
    ],
  ];
  for (const [name, change, expected] of cases) {
    it(name, async () => {
      const error = await examineKme(change(options('etsi014://127.0.0.1:1'))).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      expect(isKdiError(error)).to.equal(true);
      expect((error as Error).message).to.match(expected);
    });
  }

  it('004 over plain TCP where it is said', async () => {
    const kme = await scriptedKme(undefined, (socket) => {
      socket.once('data', () => socket.end(encodeResponse('etsi', { service: 'open-connect', status: 4 })));
    });
    try {
      const own = { url: on004(kme.port), saeId: 'siteA' };
      const tones: string[] = [];
      const observer: ExaminationObserver = { onCheck: (_check, tone) => tones.push(tone) };
      const verdict = await examineKme(options(own.url, { own, unsafePlainTcp: true, observer }));
      expect(checkOf(verdict, 'own-certificate').configHint).to.equal('unsafe-plaintext-kme: true');
      expect(tones[0]).to.equal('note');
      expect(checkOf(verdict, 'open').detail).to.include('were sent').and.not.include('certificate');
      expect(failedOf(verdict)).to.deep.equal(['open']);
    } finally {
      await kme.close();
    }
  });
});

function status(change: Record<string, unknown>) {
  return {
    source_KME_ID: 'a',
    target_KME_ID: 'b',
    master_SAE_ID: 'siteA',
    slave_SAE_ID: 'siteB',
    key_size: 256,
    stored_key_count: 100,
    max_key_count: 100,
    max_key_per_request: 8,
    max_key_size: 1024,
    min_key_size: 64,
    max_SAE_ID_count: 0,
    ...change,
  };
}

interface Kme014Options {
  readonly getOnly?: boolean;
  /** Look-ups of the first key that is looked up which come too early. */
  readonly vainLookups?: number;
}

/** A 014 server in a few lines, for what the simulator never does. */
function kme014(behaviour: Kme014Options) {
  const keys = new Map<string, Buffer>();
  const waiting = new Set<string>();
  let vain = behaviour.vainLookups ?? 0;
  const container = (ids: readonly string[]): HttpsAnswer => ({
    json: { keys: ids.map((key_ID) => ({ key_ID, key: (keys.get(key_ID) as Buffer).toString('base64') })) },
  });
  const make = (id: string, sizeBits: number) => {
    keys.set(id, Buffer.alloc(sizeBits / 8, keys.size + 1));
    waiting.add(id);
  };
  const answer = ({ method, url, body }: HttpsRequest): HttpsAnswer => {
    if (behaviour.getOnly && method === 'POST') return { status: 405 };
    const at = new URL(url, 'https://kme');
    const other = at.pathname.split('/')[4];
    const asked = (body ?? Object.fromEntries(at.searchParams)) as Record<string, unknown>;
    switch (at.pathname.split('/').pop()) {
      case 'status':
        return {
          json: status(other === 'siteA' ? { master_SAE_ID: 'siteB', slave_SAE_ID: 'siteA' } : {}),
        };
      case 'enc_keys': {
        const sizeBits = Number(asked.size ?? 256);
        if (sizeBits % 8 !== 0) return { status: 400, json: { message: 'size shall be a multiple of 8' } };
        const ids = Array.from({ length: Number(asked.number ?? 1) }, () => randomUUID());
        for (const id of ids) make(id, sizeBits);
        return container(ids);
      }
      default: {
        const ids = asked.key_IDs as { key_ID: string }[] | undefined;
        const wanted = ids?.map(({ key_ID }) => key_ID) ?? [String(asked.key_ID)];
        const tooEarly = wanted.every((id) => waiting.has(id)) && vain-- > 0;
        if (tooEarly || !wanted.every((id) => waiting.has(id))) {
          return { status: 400, json: { message: 'one or more keys specified are not found on KME' } };
        }
        for (const id of wanted) waiting.delete(id);
        return container(wanted);
      }
    }
  };
  return { keys, answer };
}
