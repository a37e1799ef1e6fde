import { expect } from 'chai';
import {
  type KdiErrorCode as Code,
  type DrawStream,
  Etsi004Source,
  type Etsi004SourceOptions,
  KdiError,
  KdiErrorCode,
  parseKmeUrl,
} from '../../../kdi-client/index.ts';
import { hexOf, utf8 } from '../../../tls-ext/bytes/index.ts';
import type { Script, ScriptedKme } from '../support/scripted-kme.ts';
import { settle, VirtualClock } from '../support/virtual-clock.ts';

import { bytes, closed, etsi004Bench, KSID, key, message, opened, perRequest, u32 } from './source-bench.ts';

describe('kdi-client/etsi004: a source against a key manager that refuses or fails', () => {
  const { serve, sourceOf, codeOf, sources, pki } = etsi004Bench();

  it('a port of HTTP is said to be one', async () => {
    const kme = await serve(perRequest(() => utf8('HTTP/1.1 400 Bad Request\r\n\r\n')));
    const error = await sourceOf(kme)
      .openDraw('siteB')
      .catch((reason) => reason);
    expect(error).to.include({ code: KdiErrorCode.malformed });
    expect(error.message).to.include('answers in HTTP: write etsi014:// (or skip://) instead of etsi004://');
  });

  describe('statuses', () => {
    const codes: readonly (readonly [
      service: 'open' | 'get-key',
      status: number,
      code: Code,
      retryable: boolean,
      advice?: string,
    ])[] = [
      ['open', 4, KdiErrorCode.noQkdConnection, true, 'some KMEs want URIs with scheme and host'],
      ['open', 5, KdiErrorCode.ksidInUse, false, 'open-as'],
      ['open', 6, KdiErrorCode.kmeTimeout, true, 'set ksid: chosen'],
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
    for (const [service, status, code, retryable, advice = ''] of codes) {
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
        expect(error?.message).to.include(advice);
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
      const tls = { cert: pki().sae.cert, key: pki().sae.key, ca: pki().ca };
      expect(await codeOf(sourceOf(kme, { tls: { ...tls, ca: pki().stranger.ca } }).openDraw('siteB'))).to.equal(
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
      const tls = {
        cert: pki().sae.cert,
        key: pki().sae.key,
        ca: pki().ca,
        serverName: 'elsewhere.test',
        kmeId: 'kme-a',
      };
      expect(await codeOf(sourceOf(kme, { tls }).openDraw('siteB'))).to.equal(undefined);
    });

    it('a certificate that the KME refuses, and a key that is none, are said so', async () => {
      const kme = await serve(() => {});
      const { stranger } = pki();
      const refused = sourceOf(kme, { tls: { cert: stranger.cert, key: stranger.key, ca: pki().ca } });
      // Node's server closes without an alert, so this can't be told from a crash for certain.
      const error = await refused.openDraw('siteB').catch((thrown: KdiError) => thrown);
      expect(error)
        .to.include({ code: KdiErrorCode.closed })
        .and.to.have.property('message')
        .that.matches(/admit our certificate/);
      const mismatched = { cert: pki().sae.cert, key: stranger.key, ca: pki().ca };
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
