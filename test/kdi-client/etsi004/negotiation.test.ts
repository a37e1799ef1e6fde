import { expect } from 'chai';
import {
  type Etsi004QosBounds,
  type KdiError,
  KdiErrorCode,
  type StreamAnnouncement,
} from '../../../kdi-client/index.ts';
import { hexOf } from '../../../tls-ext/bytes/index.ts';
import { settle, VirtualClock } from '../support/virtual-clock.ts';
import { bytes, closed, etsi004Bench, KSID, MIMETYPE, message, perRequest, u32 } from './source-bench.ts';

/** The reply to OPEN_CONNECT with these numbers: chunk, max, min, jitter, priority, timeout, TTL. */
const reply = (status: number, numbers: readonly number[], ksid: string): Uint8Array =>
  message('etsi', '03', `${u32(status)} ${numbers.map(u32).join('')} ${MIMETYPE} ${ksid}`);
const GRANTED = [64, 100_000, 1_000, 0, 0, 2_000, 3_600];
const changed = (at: number, value: number): number[] => GRANTED.map((number, i) => (i === at ? value : number));
const NULL_KSID = '00'.repeat(16);
const chunkOf = (request: Uint8Array): number => Buffer.from(request).readUInt32BE(8 + 24);

describe('kdi-client/etsi004: QoS negotiation', () => {
  const { serve, sourceOf } = etsi004Bench();

  const bounds: Etsi004QosBounds = {
    minKeyChunkSizeBytes: 64,
    maxKeyChunkSizeBytes: 128,
    minBps: 1_000,
    minTtlSeconds: 600,
    maxTimeoutMs: 5_000,
  };
  const atBounds = [64, 100_000, 1_000, 0, 0, 5_000, 600];
  const cases: readonly (readonly [name: string, numbers: readonly number[], refused: string | undefined])[] = [
    ['all of it', GRANTED, undefined],
    ['exactly the bounds', atBounds, undefined],
    ['the largest chunk allowed', changed(0, 128), undefined],
    ['a chunk that is too small', changed(0, 63), 'Key_chunk_size 63'],
    ['a chunk that is too large', changed(0, 129), 'Key_chunk_size 129'],
    ['a chunk of 4 GiB', changed(0, 0xffff_ffff), 'Key_chunk_size 4294967295'],
    ['a chunk of nothing', changed(0, 0), 'Key_chunk_size 0'],
    ['too low a rate', changed(2, 999), 'Min_bps 999'],
    ['too short a life', changed(6, 599), 'TTL 599'],
    ['no word on the life of a key', changed(6, 0), undefined],
    ['too long a time-out', changed(5, 5_001), 'Timeout 5001'],
  ];
  for (const status of [0, 7]) {
    for (const [name, numbers, refused] of cases) {
      it(`${status === 0 ? 'imposed' : 'proposed with status 7'}: ${name} is ${refused === undefined ? 'taken' : 'refused'}`, async () => {
        const asked: Uint8Array[] = [];
        const closedKsids: string[] = [];
        const kme = await serve(
          perRequest((request) => {
            if (request[3] === 8) {
              closedKsids.push(hexOf(request.subarray(8)));
              return closed;
            }
            return asked.push(request) === 1 ? reply(status, numbers, KSID) : reply(0, numbers, KSID);
          }),
        );
        const source = sourceOf(kme, { qos: { keysPerChunk: 8 }, qosBounds: bounds });
        const outcome = await source.openDraw('siteB').catch((error: KdiError) => error);
        if (refused === undefined) {
          expect(outcome).to.have.nested.property('announcement.qos.keyChunkSizeBytes', numbers[0]);
          expect(asked).to.have.length(status === 0 ? 1 : 2);
          // The second request asks for what was proposed, field by field.
          if (status === 7) expect(hexOf(asked[1] as Uint8Array)).to.contain(numbers.map(u32).join(''));
        } else {
          expect(outcome).to.include({ code: KdiErrorCode.qosNotMet, retryable: false });
          expect((outcome as KdiError).message).to.contain(refused);
          expect(asked).to.have.length(1);
        }
        // Whatever was registered and is not used is closed.
        expect(closedKsids).to.deep.equal(status === 7 || refused !== undefined ? [KSID] : []);
      });
    }
  }

  for (const [name, ownTimeoutMs, grantedMs, givenUpMs] of [
    ['all that a u32 holds is waited for half a minute', 2_000, 0xffff_ffff, 32_000],
    ['none is waited for as long as any reply may take', 2_000, 0, 2_000],
    ['a longer one than usual, which we asked for', 60_000, 60_000, 62_000],
    ['one that is longer than we asked for', 60_000, 0xffff_ffff, 62_000],
  ] as const) {
    it(`Timeout: ${name}, by a drawer and by an answerer`, async () => {
      const clock = new VirtualClock();
      let asked = 0;
      const kme = await serve(
        perRequest((request) => {
          if (request[3] === 2) return reply(0, changed(5, grantedMs), KSID);
          if (request[3] === 4) asked++;
          return request[3] === 4 ? undefined : closed;
        }),
      );
      const source = sourceOf(kme, { clock, qos: { keysPerChunk: 2, timeoutMs: ownTimeoutMs } });
      const drawer = await source.openDraw('siteB');
      const announcement = drawer.announcement as StreamAnnouncement;
      const answerer = await source.openLookup('siteB', { announcement });
      const reference = { api: 'etsi004', drawer: 'siteB', ksid: announcement.ksid, index: 0, slice: 0 } as const;
      const outcomes: unknown[] = [];
      for (const call of [drawer.draw(1), answerer.lookup(reference)]) {
        call.catch((error: KdiError) => outcomes.push(error.code));
      }
      while (asked < 2) await settle();
      await clock.advance(givenUpMs - 1);
      expect(outcomes).to.deep.equal([]);
      await clock.advance(1);
      expect(outcomes).to.deep.equal([KdiErrorCode.timeout, KdiErrorCode.timeout]);
    });
  }

  it("an answerer gives its own KME no longer than that for OPEN_CONNECT, whatever the drawer's QoS says", async () => {
    const clock = new VirtualClock();
    let asked = (): void => {};
    const hanging = new Promise<void>((resolve) => {
      asked = resolve;
    });
    const kme = await serve(
      perRequest(() => {
        asked();
        return undefined;
      }),
    );
    const [keyChunkSizeBytes = 0, maxBps = 0, minBps = 0, jitterBps = 0, priority = 0, , ttlSeconds = 0] = GRANTED;
    const qos = { keyChunkSizeBytes, maxBps, minBps, jitterBps, priority, timeoutMs: 0xffff_ffff, ttlSeconds };
    const announcement = { ksid: bytes(KSID), qos: { ...qos, metadataMimetype: '' } };
    const outcome = sourceOf(kme, { clock })
      .openLookup('siteB', { announcement })
      .catch((error: KdiError) => error);
    await hanging;
    await clock.advance(32_000);
    expect(await outcome).to.have.property('code', KdiErrorCode.timeout);
  });

  it('a second counter-proposal is not followed', async () => {
    let asked = 0;
    const kme = await serve(
      perRequest((request) => (request[3] === 8 ? closed : reply(7, changed(0, 32 * ++asked), NULL_KSID))),
    );
    const outcome = await sourceOf(kme)
      .openDraw('siteB')
      .catch((error: KdiError) => error);
    expect(outcome).to.include({ code: KdiErrorCode.qosNotMet });
    expect(asked).to.equal(2);
  });

  it('with a chosen KSID a counter-proposal means a fresh one, announced with the QoS that it will have', async () => {
    const ksids: string[] = [];
    const kme = await serve(
      perRequest((request) => {
        if (request[3] === 8) return closed;
        const ksid = hexOf(request.subarray(-16));
        // As some do: registered along with status 7, so that the same one would be in use.
        return ksids.push(ksid) === 1 ? reply(7, changed(0, 32), ksid) : reply(0, changed(0, 32), ksid);
      }),
    );
    const announced: StreamAnnouncement[] = [];
    const source = sourceOf(kme, { ksid: 'chosen', qos: { keysPerChunk: 2 } });
    const stream = await source.openDraw('siteB', { onAnnouncement: (each) => announced.push(each) });
    expect(new Set(ksids).size).to.equal(2);
    expect(announced.map(({ ksid }) => hexOf(ksid))).to.deep.equal(ksids);
    expect(announced.map(({ qos }) => qos.keyChunkSizeBytes)).to.deep.equal([64, 32]);
    expect(hexOf(stream.announcement!.ksid)).to.equal(ksids[1]);
  });

  it('an answerer does not take chunks of another size than the drawer has', async () => {
    const asked: number[] = [];
    const kme = await serve(
      perRequest((request) => {
        if (request[3] === 8) return closed;
        asked.push(chunkOf(request));
        return reply(7, changed(0, 32), KSID);
      }),
    );
    const [keyChunkSizeBytes = 0, maxBps = 0, minBps = 0, jitterBps = 0, priority = 0, timeoutMs = 0, ttlSeconds = 0] =
      GRANTED;
    const qos = { keyChunkSizeBytes, maxBps, minBps, jitterBps, priority, timeoutMs, ttlSeconds, metadataMimetype: '' };
    const outcome = await sourceOf(kme, { saeId: 'siteB' })
      .openLookup('siteA', { announcement: { ksid: bytes(KSID), qos } })
      .catch((error: KdiError) => error);
    expect(outcome).to.include({ code: KdiErrorCode.qosNotMet });
    expect(asked).to.deep.equal([64]);
  });

  it('a metadata type that we did not ask for is not asked for in turn', async () => {
    const types: string[] = [];
    // "text/xml" and its NUL.
    const xml = '746578742f786d6c00';
    const kme = await serve(
      perRequest((request) => {
        if (request[3] === 8) return closed;
        types.push(Buffer.from(request.subarray(8 + 24 + 28, -16)).toString('latin1'));
        return types.length === 1
          ? message('etsi', '03', `${u32(7)} ${GRANTED.map(u32).join('')} ${xml} ${NULL_KSID}`)
          : message('etsi', '03', `${u32(0)} ${GRANTED.map(u32).join('')} 00 ${KSID}`);
      }),
    );
    const stream = await sourceOf(kme).openDraw('siteB');
    expect(types).to.deep.equal(['application/json\0', '\0']);
    expect(stream.announcement!.qos.metadataMimetype).to.equal('');
  });
});
