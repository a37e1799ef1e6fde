import { expect } from 'chai';
import fc from 'fast-check';
import type { Etsi004GetKeyResponse } from '../../../kdi-client/wire/index.ts';
import { portTo } from '../../../qkd-sim/stores/index.ts';
import { settle } from '../virtual-clock.ts';
import { applications, CHOSEN, keyOf, NULL_KSID, never, QOS, type Side } from './applications.ts';
import { wrapSupply } from './kme-fixture.ts';

describe('qkd-sim: 004 key streams', () => {
  describe('OPEN_CONNECT', () => {
    it('takes URIs in the same order or swapped, in several forms', async () => {
      const apps = await applications();
      const { ksid } = (await apps.open('a', NULL_KSID)).stream ?? { ksid: NULL_KSID };
      expect((await apps.open('b', ksid, {}, ['qkd://siteB', 'qkd://siteA'])).status).to.equal(0);
      for (const uri of [
        'siteB',
        'qkd://siteB',
        'qkd://siteB:25575/x',
        'qkd://host/siteB',
        'urn:qstunnel:sae:site%42',
      ]) {
        expect((await apps.open('a', NULL_KSID, {}, ['siteA', uri])).status, uri).to.equal(1);
      }
    });

    it('answers 4 for a peer that nobody serves, and for one who speaks for others', async () => {
      const apps = await applications();
      expect((await apps.open('a', NULL_KSID, {}, ['siteA', 'nobody'])).status).to.equal(4);
      expect((await apps.open('a', NULL_KSID, {}, ['siteB', 'siteB'])).status).to.equal(4);
      expect((await apps.open('a', NULL_KSID, {}, ['siteA', 'siteA'])).status).to.equal(4);
    });

    it('answers 5 for a KSID that is in use, or was', async () => {
      const apps = await applications();
      expect((await apps.open('a', CHOSEN)).status).to.equal(1);
      expect((await apps.open('a', CHOSEN)).status, 'again by the same side').to.equal(5);
      expect((await apps.open('b', CHOSEN)).status).to.equal(0);
      expect((await apps.open('b', CHOSEN)).status, 'by a third').to.equal(5);
      await apps.close('a', CHOSEN);
      await apps.close('b', CHOSEN);
      expect((await apps.open('a', CHOSEN)).status, 'after its end').to.equal(5);
      expect((await apps.open('b', CHOSEN)).status, 'after its end').to.equal(5);
    });

    it('answers 7 with a counter-proposal, and registers nothing', async () => {
      const apps = await applications({ settings: { qos: { minChunkBytes: 16, maxChunkBytes: 64, maxBps: 5_000 } } });
      const tooLarge = await apps.open('a', CHOSEN, { keyChunkSizeBytes: 1000 });
      expect(tooLarge.status).to.equal(7);
      expect(tooLarge.stream?.qos).to.deep.include({ keyChunkSizeBytes: 64, maxBps: 5_000 });
      expect((await apps.open('a', CHOSEN, { keyChunkSizeBytes: 8 })).stream?.qos.keyChunkSizeBytes).to.equal(16);
      expect((await apps.open('a', CHOSEN, { minBps: 6_000 })).stream?.qos.minBps).to.equal(5_000);
      const mimetype = await apps.open('a', CHOSEN, { metadataMimetype: 'text/xml' });
      expect([mimetype.status, mimetype.stream?.qos.metadataMimetype]).to.deep.equal([7, 'application/json']);
      expect(apps.pair.a.streamCount).to.equal(0);
      const proposal = tooLarge.stream?.qos ?? QOS;
      expect((await apps.open('a', CHOSEN, proposal)).status).to.equal(1);
    });

    it('opens with its own chunk size where it is set to, never one that its store could not hold', async () => {
      const apps = await applications({ capacityBytes: 48, settings: { qos: { onChunkSize: 'impose' } } });
      const opened = await apps.open('a', NULL_KSID, { keyChunkSizeBytes: 1000 });
      expect([opened.status, opened.stream?.qos.keyChunkSizeBytes]).to.deep.equal([1, 48]);
    });

    it('makes one stream of two opened at once, with one QoS and one owner', async () => {
      const apps = await applications({
        wrapPeer: (peer) => ({
          ...peer,
          port: {
            ...peer.port,
            // As over a network: each announcement is on its way when the other is sent.
            async announceOpen(announcement) {
              await settle();
              return peer.port.announceOpen(announcement);
            },
          },
        }),
      });
      apps.pair.fill(512);
      const [a, b] = await Promise.all([
        apps.open('a', CHOSEN, { keyChunkSizeBytes: 16 }),
        apps.open('b', CHOSEN, { keyChunkSizeBytes: 24 }),
      ]);
      expect([a.status, b.status]).to.deep.equal([1, 0]);
      expect(a.stream?.qos.keyChunkSizeBytes).to.equal(16);
      expect(a.stream?.qos).to.deep.equal(b.stream?.qos);
      const [keyA, keyB] = await Promise.all([apps.getKey('a', CHOSEN, 0), apps.getKey('b', CHOSEN, 0)]);
      expect(keyOf(keyA)).to.equal(keyOf(keyB));
    });

    it('waits for the other application where it is set to, and gives up at Timeout', async () => {
      const apps = await applications({ settings: { open: 'blocking' } });
      expect(
        (await apps.open('a', NULL_KSID, { timeoutMs: 500 })).status,
        'an allocated KSID has to travel first',
      ).to.equal(1);
      const waiting = apps.open('a', CHOSEN, { timeoutMs: 500 });
      await apps.clock.advance(499);
      expect((await apps.open('b', CHOSEN, { timeoutMs: 500 })).status).to.equal(0);
      expect((await waiting).status).to.equal(0);
      const other = Uint8Array.from(CHOSEN, (byte) => byte ^ 1);
      const inVain = apps.open('a', other, { timeoutMs: 500 });
      await apps.clock.advance(500);
      expect((await inVain).status).to.equal(6);
      expect((await apps.getKey('a', other, 0)).status).to.equal(4);
    });

    it('bounds the streams of one application', async () => {
      const apps = await applications({ settings: { maxStreamsPerSae: 3 } });
      const statuses = [];
      for (let i = 0; i < 4; i++) statuses.push((await apps.open('a', NULL_KSID)).status);
      expect(statuses).to.deep.equal([1, 1, 1, 4]);
    });

    it('answers 4, and keeps nothing, when the other key manager does not answer', async () => {
      const apps = await applications({
        wrapPeer: (peer) => ({ ...peer, port: { ...peer.port, announceOpen: () => new Promise(() => {}) } }),
      });
      const opening = apps.open('a', CHOSEN);
      await apps.clock.advance(5_000);
      expect((await opening).status).to.equal(4);
      expect(apps.pair.a.streamCount).to.equal(0);
    });
  });

  describe('GET_KEY', () => {
    it('answers 3 until both have opened, whatever is in the store', async () => {
      const apps = await applications();
      apps.pair.fill(512);
      await apps.open('a', CHOSEN);
      expect((await apps.getKey('a', CHOSEN, 0)).status).to.equal(3);
      expect((await apps.getKey('b', CHOSEN, 0)).status, 'B itself has not opened').to.equal(4);
      await apps.open('b', CHOSEN);
      expect((await apps.getKey('a', CHOSEN, 0)).status).to.equal(0);
    });

    it('gives both sides the same chunk for the same index, in any order, and each once', async () => {
      const apps = await applications();
      apps.pair.fill(2048);
      const ksid = await apps.connect();
      const orders: Record<Side, number[]> = { a: [0, 1, 2, 9, 5], b: [5, 0, 9, 2, 1] };
      const keys: Record<Side, Map<number, string>> = { a: new Map(), b: new Map() };
      for (let i = 0; i < 5; i++) {
        for (const side of ['b', 'a'] as const) {
          const index = orders[side][i] as number;
          keys[side].set(index, keyOf(await apps.getKey(side, ksid, index)));
        }
      }
      for (const [index, key] of keys.a) expect(keys.b.get(index)).to.equal(key);
      expect(new Set(keys.a.values()).size).to.equal(5);
      for (const side of ['a', 'b'] as const) {
        expect((await apps.getKey(side, ksid, 2)).status, 'a spent index').to.equal(2);
      }
    });

    it('answers 2 at once without a Timeout, else waits for key and answers 6', async () => {
      const apps = await applications();
      expect((await apps.getKey('a', await apps.connect(), 0)).status).to.equal(2);
      const ksid = await apps.connect({ timeoutMs: 1_000 });
      const inVain = [apps.getKey('a', ksid, 0), apps.getKey('b', ksid, 1)];
      await apps.clock.advance(1_000);
      expect((await Promise.all(inVain)).map((response) => response.status)).to.deep.equal([6, 6]);
      const waiting = [apps.getKey('a', ksid, 0), apps.getKey('b', ksid, 0)];
      await apps.clock.advance(500);
      apps.pair.fill(64);
      const [a, b] = await Promise.all(waiting);
      expect(keyOf(a as Etsi004GetKeyResponse)).to.equal(keyOf(b as Etsi004GetKeyResponse));
      expect(apps.clock.pendingTimers, 'only the life of the streams').to.be.lessThan(6);
    });

    it('keeps the key when the metadata has too little room', async () => {
      const apps = await applications();
      apps.pair.fill(512);
      const ksid = await apps.connect();
      const refused = await apps.getKey('a', ksid, 0, 5);
      expect(refused.status).to.equal(8);
      expect(refused.delivery).to.equal(undefined);
      const retried = await apps.getKey('a', ksid, 0, refused.metadataSizeNeeded ?? 0);
      expect(keyOf(retried)).to.equal(keyOf(await apps.getKey('b', ksid, 0)));
      expect(retried.delivery?.metadata.length).to.equal(refused.metadataSizeNeeded);
    });

    it('tells the age of the key and no metadata to who wants none', async () => {
      const apps = await applications();
      apps.pair.fill(512);
      await apps.clock.advance(1_234);
      const ksid = await apps.connect();
      const { metadata } = (await apps.getKey('a', ksid, 0)).delivery ?? { metadata: new Uint8Array() };
      expect(JSON.parse(Buffer.from(metadata).toString())).to.deep.equal({ age: 1234, hops: 0, simulated: true });
      expect((await apps.getKey('a', ksid, 1, 0)).delivery?.metadata.length).to.equal(0);
      const without = await apps.connect({ metadataMimetype: '' });
      expect((await apps.getKey('a', without, 0)).delivery?.metadata.length).to.equal(0);
    });

    it("is refused to others, as if the stream didn't exist", async () => {
      const apps = await applications();
      apps.pair.fill(512);
      const ksid = await apps.connect();
      const request = { service: 'get-key', ksid, index: 0, metadataSize: 0 } as const;
      for (const intruder of ['siteB', 'stranger', '']) {
        const reply = await apps.pair.a.etsi004Handler(intruder)(request, 'etsi', never);
        expect(reply).to.deep.equal({ service: 'get-key', status: 4 });
      }
    });

    it('bounds how far one side may draw ahead of the other, and the gaps it may leave', async () => {
      const apps = await applications({ capacityBytes: 65_536 });
      apps.pair.fill(100_000);
      const ksid = await apps.connect({ keyChunkSizeBytes: 1 });
      let delivered = 0;
      for (let index = 0; index < 4000; index += 2) {
        if ((await apps.getKey('a', ksid, index)).status === 0) delivered++;
      }
      expect(delivered).to.be.within(512, 1100);
      expect((await apps.getKey('b', ksid, 0)).status).to.equal(0);
    });

    it('bounds what it remembers of indices drawn with gaps', async () => {
      const apps = await applications({ capacityBytes: 65_536 });
      apps.pair.fill(100_000);
      const ksid = await apps.connect({ keyChunkSizeBytes: 1 });
      let drawn = 0;
      for (let index = 0; index < 4000; index += 2) {
        const statuses = [(await apps.getKey('a', ksid, index)).status, (await apps.getKey('b', ksid, index)).status];
        if (statuses.every((status) => status === 0)) drawn++;
      }
      expect(drawn).to.be.within(512, 1100);
    });

    it('gives no other bits for an index whose confirmation was lost', async () => {
      const apps = await applications();
      const { a, b } = apps.pair.stores;
      a.connect({ ...portTo(b), confirm: () => {} });
      apps.pair.fill(512);
      const ksid = await apps.connect({ timeoutMs: 1_000 });
      expect((await apps.getKey('a', ksid, 0)).status).to.equal(0);
      a.connect(portTo(b));
      const inVain = apps.getKey('b', ksid, 0);
      await apps.clock.advance(10_000);
      expect((await inVain).status).to.equal(6);
      expect(keyOf(await apps.getKey('b', ksid, 1))).to.equal(keyOf(await apps.getKey('a', ksid, 1)));
    });

    it('survives reservations that fail, without two meanings for an index', async () => {
      let failures = 3;
      const apps = await applications({
        wrapPeer: (peer) => ({
          ...peer,
          supply: wrapSupply(peer.supply, {
            reserve: async (purpose, lengthBytes) =>
              failures-- > 0 ? { outcome: 'unacknowledged' } : peer.supply.reserve(purpose, lengthBytes),
          }),
        }),
      });
      apps.pair.fill(512);
      const ksid = await apps.connect({ timeoutMs: 1_000 });
      const drawing = [apps.getKey('a', ksid, 0), apps.getKey('b', ksid, 0)];
      await apps.clock.advance(999);
      const [a, b] = await Promise.all(drawing);
      expect(keyOf(a as Etsi004GetKeyResponse)).to.equal(keyOf(b as Etsi004GetKeyResponse));
    });
  });

  describe('CLOSE, TTL and restarts', () => {
    it('keeps unused keys for the side that has not closed, until it closes too', async () => {
      const apps = await applications();
      apps.pair.fill(512);
      const ksid = await apps.connect();
      const atA = keyOf(await apps.getKey('a', ksid, 0));
      expect(await apps.close('a', ksid)).to.equal(0);
      expect((await apps.getKey('a', ksid, 1)).status).to.equal(4);
      expect(keyOf(await apps.getKey('b', ksid, 0))).to.equal(atA);
      expect((await apps.getKey('b', ksid, 1)).status, 'nothing new').to.equal(2);
      expect(await apps.close('b', ksid)).to.equal(0);
      expect(await apps.close('b', ksid)).to.equal(4);
      expect(apps.pair.a.streamCount + apps.pair.b.streamCount).to.equal(0);
      expect(apps.clock.pendingTimers).to.equal(0);
    });

    it('erases unused keys at the TTL', async () => {
      const apps = await applications();
      apps.pair.fill(512);
      const ksid = await apps.connect({ ttlSeconds: 10 });
      await apps.getKey('a', ksid, 0);
      await apps.getKey('a', ksid, 1);
      await apps.clock.advance(9_999);
      expect((await apps.getKey('b', ksid, 0)).status).to.equal(0);
      await apps.clock.advance(1);
      expect((await apps.getKey('b', ksid, 1)).status).to.equal(2);
    });

    it('forgets a stream that one side closed, at the TTL', async () => {
      const apps = await applications();
      const ksid = await apps.connect({ ttlSeconds: 10 });
      await apps.close('a', ksid);
      await apps.clock.advance(10_000);
      expect(apps.pair.a.streamCount + apps.pair.b.streamCount).to.equal(0);
      expect((await apps.getKey('b', ksid, 0)).status).to.equal(4);
    });

    it('ends streams that nobody uses', async () => {
      const apps = await applications({ settings: { idleStreamMs: 60_000 } });
      await apps.connect({ ttlSeconds: 1 });
      await apps.open('a', NULL_KSID);
      await apps.clock.advance(300_000);
      expect(apps.pair.a.streamCount + apps.pair.b.streamCount).to.equal(0);
      expect(apps.clock.pendingTimers).to.equal(0);
    });

    it('gives no new bits under an old KSID after a restart without memory', async () => {
      const apps = await applications();
      apps.pair.fill(1024);
      const ksid = await apps.connect();
      const atA = keyOf(await apps.getKey('a', ksid, 0));
      apps.pair.a.restart();
      expect((await apps.getKey('a', ksid, 0)).status).to.equal(4);
      expect((await apps.open('a', ksid)).status, 'the other side remembers').to.equal(5);
      expect(keyOf(await apps.getKey('b', ksid, 0)), 'what was shared before is still good').to.equal(atA);
      expect((await apps.getKey('b', ksid, 1)).status).to.equal(4);
      await apps.close('b', ksid);
      expect((await apps.open('a', ksid)).status, 'also when the stream has ended').to.equal(5);
      const fresh = await apps.connect();
      expect(keyOf(await apps.getKey('a', fresh, 0))).to.equal(keyOf(await apps.getKey('b', fresh, 0)));
    });
  });

  it('never gives two sides different bits, or a bit twice, in whatever order things happen', async function () {
    this.timeout(30_000);
    // Of the two only A ever loses its memory: when both do, nobody is left who knows that a KSID was used.
    const side = fc.constantFrom('a' as const, 'b' as const);
    const step = fc.oneof(
      {
        weight: 8,
        arbitrary: fc.record({ kind: fc.constant('get' as const), side, stream: fc.nat(2), index: fc.nat(6) }),
      },
      { weight: 3, arbitrary: fc.record({ kind: fc.constant('open' as const), side, stream: fc.nat(2) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('close' as const), side, stream: fc.nat(2) }) },
      { weight: 3, arbitrary: fc.record({ kind: fc.constant('fill' as const), keys: fc.integer({ min: 1, max: 8 }) }) },
      { weight: 3, arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.nat(4_000) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const) }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60 }), async (steps) => {
        const apps = await applications();
        const keys = new Map<string, string>();
        const drawnBy = new Set<string>();
        const pending: Promise<unknown>[] = [];
        const ksidOf = (stream: number) => Uint8Array.from(CHOSEN, (byte, i) => (i === 15 ? stream : byte));
        for (const next of steps) {
          if (next.kind === 'fill') apps.pair.fill(32 * next.keys);
          else if (next.kind === 'wait') await apps.clock.advance(next.ms);
          else if (next.kind === 'restart') apps.pair.a.restart();
          else if (next.kind === 'open') pending.push(apps.open(next.side, ksidOf(next.stream), { timeoutMs: 500 }));
          else if (next.kind === 'close') pending.push(apps.close(next.side, ksidOf(next.stream)));
          else {
            pending.push(
              apps.getKey(next.side, ksidOf(next.stream), next.index).then((response) => {
                if (response.status !== 0) return;
                const reference = `${next.stream}/${next.index}`;
                const key = keyOf(response);
                expect(drawnBy.has(`${next.side}${reference}`), `${reference} twice at ${next.side}`).to.equal(false);
                drawnBy.add(`${next.side}${reference}`);
                expect(keys.get(reference) ?? key, reference).to.equal(key);
                keys.set(reference, key);
              }),
            );
            if (next.index % 2 === 0) await settle();
          }
        }
        await apps.clock.advance(100_000);
        await Promise.all(pending);
        expect(new Set(keys.values()).size).to.equal(keys.size);
        await apps.pair.close();
        expect(apps.clock.pendingTimers).to.equal(0);
      }),
      { numRuns: 150 },
    );
  });
});
