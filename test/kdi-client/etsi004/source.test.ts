import { expect } from 'chai';
import { KdiError, KdiErrorCode, type StreamAnnouncement } from '../../../kdi-client/index.ts';
import { hexOf } from '../../../tls-ext/bytes/index.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

import { bytes, closed, etsi004Bench, KSID, key, message, opened, perRequest, u32, VERSION } from './source-bench.ts';

describe('kdi-client/etsi004: a source against a scripted key manager', () => {
  const { serve, sourceOf, codeOf } = etsi004Bench();

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
      await source.close();
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

  it('asks again with the room that status 8 wants, for the same index, and with as much from then on', async () => {
    const asked: (readonly [index: number, size: number])[] = [];
    const kme = await serve(
      perRequest((request) => {
        if (request[3] !== 4) return request[3] === 2 ? opened() : closed;
        const view = Buffer.from(request);
        asked.push([view.readUInt32BE(24), view.readUInt32BE(28)]);
        return asked.length === 1
          ? message('etsi', '05', `00000008 00000000 00000000 ${u32(400)}`)
          : key(view.readUInt32BE(24), 'aa'.repeat(32), `${'20'.repeat(398)}7b7d`);
      }),
    );
    const stream = await sourceOf(kme).openDraw('siteB');
    for (let i = 0; i < 2; i++) expect(await stream.draw(1)).to.have.length(1);
    expect(asked).to.deep.equal([
      [0, 256],
      [0, 400],
      [1, 400],
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

  describe('claims of KSIDs', () => {
    /** A key manager that gives the same KSID for every NULL open, and what was said to it. */
    async function reusingKme() {
      const said: string[] = [];
      const kme = await serve(
        perRequest((request) => {
          const asked = hexOf(request.subarray(-16));
          said.push(`${request[3]} ${asked}`);
          return request[3] === 2 ? opened('etsi', 0, asked === '00'.repeat(16) ? KSID : asked) : closed;
        }),
      );
      return { kme, said };
    }

    it('one that another process drew from is neither drawn from, nor announced, nor closed', async () => {
      const { kme, said } = await reusingKme();
      const claimed: string[] = [];
      const announced: string[] = [];
      const stream = await sourceOf(kme).openDraw('siteB', {
        claimKsid: async (ksid) => claimed.push(hexOf(ksid)) > 1,
        onAnnouncement: ({ ksid }) => announced.push(hexOf(ksid)),
      });
      const ksid = hexOf(stream.announcement!.ksid);
      expect(ksid).to.not.equal(KSID);
      expect(claimed, 'its own is written down for the next process').to.deep.equal([KSID, ksid]);
      expect(announced).to.deep.equal([ksid]);
      expect(said).to.deep.equal([`2 ${'00'.repeat(16)}`, `2 ${ksid}`]);
    });

    for (const ksid of ['allocated', 'chosen'] as const) {
      it(`${ksid}: written down once, and where it can't be, the stream is closed`, async () => {
        const { kme, said } = await reusingKme();
        const source = sourceOf(kme, { ksid });
        const claimed: string[] = [];
        const stream = await source.openDraw('siteB', { claimKsid: async (one) => claimed.push(hexOf(one)) > 0 });
        expect(claimed).to.deep.equal([hexOf(stream.announcement!.ksid)]);
        const full = source.openDraw('siteB', {
          claimKsid: () => Promise.reject(new KdiError(KdiErrorCode.ledger, 'no space left')),
        });
        expect(await codeOf(full)).to.equal(KdiErrorCode.ledger);
        expect(said.at(-1)).to.match(/^8 /);
      });
    }
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
});
