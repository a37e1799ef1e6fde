import { expect } from 'chai';
import fc from 'fast-check';
import {
  createLinkStores,
  DEFAULT_ACK_TIMEOUT_MS,
  LinkEnd,
  type LinkStores,
  portTo,
  type ReservationPort,
  type SharedKey,
} from '../../../qkd-sim/stores/index.ts';
import { hexOf } from '../../../tls-ext/bytes/index.ts';
import { VirtualClock } from '../virtual-clock.ts';

/** Key in which every aligned 4 bytes are different, so that each part of it can be told from every other. */
function countedKey(firstWord: number, words: number): Uint8Array {
  const key = new Uint8Array(4 * words);
  const view = new DataView(key.buffer);
  for (let i = 0; i < words; i++) view.setUint32(4 * i, firstWord + i);
  return key;
}

function collect(end: LinkEnd<string>): Map<string, SharedKey> {
  const received = new Map<string, SharedKey>();
  end.setReceiver({
    admits: (purpose) => !purpose.startsWith('refused'),
    receive: (purpose, shared) => received.set(purpose, shared),
  });
  return received;
}

function storesOf(capacityBytes: number, clock = new VirtualClock()): LinkStores<string> {
  return createLinkStores<string>({ capacityBytesPerDirection: capacityBytes, clock });
}

describe('qkd-sim: link stores', () => {
  it('give both ends the same key for a purpose, marked as simulated', async () => {
    const stores = storesOf(1024);
    const atB = collect(stores.b);
    stores.deposit(countedKey(0, 64), countedKey(0, 64));
    const reservation = await stores.a.reserve('first', 32);
    if (reservation.outcome !== 'reserved') throw new Error(reservation.outcome);
    expect(hexOf(reservation.shared.key.expose())).to.equal(hexOf(atB.get('first')?.key.expose() ?? new Uint8Array()));
    expect(reservation.shared.provenance).to.deep.equal({ simulated: true, hops: 0 });
  });

  it('split a block between the directions by need, and drop the same surplus at both ends', () => {
    const stores = storesOf(100);
    expect(stores.deposit(countedKey(0, 15), countedKey(0, 15))).to.deep.equal({
      storedAToB: 32,
      storedBToA: 28,
      dropped: 0,
    });
    expect(stores.full).to.equal(false);
    expect(stores.deposit(countedKey(15, 50), countedKey(15, 50))).to.deep.equal({
      storedAToB: 68,
      storedBToA: 72,
      dropped: 60,
    });
    expect(stores.full).to.equal(true);
    expect(stores.a.inboundHeldBytes()).to.equal(100);
    expect(stores.b.inboundHeldBytes()).to.equal(100);
  });

  it('fill the emptier direction first', async () => {
    const stores = storesOf(128);
    collect(stores.b);
    stores.deposit(countedKey(0, 64), countedKey(0, 64));
    await stores.a.reserve('x', 64);
    expect(stores.deposit(countedKey(64, 16), countedKey(64, 16))).to.include({ storedAToB: 64, storedBToA: 0 });
  });

  it('refuse blocks whose ends differ in length', () => {
    expect(() => storesOf(64).deposit(new Uint8Array(8), new Uint8Array(9))).to.throw(RangeError);
  });

  it('say when there is too little, without losing what there is', async () => {
    const stores = storesOf(64);
    collect(stores.b);
    stores.deposit(countedKey(0, 16), countedKey(0, 16));
    expect(await stores.a.reserve('too much', 48)).to.deep.equal({ outcome: 'insufficient' });
    expect((await stores.a.reserve('all', 32)).outcome).to.equal('reserved');
    expect((await stores.a.reserve('more', 1)).outcome).to.equal('insufficient');
  });

  it('give nothing for a purpose that the other end does not admit', async () => {
    const stores = storesOf(64);
    stores.b.setReceiver({ admits: (purpose) => purpose !== 'no', receive: () => {} });
    stores.deposit(countedKey(0, 16), countedKey(0, 16));
    expect((await stores.a.reserve('no', 16)).outcome).to.equal('unacknowledged');
    expect(stores.a.level().availableBytes, 'a refusal costs nothing').to.equal(32);
    expect((await stores.a.reserve('yes', 32)).outcome).to.equal('reserved');
  });

  it('go on after a refusal that later reservations have overtaken', async () => {
    const stores = storesOf(128);
    collect(stores.b);
    stores.deposit(countedKey(0, 64), countedKey(0, 64));
    const outcomes = await Promise.all(['refused', 'one', 'two'].map((purpose) => stores.a.reserve(purpose, 16)));
    expect(outcomes.map(({ outcome }) => outcome)).to.deep.equal(['unacknowledged', 'reserved', 'reserved']);
    expect((await stores.a.reserve('three', 80)).outcome).to.equal('reserved');
    expect(stores.b.inboundHeldBytes()).to.equal(0);
  });

  it('wipe a key whose acknowledgement never comes, and go on with the next bytes', async () => {
    const clock = new VirtualClock();
    const { a, b, received, faults } = lossyPair(clock);
    faults.push('lose-ack');
    const lost = a.reserve('lost', 16);
    await clock.advance(DEFAULT_ACK_TIMEOUT_MS);
    expect((await lost).outcome).to.equal('unacknowledged');
    const next = await a.reserve('next', 16);
    if (next.outcome !== 'reserved') throw new Error(next.outcome);
    expect(received.has('lost')).to.equal(false);
    expect(hexOf(received.get('next')?.key.expose() ?? new Uint8Array())).to.equal(hexOf(next.shared.key.expose()));
    expect(b.inboundHeldBytes()).to.equal(a.level().availableBytes);
    expect(clock.pendingTimers).to.equal(0);
  });

  it('wipe at the other end what is never confirmed', async () => {
    const clock = new VirtualClock();
    const { a, received, faults } = lossyPair(clock);
    faults.push('lose-confirm');
    expect((await a.reserve('one-sided', 16)).outcome).to.equal('reserved');
    await clock.advance(10 * DEFAULT_ACK_TIMEOUT_MS);
    expect(received.size).to.equal(0);
    expect(clock.pendingTimers).to.equal(0);
  });

  it('refuse reservations from before a reset', async () => {
    const clock = new VirtualClock();
    const stores = storesOf(256, clock);
    const atB = collect(stores.b);
    stores.deposit(countedKey(0, 64), countedKey(0, 64));
    const pending = stores.a.reserve('old', 16);
    stores.reset();
    expect((await pending).outcome).to.equal('unacknowledged');
    expect(atB.size).to.equal(0);
    expect(stores.a.level().availableBytes).to.equal(0);
    stores.deposit(countedKey(64, 64), countedKey(64, 64));
    expect((await stores.a.reserve('new', 16)).outcome).to.equal('reserved');
    expect(atB.has('new')).to.equal(true);
  });

  it('never differ and never repeat a bit, whatever messages are lost or late, with both ends drawing at once', async function () {
    this.timeout(30_000);
    const fault = fc.constantFrom(...FAULTS);
    const step = fc.oneof(
      {
        weight: 3,
        arbitrary: fc.record({ kind: fc.constant('deposit' as const), words: fc.integer({ min: 1, max: 24 }) }),
      },
      {
        weight: 8,
        arbitrary: fc.record({
          kind: fc.constant('reserve' as const),
          end: fc.constantFrom('a' as const, 'b' as const),
          words: fc.integer({ min: 1, max: 6 }),
          fault,
          isRefused: fc.boolean(),
        }),
      },
      {
        weight: 3,
        arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 5000 }) }),
      },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('reset' as const) }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
        const clock = new VirtualClock();
        const stores = storesOf(256, clock);
        const faults: Fault[] = [];
        stores.a.connect(lossy(portTo(stores.b), clock, faults));
        stores.b.connect(lossy(portTo(stores.a), clock, faults));
        const at = { a: collect(stores.a), b: collect(stores.b) };
        const drawn = new Map<string, string>();
        const pending: Promise<void>[] = [];
        let words = 0;
        let purposes = 0;
        for (const next of steps) {
          if (next.kind === 'deposit') {
            stores.deposit(countedKey(words, next.words), countedKey(words, next.words));
            words += next.words;
          } else if (next.kind === 'reserve') {
            faults.push(next.fault);
            const purpose = `${next.isRefused ? 'refused ' : ''}${next.end}${purposes++}`;
            pending.push(
              stores[next.end].reserve(purpose, 4 * next.words).then((result) => {
                if (result.outcome === 'reserved') drawn.set(purpose, hexOf(result.shared.key.expose()));
              }),
            );
          } else if (next.kind === 'wait') await clock.advance(next.ms);
          else stores.reset();
        }
        await clock.advance(60_000);
        await Promise.all(pending);
        const received = new Map([...at.a, ...at.b].map(([purpose, shared]) => [purpose, hexOf(shared.key.expose())]));
        for (const [purpose, key] of received) {
          expect(drawn.get(purpose) ?? key, purpose).to.equal(key);
        }
        const seen = new Map<string, string>();
        for (const [purpose, key] of new Map([...received, ...drawn])) {
          for (const word of key.match(/.{8}/g) ?? []) {
            expect(seen.get(word) ?? purpose, `word ${word}`).to.equal(purpose);
            seen.set(word, purpose);
          }
        }
        expect(clock.pendingTimers).to.equal(0);
      }),
      { numRuns: 200 },
    );
  });
});

const FAULTS = [
  'none',
  'none',
  'lose-reserve',
  'lose-ack',
  'late-ack',
  'lose-confirm',
  'late-confirm',
  'lose-void',
] as const;
type Fault = (typeof FAULTS)[number];

/** Applies one fault of `faults` to each reservation; without one it passes. */
function lossy(port: ReservationPort<string>, clock: VirtualClock, faults: Fault[]): ReservationPort<string> {
  const byId = new Map<number, Fault>();
  const never = new Promise<never>(() => {});
  return {
    async reserve(request) {
      const fault = faults.shift() ?? 'none';
      byId.set(request.id, fault);
      if (fault === 'lose-reserve') return never;
      const reply = await port.reserve(request);
      if (fault === 'lose-ack' || fault === 'lose-void') return never;
      if (fault === 'late-ack') await new Promise<void>((resolve) => clock.setTimer(3_000, resolve));
      return reply;
    },
    confirm(id) {
      const fault = byId.get(id);
      if (fault === 'lose-confirm') return;
      if (fault === 'late-confirm') clock.setTimer(4_500, () => port.confirm(id));
      else port.confirm(id);
    },
    void(id) {
      if (byId.get(id) !== 'lose-void') port.void(id);
    },
  };
}

function lossyPair(clock: VirtualClock) {
  const options = { capacityBytes: 1024, clock, provenance: { simulated: true, hops: 0 } };
  const a = new LinkEnd<string>(options);
  const b = new LinkEnd<string>(options);
  const faults: Fault[] = [];
  a.connect(lossy(portTo(b), clock, faults));
  b.connect(lossy(portTo(a), clock, faults));
  a.deposit(countedKey(0, 64), countedKey(64, 64));
  b.deposit(countedKey(64, 64), countedKey(0, 64));
  return { a, b, received: collect(b), faults };
}
