import { expect } from 'chai';
import { type Etsi004SourceOptions, KdiErrorCode } from '../../../kdi-client/index.ts';
import { hexOf } from '../../../tls-ext/bytes/index.ts';
import {
  bytes,
  closed,
  etsi004Bench,
  KSID,
  key,
  MIMETYPE,
  message,
  opened,
  perRequest,
  qosHex,
  u32,
} from './source-bench.ts';

/** Reads the fields of an OPEN_CONNECT request of dialect `etsi`, by hand. */
function openConnectOf(request: Uint8Array) {
  const text = Buffer.from(request).toString('latin1', 8);
  const [source = '', destination = ''] = text.split('\0');
  const at = 8 + source.length + destination.length + 2;
  const numbers = Array.from({ length: 7 }, (_, i) => Buffer.from(request).readUInt32BE(at + 4 * i));
  return {
    source,
    destination,
    numbers,
    mimetype: hexOf(request.subarray(at + 28, -16)),
    ksid: hexOf(request.subarray(-16)),
  };
}

describe('kdi-client/etsi004: what is asked of a key manager', () => {
  const { serve, sourceOf, codeOf } = etsi004Bench();

  /** The OPEN_CONNECT of a drawer with these settings. */
  async function openedWith(options: Partial<Etsi004SourceOptions>, peer = 'siteB') {
    const requests: Uint8Array[] = [];
    const kme = await serve(
      perRequest((request) => {
        requests.push(request);
        return request[3] === 2 ? opened() : closed;
      }),
    );
    await sourceOf(kme, options).openDraw(peer);
    return openConnectOf(requests[0] as Uint8Array);
  }

  it('a QoS as it is set, field by field', async () => {
    const qos = { keysPerChunk: 3, maxBps: 11, minBps: 12, jitterBps: 13, priority: 14, timeoutMs: 15, ttlSeconds: 16 };
    const { numbers, mimetype, ksid } = await openedWith({ qos });
    expect(numbers).to.deep.equal([96, 11, 12, 13, 14, 15, 16]);
    expect(mimetype).to.equal(MIMETYPE);
    expect(ksid).to.equal('00'.repeat(16));
  });

  it('a QoS of which nothing is set', async () => {
    expect((await openedWith({})).numbers).to.deep.equal([32, 100_000, 0, 0, 0, 2_000, 3_600]);
  });

  it('no metadata where none is wanted: neither its type nor any room for it', async () => {
    const rooms: number[] = [];
    let mimetype = '';
    const numbers = [32, 100_000, 0, 0, 0, 2_000, 3_600].map(u32).join('');
    const kme = await serve(
      perRequest((request) => {
        if (request[3] === 2) {
          ({ mimetype } = openConnectOf(request));
          return message('etsi', '03', `00000000 ${numbers} 00 ${KSID}`);
        }
        if (request[3] !== 4) return closed;
        rooms.push(Buffer.from(request).readUInt32BE(28));
        expect(request.length, 'the buffer itself').to.equal(32);
        return key(0, 'aa'.repeat(32));
      }),
    );
    const stream = await sourceOf(kme, { qos: { metadata: false } }).openDraw('siteB');
    const [drawn] = await stream.draw(1);
    expect(mimetype).to.equal('00');
    expect(rooms).to.deep.equal([0]);
    expect(drawn!.metadata).to.deep.equal({ kme: `127.0.0.1:${kme.port}` });
  });

  for (const [name, options, peer, source, destination] of [
    ['bare names as URIs', {}, 'siteB', 'qkd://siteA', 'qkd://siteB'],
    [
      'names as another URI',
      { uriTemplate: 'sae://{sae}/app?of={sae}' },
      'b',
      'sae://siteA/app?of=siteA',
      'sae://b/app?of=b',
    ],
    ['names with characters that no URI has', {}, 'site B/1', 'qkd://siteA', 'qkd://site%20B%2F1'],
    ['IDs that are URIs as they are', { saeId: 'spiffe://x/a' }, 'app://b:1/c?t=1', 'spiffe://x/a', 'app://b:1/c?t=1'],
  ] as const) {
    it(`Source and Destination: ${name}`, async () => {
      expect(await openedWith(options, peer)).to.include({ source, destination });
    });
  }

  for (const [name, saeId] of [
    ['too long', `app://${'a'.repeat(2_043)}`],
    ['with a NUL', 'app://a\0b'],
  ] as const) {
    it(`a URI ${name} is said before anything is sent`, async () => {
      const source = sourceOf({ port: 1 });
      expect(await codeOf(source.openDraw(saeId))).to.equal(KdiErrorCode.config);
    });
  }

  for (const [name, answered] of [
    ['another Key_stream_ID than the one that was asked for', KSID],
    ['a NULL Key_stream_ID', '00'.repeat(16)],
  ] as const) {
    it(`an answer with ${name} is no stream`, async () => {
      const closedKsids: string[] = [];
      const kme = await serve(
        perRequest((request) => {
          if (request[3] === 8) closedKsids.push(hexOf(request.subarray(8)));
          return request[3] === 2 ? opened('etsi', 0, answered) : closed;
        }),
      );
      const source = sourceOf(kme, { ksid: 'chosen' });
      expect(await codeOf(source.openDraw('siteB'))).to.equal(KdiErrorCode.malformed);
      const announcement = {
        ksid: bytes('11'.repeat(16)),
        qos: (await sourceOf(await serve(perRequest(() => opened()))).openDraw('siteB')).announcement!.qos,
      };
      expect(await codeOf(source.openLookup('siteB', { announcement }))).to.equal(KdiErrorCode.malformed);
      expect(closedKsids, 'what was registered is closed').to.deep.equal(answered === KSID ? [KSID, KSID] : []);
    });
  }

  it('a NULL Key_stream_ID is no allocated one either', async () => {
    const kme = await serve(perRequest(() => opened('etsi', 0, '00'.repeat(16))));
    expect(await codeOf(sourceOf(kme).openDraw('siteB'))).to.equal(KdiErrorCode.malformed);
  });

  for (const status of [0, 1]) {
    it(`status ${status} says whether the drawer is at this KME`, async () => {
      const kme = await serve(perRequest((request) => (request[3] === 2 ? opened('etsi', status) : closed)));
      const source = sourceOf(kme);
      const { announcement } = await source.openDraw('siteB');
      const stream = await source.openLookup('siteB', { announcement: announcement! });
      expect(stream.peerConnected).to.equal(status === 0);
    });
  }

  it('TTL 0 sets no limit', async () => {
    const kme = await serve(
      perRequest((request) => {
        if (request[3] === 2) return message('etsi', '03', `00000000 ${qosHex('etsi', 32, 0)} ${KSID}`);
        return request[3] === 4 ? key(0, 'aa'.repeat(32)) : closed;
      }),
    );
    const stream = await sourceOf(kme).openDraw('siteB');
    expect(await stream.draw(1).then(([drawn]) => drawn)).to.not.have.property('expiresAtMs');
  });
});
