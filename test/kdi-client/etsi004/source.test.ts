import type { Socket } from 'node:net';
import { expect } from 'chai';
import {
  type KdiErrorCode as Code,
  type DrawStream,
  Etsi004Source,
  type Etsi004SourceOptions,
  KdiError,
  KdiErrorCode,
  parseKmeUrl,
  type StreamAnnouncement,
} from '../../../kdi-client/index.ts';
import { fromHex, hexOf } from '../../../tls-ext/bytes/index.ts';
import { afterBytes, type Script, type ScriptedKme, scriptedKme } from '../support/scripted-kme.ts';
import { type TestPki, testPki } from '../support/test-pki.ts';
import { settle, VirtualClock } from '../support/virtual-clock.ts';

const bytes = (text: string): Uint8Array => fromHex(text.replace(/\s+/g, ''));
const u32 = (value: number): string => value.toString(16).padStart(8, '0');

const KSID = '8f14e45fceea467a9f3c2e1d0b5a6978';
const MIMETYPE = '6170706c69636174696f6e2f6a736f6e00';

/** QoS as a reply carries it, written by hand: chunk, max, min, jitter, priority, timeout, TTL, mimetype. */
function qosHex(dialect: 'etsi' | 'qubip', chunk = 32, ttl = 3600): string {
  const numbers = [chunk, 100_000, 0, 0, 0, 2_000, ttl].map(u32).join('');
  return numbers + (dialect === 'etsi' ? MIMETYPE : MIMETYPE + '00'.repeat(256 - 17));
}
const VERSION = { etsi: '020101', qubip: '010001' } as const;
const message = (dialect: 'etsi' | 'qubip', service: string, payload: string): Uint8Array =>
  bytes(`${VERSION[dialect]} ${service} ${u32(bytes(payload).length)} ${payload}`);
const opened = (dialect: 'etsi' | 'qubip' = 'etsi', status = 0, ksid = KSID, chunk = 32): Uint8Array =>
  message(dialect, '03', `${u32(status)} ${qosHex(dialect, chunk)} ${ksid}`);
const key = (index: number, keyHex: string, metadataHex = '', dialect: 'etsi' | 'qubip' = 'etsi'): Uint8Array =>
  message(
    dialect,
    '05',
    `00000000 ${u32(index)} ${u32(bytes(keyHex).length)} ${keyHex} ${u32(bytes(metadataHex).length)} ${metadataHex}`,
  );
const closed = message('etsi', '09', '00000000');

/** Reads one whole request, by its header, and hands it to `answer`; the connection is closed after the reply. */
function perRequest(answer: (request: Uint8Array, socket: Socket) => Uint8Array | undefined): Script {
  return (socket) =>
    afterBytes(socket, 8, function onBytes(head) {
      const length = 8 + Buffer.from(head).readUInt32BE(4);
      const done = (request: Uint8Array): void => {
        const reply = answer(request, socket);
        if (reply !== undefined) socket.end(reply);
      };
      if (head.length >= length) done(head);
      else afterBytes(socket, length - head.length, (rest) => done(Buffer.concat([head, rest])));
    });
}

describe('kdi-client/etsi004: a source against a scripted key manager', () => {
  let pki: TestPki;
  const kmes: ScriptedKme[] = [];
  const sources: Etsi004Source[] = [];

  before(async () => {
    pki = await testPki();
  });
  afterEach(async () => {
    await Promise.all(sources.splice(0).map((source) => source.close()));
    await Promise.all(kmes.splice(0).map((kme) => kme.close()));
  });

  async function serve(script: Script, tls = true): Promise<ScriptedKme> {
    const kme = await scriptedKme(tls ? pki : undefined, script);
    kmes.push(kme);
    return kme;
  }
  function sourceOf(kme: { port: number }, options: Partial<Etsi004SourceOptions> = {}, query = ''): Etsi004Source {
    const source = new Etsi004Source({
      address: parseKmeUrl(`etsi004://127.0.0.1:${kme.port}${query}`),
      saeId: 'siteA',
      tls: { cert: pki.sae.cert, key: pki.sae.key, ca: pki.ca },
      ...options,
    });
    sources.push(source);
    return source;
  }
  async function codeOf(promise: Promise<unknown>): Promise<Code | undefined> {
    try {
      await promise;
    } catch (error) {
      expect(error).to.be.instanceOf(KdiError);
      return (error as KdiError).code;
    }
    return undefined;
  }

  for (const dialect of ['etsi', 'qubip'] as const) {
    it(`opens, draws a chunk of two keys and closes in dialect ${dialect}`, async () => {
      const requests: string[] = [];
      const kme = await serve(
        perRequest((request) => {
          requests.push(hexOf(request));
          switch (request[3]) {
            case 0x02:
              return opened(dialect, 1, KSID, 64);
            case 0x04:
              // {"age":7,"hops":1,"simulated":true} and a NUL, as some servers add.
              return key(
                0,
                'aa'.repeat(32) + 'bb'.repeat(32),
                '7b22616765223a372c22686f7073223a312c2273696d756c61746564223a747275657d00',
                dialect,
              );
            default:
              return message(dialect, '09', '00000000');
          }
        }),
      );
      const clock = new VirtualClock();
      const source = sourceOf(kme, { qos: { keysPerChunk: 2 }, clock }, dialect === 'etsi' ? '' : '?dialect=qubip');
      let announced: StreamAnnouncement | undefined;
      const stream = await source.openDraw('siteB', {
        onAnnouncement: (announcement) => {
          announced = announcement;
        },
      });
      expect(hexOf(announced!.ksid)).to.equal(KSID);
      expect(announced!.qos.keyChunkSizeBytes).to.equal(64);
      const keys = await stream.draw(1);
      expect(keys.map(({ secret }) => hexOf(secret.expose()))).to.deep.equal(['aa'.repeat(32), 'bb'.repeat(32)]);
      expect(keys[1]!.reference).to.deep.equal({
        api: 'etsi004',
        drawer: 'siteA',
        ksid: bytes(KSID),
        index: 0,
        slice: 1,
      });
      expect(keys[0]!.metadata).to.deep.equal({ ageMs: 7, hops: 1, simulated: true, kme: `127.0.0.1:${kme.port}` });
      expect(keys[0]!.expiresAtMs).to.equal(clock.now() + 3_600_000);
      await stream.close();
      expect(requests.map((request) => request.slice(0, 8))).to.deep.equal(
        ['02', '04', '08'].map((service) => VERSION[dialect] + service),
      );
      // "qkd://siteA\0qkd://siteB\0", chunk size 64 …, NULL KSID.
      expect(requests[0]).to.contain(
        '716b643a2f2f7369746541 00 716b643a2f2f7369746542 00 00000040'.replaceAll(' ', ''),
      );
      expect(requests[0]!.endsWith('00'.repeat(16))).to.equal(true);
      expect(kme.lastClient).to.equal('siteA');
      expect(clock.pending).to.equal(0);
    });
  }

  it('resumes TLS sessions instead of making full handshakes', async () => {
    const kme = await serve(
      perRequest((request) => (request[3] === 2 ? opened() : request[3] === 4 ? key(0, 'aa'.repeat(32)) : closed)),
    );
    const stream = await sourceOf(kme).openDraw('siteB');
    await stream.draw(1);
    await stream.close();
    expect(kme.connections).to.equal(3);
    expect(kme.resumed).to.equal(2);
  });

  it('counts the index that the KME returned, and asks for the one after it', async () => {
    const asked: number[] = [];
    const kme = await serve(
      perRequest((request) => {
        if (request[3] !== 4) return request[3] === 2 ? opened() : closed;
        asked.push(Buffer.from(request).readUInt32BE(8 + 16));
        return key(asked.length === 1 ? 5 : 6, 'aa'.repeat(32));
      }),
    );
    const stream = await sourceOf(kme).openDraw('siteB');
    const [first] = await stream.draw(1);
    const [second] = await stream.draw(1);
    expect(asked).to.deep.equal([0, 6]);
    expect([first, second].map((drawn) => drawn!.reference)).to.have.nested.property('[1].index', 6);
  });

  it('has one GET_KEY in flight, however many draws are asked for', async () => {
    let inFlight = 0;
    let most = 0;
    let next = 0;
    const kme = await serve((socket) => {
      inFlight++;
      most = Math.max(most, inFlight);
      perRequest((request) => {
        inFlight--;
        return request[3] === 4 ? key(next++, 'aa'.repeat(32)) : request[3] === 2 ? opened() : closed;
      })(socket, 0);
    });
    const stream = await sourceOf(kme).openDraw('siteB');
    await Promise.all([stream.draw(1), stream.draw(1), stream.draw(1)]);
    expect(next).to.equal(3);
    expect(most).to.equal(1);
  });

  it('refuses an index that it had before, and ends the stream', async () => {
    const kme = await serve(
      perRequest((request) => (request[3] === 4 ? key(3, 'aa'.repeat(32)) : request[3] === 2 ? opened() : closed)),
    );
    const stream = await sourceOf(kme).openDraw('siteB');
    await stream.draw(1);
    expect(await codeOf(stream.draw(1))).to.equal(KdiErrorCode.duplicateKey);
    expect(stream.ended).to.equal(true);
  });

  it('ends a stream whose index nears the end of u32', async () => {
    const kme = await serve(
      perRequest((request) =>
        request[3] === 4 ? key(0xffff_fff0, 'aa'.repeat(32)) : request[3] === 2 ? opened() : closed,
      ),
    );
    const stream = await sourceOf(kme).openDraw('siteB');
    expect(await stream.draw(1)).to.have.length(1);
    expect(stream.ended).to.equal(true);
    expect(await codeOf(stream.draw(1))).to.equal(KdiErrorCode.stream);
  });

  it('takes a counter-proposal within its bounds, closing a KSID that came with status 7', async () => {
    const services: number[] = [];
    const chunks: number[] = [];
    const kme = await serve(
      perRequest((request) => {
        services.push(request[3]!);
        if (request[3] !== 2) return closed;
        chunks.push(Buffer.from(request).readUInt32BE(8 + 24));
        return opened('etsi', services.length === 1 ? 7 : 0, KSID, 32);
      }),
    );
    const stream = await sourceOf(kme, { qos: { keysPerChunk: 4 } }).openDraw('siteB');
    expect(stream.announcement!.qos.keyChunkSizeBytes).to.equal(32);
    expect(services).to.deep.equal([2, 8, 2]);
    expect(chunks).to.deep.equal([128, 32]);
  });

  it('refuses a QoS outside its bounds and tells the KME', async () => {
    const services: number[] = [];
    const kme = await serve(
      perRequest((request) => {
        services.push(request[3]!);
        return request[3] === 2 ? opened('etsi', 0, KSID, 16) : closed;
      }),
    );
    expect(await codeOf(sourceOf(kme).openDraw('siteB'))).to.equal(KdiErrorCode.qosNotMet);
    expect(services).to.deep.equal([2, 8]);
  });

  it('asks again with the room that status 8 wants, for the same index', async () => {
    const asked: (readonly [index: number, size: number])[] = [];
    const kme = await serve(
      perRequest((request) => {
        if (request[3] !== 4) return request[3] === 2 ? opened() : closed;
        const view = Buffer.from(request);
        asked.push([view.readUInt32BE(24), view.readUInt32BE(28)]);
        return asked.length === 1
          ? message('etsi', '05', `00000008 00000000 00000000 ${u32(400)}`)
          : key(0, 'aa'.repeat(32), `${'20'.repeat(398)}7b7d`);
      }),
    );
    const stream = await sourceOf(kme).openDraw('siteB');
    expect(await stream.draw(1)).to.have.length(1);
    expect(asked).to.deep.equal([
      [0, 256],
      [0, 400],
    ]);
  });

  it('does not let status 8 ask for ever more', async () => {
    let asked = 0;
    const kme = await serve(
      perRequest((request) => {
        if (request[3] !== 4) return request[3] === 2 ? opened() : closed;
        asked++;
        return message('etsi', '05', `00000008 ${u32(300 * asked)}`);
      }),
    );
    const stream = await sourceOf(kme).openDraw('siteB');
    expect(await codeOf(stream.draw(1))).to.equal(KdiErrorCode.metadataTooLarge);
    expect(asked).to.equal(2);
  });

  it('announces a chosen KSID before it asks the KME, and a version 4 UUID it is', async () => {
    let announcedFirst = false;
    let announced: StreamAnnouncement | undefined;
    const kme = await serve(
      perRequest((request) => {
        if (request[3] !== 2) return closed;
        announcedFirst = announced !== undefined;
        return opened('etsi', 0, hexOf(request.subarray(-16)));
      }),
    );
    const stream = await sourceOf(kme, { ksid: 'chosen' }).openDraw('siteB', {
      onAnnouncement: (announcement) => {
        announced = announcement;
      },
    });
    expect(announcedFirst).to.equal(true);
    expect(stream.announcement!.ksid).to.deep.equal(announced!.ksid);
    expect(hexOf(announced!.ksid)).to.match(/^.{12}4.{3}[89ab].{15}$/);
  });

  it('never draws from a KSID that it had before: asks with one of its own instead', async () => {
    const kme = await serve(
      perRequest((request) => {
        if (request[3] !== 2) return closed;
        const asked = hexOf(request.subarray(-16));
        return opened('etsi', 0, asked === '00'.repeat(16) ? KSID : asked);
      }),
    );
    const source = sourceOf(kme);
    const first = await source.openDraw('siteB');
    await first.close();
    const second = await source.openDraw('siteB');
    expect(hexOf(first.announcement!.ksid)).to.equal(KSID);
    expect(hexOf(second.announcement!.ksid)).not.to.equal(KSID);
  });

  for (const openAs of ['same', 'swapped'] as const) {
    it(`answers with Source and Destination ${openAs}, and looks keys up by index and slice`, async () => {
      let open = '';
      const kme = await serve(
        perRequest((request) => {
          if (request[3] === 2) {
            open = Buffer.from(request).toString('latin1', 8, 32);
            return opened('etsi', 0, KSID, 64);
          }
          // A KME that hands chunks out in sequence, whatever index is asked for.
          return request[3] === 4 ? key(next++, `0${next}`.repeat(32) + 'bb'.repeat(32)) : closed;
        }),
      );
      let next = 0;
      const source = sourceOf(kme, { saeId: 'siteB', openAs });
      const announcement = {
        ksid: bytes(KSID),
        qos: {
          keyChunkSizeBytes: 64,
          maxBps: 0,
          minBps: 0,
          jitterBps: 0,
          priority: 0,
          timeoutMs: 100,
          ttlSeconds: 60,
          metadataMimetype: '',
        },
      };
      const stream = await source.openLookup('siteA', { announcement });
      const reference = { api: 'etsi004', drawer: 'siteA', ksid: bytes(KSID) } as const;
      const third = await stream.lookup({ ...reference, index: 2, slice: 0 });
      expect(hexOf(third.secret.expose())).to.equal('03'.repeat(32));
      const first = await stream.lookup({ ...reference, index: 0, slice: 1 });
      expect(hexOf(first.secret.expose())).to.equal('bb'.repeat(32));
      expect(next).to.equal(3);
      // The same slice is not given twice.
      expect(await codeOf(stream.lookup({ ...reference, index: 0, slice: 1 }))).to.equal(KdiErrorCode.keyNotFound);
      expect(await codeOf(stream.lookup({ ...reference, drawer: 'siteC', index: 0, slice: 0 }))).to.equal(
        KdiErrorCode.stream,
      );
      expect(open).to.equal(openAs === 'same' ? 'qkd://siteA\0qkd://siteB\0' : 'qkd://siteB\0qkd://siteA\0');
    });
  }

  describe('statuses', () => {
    const codes: readonly (readonly [service: 'open' | 'get-key', status: number, code: Code, retryable: boolean])[] = [
      ['open', 4, KdiErrorCode.noQkdConnection, true],
      ['open', 5, KdiErrorCode.ksidInUse, false],
      ['open', 6, KdiErrorCode.kmeTimeout, true],
      ['open', 7, KdiErrorCode.qosNotMet, false],
      ['open', 99, KdiErrorCode.unknownStatus, false],
      ['get-key', 1, KdiErrorCode.peerNotConnected, true],
      ['get-key', 2, KdiErrorCode.insufficientKey, true],
      ['get-key', 3, KdiErrorCode.peerNotConnected, true],
      ['get-key', 4, KdiErrorCode.noQkdConnection, true],
      ['get-key', 6, KdiErrorCode.kmeTimeout, true],
      ['get-key', 8, KdiErrorCode.metadataTooLarge, false],
      ['get-key', 4_000_000_000, KdiErrorCode.unknownStatus, false],
    ];
    for (const [service, status, code, retryable] of codes) {
      it(`${service} status ${status} is ${code}`, async () => {
        const kme = await serve(
          perRequest((request) => {
            if (request[3] === 8) return closed;
            if (request[3] === 2) return service === 'open' ? message('etsi', '03', u32(status)) : opened();
            return message('etsi', '05', u32(status));
          }),
        );
        const source = sourceOf(kme);
        const call =
          service === 'open' ? source.openDraw('siteB') : source.openDraw('siteB').then((stream) => stream.draw(1));
        const error = await call.then(
          () => undefined,
          (thrown: KdiError) => thrown,
        );
        expect(error).to.include({ code, retryable });
      });
    }
  });

  describe('faults', () => {
    async function faultyDraw(
      script: Script,
      options: Partial<Etsi004SourceOptions> = {},
    ): Promise<{ code: Code | undefined; stream: DrawStream; kme: ScriptedKme }> {
      let first = true;
      const kme = await serve((socket, connection) => {
        if (first) {
          first = false;
          perRequest(() => opened())(socket, connection);
        } else script(socket, connection);
      });
      const stream = await sourceOf(kme, options).openDraw('siteB');
      return { code: await codeOf(stream.draw(1)), stream, kme };
    }
    const answering = (reply: Uint8Array): Script => perRequest((request) => (request[3] === 8 ? closed : reply));

    it('refused connections end the stream: a KME that restarted may give new bits under old indices', async () => {
      const kme = await serve(perRequest(() => opened()));
      const stream = await sourceOf(kme).openDraw('siteB');
      await kme.close();
      expect(await codeOf(stream.draw(1))).to.equal(KdiErrorCode.connect);
      expect(stream.ended).to.equal(true);
    });

    const garbage: readonly (readonly [name: string, reply: Uint8Array, code: Code])[] = [
      ['an HTTP reply', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'), KdiErrorCode.malformed],
      ['the other dialect', key(0, 'aa'.repeat(32), '', 'qubip'), KdiErrorCode.dialect],
      ['a reply to another call', closed, KdiErrorCode.malformed],
      ['a chunk shorter than the QoS says', key(0, 'aa'.repeat(31)), KdiErrorCode.malformed],
      ['a chunk longer than the QoS says', key(0, 'aa'.repeat(64)), KdiErrorCode.malformed],
      [
        'a key length beyond the payload',
        message('etsi', '05', `00000000 00000000 00000020 aabb`),
        KdiErrorCode.malformed,
      ],
      [
        'trailing bytes',
        message('etsi', '05', `00000000 00000000 00000020 ${'aa'.repeat(32)} 00000000 ff`),
        KdiErrorCode.malformed,
      ],
      ['metadata that is no JSON', key(0, 'aa'.repeat(32), '7b'), KdiErrorCode.malformed],
      ['a header that promises 4 GB', bytes('020101 05 ffffffff'), KdiErrorCode.malformed],
    ];
    for (const [name, reply, code] of garbage) {
      it(`${name}: ${code}, and the stream is over`, async () => {
        const result = await faultyDraw(answering(reply));
        expect(result.code).to.equal(code);
        expect(result.stream.ended).to.equal(true);
      });
    }

    it('closing at each byte of a reply is ERR_KDI_CLOSED, and the stream goes on', async () => {
      const reply = key(0, 'aa'.repeat(32));
      let cut = 0;
      let asked = 0;
      const kme = await serve(
        perRequest((request, socket) => {
          if (request[3] === 2) return opened();
          if (request[3] === 8) return closed;
          asked++;
          if (cut < reply.length) socket.end(reply.subarray(0, cut));
          else return reply;
          return undefined;
        }),
      );
      const stream = await sourceOf(kme).openDraw('siteB');
      for (; cut < reply.length; cut += 5) {
        expect(await codeOf(stream.draw(1)), `cut at ${cut}`).to.equal(KdiErrorCode.closed);
      }
      cut = reply.length;
      expect(await stream.draw(1)).to.have.length(1);
      expect(asked).to.be.greaterThan(10);
    });

    it('a chunk whose reply was lost is skipped once the KME has no such chunk any more', async () => {
      const asked: number[] = [];
      const kme = await serve(
        perRequest((request, socket) => {
          if (request[3] !== 4) return request[3] === 2 ? opened() : closed;
          const index = Buffer.from(request).readUInt32BE(24);
          asked.push(index);
          if (asked.length === 1) socket.destroy();
          else return index === 0 ? message('etsi', '05', u32(2)) : key(index, 'aa'.repeat(32));
          return undefined;
        }),
      );
      const stream = await sourceOf(kme).openDraw('siteB');
      expect(await codeOf(stream.draw(1))).to.equal(KdiErrorCode.closed);
      expect(await codeOf(stream.draw(1))).to.equal(KdiErrorCode.insufficientKey);
      expect(await stream.draw(1)).to.have.length(1);
      expect(asked).to.deep.equal([0, 0, 1]);
    });

    it('a KME that hangs, or drips a byte at a time, is given up at the deadline', async () => {
      for (const drip of [false, true]) {
        const clock = new VirtualClock();
        let reached = (): void => {};
        const hanging = new Promise<void>((resolve) => {
          reached = resolve;
        });
        const kme = await serve(
          perRequest((request, socket) => {
            if (request[3] === 2) return opened();
            if (request[3] === 8) return closed;
            if (drip) socket.write(bytes('02'));
            reached();
            return undefined;
          }),
        );
        const stream = await sourceOf(kme, { clock }).openDraw('siteB');
        const outcome = codeOf(stream.draw(1));
        await hanging;
        await clock.advance(4_001);
        expect(await outcome).to.equal(KdiErrorCode.timeout);
        expect(stream.ended).to.equal(false);
      }
    });

    it('a server that accepts TCP and never speaks TLS is given up at the connect deadline', async () => {
      const clock = new VirtualClock();
      const kme = await serve(() => {}, false);
      const outcome = codeOf(sourceOf(kme, { clock, connectTimeoutMs: 700 }).openDraw('siteB'));
      while (kme.connections === 0) await settle();
      await clock.advance(701);
      expect(await outcome).to.equal(KdiErrorCode.timeout);
    });

    it('a KME of an unknown CA, or of another name, is not talked to', async () => {
      const kme = await serve(() => {});
      const tls = { cert: pki.sae.cert, key: pki.sae.key, ca: pki.ca };
      expect(await codeOf(sourceOf(kme, { tls: { ...tls, ca: pki.stranger.ca } }).openDraw('siteB'))).to.equal(
        KdiErrorCode.tls,
      );
      expect(await codeOf(sourceOf(kme, { tls: { ...tls, serverName: 'kme-z.test' } }).openDraw('siteB'))).to.equal(
        KdiErrorCode.kmeIdentity,
      );
      expect(await codeOf(sourceOf(kme, { tls: { ...tls, kmeId: 'kme-z' } }).openDraw('siteB'))).to.equal(
        KdiErrorCode.kmeIdentity,
      );
      expect(
        await codeOf(sourceOf(kme, { tls: { ...tls, pinnedSha256: ['00'.repeat(32)] } }).openDraw('siteB')),
      ).to.equal(KdiErrorCode.kmeIdentity);
    });

    it('a KME is recognised by its ID instead of its host name', async () => {
      const kme = await serve(perRequest((request) => (request[3] === 2 ? opened() : closed)));
      const tls = { cert: pki.sae.cert, key: pki.sae.key, ca: pki.ca, serverName: 'elsewhere.test', kmeId: 'kme-a' };
      expect(await codeOf(sourceOf(kme, { tls }).openDraw('siteB'))).to.equal(undefined);
    });

    it('a certificate that the KME refuses, and a key that is none, are said so', async () => {
      const kme = await serve(() => {});
      const { stranger } = pki;
      const refused = sourceOf(kme, { tls: { cert: stranger.cert, key: stranger.key, ca: pki.ca } });
      // Node's server closes without an alert, so this can't be told from a crash for certain.
      const error = await refused.openDraw('siteB').catch((thrown: KdiError) => thrown);
      expect(error)
        .to.include({ code: KdiErrorCode.closed })
        .and.to.have.property('message')
        .that.matches(/admit our certificate/);
      const mismatched = { cert: pki.sae.cert, key: stranger.key, ca: pki.ca };
      expect(await codeOf(sourceOf(kme, { tls: mismatched }).openDraw('siteB'))).to.equal(KdiErrorCode.config);
    });

    it('an abort ends the call, and closing the source ends all', async () => {
      const kme = await serve(() => {});
      const source = sourceOf(kme);
      const abort = new AbortController();
      const first = codeOf(source.openDraw('siteB', { signal: abort.signal }));
      while (kme.connections < 1) await settle();
      abort.abort();
      expect(await first).to.equal(KdiErrorCode.aborted);
      const second = codeOf(source.openDraw('siteB'));
      while (kme.connections < 2) await settle();
      await source.close();
      expect(await second).to.equal(KdiErrorCode.aborted);
      expect(await codeOf(source.openDraw('siteB'))).to.equal(KdiErrorCode.aborted);
      while (kme.open > 0) await settle();
    });
  });

  it('does without TLS only when told that this is unsafe', async () => {
    const kme = await serve(
      perRequest((request) => (request[3] === 2 ? opened('qubip') : message('qubip', '09', '00000000'))),
      false,
    );
    const plain = { address: parseKmeUrl(`etsi004://127.0.0.1:${kme.port}?dialect=qubip`), saeId: 'siteA' };
    expect(() => new Etsi004Source(plain))
      .to.throw(KdiError)
      .that.has.property('code', KdiErrorCode.config);
    const source = new Etsi004Source({ ...plain, unsafePlainTcp: true });
    sources.push(source);
    expect(hexOf((await source.openDraw('siteB')).announcement!.ksid)).to.equal(KSID);
  });
});
